# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which processes a unit has that runs, by the kernel alone."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from .._os.paths import under
from .._os.procfs import parent, read_text


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
