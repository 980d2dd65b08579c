# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The lab's hosts are what a deployment meets: systemd as PID 1, limits that hold, the size that was asked for."""

from __future__ import annotations

from typing import Any

import pytest

CORES = {"small": 1, "large": 2}
MEMORY_MIB = {"small": 512, "large": 1024}
SET_CLOCK = "/usr/bin/python3 -c 'import time; time.clock_settime(time.CLOCK_REALTIME, time.time())'"
SUITE = {"small": "bookworm", "large": "trixie"}


@pytest.fixture
def name(host: Any) -> str:
    return str(host.check_output("hostname"))


def test_systemd_is_pid_1_and_has_no_failed_unit(host: Any) -> None:
    assert host.check_output("cat /proc/1/comm") == "systemd"
    assert host.check_output("systemctl list-units --state=failed --plain --no-legend") == ""
    assert host.check_output("systemctl is-system-running") == "running"


def test_suite(host: Any, name: str) -> None:
    assert host.system_info.codename == SUITE[name]


def test_cores(host: Any, name: str) -> None:
    assert int(host.check_output("nproc")) == CORES[name]


def test_memory(host: Any, name: str) -> None:
    limit = host.check_output(
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"
    )
    assert int(limit) == MEMORY_MIB[name] * 2**20


def test_memory_max_is_enforced(host: Any) -> None:
    eat = "/usr/bin/python3 -c 'x = bytearray(160 * 2**20)'"
    within = host.run(f"systemd-run --quiet --wait -p MemoryMax=256M {eat}")
    assert within.rc == 0
    # 255 is the code of ssh's own failures: keep systemd-run's to ourselves.
    beyond = host.run(f"systemd-run --wait -p MemoryMax=64M {eat} || true")
    assert "code=killed" in beyond.stderr


def test_the_machines_clock_cannot_be_set(host: Any) -> None:
    # to what it is: were it allowed, nothing would have been moved
    assert "Operation not permitted" in host.run(SET_CLOCK).stderr


def test_its_units_are_in_no_tree_of_the_machine(host: Any) -> None:
    mounted = host.check_output("grep -c ' /sys/fs/cgroup/systemd ' /proc/mounts || true")
    assert int(mounted) <= 1


def test_journal_is_on_disk(host: Any) -> None:
    assert "/var/log/journal/" in host.check_output("journalctl --header")


def test_load_generator_and_psutil_are_there(host: Any) -> None:
    assert host.exists("h2load")
    assert host.run("/usr/bin/python3 -c 'import psutil'").rc == 0
