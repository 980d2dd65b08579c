# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What takes up a host's memory beside the apps that are planned for: databases, other slices, huge pages.

Only what cannot be dropped at once counts: page cache does not, and neither does what the planned apps hold themselves,
because a plan divides that anew. What a unit is promised (MemoryMin=, MemoryLow=) counts as if it used it.
"""

from __future__ import annotations

import os
import posixpath
import re
from typing import Iterator, Sequence

from .._os.paths import under
from .._os.procfs import MIB, read_int, read_meminfo, read_pairs, read_status, read_text
from . import cgroups
from .cgroups import Group
from .others import Neighbour, Others

NAMED_MIB = 8
"""A unit that uses less is not named."""

OWN_SERVICES = "headcount-"
"""How the names of Headcount's own services begin. They come with a rollout, which must not be a reason for the next:
the reserve of the system has room for them."""

_NAMED = 5
_UNITS = "/etc/systemd/system"
_OWN = re.compile(r"/opt/headcount/([a-z][a-z0-9-]*)/")
_UNIT = re.compile(r".+\.(service|scope|socket|mount|swap)")
_DEPTH = 8


def read(
    root: str, trees: cgroups.Trees, chain: Sequence[Group], effective_mib: float, apps: Sequence[str] | None
) -> Others:
    """What others use of `effective_mib`, the tightest limit of the groups in `chain`, of this machine or a tree.

    `apps`: those that are planned for; None: all of Headcount's that are installed.
    """
    top = cgroups.mount_root("memory", trees, root)
    own = own_units(root, apps)
    units = list(_units(top, root)) if top else []
    prober = _prober_mib(root)
    # What the planned apps hold is divided anew, and who asks is gone by then.
    ours = [group for group in units if posixpath.basename(group.path) in own]
    aside = prober + (sum(_held_mib(group, root) for group in ours) or _held_by_processes_mib(own, trees, root))
    machine = _machine_mib(root)
    of_machine = effective_mib if machine is None else machine[0] - max(0.0, machine[1] - aside)
    left = min([effective_mib, of_machine, *_left_by_limits(chain, root, aside)])
    promised = _promised_mib(top, root, own) if top else 0.0
    taken = max(0.0, effective_mib - max(0.0, left)) + promised
    named = _named([group for group in units if posixpath.basename(group.path) not in own], root, trees, prober)
    huge = _huge_mib(root) if of_machine == left else 0
    if huge:
        named.insert(0, Neighbour("huge pages", huge, huge))
    return Others(int(min(taken, effective_mib)), tuple(named[:_NAMED]))


def _held_by_processes_mib(own: frozenset[str], trees: cgroups.Trees, root: str) -> float:
    """MiB that the processes of the own units hold, on a host whose units have no groups of memory: what is shared
    counts by shares."""
    tree = cgroups.SYSTEMD if trees.of(cgroups.SYSTEMD) else cgroups.UNIFIED
    top = cgroups.mount_root(tree, trees, root)
    units = (group for group in _units(top, root) if posixpath.basename(group.path) in own) if top else ()
    return sum(_anon_mib(pid, root) for group in units for pid in _pids(group, root))


def _pids(group: Group, root: str) -> Iterator[str]:
    yield from (read_text(root, group.file("cgroup.procs")) or "").split()
    for child in _children(group, root):
        yield from _pids(child, root)


def _anon_mib(pid: str, root: str) -> float:
    texts = (read_text(root, f"/proc/{pid}/{name}") or "" for name in ("smaps_rollup", "status"))
    found = (re.search(r"^(?:Pss_Anon|RssAnon):\s*(\d+) kB", text, re.MULTILINE) for text in texts)
    return next((int(one[1]) / 1024 for one in found if one), 0.0)


def _left_by_limits(chain: Sequence[Group], root: str, aside: float) -> Iterator[float]:
    """MiB that the limit of each group leaves, `aside` not counted as used."""
    for group in chain:
        limits = [value for _, value, _ in cgroups.memory_limits(group, root) if value is not None]
        if limits:
            yield min(limits) / MIB - max(0.0, _held_mib(group, root) - aside)


def _named(strangers: Sequence[Group], root: str, trees: cgroups.Trees, prober: float) -> list[Neighbour]:
    """Those that are worth naming, the largest first."""
    session = _own_path(root, trees)
    found = (_neighbour(group, root, prober if session.endswith(group.path) else 0.0) for group in strangers)
    return sorted(filter(None, found), key=lambda one: -one.mib)


def own_units(root: str, apps: Sequence[str] | None) -> frozenset[str]:
    """Names of the unit files that lead into the folders of `apps` (None: of any app), and of Headcount's services."""
    found = set()
    folder = under(root, _UNITS)
    try:
        names = os.listdir(folder)
    except OSError:
        return frozenset()
    for name in names:
        if name.startswith(OWN_SERVICES):
            found.add(name)
            continue
        try:
            app = _OWN.search(os.readlink(os.path.join(folder, name)))
        except OSError:
            continue
        if app and (apps is None or app[1] in apps):
            found.add(name)
    return frozenset(found)


def _units(group: Group, root: str, depth: int = 0) -> Iterator[Group]:
    """The control groups below `group` that are units or somebody's containers: those that are no slice."""
    for child in _children(group, root):
        if child.path.endswith(".slice") and depth < _DEPTH:
            yield from _units(child, root, depth + 1)
        else:
            yield child


def _children(group: Group, root: str) -> Iterator[Group]:
    try:
        names = sorted(os.listdir(under(root, group.directory)))
    except OSError:
        return
    for name in names:
        directory = group.file(name)
        if os.path.isdir(under(root, directory)):
            yield Group(directory, posixpath.join(group.path, name), group.version)


def _held_mib(group: Group, root: str) -> float:
    """MiB of a group that cannot be dropped at once: its memory but for files and what the kernel gives back."""
    stat = read_pairs(root, group.file("memory.stat"))
    if group.version == 1:
        held = sum(stat.get(f"total_{name}", 0) for name in ("inactive_anon", "active_anon", "unevictable"))
        return held / MIB
    used = read_int(root, group.file("memory.current"))
    if used is None:  # the true root of version 2 counts nothing
        return 0.0
    dropped = sum(stat.get(name, 0) for name in ("inactive_file", "active_file", "slab_reclaimable"))
    return max(0, used - dropped) / MIB


def _neighbour(group: Group, root: str, prober: float) -> Neighbour | None:
    """A unit that is worth naming, without what the process that asks uses in it (`prober`, MiB)."""
    used = read_int(root, group.file("memory.usage_in_bytes" if group.version == 1 else "memory.current"))
    if (used or 0) / MIB < NAMED_MIB:
        return None
    held = _held_mib(group, root) - prober
    if held < NAMED_MIB:
        return None
    limits = [value / MIB for _, value, _ in cgroups.memory_limits(group, root) if value is not None]
    return Neighbour(
        posixpath.basename(group.path), int(held), int(_guarded_mib(group, root)), int(min(limits)) if limits else None
    )


def _guarded_mib(group: Group, root: str) -> float:
    """What a group is promised (memory.min, memory.low of version 2), in MiB."""
    values = (read_text(root, group.file(name)) for name in ("memory.min", "memory.low"))
    return max((int(value) / MIB for value in values if value and value.isdigit()), default=0.0)


def _promised_mib(group: Group, root: str, own: frozenset[str], depth: int = 0) -> float:
    """What groups are promised and do not use yet; a slice that has a promise speaks for what is in it."""
    total = 0.0
    for child in _children(group, root):
        if posixpath.basename(child.path) in own or depth > _DEPTH:
            continue
        guarded = _guarded_mib(child, root)
        if guarded:
            total += max(0.0, guarded - _held_mib(child, root))
        elif child.path.endswith(".slice"):
            total += _promised_mib(child, root, own, depth + 1)
    return total


def _own_path(root: str, trees: cgroups.Trees) -> str:
    """The memory group of the process that asks; in a captured tree nobody asks."""
    return (cgroups.path_for("memory", trees, cgroups.memberships("self")) or "") if root == "/" else ""


def _prober_mib(root: str) -> float:
    """What the process that asks uses itself: it is gone when the plan is."""
    if root != "/":
        return 0.0
    size = (read_status(root, "self").get("RssAnon") or "0").split()[0]
    return int(size) / 1024


def _machine_mib(root: str) -> tuple[float, float] | None:
    """(MiB of RAM, of it what is used and cannot be dropped); None where the kernel does not say."""
    info = read_meminfo(root)
    total, available = info.get("MemTotal"), info.get("MemAvailable")
    return None if total is None or available is None else (total, max(0.0, total - available))


def _huge_mib(root: str) -> int:
    found = re.search(r"^HugePages_Total:\s*(\d+)", read_text(root, "/proc/meminfo") or "", re.MULTILINE)
    size = read_meminfo(root).get("Hugepagesize", 0.0)
    return int(int(found[1]) * size) if found else 0
