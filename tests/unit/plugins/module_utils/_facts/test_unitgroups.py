# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a running unit's cgroup says, on captured and constructed trees."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts import cgroups, unitgroups, unitusage
from host_trees import active_unit, tree, unit_of

MIB = 1024 * 1024


@pytest.mark.parametrize("by_path", [False, True])
def test_memory_of_a_unit_under_version_1(by_path: bool, tmp_path: Path) -> None:
    root = tree("debian13-slice-active", tmp_path)
    memory = unitusage.unit_memory(active_unit()[int(by_path)], root)
    assert memory is not None
    directory = tmp_path / "sys/fs/cgroup/memory/web.slice/web-shop.slice/shop.service"
    assert memory.current_mib == int((directory / "memory.usage_in_bytes").read_text()) / MIB
    assert memory.peak_mib == int((directory / "memory.max_usage_in_bytes").read_text()) / MIB
    assert memory.peak_mib > 4.0
    assert memory.peak_source == "cgroup v1 memory.max_usage_in_bytes"
    assert (memory.max_mib, memory.high_mib, memory.oom_kills, memory.under_oom) == (250.0, None, 0, False)
    assert memory.version == 1


@pytest.mark.parametrize("unit", [4242, "/app.slice/app-shop.slice/shop@3.service"])
def test_memory_of_a_unit_under_version_2(unit: int | str, tmp_path: Path) -> None:
    root = tree("v2-slices-nested", tmp_path)
    memory = unitusage.unit_memory(unit, root)
    assert memory is not None
    assert memory.to_dict() == {
        "cgroup": "/app.slice/app-shop.slice/shop@3.service",
        "version": 2,
        "current_mib": 160.0,
        "peak_mib": 200.0,
        "peak_source": "cgroup v2 memory.peak",
        "high_mib": 460.0,
        "max_mib": 512.0,
        "anon_mib": 80.0,
        "inactive_file_mib": 40.0,
        "oom_kills": 1,
        "under_oom": None,
        "filled": 1,
    }


CAPTURED_UNITS = [
    # tree, MiB now, peak, anonymous, inactive page cache, CPU seconds, processes
    ("debian12-v2-slices-active", 64.96875, 104.95703125, 64.671875, 0.0, 0.629978, [797, 801]),
    ("debian13-v2-slices-active", 65.40625, 104.99609375, 65.0625, 0.01171875, 1.421932, [619, 621]),
]


@pytest.mark.parametrize("by_path", [False, True])
@pytest.mark.parametrize("row", CAPTURED_UNITS, ids=lambda row: row[0])
def test_figures_of_a_captured_unit_under_version_2(
    row: tuple[str, float, float, float, float, float, list[int]], by_path: bool, tmp_path: Path
) -> None:
    name, current, peak, anonymous, inactive, seconds, pids = row
    root = tree(name, tmp_path)
    unit = unit_of(name)[int(by_path)]
    memory = unitusage.unit_memory(unit, root)
    assert memory is not None
    assert memory.to_dict() == {
        "cgroup": "/app.slice/app-shop.slice/capture.service",
        "version": 2,
        "current_mib": current,
        "peak_mib": peak,
        "peak_source": "cgroup v2 memory.peak",
        "high_mib": 180.0,
        "max_mib": 200.0,
        "anon_mib": anonymous,
        "inactive_file_mib": inactive,
        "oom_kills": 0,
        "under_oom": None,
        "filled": 0,
    }
    assert unitusage.unit_cpu_seconds(unit, root) == seconds
    assert unitgroups.unit_pids(unit, root) == pids


def test_a_captured_unit_without_limits_under_version_2(tmp_path: Path) -> None:
    root = tree("debian13-vm-v2", tmp_path)
    memory = unitusage.unit_memory(unit_of("debian13-vm-v2")[0], root)
    assert memory is not None
    assert (memory.cgroup, memory.high_mib, memory.max_mib) == ("/system.slice/ssh.service", None, None)
    assert (memory.current_mib, memory.peak_mib, memory.oom_kills) == (10.53515625, 12.8671875, 0)
    assert unitusage.unit_cpu_seconds("/system.slice/ssh.service", root) == 36.120104


def test_no_peak_before_linux_5_19(tmp_path: Path) -> None:
    root = tree("v2-slices-nested", tmp_path)
    (tmp_path / "sys/fs/cgroup/app.slice/app-shop.slice/shop@3.service/memory.peak").unlink()
    memory = unitusage.unit_memory(4242, root)
    assert memory is not None
    assert (memory.peak_mib, memory.peak_source) == (None, "none")


def test_a_parents_figures_are_not_the_units(tmp_path: Path) -> None:
    root = tree("debian13-slice-active", tmp_path)
    pid, control_group = active_unit()
    assert cgroups.memberships(pid, root)["cpuacct"] == "/"
    assert unitusage.unit_cpu_seconds(pid, root) is None
    assert unitusage.unit_cpu_seconds(control_group, root) is None
    assert cgroups.memberships(pid, root)["devices"] == "/web.slice"
    assert unitgroups.unit_group("devices", pid, root) is None


def test_cpu_seconds_of_a_unit_under_version_2(tmp_path: Path) -> None:
    assert unitusage.unit_cpu_seconds(4242, tree("v2-slices-nested", tmp_path)) == 2.5


def test_cpu_seconds_of_a_unit_under_version_1_with_accounting(tmp_path: Path) -> None:
    root = tree("v1-bare-metal-hyperthreads", tmp_path)
    paths = "".join(f"{n}:/system.slice/a.service\n" for n in ("4:memory", "2:cpu,cpuacct", "1:name=systemd"))
    (tmp_path / "proc/77").mkdir()
    (tmp_path / "proc/77/cgroup").write_text(paths, encoding="utf-8")
    directory = tmp_path / "sys/fs/cgroup/cpu,cpuacct/system.slice/a.service"
    directory.mkdir()
    (directory / "cpuacct.usage").write_text("1500000000\n", encoding="utf-8")
    assert unitusage.unit_cpu_seconds(77, root) == 1.5
    assert unitusage.unit_memory(77, root) is None  # no such directory in the memory tree


def test_processes_of_a_unit_include_those_of_groups_below(tmp_path: Path) -> None:
    assert unitgroups.unit_pids(4242, tree("v2-slices-nested", tmp_path)) == [4242, 4243, 4244]


def test_processes_of_a_captured_unit(tmp_path: Path) -> None:
    root = tree("debian13-slice-active", tmp_path)
    pid, control_group = active_unit()
    pids = unitgroups.unit_pids(pid, root)
    assert len(pids) == 2
    assert pids[0] == pid
    assert unitgroups.unit_pids(control_group, root) == pids


@pytest.mark.parametrize("unit", [999999, "/system.slice/gone.service", "", "/"])
def test_a_unit_that_is_gone_has_nothing(unit: int | str, tmp_path: Path) -> None:
    root = tree("v2-slices-nested", tmp_path)
    assert unitusage.unit_memory(unit, root) is None
    assert unitusage.unit_cpu_seconds(unit, root) is None
    assert unitgroups.unit_pids(unit, root) == []


def _a_process(root: Path, groups: str, mount: str, vmstat: str = "oom_kill 172\n") -> str:
    files = {"proc/77/cgroup": groups, "proc/self/mountinfo": mount, "proc/vmstat": vmstat}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="ascii")
    return str(root)


@pytest.mark.parametrize(
    ("vmstat", "killed"), [("pgfault 12\noom_kill 172\n", 172), ("oom_kill 0\n", 0), ("pgfault 12\n", None)]
)
def test_without_control_groups_of_memory_the_whole_machine_counts(
    vmstat: str, killed: int | None, tmp_path: Path
) -> None:
    root = _a_process(tmp_path, "0::/system.slice/shop@1.service\n", "", vmstat)
    assert unitusage.oom_kills_around(77, root) == killed


def test_of_a_process_that_is_gone_nobody_knows_what_counts(tmp_path: Path) -> None:
    root = _a_process(tmp_path, "0::/\n", "")
    assert unitusage.oom_kills_around(78, root) is None
    assert unitusage.oom_kills_around(0, root) is None


def test_a_container_whose_units_have_no_group_of_memory_counts_by_its_own(tmp_path: Path) -> None:
    """A lab host with systemd 262 on a machine with version 1: all of it is in one group there."""
    mount = "90 80 0:30 /pod/libpod-5a /run/lab-memory rw - cgroup cgroup rw,memory\n"
    folder = tmp_path / "run/lab-memory/init.scope"
    folder.mkdir(parents=True)
    (folder / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", encoding="ascii")
    root = _a_process(tmp_path, "4:memory:/pod/libpod-5a/init.scope\n0::/system.slice/shop@1.service\n", mount)
    assert unitusage.unit_memory("/system.slice/shop@1.service", root) is None
    assert unitusage.oom_kills_around(77, root) == 3


@pytest.mark.parametrize(("counts", "killed"), [("system.slice", 5), ("", 172)])
def test_the_nearest_group_above_that_counts(counts: str, killed: int, tmp_path: Path) -> None:
    tree = tmp_path / "sys/fs/cgroup"
    (tree / "system.slice/shop@1.service").mkdir(parents=True)
    (tree / "cgroup.controllers").write_text("cpu memory\n", encoding="ascii")
    if counts:
        (tree / counts / "memory.events").write_text("oom 6\noom_kill 5\n", encoding="ascii")
    mount = "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    root = _a_process(tmp_path, "0::/system.slice/shop@1.service\n", mount)
    assert unitusage.oom_kills_around(77, root) == killed
