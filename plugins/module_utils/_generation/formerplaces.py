# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a former service keeps where it goes when the service is stopped: in places that no other process sees, or that
systemd empties. Read only.

Which these are is read from the kernel: a file system in memory that the service's processes have mounted and the host
has not (TemporaryFileSystem=, ProtectHome=tmpfs), and a folder that systemd made for it alone (PrivateTmp=, which
DynamicUser= implies). Beside them there are its runtime directories, and shared memory where RemoveIPC= empties it.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import Mapping, Sequence

from .._os.procfs import read_text
from .._os.systemd import Systemd, UnitState
from . import volatile

_MADE_BY_SYSTEMD = "/systemd-private-"
_IN_MEMORY = ("tmpfs", "ramfs", "overlay")
_PROPERTIES = ("RuntimeDirectory", "RuntimeDirectoryPreserve", "RemoveIPC")
_SHOWN = 3


@dataclass(frozen=True)
class _Mount:
    """A line of /proc/PID/mountinfo: its device, which part of that is mounted, where, and whether it can be written
    to."""

    device: str
    part: str
    place: str
    writable: bool
    kind: str


def _mounts(pid: int, root: str) -> list[_Mount]:
    found = []
    for line in (read_text(root, f"/proc/{pid}/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")[0]
        if len(fields) > 5:
            found.append(_Mount(fields[2], fields[3], fields[4], "rw" in fields[5].split(","), kind))
    return found


def _private(mounts: Sequence[_Mount], hosts: Sequence[_Mount]) -> list[str]:
    """Where the service has mounted what goes with it."""
    known = {one.device for one in hosts}
    return [
        one.place
        for one in mounts
        if one.writable and (_MADE_BY_SYSTEMD in one.part or (one.kind in _IN_MEMORY and one.device not in known))
    ]


def _is_of(path: str, places: Sequence[str], mounts: Sequence[_Mount]) -> bool:
    """Whether the innermost mount that a path lies in is one of `places`."""
    above = [one.place for one in mounts if path.startswith(f"{one.place.rstrip('/')}/")]
    return not above or max(above, key=len) in places


def lost(
    unit: str, state: UnitState, pid: int, scratch: Sequence[str], systemd: Systemd, root: str = "/"
) -> tuple[str, str]:
    """What `unit` would lose by being stopped: its databases, in a sentence with the fix, and other files, in a clause;
    each empty where there are none. `pid`: a process of it; `scratch`: patterns of what may be lost."""
    told = systemd.properties(unit, *_PROPERTIES)
    mounts = _mounts(pid, root)
    private = _private(mounts, _mounts(1, root)) if mounts else []
    databases, files = volatile.kept_in(pid, private, scratch, root=root)
    databases = [path for path in databases if _is_of(path, private, mounts)]
    files = [(path, at) for path, at in files if _is_of(path, private, mounts)]
    for places, uid in _by_its_unit(told, pid, root):
        more, others = volatile.kept_in(pid, places, scratch, uid, root)
        databases, files = [*databases, *more], [*files, *others]
    pids = f"$(systemctl show --value --property MainPID {unit})" if state.main_pid else str(pid)
    if databases:
        return (
            f"{unit} keeps a database in {_shown(databases)}, which is gone when it is stopped: have it keep that in a "
            f"folder of the disk first (`/proc/{pids}/root{databases[0]}` is where it is now; declare the folder in "
            f"data.outside), or say that it may be lost (`data: {{scratch: [{databases[0]}]}}`)",
            "",
        )
    if files:
        paths = [path for path, _ in files]
        return "", (
            f"{_shown(paths)} of {unit} {'are' if len(paths) > 1 else 'is'} gone when it is stopped, as no other "
            f"process sees that place (it is `/proc/{pids}/root{paths[0]}`)"
        )
    return "", ""


def _by_its_unit(told: Mapping[str, str], pid: int, root: str) -> list[tuple[list[str], int | None]]:
    """Places that systemd empties when the service is stopped, and whose files there."""
    found: list[tuple[list[str], int | None]] = []
    if told.get("RuntimeDirectoryPreserve") in ("no", "restart"):
        found.append(([f"/run/{name}" for name in told.get("RuntimeDirectory", "").split()], None))
    if told.get("RemoveIPC") == "yes":
        with contextlib.suppress(OSError):
            found.append((["/dev/shm"], os.stat(os.path.join(root, "proc", str(pid))).st_uid))
    return found


def _shown(paths: Sequence[str]) -> str:
    more = len(paths) - _SHOWN
    return ", ".join(paths[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
