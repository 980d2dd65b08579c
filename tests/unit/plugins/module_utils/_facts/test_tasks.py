# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How many processes and threads a unit may still begin."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts.tasks import (
    TaskLimit,
    task_limits,
    tasks_needed,
)

HYBRID = {
    "proc/self/mountinfo": "30 1 0:26 /lab/one /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids",
    "proc/1/cgroup": "8:pids:/lab/one/init.scope",
    "proc/loadavg": "0.10 0.20 0.30 2/310 4711",
    "proc/sys/kernel/threads-max": "64000",
    "proc/sys/kernel/pid_max": "32768",
    "sys/fs/cgroup/pids/pids.max": "400",
    "sys/fs/cgroup/pids/pids.current": "95",
    "sys/fs/cgroup/pids/system.slice/pids.max": "max",
    "sys/fs/cgroup/pids/system.slice/pids.current": "60",
    "sys/fs/cgroup/pids/system.slice/system-shop.slice/pids.max": "50",
    "sys/fs/cgroup/pids/system.slice/system-shop.slice/pids.current": "20",
}


def lay(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n", encoding="utf-8")
    return str(root)


def test_each_level_above_the_unit_and_the_kernel(tmp_path: Path) -> None:
    found = task_limits("system-shop.slice", 80, lay(tmp_path, HYBRID))
    assert [(limit.source, limit.left) for limit in found] == [
        ("its TasksMax", 80),
        ("/sys/fs/cgroup/pids/system.slice/system-shop.slice/pids.max", 30),
        ("/sys/fs/cgroup/pids/pids.max", 305),
        ("kernel.threads-max", 63690),
        ("kernel.pid_max", 32458),
    ]


def test_a_slice_that_is_not_there_yet(tmp_path: Path) -> None:
    found = task_limits("web-shop.slice", None, lay(tmp_path, HYBRID))
    assert found[0] == TaskLimit("/sys/fs/cgroup/pids/pids.max", 400, 95)


def test_a_host_that_tells_nothing(tmp_path: Path) -> None:
    assert task_limits("system.slice", None, str(tmp_path)) == []


def test_more_than_are_allowed() -> None:
    assert TaskLimit("x", 10, 12).left == 0


@pytest.mark.parametrize(
    ("worker_class", "workers", "threads", "tasks"),
    [("sync", 4, 1, 5), ("gthread", 2, 8, 19), ("gevent", 2, 1, 3), ("eventlet", 1, 1, 2)],
)
def test_tasks_of_an_instance(worker_class: str, workers: int, threads: int, tasks: int) -> None:
    assert tasks_needed(worker_class, workers, threads) == tasks
