# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Control groups, version 1, 2 and hybrid: where they are mounted and what they limit. What a unit used: `unitusage`.

Sources: cgroups(7), Documentation/admin-guide/cgroup-v1/{memory,cpusets,cpuacct}.rst, scheduler/sched-bwc.rst and
Documentation/admin-guide/cgroup-v2.rst of the kernel.
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass
from typing import Iterator, Mapping

from .._os.paths import under
from .._os.procfs import parse_cpu_list, read_int, read_pairs, read_text

# cgroup v1 says "unlimited" with PAGE_COUNTER_MAX in bytes, 2^63 rounded down to a page; 32-bit kernels with less.
# No machine has 2^60 bytes.
V1_UNLIMITED = 1 << 60

UNIFIED = ""  # the controller name of the version 2 tree in /proc/PID/cgroup ("0::/path")
SYSTEMD = "name=systemd"


@dataclass(frozen=True)
class Mount:
    """One mounted cgroup tree: where, which part of the hierarchy (`root`), and with which controllers."""

    point: str
    root: str
    version: int
    controllers: frozenset[str]


@dataclass(frozen=True)
class Trees:
    """All mounted cgroup trees of a host, in the order of mountinfo, and how systemd would call the arrangement."""

    mounts: tuple[Mount, ...]

    @property
    def version(self) -> int | str:
        """1, 2, "hybrid" (version 1 controllers beside a version 2 tree), or 0 when nothing is mounted."""
        versions = {mount.version for mount in self.mounts}
        if versions == {1, 2}:
            return "hybrid"
        return versions.pop() if versions else 0

    def of(self, controller: str) -> list[Mount]:
        """The mounts that carry a controller, the one mounted last (the one that is seen) first."""
        named = [mount for mount in self.mounts if controller in mount.controllers]
        return named[::-1]

    def version_of(self, controller: str) -> int:
        """1 or 2; 0 when the controller is not mounted."""
        mounts = self.of(controller)
        return mounts[0].version if mounts else 0


@dataclass(frozen=True)
class Group:
    """A directory of one cgroup tree: `path` below the mount, for people, and `directory`, the host's path."""

    directory: str
    path: str
    version: int

    def file(self, name: str) -> str:
        """The host's path of one of the group's files."""
        return posixpath.join(self.directory, name)


def read_trees(root: str = "/") -> Trees:
    """Read /proc/self/mountinfo (proc(5)). The controllers of version 2 are those in its mount's cgroup.controllers."""
    found = []
    for line in (read_text(root, "/proc/self/mountinfo") or "").splitlines():
        head, separator, tail = line.partition(" - ")
        fields, kind = head.split(), tail.split()
        if not separator or len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        point, version = _unescape(fields[4]), 1 if kind[0] == "cgroup" else 2
        if version == 1:
            names = frozenset(option for option in kind[2].split(",") if option not in ("rw", "ro"))
        else:
            listed = read_text(root, posixpath.join(point, "cgroup.controllers")) or ""
            names = frozenset(listed.split()) | {UNIFIED}
        found.append(Mount(point, _unescape(fields[3]), version, names))
    return Trees(tuple(found))


def _unescape(text: str) -> str:
    """mountinfo writes space, tab, newline and backslash as octal escapes."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def memberships(pid: int | str, root: str = "/") -> dict[str, str]:
    """/proc/PID/cgroup as {controller: path}; the version 2 entry has the controller "". {} when it cannot be read."""
    paths: dict[str, str] = {}
    for line in (read_text(root, f"/proc/{pid}/cgroup") or "").splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            for controller in parts[1].split(","):
                paths[controller] = parts[2]
    return paths


def path_for(controller: str, trees: Trees, paths: Mapping[str, str]) -> str | None:
    """The path of one of a process's `memberships` in a controller's tree; None when it is in none."""
    return paths.get(UNIFIED) if trees.version_of(controller) == 2 else paths.get(controller)


def locate(controller: str, path: str, trees: Trees, root: str = "/") -> Group | None:
    """The existing directory of a cgroup path, as /proc/PID/cgroup or systemd's ControlGroup= writes it, or None.

    What a mount shows starts at its `root`: in a container that keeps the host's cgroup namespace the path is
    `/docker/ID/...` and so is the mount's root; under podman the systemd tree's is `/../..`. systemd's own
    ControlGroup= comes without that prefix, so the path below the mount is tried as it is, too.
    """
    for mount in trees.of(controller):
        candidates = []
        if mount.root != "/" and (path + "/").startswith(mount.root.rstrip("/") + "/"):
            candidates.append(path[len(mount.root.rstrip("/")) :])
        if not (path + "/").startswith("/../"):
            candidates.append(path)
        for candidate in candidates:
            directory = posixpath.join(mount.point, candidate.strip("/")).rstrip("/")
            if os.path.isdir(under(root, directory)):
                return Group(directory, "/" + candidate.strip("/"), mount.version)
    return None


def mount_root(controller: str, trees: Trees, root: str = "/") -> Group | None:
    """The top of a controller's tree as far as this host or container can see."""
    for mount in trees.of(controller):
        if os.path.isdir(under(root, mount.point)):
            return Group(mount.point, "/", mount.version)
    return None


def manager_path(controller: str, trees: Trees, root: str = "/") -> str:
    """The cgroup path below which PID 1 makes its slices: its own, without `/init.scope`."""
    path = path_for(controller, trees, memberships(1, root)) or "/"
    return posixpath.dirname(path) if posixpath.basename(path) == "init.scope" else path


def slice_names(slice_: str) -> list[str]:
    """A slice and those above it, outermost first: a-b.slice -> ["-.slice", "a.slice", "a-b.slice"] (systemd.slice(5)).

    Raises ValueError when the name is not that of a slice.
    """
    if not slice_.endswith(".slice") or "/" in slice_ or len(slice_) <= len(".slice"):
        raise ValueError(f"slice: {slice_!r} is not the name of a systemd slice, which ends in .slice (system.slice)")
    stem = slice_[: -len(".slice")]
    if stem == "-":
        return ["-.slice"]
    parts = stem.split("-")
    if not all(parts):
        raise ValueError(f"slice: {slice_!r} is not a valid slice name: a dash separates two levels")
    return ["-.slice"] + ["-".join(parts[: n + 1]) + ".slice" for n in range(len(parts))]


def chain(controller: str, slice_: str, trees: Trees, root: str = "/") -> list[Group]:
    """The existing cgroups whose limits hold for services of the slice, innermost first, up to the visible root.

    Levels that do not exist (the slice is not active, or does not use the controller) are left out.
    """
    top = mount_root(controller, trees, root)
    if top is None:
        return []
    base = locate(controller, manager_path(controller, trees, root), trees, root) or top
    levels, current = [base.path], base.path
    for name in slice_names(slice_)[1:]:
        current = posixpath.join(current, name)
        levels.append(current)
    above = base.path
    while above != "/":
        above = posixpath.dirname(above)
        levels.insert(0, above)
    groups = []
    for level in levels:
        directory = posixpath.join(top.directory, level.strip("/")).rstrip("/")
        if os.path.isdir(under(root, directory)):
            groups.append(Group(directory, level, top.version))
    return groups[::-1]


def memory_limits(group: Group, root: str = "/") -> Iterator[tuple[str, int | None, str]]:
    """(name, bytes or None for unlimited, file) of each memory limit that a group has.

    The true root of version 2 has neither file and yields nothing.
    """
    if group.version == 1:
        source = group.file("memory.limit_in_bytes")
        value = read_int(root, source)
        if value is not None:
            yield "memory limit", (None if value >= V1_UNLIMITED else value), source
        return
    for name in ("memory.max", "memory.high"):
        source = group.file(name)
        text = read_text(root, source)
        if text:
            yield name, (None if text == "max" else int(text)), source


def hidden_memory_limit(group: Group, root: str = "/") -> tuple[int, str] | None:
    """(bytes, file) of a limit above what can be seen, lower than the group's own; None when there is none.

    Version 1 tells it as hierarchical_memory_limit: the least limit of all ancestors, those outside of a container's
    namespace included. Version 2 has nothing of the kind.
    """
    if group.version != 1:
        return None
    source = group.file("memory.stat")
    value = read_pairs(root, source).get("hierarchical_memory_limit")
    own = read_int(root, group.file("memory.limit_in_bytes"))
    if value is None or value >= V1_UNLIMITED or (own is not None and own <= value):
        return None
    return value, source


def swap_limit(group: Group, root: str = "/") -> tuple[int, str] | None:
    """(bytes of swap that a group may use, file), or None when it is not limited.

    Version 1 limits memory and swap together (memory.memsw): what is left for swap is the difference.
    """
    if group.version == 2:
        source = group.file("memory.swap.max")
        value = read_int(root, source)
        return (value, source) if value is not None else None
    source = group.file("memory.memsw.limit_in_bytes")
    both, memory = read_int(root, source), read_int(root, group.file("memory.limit_in_bytes"))
    if both is None or both >= V1_UNLIMITED or memory is None:
        return None
    return max(0, both - memory), source


def cpu_quota(group: Group, root: str = "/") -> tuple[float | None, str] | None:
    """(cores that the quota allows, or None for no quota, file); None when the group has no quota file at all."""
    if group.version == 1:
        source = group.file("cpu.cfs_quota_us")
        quota, period = read_int(root, source), read_int(root, group.file("cpu.cfs_period_us"))
        if quota is None:
            return None
        return (quota / period if quota > 0 and period else None), source
    source = group.file("cpu.max")
    fields = (read_text(root, source) or "").split()
    if not fields:
        return None
    if fields[0] == "max":
        return None, source
    return int(fields[0]) / int(fields[1] if len(fields) > 1 else "100000"), source


def cpuset(group: Group, root: str = "/") -> tuple[frozenset[int], str] | None:
    """(CPUs that a group may use, file), or None when it does not say (version 1: an empty set is not yet set up)."""
    names = ("cpuset.cpus.effective",) if group.version == 2 else ("cpuset.effective_cpus", "cpuset.cpus")
    for name in names:
        source = group.file(name)
        cpus = parse_cpu_list(read_text(root, source))
        if cpus:
            return cpus, source
    return None


def memory_available(group: Group, root: str = "/") -> int | None:
    """Bytes that the tightest limit of a group leaves: the limit, less what is used and cannot be dropped at once."""
    limits = [value for _, value, _ in memory_limits(group, root) if value is not None]
    used = read_int(root, group.file("memory.usage_in_bytes" if group.version == 1 else "memory.current"))
    if not limits or used is None:
        return None
    stat = read_pairs(root, group.file("memory.stat"))
    cache = stat.get("total_inactive_file" if group.version == 1 else "inactive_file", 0)
    return max(0, min(limits) - max(0, used - cache))
