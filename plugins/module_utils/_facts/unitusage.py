# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a running unit's control group counted: memory and its peak, OOM kills, CPU seconds. Sources as in `cgroups`."""

from __future__ import annotations

import posixpath
from dataclasses import asdict, dataclass

from .._os.procfs import MIB, read_int, read_pairs
from .cgroups import Group, locate, memberships, memory_limits, path_for, read_trees
from .unitgroups import unit_group


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
