# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Processor time that the weigh did not get is told."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.headcount.gunicorn.plugins.module_utils._facts import contention
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts.contention import Taken


def test_steal_is_told_where_it_is_more_than_noise() -> None:
    before = Taken(1000, 10, {})
    assert contention.words(before, Taken(2000, 50, {}), 10.0) == []
    assert contention.words(before, Taken(2000, 210, {}), 10.0) == [
        "the hypervisor gave 20 % of the processors' time to other machines (steal): what was measured took"
        " longer than the app takes"
    ]


def test_the_quota_that_held_most_back_is_named() -> None:
    before = Taken(0, 0, {"/": 1.0, "/web.slice": 4.0})
    assert contention.words(before, Taken(0, 0, {"/": 1.2, "/web.slice": 4.3}), 10.0) == []
    assert contention.words(before, Taken(0, 0, {"/": 1.6, "/web.slice": 7.0}), 10.0) == [
        "the CPU quota of cgroup /web.slice held processes back for 3.0 s of 10.0 s: what was measured took longer"
        " than the app takes"
    ]


def test_the_counters_of_both_versions_are_read(tmp_path: Path) -> None:
    def write(path: str, text: str) -> None:
        file = tmp_path / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    write("/proc/stat", "cpu  10 0 20 900 5 1 4 60 0 0\ncpu0 1 1 1 1\n")
    write("/proc/1/cgroup", "0::/init.scope\n")
    write("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    write("/sys/fs/cgroup/cgroup.controllers", "cpu memory\n")
    write("/sys/fs/cgroup/web.slice/cpu.stat", "usage_usec 5\nnr_throttled 3\nthrottled_usec 2500000\n")
    assert contention.read("web.slice", str(tmp_path)) == Taken(1000, 60, {"/": 0.0, "/web.slice": 2.5})
    write("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n")
    write("/proc/1/cgroup", "4:cpu:/init.scope\n")
    write("/sys/fs/cgroup/cpu/web.slice/cpu.stat", "nr_periods 9\nnr_throttled 3\nthrottled_time 1500000000\n")
    assert contention.read("web.slice", str(tmp_path)).throttled["/web.slice"] == 1.5
    assert contention.read("web.slice", str(tmp_path / "nowhere")) == Taken(0, 0, {})
