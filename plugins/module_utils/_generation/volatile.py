# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Databases that a running instance keeps where they are lost: in its private /tmp, which goes with the generation, in
/dev/shm or below /run, which go with the last process or the next boot. Read only."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from typing import Iterable, Iterator, Sequence

from .._os.files import read_regular

PLACES = ("/tmp", "/var/tmp", "/dev/shm", "/run/headcount-instances")
MOST_ENTRIES = 2000
MOST_DEEP = 4
_SQLITE = b"SQLite format 3\x00"
_NAMES = re.compile(r"(?i).+\.(db|db3|sqlite|sqlite3|s3db|mdb|rdb|dbm|gdbm)")
_SHOWN = 3


def databases(main_pid: int, scratch: Sequence[str] = (), root: str = "/") -> list[str]:
    """Paths, as the instance sees them, of the databases that it keeps where they are lost, but for those that a
    pattern of `scratch` matches. `main_pid`: a process of it; 0, or one that is gone, has none."""
    try:
        uid = os.stat(os.path.join(root, "proc", str(main_pid))).st_uid if main_pid else 0
    except OSError:
        return []
    if not main_pid:
        return []
    seen = os.path.join(root, "proc", str(main_pid), "root")
    found = []
    for place in PLACES:
        for path, status in _files(seen + place):
            shown = path[len(seen) :]
            if status.st_uid == uid and _is_database(path) and not _matches(shown, scratch):
                found.append(shown)
    return sorted(found)


def _files(top: str) -> Iterator[tuple[str, os.stat_result]]:
    """Regular files below `top`, not too deep and not too many."""
    left, stack = MOST_ENTRIES, [(top, 0)]
    while stack:
        folder, depth = stack.pop()
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            left -= 1
            if left < 0:
                return
            path = os.path.join(folder, name)
            try:
                status = os.lstat(path)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode):
                yield path, status
            elif stat.S_ISDIR(status.st_mode) and depth < MOST_DEEP:
                stack.append((path, depth + 1))


def _is_database(path: str) -> bool:
    if _NAMES.fullmatch(os.path.basename(path)):
        return True
    return read_regular(path, len(_SQLITE)) == _SQLITE  # the app may put a FIFO or a link there at any moment


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def words(found: Sequence[str]) -> str:
    """What is wrong with an app that keeps these, in a sentence with the fix."""
    more = len(found) - _SHOWN
    shown = ", ".join(found[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return (
        f"it keeps a database in {shown}, which is lost with the generation or the next boot: keep it in the app's "
        f"data (`{{data}}` in `environment`), or say that it may be lost (`data: {{scratch: [{found[0]}]}}`)"
    )
