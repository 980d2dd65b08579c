# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How large the controller's cache of wheels becomes: what was not used for longest goes first.

Each rollout of another source leaves a set, the wheel of the app, and what that was built from; each pin, which file it
is on a platform. A set that is read
again counts as used now, so that what a fleet rolls out stays, whatever its age. What goes is gathered again when it is
wanted.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

KEEP_SETS = 200
KEEP_BYTES = 4 * 1024**3
"""The most recently used sets that are kept: this many, as long as their files come to no more than this."""

KEEP_NEWEST = 10
"""Kept however large they are."""

GRACE_SECONDS = 86400.0
"""What was used within a day may be what another run is about to send."""


@dataclass(frozen=True)
class _Record:
    """A file of JSON that names files of the cache. `files`: their bytes by sha256."""

    path: Path
    used: float
    files: dict[str, int]


def prune(cache: Path, now: float | None = None) -> int:
    """Remove what the cache keeps beyond its bounds; returns the number of files that went. Never raises OSError.

    Another run that prunes at the moment is enough.
    """
    moment = time.time() if now is None else now
    try:
        if not (cache / "sets").is_dir():
            return 0
        with (cache / "prune.lock").open("a", encoding="ascii") as alone:
            fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return _prune(cache, moment)
    except OSError:
        return 0


def _prune(cache: Path, now: float) -> int:
    kept, gone = _divided(_records(cache / "sets"), now)
    used = {digest for record in kept for digest in record.files}
    built = [*_records(cache / "built"), *_records(cache / "picked")]
    still, over = _divided([record for record in built if used.isdisjoint(record.files)], now)
    for record in (*gone, *over):
        record.path.unlink(missing_ok=True)
        record.path.with_suffix(".lock").unlink(missing_ok=True)
    used |= {digest for record in (*built, *still) if record not in over for digest in record.files}
    count = len(gone) + len(over)
    for folder in _folders(cache / "wheels"):
        if folder.name not in used and _mtime(folder) < now - GRACE_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
            count += 1
    for left in _folders(cache / "tmp"):
        if _mtime(left) < now - GRACE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    return count


def _divided(records: Iterable[_Record], now: float) -> tuple[list[_Record], list[_Record]]:
    """What is kept and what goes of records."""
    kept: list[_Record] = []
    gone: list[_Record] = []
    seen: dict[str, int] = {}
    for number, record in enumerate(sorted(records, key=lambda item: item.used, reverse=True)):
        seen.update(record.files)
        within = number < KEEP_SETS and sum(seen.values()) <= KEEP_BYTES
        (kept if within or number < KEEP_NEWEST or record.used > now - GRACE_SECONDS else gone).append(record)
    return kept, gone


def _records(folder: Path) -> list[_Record]:
    found = []
    for path in folder.glob("*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            data = json.loads(path.read_text(encoding="utf-8"))
            found.append(_Record(path, path.stat().st_mtime, dict(_files(data))))
    return found


def _files(data: object) -> Iterable[tuple[str, int]]:
    """(sha256, bytes) of every file that plain data names."""
    if isinstance(data, dict):
        if isinstance(data.get("sha256"), str) and isinstance(data.get("size"), int):
            yield data["sha256"], data["size"]
        for value in data.values():
            yield from _files(value)
    elif isinstance(data, list):
        for value in data:
            yield from _files(value)


def _folders(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_dir()]
    except OSError:
        return []


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()


def touch(path: Path) -> None:
    """Note that a record was used now."""
    with contextlib.suppress(OSError):
        os.utime(path)
