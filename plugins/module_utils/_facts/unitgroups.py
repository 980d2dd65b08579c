# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a running unit's control group counted: memory and its peak, CPU seconds, processes.

Sources as in `cgroups`. Under version 1 every controller has a tree of its own, and systemd makes a unit's directory
only in those trees whose controllers the unit's settings use. So a process may stand in `/system.slice/shop.service`
for memory and in `/` for CPU: a figure of a parent is never given out as the unit's.
"""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import asdict, dataclass

from .._os.paths import under
from .._os.procfs import MIB, parent, read_int, read_pairs, read_text
from .cgroups import SYSTEMD, UNIFIED, Group, locate, memberships, memory_limits, path_for, read_trees


@dataclass(frozen=True)
class UnitMemory:
    """What a unit's cgroup says of its memory, in MiB. None: the kernel keeps no such figure here, or no limit is set.

    `current_mib` and `peak_mib` contain page cache, `inactive_file_mib` is the part of it that goes first. `filled`: so
    often it had filled its own limit when memory was wanted. Only then the OOM killer came for what it took itself.
    """

    cgroup: str
    version: int
    current_mib: float
    peak_mib: float | None
    peak_source: str
    high_mib: float | None
    max_mib: float | None
    anon_mib: float | None
    inactive_file_mib: float | None
    oom_kills: int | None
    under_oom: bool | None
    filled: int | None = None

    def to_dict(self) -> dict[str, object]:
        """The fields as a plain dictionary."""
        return asdict(self)


@dataclass(frozen=True)
class UnitProcesses:
    """The processes of a unit that runs, its master among them, and its control group as the kernel writes it."""

    pids: tuple[int, ...]
    master: int
    group: str


def unit_processes(unit: str, root: str = "/") -> UnitProcesses | None:
    """What runs of a unit by /proc/PID/cgroup, with nobody asked; None where nothing does."""
    group = re.compile(rf":([^:\n]*/{re.escape(unit)})(?:/|$)", re.MULTILINE)
    found = {}
    for pid in sorted(int(name) for name in os.listdir(under(root, "/proc")) if name.isdigit()):
        there = group.search(read_text(root, f"/proc/{pid}/cgroup") or "")
        if there:
            found[pid] = there[1]
    masters = [pid for pid in found if parent(pid, root) not in found]
    return UnitProcesses(tuple(found), min(masters), found[min(masters)]) if masters else None


def unit_group(controller: str, unit: int | str, root: str = "/") -> Group | None:
    """The cgroup that is the unit's own in a controller's tree, or None when it has none there.

    `unit` is the id of one of its processes, or the path that systemd gives as ControlGroup=.
    """
    trees = read_trees(root)
    if isinstance(unit, str):
        return locate(controller, unit, trees, root) if unit.strip("/") else None
    paths = memberships(unit, root)
    path = path_for(controller, trees, paths)
    if path is None:
        return None
    reference = paths.get(SYSTEMD, paths.get(UNIFIED, path))
    mine, named = _without_parents(path), _without_parents(reference)
    if mine == "/" or (named != mine and (named + "/").startswith(mine + "/")):
        return None  # a parent's: the unit has no directory of its own here
    return locate(controller, path, trees, root)


def _without_parents(path: str) -> str:
    while path == "/.." or path.startswith("/../"):
        path = path[len("/..") :] or "/"
    return path


def unit_memory(unit: int | str, root: str = "/") -> UnitMemory | None:
    """What the kernel counted of a unit's memory, or None when the unit has no memory cgroup of its own, or is gone.

    The peak is that of memory.max_usage_in_bytes (version 1) or memory.peak (version 2, Linux 5.19 and later).
    OOM kills: memory.oom_control (version 1, Linux 4.13 and later) or memory.events, children included.
    """
    group = unit_group("memory", unit, root)
    return group_memory(group, root) if group is not None else None


def group_memory(group: Group, root: str = "/") -> UnitMemory | None:
    """As `unit_memory`, for a cgroup that has been found already."""
    first = group.version == 1
    current = read_int(root, group.file("memory.usage_in_bytes" if first else "memory.current"))
    if current is None:
        return None
    peak_file = "memory.max_usage_in_bytes" if first else "memory.peak"
    peak = read_int(root, group.file(peak_file))
    limits = {name: value for name, value, _ in memory_limits(group, root)}
    stat = read_pairs(root, group.file("memory.stat"))
    events = _oom_events(group, root)
    return UnitMemory(
        cgroup=group.path,
        version=group.version,
        current_mib=current / MIB,
        peak_mib=_mib(peak),
        peak_source=f"cgroup v{group.version} {peak_file}" if peak is not None else "none",
        high_mib=_mib(limits.get("memory.high")),
        max_mib=_mib(limits.get("memory limit" if first else "memory.max")),
        anon_mib=_mib(stat.get("total_rss" if first else "anon")),
        inactive_file_mib=_mib(stat.get("total_inactive_file" if first else "inactive_file")),
        oom_kills=events.get("oom_kill"),
        under_oom=bool(events["under_oom"]) if "under_oom" in events else None,
        filled=read_int(root, group.file("memory.failcnt")) if first else events.get("oom"),
    )


def oom_kills_around(pid: int, root: str = "/") -> int | None:
    """Processes that the kernel has killed for memory since the boot where those of a unit without a memory group of
    its own are counted, too (Linux 4.13 and later); None where that is not known, and where its process `pid` is gone.

    That is the group that the process is in, or the nearest above it that counts; else the whole machine. A container
    whose units have none is such a group, so that nobody's beside it counts.
    """
    trees, paths = read_trees(root), memberships(pid, root)
    path = path_for("memory", trees, paths)
    if not paths:
        return None
    while path is not None:
        group = locate("memory", path, trees, root)
        events = _oom_events(group, root) if group is not None else {}
        if "oom_kill" in events:
            return events["oom_kill"]
        path = posixpath.dirname(path) if path.strip("/") else None
    return read_pairs(root, "/proc/vmstat").get("oom_kill")


def _oom_events(group: Group, root: str) -> dict[str, int]:
    return read_pairs(root, group.file("memory.oom_control" if group.version == 1 else "memory.events"))


def _mib(value: int | None) -> float | None:
    return None if value is None else value / MIB


def unit_cpu_seconds(unit: int | str, root: str = "/") -> float | None:
    """CPU seconds a unit's cgroup has used, dead processes included; None when nothing counts it by itself.

    None is usual under version 1 without CPUAccounting=; the processes of `unit_pids` are counted then.
    """
    group = unit_group("cpu", unit, root)
    if group is not None and group.version == 2:
        used = read_pairs(root, group.file("cpu.stat")).get("usage_usec")
        return None if used is None else used / 1e6
    group = unit_group("cpuacct", unit, root)
    used = read_int(root, group.file("cpuacct.usage")) if group is not None and group.version == 1 else None
    return None if used is None else used / 1e9


def unit_pids(unit: int | str, root: str = "/") -> list[int]:
    """The processes of a unit, those in cgroups below its own included; [] when it is gone."""
    for controller in (SYSTEMD, UNIFIED, "pids", "memory"):
        group = unit_group(controller, unit, root)
        if group is None:
            continue
        pids: list[int] = []
        for directory, _, files in os.walk(under(root, group.directory)):
            if "cgroup.procs" in files:
                text = read_text("/", posixpath.join(directory, "cgroup.procs")) or ""
                pids.extend(int(pid) for pid in text.split())
        if pids:
            return sorted(pids)
    return []


class PeakMeter:
    """The peak of a unit's memory since `reset`, where the kernel can be told to start anew.

    Version 1: writing 0 to memory.max_usage_in_bytes. Version 2, Linux 6.12 and later: writing to memory.peak starts
    anew for those who read the same open file, so the file is kept open. Elsewhere `reset` answers False and the peak
    is the one since the unit's start. Use it as a context manager.
    """

    def __init__(self, unit: int | str, root: str = "/") -> None:
        group = unit_group("memory", unit, root)
        self._descriptor: int | None = None
        self.since_reset = False
        self.source = "none"
        if group is None:
            return
        name = "memory.max_usage_in_bytes" if group.version == 1 else "memory.peak"
        for flags in (os.O_RDWR, os.O_RDONLY):
            try:
                self._descriptor = os.open(under(root, group.file(name)), flags | os.O_CLOEXEC)
            except OSError:
                continue
            self.source = f"cgroup v{group.version} {name}"
            self._reset_text = b"0\n"
            break

    def reset(self) -> bool:
        """Start anew. False when the kernel cannot, or the file may only be read."""
        if self._descriptor is None:
            return False
        try:
            os.pwrite(self._descriptor, self._reset_text, 0)
        except OSError:
            return False
        self.since_reset = True
        return True

    def read(self) -> float | None:
        """The peak in MiB; None when the kernel keeps none, or the unit is gone."""
        if self._descriptor is None:
            return None
        try:
            return int(os.pread(self._descriptor, 64, 0).split()[0]) / MIB
        except (OSError, ValueError, IndexError):
            return None

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> PeakMeter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
