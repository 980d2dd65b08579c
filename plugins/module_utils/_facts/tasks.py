# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How many more tasks, as the kernel calls processes and threads together, a host lets a unit begin.

Sources: Documentation/admin-guide/cgroup-v1/pids.rst and cgroup-v2.rst of the kernel (pids.max, pids.current: the
limit of each group above a unit holds for it, too), proc_sys_kernel(5) (threads-max, pid_max), proc_loadavg(5) (how
many tasks there are), systemd.resource-control(5) (TasksMax=).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .._os.procfs import read_int, read_status, read_text, to_int
from .cgroups import Group, chain, locate, memberships, path_for, read_trees


@dataclass(frozen=True)
class TaskLimit:
    """A limit of the host: where it stands, how many tasks it allows, and how many there are below it."""

    source: str
    most: int
    there: int

    @property
    def left(self) -> int:
        """How many more may be begun."""
        return max(0, self.most - self.there)


def tasks_needed(worker_class: str, workers: int, threads: int) -> int:
    """The tasks of an instance under full load: its master, and each worker with its threads. A worker of gthread
    begins them as requests come, so that it can run for long before it finds that there is no room for one."""
    return 1 + workers * (1 + (threads if worker_class == "gthread" else 0))


def tasks_of(pids: Iterable[int], root: str = "/") -> int:
    """How many tasks some processes have, by Threads: of /proc/PID/status (proc(5)); those that are gone have none."""
    return sum(to_int(read_status(root, str(pid)).get("Threads")) or 0 for pid in pids)


def task_limits(slice_: str, own_max: int | None, root: str = "/") -> list[TaskLimit]:
    """The limits that hold for a service of `slice_` which is not running yet; what a host does not tell is left out.

    `own_max`: TasksMax= of the service itself; None where it has none. Limits of a container above what it can see
    are not known.
    """
    found = [TaskLimit("its TasksMax", own_max, 0)] if own_max is not None else []
    return [*found, *_of_groups(chain("pids", slice_, read_trees(root), root), root), *_of_kernel(root)]


def manager_limits(root: str = "/") -> list[TaskLimit]:
    """The limits that hold for what systemd (process 1) begins by itself, that of its own group first."""
    trees = read_trees(root)
    own = locate("pids", path_for("pids", trees, memberships(1, root)) or "/", trees, root)
    above = chain("pids", "-.slice", trees, root)
    groups = [own, *(group for group in above if group != own)] if own is not None else above
    return [*_of_groups(groups, root), *_of_kernel(root)]


def _of_groups(groups: Iterable[Group], root: str) -> list[TaskLimit]:
    found = []
    for group in groups:
        most, there = read_int(root, group.file("pids.max")), read_int(root, group.file("pids.current"))
        if most is not None and there is not None:
            found.append(TaskLimit(group.file("pids.max"), most, there))
    return found


def _of_kernel(root: str) -> list[TaskLimit]:
    found, running = [], _running(root)
    for name in ("threads-max", "pid_max"):
        most = read_int(root, f"/proc/sys/kernel/{name}")
        if most is not None and running is not None:
            found.append(TaskLimit(f"kernel.{name}", most, running))
    return found


def _running(root: str) -> int | None:
    """How many tasks the kernel has: the number after the slash in /proc/loadavg."""
    fields = (read_text(root, "/proc/loadavg") or "").split()
    return to_int(fields[3].partition("/")[2]) if len(fields) > 3 else None
