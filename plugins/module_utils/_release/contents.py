# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What lies on a host of releases, read only: what one holds, whether it is as it was built, which wheels are there.

Apart from what builds releases, because the probe is sent to every host and takes no more than this.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Set, Tuple

from .._os.files import sha256

UNFINISHED = ".unfinished"
RELEASE = "release.json"
MANIFEST = "manifest.json"
TREE = "tree"
WHEELS = "/var/lib/headcount/wheels"
SCHEMA = 1
SHA256 = re.compile(r"[0-9a-f]{64}")


class ReleaseError(Exception):
    """A release could not be built, or is not what it should be. The message says why and what to do."""


@dataclass(frozen=True)
class ReleaseInfo:
    """A finished release. `size_mib` on disk; `built_at` in UTC; `changed` when this call built it."""

    id: str
    app: str
    path: str
    python: str
    python_version: str
    lock_sha256: str
    distributions: Mapping[str, str]
    size_mib: float
    built_at: str
    built_in_seconds: float
    changed: bool = field(default=False, compare=False)

    def to_dict(self) -> Dict[str, object]:
        """Plain data, as release.json holds it."""
        data = asdict(self)
        del data["changed"]
        return {"schema": SCHEMA, **data}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ReleaseInfo:
        """From `to_dict`."""
        return cls(**{name: data[name] for name in cls.__dataclass_fields__ if name != "changed"})


def read(path: Path) -> ReleaseInfo:
    """The description of a finished release. Raises ReleaseError."""
    try:
        return ReleaseInfo.from_dict(json.loads((path / RELEASE).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReleaseError(f"{path / RELEASE} cannot be read: {error}") from None


def is_release(path: str) -> bool:
    """Whether the folder `path` was made as a release: it holds what begins or ends one, or nothing yet."""
    try:
        names = os.listdir(path)
    except OSError:
        return False
    return not names or not {UNFINISHED, RELEASE, MANIFEST}.isdisjoint(names)


def present(wheels_dir: str = WHEELS) -> Set[str]:
    """The sha256 of every file in a host's store of wheels. A file there was checked when it came."""
    try:
        names = os.listdir(wheels_dir)
    except FileNotFoundError:
        return set()
    return {name for name in names if SHA256.fullmatch(name) and os.listdir(os.path.join(wheels_dir, name))}


def walk(path: Path, bytecode: bool = True) -> Iterator[Tuple[str, os.stat_result]]:
    """(name within `path`, its lstat) of everything below it; folders before what they hold."""
    top = os.fspath(path)
    stack = [""]
    while stack:
        prefix = stack.pop()
        with os.scandir(f"{top}/{prefix}") as entries:
            for entry in entries:
                if entry.name == "__pycache__" and not bytecode:
                    continue
                name = f"{prefix}{entry.name}"
                yield name, entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    stack.append(f"{name}/")


def scan(path: Path) -> Dict[str, List[Any]]:
    """What a release holds, for its manifest: name -> what it must be.

    ["d", mode], ["l", target] or ["f", mode, size, sha256, mtime_ns, ctime_ns, inode]. The last three are only there
    so that `verify` need not read an untouched file. Bytecode and the release's own files are left out.
    """
    found: Dict[str, List[Any]] = {}
    for name, status in walk(path, bytecode=False):
        mode = status.st_mode
        if name in (UNFINISHED, RELEASE, MANIFEST):
            continue
        if stat.S_ISLNK(mode):
            found[name] = ["l", os.readlink(path / name)]
        elif stat.S_ISDIR(mode):
            found[name] = ["d", stat.S_IMODE(mode)]
        else:
            quick = [status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
            found[name] = ["f", stat.S_IMODE(mode), status.st_size, sha256(str(path / name)), *quick]
    return dict(sorted(found.items()))


def verify(path: Path, full: bool = False) -> List[str]:
    """What is wrong with a finished release; nothing when it is as it was built.

    A file whose size, times and inode are those of the manifest is taken as unchanged: every write and every change of
    mode or times sets its ctime, which no editor and no touch(1) can set back. Any other is read and compared by
    sha256, so a restored copy is right too. `full` reads every file.
    """
    if os.path.lexists(path / UNFINISHED):
        return [f"{path} is unfinished"]
    try:
        expected = json.loads((path / MANIFEST).read_text(encoding="utf-8"))["entries"]
        read(path)
    except (OSError, ValueError, KeyError, ReleaseError) as error:
        return [f"{path} has no readable {MANIFEST} or {RELEASE}: {error}"]
    problems: List[str] = []
    seen: Set[str] = set()
    top = os.fspath(path)
    for name, status in walk(path, bytecode=False):
        if name in (RELEASE, MANIFEST):
            continue
        seen.add(name)
        entry = expected.get(name)
        if entry is None:
            problems.append(f"{name} was added")
            continue
        problem = compare(f"{top}/{name}", status, entry, full)
        if problem:
            problems.append(f"{name} {problem}")
    problems += [f"{name} is missing" for name in expected if name not in seen]
    return sorted(problems)


def compare(path: str, status: os.stat_result, entry: Sequence[Any], full: bool = False) -> str | None:
    """What is wrong with one entry of a release, or None. `status` is its lstat, `entry` what `scan` found."""
    mode = status.st_mode
    if stat.S_ISREG(mode):
        if entry[0] != "f":
            return "was changed"
        quick = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        if quick == [entry[2], *entry[4:7]] and not full:
            return None
        if status.st_size != entry[2] or sha256(path) != entry[3]:
            return "was changed"
    elif stat.S_ISLNK(mode):
        return None if entry[0] == "l" and os.readlink(path) == entry[1] else "was changed"
    elif not stat.S_ISDIR(mode) or entry[0] != "d":
        return "was changed"
    if stat.S_IMODE(mode) != entry[1]:
        return f"has mode {stat.S_IMODE(mode):04o} instead of {entry[1]:04o}"
    return None
