# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a running instance keeps where it is lost. Read only.

Databases in its private /tmp, which goes with the generation, in /dev/shm or below /run, which go with the last process
or the next boot; and other files in its private /tmp that look as if somebody wanted them back.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from datetime import datetime, timezone
from typing import Iterable, Iterator, Mapping, Sequence

from .._os.files import as_mapping, read_regular

PLACES = ("/tmp", "/var/tmp", "/dev/shm", "/run/headcount-instances")
MOST_ENTRIES = 2000
MOST_DEEP = 4
_SQLITE = b"SQLite format 3\x00"
_NAMES = re.compile(r"(?i).+\.(db|db3|sqlite|sqlite3|s3db|mdb|rdb|dbm|gdbm)")
_COUNTS = re.compile(r"(counter|histogram|summary|gauge_(live)?(all|max|min|sum|mostrecent))_[0-9]+\.db", re.ASCII)
"""What prometheus_client counts in, a file for each kind and worker (PROMETHEUS_MULTIPROC_DIR): no database, and it has
to begin anew with each instance."""
_SHOWN = 3
_PRIVATE = ("/tmp", "/var/tmp")
_PASSING = re.compile(
    r"(?ix) \. .* | tmp[a-z0-9_]{8}.* | .*cache.* | .*\.(pyc|lock|pid|sock|tmp|swp|part)"
    r" | (matplotlib|fontconfig|numba|joblib|torch|nltk|prometheus|pip|uv|gunicorn|wgunicorn|pymp|hsperfdata)([-_].*)?"
)
"""Names of files and folders that are made to be thrown away: by tempfile and multiprocessing, caches, locks, what
libraries make anew."""


def databases(main_pid: int, scratch: Sequence[str] = (), root: str = "/") -> list[str]:
    """Paths, as the instance sees them, of the databases that it keeps where they are lost, but for those that a
    pattern of `scratch` matches. `main_pid`: a process of it; 0, or one that is gone, has none."""
    uid = _uid(main_pid, root)
    seen = os.path.join(root, "proc", str(main_pid), "root")
    found = []
    for place in PLACES if uid is not None else ():
        for path, status in _files(seen + place):
            shown = path[len(seen) :]
            if status.st_uid == uid and _is_database(path) and not _matches(shown, scratch):
                found.append(shown)
    return sorted(found)


def kept_files(main_pid: int, scratch: Sequence[str] = (), root: str = "/") -> list[tuple[str, float]]:
    """Paths, as the instance sees them, and times (epoch seconds) of last writing of the files in its private /tmp that
    look kept: not empty, its own, no database, and with no part of a name that is thrown away. Newest first.

    `main_pid`, `scratch`: as for databases(). What is there was written since the instance started.
    """
    uid = _uid(main_pid, root)
    seen = os.path.join(root, "proc", str(main_pid), "root")
    found = []
    for place in _PRIVATE if uid is not None else ():
        for path, status in _files(seen + place):
            shown = path[len(seen) :]
            parts = shown[len(place) + 1 :].split("/")
            passing = any(_PASSING.fullmatch(part) for part in parts) or _COUNTS.fullmatch(parts[-1])
            if status.st_uid == uid and status.st_size and not passing and not _matches(shown, scratch):
                found += [] if _is_database(path) else [(shown, status.st_mtime)]
    return sorted(found, key=lambda one: (-one[1], one[0]))


def kept_in(
    main_pid: int, places: Sequence[str], scratch: Sequence[str] = (), uid: int | None = None, root: str = "/"
) -> tuple[list[str], list[tuple[str, float]]]:
    """Databases, and other files that look kept with their times, as databases() and kept_files() tell them, in other
    `places` that the process `main_pid` sees; whoever owns them, or `uid` alone."""
    seen = os.path.join(root, "proc", str(main_pid), "root")
    found: list[str] = []
    others: list[tuple[str, float]] = []
    for place in places:
        for path, status in _files(seen + place):
            shown = path[len(seen) :]
            if uid not in (None, status.st_uid) or not status.st_size or _matches(shown, scratch):
                continue
            parts = shown[len(place) :].strip("/").split("/")
            if _is_database(path):
                found.append(shown)
            elif not any(_PASSING.fullmatch(part) for part in parts) and not _COUNTS.fullmatch(parts[-1]):
                others.append((shown, status.st_mtime))
    return sorted(set(found)), sorted(set(others), key=lambda one: (-one[1], one[0]))


def scratch_of(*apps: Mapping[str, object] | None) -> list[str]:
    """The patterns of what may be lost that any of these declarations of an app has, as plain values."""
    return [str(one) for app in apps for one in as_mapping(as_mapping(app).get("data")).get("scratch") or ()]


def losing_words(generation: int, found: Sequence[tuple[str, float]]) -> str:
    """What goes with generation `generation`, which is live, in a sentence with the fix; empty where nothing does."""
    if not found:
        return ""
    paths = [path for path, _ in found]
    more = len(paths) - _SHOWN
    shown = ", ".join(paths[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
    times = sorted({_moment(time) for _, time in found})
    when = times[0] if len(times) == 1 else f"{times[0]} to {times[-1]}"
    many = len(paths) > 1
    return (
        f"{len(paths)} file{'s' if many else ''} in the private /tmp of generation {generation}, which is live, "
        f"{'are' if many else 'is'} lost when it leaves: {shown}, written {when}; if users gave them, keep them in the "
        "app's data (`{data}` in `environment`) and copy them there before; else say that they may be lost (`data: "
        f"{{scratch: [{paths[0]}]}}`)"
    )


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%MZ")


def _uid(main_pid: int, root: str) -> int | None:
    """The account of a process; None where there is none."""
    try:
        return os.stat(os.path.join(root, "proc", str(main_pid))).st_uid if main_pid else None
    except OSError:
        return None


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
    name = os.path.basename(path)
    if _NAMES.fullmatch(name) and not _COUNTS.fullmatch(name):
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
