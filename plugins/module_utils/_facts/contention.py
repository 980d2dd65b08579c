# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Processor time that a measurement did not get: what other machines took (steal), and what a quota held back.

Sources: proc(5) for the fields of /proc/stat, scheduler/sched-bwc.rst and admin-guide/cgroup-v2.rst for cpu.stat.
"""

from __future__ import annotations

from dataclasses import dataclass

from .._os.procfs import read_pairs, read_text, to_int
from . import cgroups

STEAL_TOLD = 0.05
"""A share of the processors' time that is worth a sentence: beyond it a measured wall time is that of the machine."""

THROTTLED_TOLD = 0.05
"""The same of the time that was measured for."""

_LONGER = "what was measured took longer than the app takes"


@dataclass(frozen=True)
class Taken:
    """Counters of a machine since its boot: ticks of all processors, of those stolen, and seconds that the groups of a
    slice were held back, by the group's path."""

    ticks: int
    stolen: int
    throttled: dict[str, float]


def read(slice_: str, root: str = "/") -> Taken:
    """The counters of now, for services of `slice_`; what is not told is 0."""
    fields = next(
        (line.split()[1:] for line in (read_text(root, "/proc/stat") or "").splitlines() if line.startswith("cpu ")), []
    )
    ticks = [to_int(field) or 0 for field in fields[:8]]
    trees = cgroups.read_trees(root)
    throttled = {}
    for group in cgroups.chain("cpu", slice_, trees, root):
        stat = read_pairs(root, group.file("cpu.stat"))
        held = stat["throttled_usec"] / 1e6 if "throttled_usec" in stat else stat.get("throttled_time", 0) / 1e9
        throttled[group.path] = held
    return Taken(sum(ticks), ticks[7] if len(ticks) > 7 else 0, throttled)


def words(before: Taken, after: Taken, seconds: float) -> list[str]:
    """What was taken between two readings that are `seconds` apart, in sentences; nothing where it was little."""
    told = []
    ticks = after.ticks - before.ticks
    stolen = (after.stolen - before.stolen) / ticks if ticks > 0 else 0.0
    if stolen > STEAL_TOLD:
        percent = f"{stolen * 100:.0f} %"
        told.append(f"the hypervisor gave {percent} of the processors' time to other machines (steal): {_LONGER}")
    held = {path: value - before.throttled.get(path, 0.0) for path, value in after.throttled.items()}
    path = max(held, key=lambda key: held[key], default="")
    if path and seconds > 0 and held[path] > THROTTLED_TOLD * seconds:
        told.append(
            f"the CPU quota of cgroup {path} held processes back for {held[path]:.1f} s of {seconds:.1f} s: {_LONGER}"
        )
    return told
