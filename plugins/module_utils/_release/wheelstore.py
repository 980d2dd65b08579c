# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The store of wheels on a host: every file kept once, by its content, for as long as a release is made of it.

Who takes files for a release and builds it holds the store's lock, shared with others who do. Who prunes wants it
alone, and leaves the store as it is while anybody else has it: so no file goes between its arrival and its use, and
none stays that nothing is made of. Files pass in pieces, never held in memory as a whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tarfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Iterator, List, Set

from .._os.files import sha256
from .._os.removal import remove_tree, try_to_remove_tree
from .contents import SHA256, WHEELS, ReleaseError, present
from .locks import Pin, parse_lock
from .room import MIB, disk_error, need_room

_LOCK = ".lock"
_PIECE = MIB


@contextmanager
def in_use(wheels_dir: str = WHEELS) -> Iterator[None]:
    """Hold the store: nothing is pruned from it meanwhile."""
    store = _made(wheels_dir)
    with open(store / _LOCK, "a", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def _made(wheels_dir: str) -> Path:
    """The store's folder, which is root's alone: wheels are the app's code."""
    store = Path(wheels_dir)
    store.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    store.mkdir(exist_ok=True, mode=0o700)
    os.chmod(store, 0o700)
    return store


def unpack(archive: str, wheels_dir: str = WHEELS) -> List[str]:
    """Take the files of a tar from the controller into the store; returns their sha256. Raises ReleaseError.

    Each is checked against the digest that it is named by and then renamed into place.
    """
    store = _made(wheels_dir)
    taken: List[str] = []
    try:
        with tarfile.open(archive, "r:*") as tar:
            members = [member for member in tar.getmembers() if member.isfile()]
            need = sum(member.size for member in members) // MIB + 1
            need_room(store, need, len(members) * 2, "the wheels")
            for member in members:
                digest, _, name = member.name.partition("/")
                if not SHA256.fullmatch(digest) or not name or "/" in name or name.startswith("."):
                    raise ReleaseError(f"{member.name!r} in the shipped wheels is not SHA256/NAME: ship them again")
                stream = tar.extractfile(member)
                if stream is None:
                    raise ReleaseError(f"{member.name!r} in the shipped wheels cannot be read: ship them again")
                _take(stream, digest, name, store)
                taken.append(digest)
    except tarfile.TarError as error:
        raise ReleaseError(f"the shipped wheels are not a whole archive ({error}): ship them again") from None
    except OSError as error:
        raise disk_error(error, store, "taking the wheels") from None
    return taken


def _take(stream: IO[bytes], digest: str, name: str, store: Path) -> None:
    temporary = store / f".{os.getpid()}.{digest[:16]}"
    seen = hashlib.sha256()
    try:
        with temporary.open("wb") as out:
            for piece in iter(lambda: stream.read(_PIECE), b""):
                seen.update(piece)
                out.write(piece)
            out.flush()
            os.fsync(out.fileno())
        if seen.hexdigest() != digest:
            raise ReleaseError(f"wheel {name} came damaged (its sha256 is not {digest}): ship it again")
        folder = store / digest
        folder.mkdir(exist_ok=True, mode=0o700)
        os.chmod(temporary, 0o600)
        os.replace(temporary, folder / name)
    finally:
        temporary.unlink(missing_ok=True)


def lacking(lock_text: str, wheels_dir: str = WHEELS) -> List[str]:
    """The sha256 of what a release is made of and the store does not have."""
    there = present(wheels_dir)
    return sorted({pin.sha256 for pin in parse_lock(lock_text).files} - there)


def find(pin: Pin, store: Path) -> Path:
    """The file of a pin in the store, its content checked. Raises ReleaseError."""
    folder = store / pin.sha256
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    if not names:
        raise ReleaseError(f"the wheel of {pin.name} {pin.version} is not on this host ({folder}): ship it")
    path = folder / names[0]
    if sha256(str(path)) != pin.sha256:
        try_to_remove_tree(str(folder))
        raise ReleaseError(f"wheel {path.name} was damaged on this host and is removed: run again to ship it anew")
    return path


def prune_wheels(wheels_dir: str = WHEELS, root: str = "/") -> List[str]:
    """Remove the files that no release of any app of this host was made from, and what a killed run left half-taken;
    returns the sha256 of the former.

    Nothing goes while somebody builds a release, nor where the lock of a release cannot be read.
    """
    if not os.path.isdir(wheels_dir):
        return []
    with open(Path(wheels_dir) / _LOCK, "a", encoding="ascii") as alone:
        try:
            fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return []
        used: Set[str] = set()
        for lock_file in Path(root).glob("opt/headcount/*/releases/*/requirements.lock"):
            try:
                lock = parse_lock(lock_file.read_text(encoding="utf-8"))
            except (OSError, ReleaseError):
                return []
            used |= {pin.sha256 for pin in lock.files}
        for name in os.listdir(wheels_dir):
            if name.startswith(".") and name != _LOCK:
                (Path(wheels_dir) / name).unlink(missing_ok=True)
        removed = sorted(name for name in os.listdir(wheels_dir) if SHA256.fullmatch(name) and name not in used)
        for digest in removed:
            remove_tree(os.path.join(wheels_dir, digest))
    return removed
