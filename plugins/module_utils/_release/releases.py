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
import shutil
import stat
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Sequence, Set, Tuple

from .._os.files import sha256
from .._os.paths import Layout
from .buildjob import environment
from .contents import (
    MANIFEST,
    RELEASE,
    SCHEMA,
    SHA256,
    TREE,
    UNFINISHED,
    WHEELS,
    ReleaseError,
    ReleaseInfo,
    compare,
    present,
    read,
    scan,
    verify,
    walk,
)
from .leads import lay_leads
from .room import MIB, room_for
from .trees import tree_of, unpack_tree

_INSTALL_SECONDS = 900.0
_PIN = re.compile(r"([a-z0-9][a-z0-9._-]*)==(\S+) --hash=sha256:([0-9a-f]{64})")
_HEADER = re.compile(r"# Headcount lock 1: Python (3\.\d+) on (\S+)")
_TOOL = re.compile(r"# installed with (.+)")
_TREE = re.compile(r"# with the tree sha256:([0-9a-f]{64})")
_DATA = re.compile(r"# with data at (.+)")


class DiskFull(ReleaseError):
    """There is too little room for a release."""


@dataclass(frozen=True)
class Pin:
    """One distribution in one file: canonical name, version and the sha256 of its wheel."""

    name: str
    version: str
    sha256: str

    def line(self) -> str:
        """The pin as a line of a requirements file."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True)
class Lock:
    """What a release is made of: `python` "3.13", `machine` "x86_64", the pip that installs it, and every wheel.

    `tree`: the sha256 of the archive of a project that is released as it is; None for a package. `data`: paths inside
    the code that lead to the app's data.
    """

    python: str
    machine: str
    pip: Pin
    pins: Tuple[Pin, ...]
    tree: str | None = None
    data: Tuple[str, ...] = ()

    @property
    def files(self) -> Tuple[Pin, ...]:
        """Every file that a host needs for it."""
        tree = (Pin(TREE, "", self.tree),) if self.tree else ()
        return (*self.pins, self.pip, *tree)


def render_lock(lock: Lock) -> str:
    """The lock as a requirements file that pip reads, with a header for what pip has no word for."""
    pins = sorted(lock.pins, key=lambda pin: pin.name)
    head = [f"# Headcount lock 1: Python {lock.python} on {lock.machine}", f"# installed with {lock.pip.line()}"]
    head += [f"# with the tree sha256:{lock.tree}"] if lock.tree else []
    head += [f"# with data at {path}" for path in lock.data]
    return "\n".join([*head, *(pin.line() for pin in pins)]) + "\n"


def parse_lock(text: str) -> Lock:
    """A lock from `render_lock`. Raises ReleaseError, which names the line."""
    lines = text.splitlines()
    header = _HEADER.fullmatch(lines[0]) if lines else None
    tool = _TOOL.fullmatch(lines[1]) if len(lines) > 1 else None
    if not header or not tool:
        raise ReleaseError("the lock of the release does not begin with its Python and its pip: gather it again")
    tree = _TREE.fullmatch(lines[2]) if len(lines) > 2 else None
    data = [found[1] for found in map(_DATA.fullmatch, lines) if found]
    first = (3 if tree else 2) + len(data)
    pins = [_parse_pin(line, number) for number, line in enumerate(lines[first:], first + 1)]
    return Lock(header[1], header[2], _parse_pin(tool[1], 2), tuple(pins), tree[1] if tree else None, tuple(data))


def with_data(lock_text: str, paths: Iterable[str]) -> str:
    """The lock of the same release, but with `paths` inside its code that lead to the app's data."""
    return render_lock(replace(parse_lock(lock_text), data=tuple(sorted(paths))))


def _parse_pin(line: str, number: int) -> Pin:
    found = _PIN.fullmatch(line)
    if not found:
        raise ReleaseError(f"line {number} of the release's lock is not name==version --hash=sha256:...: {line!r}")
    return Pin(found[1], found[2], found[3])


def release_id(lock_text: str) -> str:
    """The name of the release of a lock: 16 hex digits over the platform, the wheels, the tree and what leads to data,
    not the installing pip."""
    lock = parse_lock(lock_text)
    lines = [f"{lock.python} {lock.machine}", *sorted(pin.line() for pin in lock.pins)]
    lines += [f"tree {lock.tree}"] if lock.tree else []
    lines += [f"data {path}" for path in lock.data]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


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


def unpack(archive: str, wheels_dir: str = WHEELS) -> List[str]:
    """Take the files of a tar from the controller into the store; returns their sha256. Raises ReleaseError.

    Each is checked against the digest that it is named by and then renamed into place.
    """
    store = Path(wheels_dir)
    store.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    store.mkdir(exist_ok=True, mode=0o700)
    os.chmod(store, 0o700)  # wheels are the app's code: root's alone
    taken: List[str] = []
    try:
        with tarfile.open(archive, "r:*") as tar:
            members = [member for member in tar.getmembers() if member.isfile()]
            need = sum(member.size for member in members) // MIB + 1
            _need_room(store, need, len(members) * 2, "the wheels")
            for member in members:
                digest, _, name = member.name.partition("/")
                if not SHA256.fullmatch(digest) or not name or "/" in name or name.startswith("."):
                    raise ReleaseError(f"{member.name!r} in the shipped wheels is not SHA256/NAME: ship them again")
                stream = tar.extractfile(member)
                if stream is None:
                    raise ReleaseError(f"{member.name!r} in the shipped wheels cannot be read: ship them again")
                _take(stream.read(), digest, name, store)
                taken.append(digest)
    except tarfile.TarError as error:
        raise ReleaseError(f"the shipped wheels are not a whole archive ({error}): ship them again") from None
    except OSError as error:
        raise _disk_error(error, store, "taking the wheels") from None
    return taken


def _take(data: bytes, digest: str, name: str, store: Path) -> None:
    if hashlib.sha256(data).hexdigest() != digest:
        raise ReleaseError(f"wheel {name} came damaged (its sha256 is not {digest}): ship it again")
    folder = store / digest
    folder.mkdir(exist_ok=True, mode=0o700)
    temporary = store / f".{os.getpid()}.{digest[:16]}"
    try:
        with temporary.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(temporary, 0o600)
        os.replace(temporary, folder / name)
    finally:
        if temporary.exists():
            temporary.unlink()


def prune_wheels(wheels_dir: str = WHEELS, root: str = "/", older_seconds: float = 86400.0) -> List[str]:
    """Remove the wheels that no release of any app of this host was made from; returns their sha256.

    What is younger than `older_seconds` stays: it was sent for a release that another run is about to build. A release
    whose lock cannot be read keeps all of them.
    """
    used: Set[str] = set()
    for lock_file in Path(root).glob("opt/headcount/*/releases/*/requirements.lock"):
        try:
            lock = parse_lock(lock_file.read_text(encoding="utf-8"))
        except (OSError, ReleaseError):
            return []
        used |= {pin.sha256 for pin in lock.files}
    oldest = time.time() - older_seconds
    removed = []
    for digest in sorted(present(wheels_dir) - used):
        folder = Path(wheels_dir) / digest
        if folder.stat().st_mtime < oldest:
            shutil.rmtree(folder)
            removed.append(digest)
    return removed


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
    files = {pin.sha256: _find(pin, Path(wheels_dir)) for pin in lock.files}
    if os.path.lexists(path):
        remove(path)
    need_mib, need_files = room_for([files[pin.sha256] for pin in lock.files if pin != lock.pip])
    _need_room(path, need_mib, need_files, f"release {release} of {app}")
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
        raise _disk_error(error, path.parent, f"building release {release} of {app}") from None
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
    files = {pin.sha256: _find(pin, Path(wheels_dir)) for pin in lock.files}
    # Names of the same length, so that paths within files differ by the name alone.
    beside = path.with_name(hashlib.sha256(f"repair of {release}".encode()).hexdigest()[: len(release)])
    _remove_quietly(beside)
    need_mib, need_files = room_for([files[pin.sha256] for pin in lock.files if pin != lock.pip])
    _need_room(path, need_mib, need_files, f"healing release {release} of {app}")
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
        raise _disk_error(error, path.parent, f"healing release {release} of {app}") from None
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
        shutil.rmtree(target)
    temporary = target.with_name(f".{target.name}.repair")
    temporary.unlink(missing_ok=True)
    if entry[0] == "l":
        os.symlink(entry[1], temporary)
    else:
        content = (beside / name).read_bytes().replace(beside.name.encode(), path.name.encode())
        temporary.write_bytes(content)
        os.chmod(temporary, entry[1])
    os.replace(temporary, target)


def _remove_entry(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
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
    _run([python, "-I", "-m", "venv", "--without-pip", str(path / "venv")], work, "making the virtual environment")
    inside = str(path / "venv/bin/python")
    command = [inside, "-I", f"{files[lock.pip.sha256]}/pip", "install", "--no-index", "--require-hashes", "--no-deps"]
    command += ["--no-compile", "--no-cache-dir", "--disable-pip-version-check", "--no-input", "--quiet"]
    command += ["--no-warn-script-location", "--find-links", str(links), "-r", str(path / "requirements.lock")]
    _run(command, work, "installing the wheels")
    code = [str(path / "venv/lib")]
    if lock.tree:
        unpack_tree(files[lock.tree], path)
        code.append(str(tree_of(path)))
    lay_leads(path, lock.data, Layout(path.parent.parent.name).data)
    # A file that cannot be compiled (a template, an old syntax) is not an error, as it is none for pip.
    _run([inside, "-I", "-m", "compileall", "-q", *code], work, "compiling", check=False)
    shutil.rmtree(work)


def _need_room(path: Path, need_mib: int, need_files: int, what: str) -> None:
    """Raise DiskFull when the file system of `path` (or of the folder it will be in) has too little left."""
    folder = path
    while not folder.exists():
        folder = folder.parent
    left = os.statvfs(folder)
    free_mib = left.f_bavail * left.f_frsize // MIB
    if free_mib < need_mib:
        raise DiskFull(f"{what} needs {need_mib} MiB at {folder}, where {free_mib} MiB are free: free some room there")
    if left.f_files and left.f_favail < need_files:
        raise DiskFull(
            f"{what} needs {need_files} files at {folder}, where {left.f_favail} can be made: remove files there"
        )


def _disk_error(error: OSError, folder: Path, what: str) -> ReleaseError:
    kind = DiskFull if error.errno in (28, 122) else ReleaseError
    return kind(f"{what} failed at {error.filename or folder}: {error.strerror or error}")


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


def _find(pin: Pin, store: Path) -> Path:
    """The file of a pin in the store, its content checked."""
    folder = store / pin.sha256
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    if not names:
        raise ReleaseError(f"the wheel of {pin.name} {pin.version} is not on this host ({folder}): ship it")
    path = folder / names[0]
    if sha256(str(path)) != pin.sha256:
        shutil.rmtree(folder, ignore_errors=True)
        raise ReleaseError(f"wheel {path.name} was damaged on this host and is removed: run again to ship it anew")
    return path


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
    (path / UNFINISHED).touch()
    _fsync(path)
    (path / RELEASE).unlink(missing_ok=True)
    for entry in sorted(path.iterdir()):
        # The marker goes last: what is left of a removal that was cut short is still known as Headcount's.
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != UNFINISHED:
            entry.unlink()
    shutil.rmtree(path)
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
