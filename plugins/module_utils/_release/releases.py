# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Releases on a host: an app's code and virtual environment, built once from shipped files, then never changed.

The code is a wheel among the others, or the tree of a project that is no package, unpacked beside the environment.
A release lies at /opt/headcount/APP/releases/ID and is built there, because a virtual environment cannot be moved.
It counts when release.json is there and `.unfinished` is not: the marker is made first and removed last, after
everything else has reached the disk. What a killed run leaves is removed by the next `install`.

Reaching the disk is asked for with one syncfs(2) for the file system of the release, because an fsync for each of
some thousand files costs a journal commit for each; a kernel since 5.8 reports through it what could not be written.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

from .._os.paths import Layout
from .._os.removal import refuse_mounts, remove_tree, try_to_remove_tree
from .buildjob import environment
from .contents import (
    MANIFEST,
    RELEASE,
    SCHEMA,
    UNFINISHED,
    WHEELS,
    ReleaseError,
    ReleaseInfo,
    compare,
    read,
    scan,
    verify,
    walk,
)
from .leads import lay_built, lay_leads
from .locks import Lock, Pin, lock_for, parse_lock, release_id, render_lock, with_data
from .room import MIB, DiskFull, disk_error, need_room, room_for
from .trees import tree_of, unpack_tree
from .wheelstore import find, in_use, lacking, prune_wheels, unpack

__all__ = [
    "DiskFull",
    "Lock",
    "Pin",
    "ReleaseError",
    "heal",
    "in_use",
    "install",
    "installed",
    "is_finished",
    "lacking",
    "lock_for",
    "parse_lock",
    "prune_wheels",
    "release_id",
    "release_path",
    "remove",
    "render_lock",
    "unpack",
    "with_data",
]

_INSTALL_SECONDS = 900.0


def release_path(app: str, release: str, root: str = "/") -> Path:
    """Where a release of an app lies."""
    if not re.fullmatch(r"[0-9a-f]{16}", release):
        raise ReleaseError(f"release {release!r} is not an id of 16 hex digits")
    return Path(root) / "opt/headcount" / app / "releases" / release


def installed(app: str, root: str = "/") -> List[str]:
    """The finished releases of an app, by id."""
    folder = Path(root) / "opt/headcount" / app / "releases"
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    return [name for name in names if is_finished(folder / name)]


def is_finished(path: Path) -> bool:
    """Whether a release counts."""
    return (path / RELEASE).is_file() and not os.path.lexists(path / UNFINISHED)


def install(
    app: str,
    release: str,
    lock_text: str,
    *,
    wheels_dir: str = WHEELS,
    python: str = "/usr/bin/python3",
    root: str = "/",
) -> ReleaseInfo:
    """Build a release from wheels that are on the host, unless it is there already. Raises ReleaseError.

    The room on the disk is checked first; whatever breaks, no half release stays.
    """
    path = release_path(app, release, root)
    if is_finished(path) and _manifest(path) is not None:
        if verify(path):
            heal(app, release, lock_text, wheels_dir=wheels_dir, python=python, root=root)
        return read(path)
    lock = parse_lock(lock_text)
    if release_id(lock_text) != release:
        raise ReleaseError(f"release {release} and its lock ({release_id(lock_text)}) do not belong together")
    version = _check_python(python, lock)
    files = {pin.sha256: find(pin, Path(wheels_dir)) for pin in lock.files}
    if os.path.lexists(path):
        remove(path)
    need_mib, need_files = room_for([files[pin.sha256] for pin in lock.files if pin != lock.pip])
    need_room(path, need_mib, need_files, f"release {release} of {app}")
    started = time.monotonic()
    try:
        _make_folders(path, Path(root))
        (path / UNFINISHED).write_text(f"{os.getpid()}\n", encoding="utf-8")
        _fsync(path)
        _build(path, lock, lock_text, files, python)
        found = distributions(path)
        wrong = sorted(pin.name for pin in lock.pins if found.get(pin.name) != pin.version)
        if wrong:
            raise ReleaseError(f"release {release} of {app}: not as locked after the install: {', '.join(wrong)}")
        _protect(path)
        entries = scan(path)
        info = ReleaseInfo(
            id=release, app=app, path=str(path), python=python, python_version=version,
            lock_sha256=hashlib.sha256(lock_text.encode()).hexdigest(), distributions=found, size_mib=_size_mib(path),
            built_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            built_in_seconds=round(time.monotonic() - started, 2), changed=True,
        )  # fmt: skip
        _write(path / MANIFEST, {"schema": SCHEMA, "entries": entries})
        _write(path / RELEASE, info.to_dict())
        sync_tree(path)
        (path / UNFINISHED).unlink()
        _fsync(path)
        _fsync(path.parent)
    except OSError as error:
        _remove_quietly(path)
        raise disk_error(error, path.parent, f"building release {release} of {app}") from None
    except BaseException:
        _remove_quietly(path)
        raise
    return info


def heal(
    app: str,
    release: str,
    lock_text: str,
    *,
    wheels_dir: str = WHEELS,
    python: str = "/usr/bin/python3",
    root: str = "/",
) -> List[str]:
    """Make a finished release again what it was when it was built; returns what was healed. Raises ReleaseError.

    The live generation may run from it, so it is never away: what was changed is taken, file by file, from a second
    build beside it, and renamed into place.
    """
    path = release_path(app, release, root)
    expected = _manifest(path)
    wrong = verify(path)
    if not wrong or expected is None:
        return []
    lock = parse_lock(lock_text)
    _check_python(python, lock)
    files = {pin.sha256: find(pin, Path(wheels_dir)) for pin in lock.files}
    # Names of the same length, so that paths within files differ by the name alone.
    beside = path.with_name(hashlib.sha256(f"repair of {release}".encode()).hexdigest()[: len(release)])
    _remove_quietly(beside)
    need_mib, need_files = room_for([files[pin.sha256] for pin in lock.files if pin != lock.pip])
    need_room(path, need_mib, need_files, f"healing release {release} of {app}")
    try:
        _make_folders(beside, Path(root))
        (beside / UNFINISHED).write_text(f"{os.getpid()}\n", encoding="utf-8")
        _build(beside, lock, lock_text, files, python)
        _protect(beside)
        for name, _ in sorted(walk(path, bytecode=False), reverse=True):
            if name not in expected and name not in (UNFINISHED, RELEASE, MANIFEST):
                _remove_entry(path / name)
        for name, entry in expected.items():
            _heal_file(path, beside, name, entry)
        sync_tree(path)
    except OSError as error:
        raise disk_error(error, path.parent, f"healing release {release} of {app}") from None
    finally:
        _remove_quietly(beside)
    left = verify(path)
    if left:
        raise ReleaseError(
            f"release {release} of {app} was changed by hand and could not be healed: {left[0]}; change the app or a "
            "requirement, so that it becomes another release"
        )
    return wrong


def _heal_file(path: Path, beside: Path, name: str, entry: Sequence[Any]) -> None:
    """One entry of a release as its manifest has it, from the build `beside`."""
    target = path / name
    try:
        status = os.lstat(target)
        if compare(str(target), status, entry) is None:
            return
        mode = status.st_mode
    except FileNotFoundError:
        mode = 0
    if entry[0] == "d":
        if mode and not stat.S_ISDIR(mode):
            target.unlink()
        target.mkdir(exist_ok=True)
        os.chmod(target, entry[1])
        return
    if mode and stat.S_ISDIR(mode):
        remove_tree(str(target))
    temporary = target.with_name(f".{target.name}.repair")
    temporary.unlink(missing_ok=True)
    if entry[0] == "l":
        os.symlink(entry[1], temporary)
    else:
        _copy_renamed(beside / name, temporary, beside.name.encode(), path.name.encode())
        os.chmod(temporary, entry[1])
    os.replace(temporary, target)


def _copy_renamed(source: Path, target: Path, before: bytes, after: bytes) -> None:
    """Copy a file in pieces, with the name `before` in it replaced by `after`, which is as long."""
    kept = len(before) - 1
    with source.open("rb") as stream, target.open("wb") as out:
        rest = b""
        for piece in iter(lambda: stream.read(MIB), b""):
            # What may be the beginning of a name waits for the next piece.
            rest = (rest + piece).replace(before, after)
            out.write(rest[:-kept])
            rest = rest[-kept:]
        out.write(rest)


def _remove_entry(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(str(path))
    else:
        path.unlink(missing_ok=True)


def _manifest(path: Path) -> Dict[str, List[Any]] | None:
    """The entries of a release's manifest; None when they cannot be read."""
    try:
        entries: Dict[str, List[Any]] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))["entries"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return entries


def _build(path: Path, lock: Lock, lock_text: str, files: Mapping[str, Path], python: str) -> None:
    """Virtual environment, wheels, tree, what leads to the app's data, bytecode."""
    work = path / ".work"
    work.mkdir()
    links = work / "links"
    links.mkdir()
    for pin in lock.pins:
        (links / files[pin.sha256].name).symlink_to(files[pin.sha256])
    (path / "requirements.lock").write_text(lock_text, encoding="utf-8")
    inside = _environment(path / "venv", python, work)
    command = [inside, "-I", f"{files[lock.pip.sha256]}/pip", "install", "--no-index", "--require-hashes", "--no-deps"]
    command += ["--no-compile", "--no-cache-dir", "--disable-pip-version-check", "--no-input", "--quiet"]
    command += ["--no-warn-script-location", "--find-links", str(links), "-r", str(path / "requirements.lock")]
    _run(command, work, "installing the wheels")
    code = [str(path / "venv/lib")]
    if lock.tree:
        unpack_tree(files[lock.tree], path)
        code.append(str(tree_of(path)))
    lay_leads(path, lock.data, Layout(path.parent.parent.name).data)
    lay_built(path, lock.built)
    # A file that cannot be compiled (a template, an old syntax) is not an error, as it is none for pip.
    _run([inside, "-I", "-m", "compileall", "-q", *code], work, "compiling", check=False)
    remove_tree(str(work))


def _environment(venv: Path, python: str, work: Path) -> str:
    """Make the virtual environment `venv`; returns its interpreter, which runs.

    An interpreter that was moved finds its library by its own path alone, not by that of a link to it: then the
    environment is made with what the link leads to.
    """
    inside = str(venv / "bin/python")
    failures = []
    for path in dict.fromkeys((python, os.path.realpath(python))):
        try_to_remove_tree(str(venv))
        try:
            _run([path, "-I", "-m", "venv", "--without-pip", str(venv)], work, "making the virtual environment")
            _run([inside, "-I", "-c", ""], work, f"starting the virtual environment of {path}")
        except DiskFull:
            raise
        except ReleaseError as error:
            failures.append(error)
        else:
            return inside
    raise failures[-1]


def _check_python(python: str, lock: Lock) -> str:
    """The full version of the host's Python. Raises ReleaseError when the lock is for another one."""
    code = "import platform;print(platform.python_version(), platform.machine())"
    try:
        done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ReleaseError(f"{python} does not run on this host: {error}") from None
    words = done.stdout.split()
    if done.returncode or len(words) != 2:
        raise ReleaseError(f"{python} does not run on this host: {_tail(done.stderr)}")
    minor = ".".join(words[0].split(".")[:2])
    if (minor, words[1]) != (lock.python, lock.machine):
        raise ReleaseError(
            f"the release was gathered for Python {lock.python} on {lock.machine}, "
            f"and {python} of this host is Python {minor} on {words[1]}: probe the host again"
        )
    return words[0]


def _run(command: Sequence[str], work: Path, what: str, check: bool = True, seconds: float = _INSTALL_SECONDS) -> None:
    try:
        done = subprocess.run(
            command, cwd=work, env=environment(work), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=seconds, check=False, umask=0o022,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ReleaseError(f"{what} did not finish within {seconds:g} s") from None
    text = f"{done.stdout}\n{done.stderr}"
    if done.returncode and ("No space left on device" in text or "Disk quota exceeded" in text):
        raise DiskFull(f"{what} failed: no space left on the device of {work.parent}")
    if check and done.returncode:
        raise ReleaseError(f"{what} failed: {_tail(text)}")


def _tail(text: str) -> str:
    lines = [
        line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("WARNING", "[notice]"))
    ]
    errors = [line for line in lines if re.match(r"error|fatal", line, re.IGNORECASE) or ": error" in line]
    return " | ".join((errors or lines)[-4:])[:800] or "it said nothing"


def _make_folders(path: Path, root: Path) -> None:
    top, home = root / "opt/headcount", path.parent.parent
    home.mkdir(parents=True, exist_ok=True, mode=0o750)  # who may go through it is decided in _generation.access
    for folder in (top, path.parent, path):
        folder.mkdir(exist_ok=True)
        os.chmod(folder, 0o755)


def _protect(path: Path) -> None:
    """Owned by root, readable for all, writable for the owner only."""
    root_user = os.geteuid() == 0
    for name, status in walk(path):
        full, mode = path / name, status.st_mode
        if root_user:
            os.lchown(full, 0, 0)
        if stat.S_ISDIR(mode):
            os.chmod(full, 0o755)
        elif stat.S_ISREG(mode):
            os.chmod(full, 0o755 if mode & stat.S_IXUSR else 0o644)


def distributions(path: Path) -> Dict[str, str]:
    """Canonical name -> version of every distribution in a release, read from its dist-info."""
    found: Dict[str, str] = {}
    for metadata in sorted(path.glob("venv/lib/python3*/site-packages/*.dist-info/METADATA")):
        name = version = ""
        with metadata.open(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                if not line.strip():
                    break
                key, _, value = line.partition(":")
                if key.lower() == "name":
                    name = re.sub(r"[-_.]+", "-", value.strip()).lower()
                elif key.lower() == "version":
                    version = value.strip()
        if name:
            found[name] = version
    return found


def remove(path: Path) -> None:
    """Remove a release; killed half-way, it no longer counts."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    refuse_mounts(str(path))
    (path / UNFINISHED).touch()
    _fsync(path)
    (path / RELEASE).unlink(missing_ok=True)
    for entry in sorted(path.iterdir()):
        # The marker goes last: what is left of a removal that was cut short is still known as Headcount's.
        if entry.is_dir() and not entry.is_symlink():
            remove_tree(str(entry))
        elif entry.name != UNFINISHED:
            entry.unlink()
    remove_tree(str(path))
    _fsync(path.parent)


def sync_tree(path: Path) -> None:
    """Wait until everything written to the file system of `path` is on the disk. Raises OSError when it is not."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "syncfs"):
            os.sync()
        elif libc.syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)


def _remove_quietly(path: Path) -> None:
    try:
        if os.path.lexists(path):
            remove(path)
    except OSError as error:
        print(f"headcount: {path} could not be removed and stays unfinished: {error}", file=sys.stderr)


def _write(path: Path, data: Mapping[str, object]) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(json.dumps(data, sort_keys=True, separators=(",", ":")) + "\n", encoding="utf-8")
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)


def _fsync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size_mib(path: Path) -> float:
    total = sum(status.st_blocks * 512 for _, status in walk(path))
    return round(total / MIB, 1)
