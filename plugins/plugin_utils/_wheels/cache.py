# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The controller's cache of wheels: files by content, what was built into what, and the sets that were gathered."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from packaging.utils import parse_sdist_filename, parse_wheel_filename

from . import sources
from .gathered import Platform, Wheel, WheelSet
from .locks import Pinned
from .pruning import touch


def store(cache: Path, path: Path, name: str = "", version: str = "") -> Wheel:
    """Keep a file under its sha256; `name` and `version` of one that does not say them by its own name."""
    sha256 = sources.file_digest(path)
    target = cache / "wheels" / sha256 / path.name
    if not target.exists() or target.stat().st_size != path.stat().st_size:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = temporary(target)
        shutil.copyfile(path, part)
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(part, target)
    if path.name.endswith(".whl"):
        found_name, found_version, _, _ = parse_wheel_filename(path.name)
        name, version = str(found_name), str(found_version)
    elif not name:
        found_name, found_version = parse_sdist_filename(path.name)
        name, version = str(found_name), str(found_version)
    return Wheel(name, version, path.name, sha256, target.stat().st_size, str(target.absolute()))


def by_hash(cache: Path, digests: Iterable[str]) -> Path | None:
    """A file that was kept before and has one of these sha256, when it is still whole."""
    for folder in (cache / "wheels" / digest for digest in digests):
        for path in sorted(folder.glob("[!.]*")):
            if sources.file_digest(path) == folder.name:
                return path
    return None


def built_path(cache: Path, key: str, platform: Platform | None) -> Path:
    """Where it is kept what a source was built into; a pure wheel counts for every platform."""
    return cache / "built" / (f"{key}-{platform.key}.json" if platform else f"{key}.json")


def built(cache: Path, key: str, platform: Platform | None) -> Wheel | None:
    """The wheel that a source was built into before, when it is still whole."""
    return _wheel(built_path(cache, key, platform))


def picked_path(cache: Path, pin: Pinned, platform: Platform) -> Path:
    """Where it is kept which of the files that a pin allows is the one for a platform."""
    return cache / "picked" / f"{digest(pin.line())}-{platform.key}.json"


def picked(cache: Path, pin: Pinned, platform: Platform) -> Wheel | None:
    """The wheel that was fetched for a pin and a platform before, when it is still whole."""
    return _wheel(picked_path(cache, pin, platform))


def _wheel(path: Path) -> Wheel | None:
    """The wheel that a record names, when it is still whole; the record counts as used now."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        data.pop("origin", None)
        wheel = Wheel(**data)
    except (OSError, ValueError, TypeError):
        return None
    if not whole([wheel]):
        return None
    touch(path)
    return wheel


def built_of_app(cache: Path, build_id: str, platform: Platform) -> Wheel | None:
    """The wheel of an app built before: here, or by a host from the sdist that `build_id` leads to."""
    sdist = built(cache, f"{build_id}.sdist", None)
    return built(cache, build_id, None) or (
        built(cache, sdist.sha256, None) or built(cache, sdist.sha256, platform) if sdist else None
    )


def own(cache: Path) -> None:
    """Have the cache be the user's alone: it holds the code of the apps."""
    if not os.path.lexists(cache):
        cache.mkdir(parents=True, mode=0o700, exist_ok=True)  # another thread or run may have been first
    if cache.is_dir() and cache.stat().st_mode & 0o077:
        cache.chmod(0o700)


def read_set(path: Path) -> WheelSet | None:
    """A set gathered before; None when there is none, when one of its files is gone or damaged, or when its versions
    are to be decided anew, because the file that they were kept in was removed."""
    try:
        found = WheelSet.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    decided = not found.kept or Path(found.kept).is_file()
    if not decided or not whole(found.files):
        return None
    touch(path)
    return found


def whole(wheels: Iterable[Wheel]) -> bool:
    """Whether every file is there and is what it was."""
    try:
        return all(sources.file_digest(Path(wheel.path)) == wheel.sha256 for wheel in wheels)
    except OSError:
        return False


def write_json(path: Path, data: Mapping[str, object]) -> None:
    """Write a file of JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = temporary(path)
    part.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(part, path)


def temporary(path: Path) -> Path:
    """A name beside `path` to write to before renaming; no other process and no other thread has it."""
    return path.with_name(f".{os.getpid()}-{threading.get_ident()}.{path.name}")


def mtime(path: Path) -> int:
    """When a file was written, in ns; 0 without it."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def digest(*parts: object) -> str:
    """One word of 32 hex digits for plain data."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


__all__ = [
    "built",
    "built_of_app",
    "built_path",
    "by_hash",
    "digest",
    "mtime",
    "own",
    "picked",
    "picked_path",
    "read_set",
    "store",
    "temporary",
    "whole",
    "write_json",
]
