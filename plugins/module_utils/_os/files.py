# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Durable file operations: what returns has reached the disk, and is there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import tempfile
from typing import Any


def fsync_directory(path: str) -> None:
    """Make creations, renames and removals in the directory `path` survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_directory(path: str, mode: int = 0o755) -> None:
    """Create `path` and its missing parents, each durable, with exactly `mode` for those created."""
    missing = []
    current = path
    while not os.path.isdir(current):
        missing.append(current)
        current = os.path.dirname(current)
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory)
            os.chmod(directory, mode)
        fsync_directory(os.path.dirname(directory))


def write_file(path: str, text: str, mode: int = 0o644) -> None:
    """Write `text` to `path` atomically, as UTF-8."""
    write_bytes(path, text.encode(), mode)


def write_bytes(path: str, body: bytes, mode: int = 0o644) -> None:
    """Write `body` to `path` atomically (temporary file, fsync, rename, fsync of the directory)."""
    directory = os.path.dirname(path)
    handle, temporary = tempfile.mkstemp(prefix=".headcount-", dir=directory)
    try:
        with os.fdopen(handle, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(body)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    fsync_directory(directory)


def write_json(path: str, value: Any, mode: int = 0o644) -> None:
    """Write `value` as readable JSON, atomically."""
    write_file(path, json.dumps(value, indent=2, sort_keys=True) + "\n", mode)


def read_json(path: str) -> Any:
    """The JSON value in `path`, or None where the file is missing or is not JSON."""
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except (FileNotFoundError, ValueError):
        return None


def as_mapping(value: Any) -> dict[str, Any]:
    """`value` where it is a mapping; else an empty one."""
    return value if isinstance(value, dict) else {}


def read_text_file(path: str) -> str | None:
    """The text of a file; None where it cannot be read."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except OSError:
        return None


def read_regular(path: str, most: int) -> bytes | None:
    """At most `most` bytes of a file that an app can write to; None where it is no regular file, or is not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read(most) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


def read_mapping(path: str) -> dict[str, Any]:
    """The JSON object in `path`; empty where the file is missing, cannot be read, is torn, or holds anything else."""
    try:
        value = read_json(path)
    except (OSError, RecursionError):
        return {}
    return as_mapping(value)


def replace_link(path: str, target: str) -> bool:
    """Point the symbolic link `path` at `target` in one rename (without an inode left: its own is used again). True
    when that changed anything."""
    before = ""
    with contextlib.suppress(OSError):
        before = os.readlink(path)
        if before == target:
            return False
    directory = os.path.dirname(path)
    temporary = os.path.join(directory, f".{os.path.basename(path)}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    try:
        os.symlink(target, temporary)
        os.replace(temporary, path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not before:
            raise
        os.unlink(path)
        try:
            os.symlink(target, path)
        except OSError:
            os.symlink(before, path)
            raise
    fsync_directory(directory)
    return True


def remove_file(path: str) -> bool:
    """Remove a file or link durably. True when it was there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    fsync_directory(os.path.dirname(path))
    return True


def sha256(path: str) -> str:
    """Hex digest of the bytes of `path`."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
