# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which control groups and processes a running unit has.

Sources as in `cgroups`. Under version 1 every controller has a tree of its own, and systemd makes a unit's directory
only in those trees whose controllers the unit's settings use. So a process may stand in `/system.slice/shop.service`
for memory and in `/` for CPU: a parent is never taken for the unit. What a unit used: `unitusage`.
"""

from __future__ import annotations

import os
import posixpath

from .._os.paths import under
from .._os.procfs import read_text
from .cgroups import SYSTEMD, UNIFIED, Group, locate, memberships, path_for, read_trees


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
