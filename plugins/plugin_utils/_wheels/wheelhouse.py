# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The wheels of an app for one platform, gathered on the controller and locked by hash.

An app and its server are resolved together (uv), for the Python and the C library of the hosts that will run them.
The result is kept under the digest of its inputs: later runs, and other hosts of the platform, read it back. What
exists only as source is built once: here when the wheel is pure, on a host of the platform when it is not.

The cache (`cache_dir`), all of it written by renaming finished files into place::

    wheels/SHA256/NAME.whl   every file, by content
    sets/KEY.json            what a resolution came to; sets/KEY.lock is held while it is made
    built/KEY.json           which wheel a source was built into, and by whom when it was a host
    built/SHA256.impure      a source whose wheel is not pure: it is not tried here again
    built/KEY.sdist.json     the source of an app that only a host can build
    git/KEY                  mirrors of repositories
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence
from urllib.parse import quote

from ansible_collections.headcount.gunicorn.plugins.module_utils._release import releases
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename

from . import sources
from .locks import Pinned, outside, parse, read_compiled
from .sources import Source, source_identity
from .tools import (
    BadLock,
    BadSource,
    BuildFailed,
    NetworkUnreachable,
    ResolutionConflict,
    ToolMissing,
    WheelhouseError,
    WheelMissing,
    essence,
    file_lock,
    pip,
    raise_for_network,
    resolution_error,
    run,
    uv,
)

_SCHEMA = 1
_COMPILE_SECONDS = 300.0
_DOWNLOAD_SECONDS = 1200.0
_UV_GLIBC = (17, 28, *range(31, 41))  # the minor versions of manylinux_2_N that uv's --python-platform knows


@dataclass(frozen=True)
class Platform:
    """What wheels depend on: `python` "3.13" (or "3.13.5"), `machine` "x86_64", `libc` "glibc 2.41" or "musl 1.2"."""

    python: str
    machine: str
    libc: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"3\.\d+(\.\d+)?", self.python):
            raise WheelhouseError(f"Python {self.python!r} of the host is not understood: 3.9 or later is needed")
        if self.machine not in ("x86_64", "aarch64"):
            raise WheelhouseError(f"machine {self.machine!r} of the host is not supported: x86_64 or aarch64")
        if not re.fullmatch(r"(glibc|musl) \d+\.\d+", self.libc):
            raise WheelhouseError(f"C library {self.libc!r} of the host is not understood: 'glibc 2.36' or 'musl 1.2'")

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Platform:
        """From the host facts' dictionary (`python.version`, `platform.machine`, `platform.libc`)."""
        return cls(facts["python"]["version"], facts["platform"]["machine"], facts["platform"]["libc"])

    @property
    def minor(self) -> str:
        """Python's version without its patch level: what wheels are made for."""
        return ".".join(self.python.split(".")[:2])

    @property
    def key(self) -> str:
        """The platform as one word."""
        return f"cp{self.minor.replace('.', '')}-{self.machine}-{self.libc.replace(' ', '')}"

    def uv_platform(self) -> str:
        """The name of this platform for uv, or of the newest older one that it knows."""
        kind, version = self.libc.split()
        if kind == "musl":
            return f"{self.machine}-unknown-linux-musl"
        minor = int(version.split(".")[1])
        known = [number for number in _UV_GLIBC if number <= minor]
        if not known:
            raise WheelhouseError(
                f"{self.libc} of the host is too old: glibc 2.17 is the oldest that wheels are made for"
            )
        return f"{self.machine}-manylinux_2_{known[-1]}"

    def tags(self) -> list[str]:
        """Every platform tag of wheels that run here, best first."""
        kind, version = self.libc.split()
        major, minor = (int(part) for part in version.split("."))
        if kind == "musl":
            return [f"musllinux_{major}_{number}_{self.machine}" for number in range(minor, -1, -1)]
        oldest = 5 if self.machine == "x86_64" else 17
        legacy = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
        result: list[str] = []
        for number in range(minor, oldest - 1, -1):
            result.append(f"manylinux_2_{number}_{self.machine}")
            if number in legacy:
                result.append(f"{legacy[number]}_{self.machine}")
        return [*result, f"linux_{self.machine}"]

    def accepts(self, tags: Iterable[Tag]) -> bool:
        """Whether a wheel with these tags runs here."""
        python = tuple(int(part) for part in self.minor.split("."))
        known = set(cpython_tags(python, platforms=self.tags()))
        known.update(compatible_tags(python, f"cp{self.minor.replace('.', '')}", self.tags()))
        return bool(known & set(tags))

    def markers(self) -> dict[str, str]:
        """The environment that markers of this platform's CPython are evaluated in."""
        full = self.python if self.python.count(".") == 2 else f"{self.python}.0"
        environment: dict[str, str] = {name: str(value) for name, value in default_environment().items()}
        environment.update(
            implementation_name="cpython",
            implementation_version=full,
            os_name="posix",
            platform_machine=self.machine,
            platform_python_implementation="CPython",
            platform_release="",
            platform_system="Linux",
            platform_version="",
            python_full_version=full,
            python_version=self.minor,
            sys_platform="linux",
        )
        return environment


@dataclass(frozen=True)
class Wheel:
    """One file, a wheel or an sdist, in the controller's cache. `size` in bytes."""

    name: str
    version: str
    filename: str
    sha256: str
    size: int
    path: str = field(compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class HostBuild:
    """A source that has to be built on a host of the platform, and the wheels that its build needs."""

    sdist: Wheel
    build_wheels: tuple[Wheel, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"sdist": self.sdist.to_dict(), "build_wheels": [wheel.to_dict() for wheel in self.build_wheels]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> HostBuild:
        """From `to_dict`."""
        return cls(Wheel(**data["sdist"]), tuple(Wheel(**wheel) for wheel in data["build_wheels"]))


@dataclass(frozen=True)
class WheelSet:
    """Everything a host of one platform needs to install a release without a network.

    `id` names the release: 16 hex digits of the digest of the lock; empty while `needs_host_build` is not.
    `pip` installs, and is not part of the release.
    """

    id: str
    source_id: str
    app: str
    app_version: str
    platform: Platform
    lock_text: str
    wheels: tuple[Wheel, ...]
    pip: Wheel
    needs_host_build: tuple[HostBuild, ...] = ()

    @property
    def files(self) -> tuple[Wheel, ...]:
        """Every file that a host needs, the installer included, each once."""
        return tuple({item.sha256: item for item in (*self.wheels, self.pip)}.values())

    @property
    def distributions(self) -> dict[str, str]:
        """Name to version of what the release will hold."""
        return {wheel.name: wheel.version for wheel in self.wheels}

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `from_dict` reads it back."""
        return {
            **{name: getattr(self, name) for name in ("id", "source_id", "app", "app_version", "lock_text")},
            "platform": asdict(self.platform),
            "wheels": [wheel.to_dict() for wheel in self.wheels],
            "pip": self.pip.to_dict(),
            "needs_host_build": [build.to_dict() for build in self.needs_host_build],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WheelSet:
        """From `to_dict`."""
        builds = tuple(HostBuild.from_dict(item) for item in data["needs_host_build"])
        return cls(
            **{name: data[name] for name in ("id", "source_id", "app", "app_version", "lock_text")},
            platform=Platform(**data["platform"]),
            wheels=tuple(Wheel(**wheel) for wheel in data["wheels"]),
            pip=Wheel(**data["pip"]),
            needs_host_build=builds,
        )


def gather(
    source: Mapping[str, Any] | Source,
    platform: Platform,
    extra_requirements: Sequence[str],
    cache_dir: str | Path,
    base_dir: str | Path,
    *,
    refresh: bool = False,
) -> WheelSet:
    """The wheels of `source` and `extra_requirements` (the server) for `platform`.

    Relative paths of the source begin at `base_dir`. Inputs that were resolved before are answered from `cache_dir`
    without any network, unless `refresh`; whoever asks for the same at the same time waits for the first.
    Raises ResolutionConflict when the requirements exclude each other, and other kinds of WheelhouseError.
    """
    parsed, cache = Source.of(source), Path(cache_dir)
    try:
        _own(cache)
        return _Gathering(parsed, platform, tuple(extra_requirements), cache, Path(base_dir)).run(refresh)
    except OSError as error:
        where = error.filename or cache
        raise WheelhouseError(f"{parsed.describe()}: {where} on the controller: {error.strerror or error}") from None


def _own(cache: Path) -> None:
    """The cache is the user's alone: it holds the code of the apps."""
    if not os.path.lexists(cache):
        cache.mkdir(parents=True, mode=0o700)
    if cache.is_dir() and cache.stat().st_mode & 0o077:
        cache.chmod(0o700)


def keep_built(
    cache_dir: str | Path, platform: Platform, sdist: Wheel, wheel: str | Path, origin: Mapping[str, Any]
) -> Wheel:
    """Keep a wheel that a host of `platform` built from `sdist`; the next `gather` uses it.

    `origin` is kept with it: who made it, when, with what. A pure wheel counts for every platform. Raises
    WheelhouseError when the wheel is not whole, is not for the platform or is of something else.
    """
    path, cache = Path(wheel), Path(cache_dir)
    what = f"wheel built on {origin.get('host', 'a host')}"
    name, version, pure = sources.check_wheel(path, what)
    if (name, version) != (sdist.name, sdist.version):
        raise BuildFailed(f"{what}: {path.name} is not what {sdist.filename} holds ({sdist.name} {sdist.version})")
    _accept(path, platform, what)
    kept = _store(cache, path)
    record = {**kept.to_dict(), "origin": {**origin, "platform": platform.key, "sdist": sdist.filename}}
    _write_json(_built_path(cache, sdist.sha256, None if pure else platform), record)
    return kept


def missing(wheelset: WheelSet, present: set[str]) -> tuple[Wheel, ...]:
    """The files of `wheelset` that a host lacks which has those with the sha256 in `present`."""
    return tuple(item for item in wheelset.files if item.sha256 not in present)


def pack(wheels: Iterable[Wheel], path: str | Path) -> Path:
    """Write files as one tar, members SHA256/NAME; the same files give the same bytes. Returns `path`."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(target)
    with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
        for item in sorted({wheel.sha256: wheel for wheel in wheels}.values(), key=lambda wheel: wheel.sha256):
            member = tarfile.TarInfo(f"{item.sha256}/{item.filename}")
            member.size, member.mode = item.size, 0o644
            with Path(item.path).open("rb") as stream:
                archive.addfile(member, stream)
    os.replace(temporary, target)
    return target


@dataclass
class _Gathering:
    """One call of `gather`."""

    source: Source
    platform: Platform
    extra: tuple[str, ...]
    cache: Path
    base: Path
    _work: Path = field(default=Path(), init=False)

    def run(self, refresh: bool) -> WheelSet:
        source_id, commit = sources.identity(self.source, self.base)
        key = _digest(_SCHEMA, source_id, sorted(self.extra), self.platform.python, self.platform.key)
        record = self.cache / "sets" / f"{key}.json"
        if not refresh and (known := _read_set(record)) is not None:
            return known
        before = _mtime(record)
        with file_lock(record.with_suffix(".lock")):
            if (not refresh or _mtime(record) != before) and (known := _read_set(record)) is not None:
                return known
            scratch = self.cache / "tmp"
            scratch.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=scratch) as work:
                self._work = Path(work)
                found = self._gather(source_id, commit)
            if not found.needs_host_build:
                _write_json(record, found.to_dict())
            return found

    def _gather(self, source_id: str, commit: str | None) -> WheelSet:
        what = self.source.describe()
        app, lock, builds = self._app(source_id, commit)
        wanted = [app] if isinstance(app, Requirement) else []
        local = [] if isinstance(app, Requirement) else [app]
        name = str(canonicalize_name(app.name))
        found, unbuilt = self._all(self._resolve(what, name, wanted, local, lock))
        if unbuilt:
            # The newest version is not always one that has a wheel for an older Python.
            try:
                with_wheels = [build.sdist.name for build in unbuilt]
                found, unbuilt = self._all(self._resolve(what, name, wanted, local, lock, with_wheels))
            except ResolutionConflict:
                pass
        build_list = [*builds, *unbuilt]
        if not builds:
            found += local
        tool = self._tool("pip")
        wheels = tuple(sorted(found, key=lambda wheel: wheel.name))
        lock_pins = [releases.Pin(wheel.name, wheel.version, wheel.sha256) for wheel in wheels]
        lock_text = releases.render_lock(
            releases.Lock(
                self.platform.minor,
                self.platform.machine,
                releases.Pin(tool.name, tool.version, tool.sha256),
                tuple(lock_pins),
            )
        )
        version = next((wheel.version for wheel in (*wheels, *local) if wheel.name == name), "")
        release = "" if build_list else releases.release_id(lock_text)
        return WheelSet(
            release, source_id, name, version, self.platform, lock_text, wheels, tool, tuple(build_list)
        )  # fmt: skip

    def _all(self, pins: Sequence[Pinned]) -> tuple[list[Wheel], list[HostBuild]]:
        """The wheels of `pins`, and what only a host can build."""
        found, without = self._download(pins)
        made = [self._from_source(pin) for pin in without]
        wheels = [item for item in made if isinstance(item, Wheel)]
        return found + wheels, [item for item in made if isinstance(item, HostBuild)]

    def _app(
        self, source_id: str, commit: str | None
    ) -> tuple[Wheel | Requirement, Path | None, tuple[HostBuild, ...]]:
        """The app as a wheel or a requirement, its lock, and its own build when only a host can do that."""
        source, what = self.source, self.source.describe()
        if source.kind == "pip":
            return sources.requirement(source), sources.lock_path(source, self.base), ()
        if source.kind == "wheel":
            path = sources.wheel_file(source, self.base)
            _accept(path, self.platform, what)
            return _store(self.cache, path), sources.lock_path(source, self.base), ()
        if source.kind == "path":
            folder = sources.project_folder(source, sources.resolve(source.value, self.base))
        else:
            sources.checkout(source, commit or "", self.cache, self._work / "checkout")
            folder = sources.project_folder(source, self._work / "checkout")
        lock = sources.lock_path(source, self.base, folder)
        if lock:  # it may lie in the checkout, which does not stay
            (self._work / "lock").mkdir()
            lock = Path(shutil.copy(lock, self._work / "lock" / lock.name))
        build_id = _digest("app", source_id)
        with file_lock(self.cache / "built" / f"{build_id}.lock"):
            known = _built_of_app(self.cache, build_id, self.platform)
            if known is None:
                project = folder
                if source.kind == "path":
                    project = self._work / "project"
                    sources.copy_project(folder, project, source.include)
                out = self._work / "app"
                out.mkdir()
                built = sources.build_wheel(project, out, what)
                known = _store(self.cache, built)
                if not sources.check_wheel(built, what)[2]:
                    return known, lock, (self._app_on_host(project, build_id),)
                _write_json(_built_path(self.cache, build_id, None), known.to_dict())
        return known, lock, ()

    def _app_on_host(self, project: Path, build_id: str) -> HostBuild:
        # What a host builds is kept under its sdist, whose bytes may differ each time: it is made once.
        stored = _built(self.cache, f"{build_id}.sdist", None)
        if stored is None:
            out = self._work / "sdist"
            out.mkdir()
            stored = _store(self.cache, sources.build_sdist(project, out, self.source.describe()))
            _write_json(_built_path(self.cache, f"{build_id}.sdist", None), stored.to_dict())
        return HostBuild(stored, self._gather_tools(sources.build_requirements(project)))

    def _resolve(
        self,
        what: str,
        app: str,
        wanted: list[Requirement],
        local: list[Wheel],
        lock: Path | None,
        with_wheels: Sequence[str] = (),
    ) -> tuple[Pinned, ...]:
        """Pins of everything but local wheels, with the hashes of the lock where there is one.

        Of the distributions in `with_wheels` only versions that have wheels are taken.
        """
        locked: tuple[Pinned, ...] = ()
        label = str(self.source.lock or (f"{lock.name} of {what}" if lock else ""))
        if lock:
            locked = parse(lock.read_text(encoding="utf-8"), label, self.platform.markers())
            locked = tuple(pin for pin in locked if not (local and pin.name == app))
            if wanted and app not in {pin.name for pin in locked}:
                raise BadLock(f"{label}: {app} itself is not in the lock; make the lock from {str(wanted[0])!r}")
        paths = [sources.stand_in(Path(item.path), self._work) for item in local]
        lines = [f"{item.name} @ file://{quote(str(path.absolute()))}" for item, path in zip(local, paths)]
        lines += [str(item) for item in wanted]
        lines += [f"{pin.name}=={pin.version}" for pin in locked]
        options = [word for item in local for word in ("--no-emit-package", item.name)]
        options += [word for item in with_wheels for word in ("--only-binary", item)]
        text = self._compile(what, [*lines, *self.extra], options)
        pins, via = read_compiled(text)
        if lock:
            extra = [str(canonicalize_name(Requirement(item).name)) for item in self.extra]
            for name, owner in outside(locked, via, app if local else None, extra).items():
                raise BadLock(f"{label}: {name} is needed by {owner} and is not in the lock; make the lock again")
            pins.update({pin.name: pin for pin in locked})
        return tuple(pins[name] for name in sorted(pins))

    def _compile(self, what: str, lines: Sequence[str], options: Sequence[str] = ()) -> str:
        inputs = self._work / f"inputs-{len(list(self._work.glob('inputs-*')))}.in"
        inputs.write_text("\n".join(lines) + "\n", encoding="utf-8")
        words: list[str | Path] = [*uv(), "pip", "compile", inputs, "--generate-hashes", "--no-header", "--quiet"]
        words += ["--python", sys.executable, "--no-python-downloads", "--annotation-style", "split"]
        words += ["--no-emit-index-url", "--no-emit-find-links"]
        words += ["--python-version", self.platform.python, "--python-platform", self.platform.uv_platform()]
        done = run([*words, *options], _COMPILE_SECONDS, cwd=self._work)
        if done.status:
            raise resolution_error(what, done.stderr, self.platform.python)
        return done.stdout

    def _download(self, pins: Sequence[Pinned]) -> tuple[list[Wheel], list[Pinned]]:
        """Wheels of `pins` for the platform, and the pins of which there is none."""
        out = self._work / f"wheels-{len(list(self._work.glob('wheels-*')))}"
        out.mkdir()
        left = {pin.name: pin for pin in pins}
        without: list[Pinned] = []
        while left:
            done = self._pip_download(list(left.values()), out, binary=True)
            if done is None:
                break
            found = re.search(r"No matching distribution found for ([A-Za-z0-9._-]+)", done)
            name = str(canonicalize_name(found[1])) if found else ""
            if name not in left:
                raise _pip_error(done)
            without.append(left.pop(name))
        wheels = [_store(self.cache, path) for path in sorted(out.glob("*.whl"))]
        absent = sorted(set(left) - {wheel.name for wheel in wheels})
        if absent:
            raise WheelhouseError(f"gathering wheels: pip brought nothing for {', '.join(absent)}")
        return wheels, without

    def _pip_download(self, pins: Sequence[Pinned], out: Path, binary: bool) -> str | None:
        """None, or what pip said when it failed."""
        listed = self._work / "download.txt"
        listed.write_text("".join(f"{pin.line()}\n" for pin in pins), encoding="utf-8")
        words: list[str | Path] = [*pip(), "download", "--no-deps", "--require-hashes", "--progress-bar", "off"]
        words += ["--disable-pip-version-check", "--retries", "2", "--dest", out, "-r", listed]
        if binary:
            words += ["--only-binary", ":all:", "--python-version", self.platform.minor, "--implementation", "cp"]
            for tag in self.platform.tags():
                words += ["--platform", tag]
        else:
            # Not of its build requirements: those come as wheels.
            words += ["--no-binary", ",".join(pin.name for pin in pins)]
        done = run(words, _DOWNLOAD_SECONDS, cwd=self._work)
        return done.text if done.status else None

    def _from_source(self, pin: Pinned) -> Wheel | HostBuild:
        """A distribution that has no wheel for the platform: built here when that gives a pure wheel."""
        what = f"{pin.name} {pin.version}"
        for digest in pin.hashes:
            known = _built(self.cache, digest, None) or _built(self.cache, digest, self.platform)
            if known:
                return known
        out = Path(tempfile.mkdtemp(prefix="source-", dir=self._work))
        said = self._pip_download([pin], out, binary=False) or ""
        files = [path for path in out.iterdir() if path.is_file()]
        if not files:
            raise_for_network(what, said)
            if "DO NOT MATCH THE HASHES" in said:
                raise _pip_error(said)
            if "No matching distribution" in said:
                raise WheelMissing(
                    f"{what}: neither a wheel for {self._where()} nor a source; "
                    "allow another version of it, or use a Python that it has wheels for"
                )
            raise BuildFailed(
                f"{what}: there is no wheel for {self._where()}, and its source cannot be prepared on the controller "
                f"({essence(said)}); build a wheel of it and put it where pip finds it, or depend on something else"
            )
        sdist = _store(self.cache, files[0])
        impure = self.cache / "built" / f"{sdist.sha256}.impure"
        try:
            wheel = None if impure.exists() else sources.build_wheel(Path(sdist.path), out, what)
        except BuildFailed:
            wheel = None  # a compiler or headers are missing here; the host may have them
        if wheel and sources.check_wheel(wheel, what)[2]:
            kept = _store(self.cache, wheel)
            _write_json(_built_path(self.cache, sdist.sha256, None), kept.to_dict())
            return kept
        if wheel:
            impure.parent.mkdir(parents=True, exist_ok=True)
            impure.touch()
        return HostBuild(sdist, self._gather_tools(_requires_of(files[0], self._work)))

    def _gather_tools(self, requirements: Sequence[str]) -> tuple[Wheel, ...]:
        """Wheels of what a build on the host needs."""
        pins, _ = read_compiled(self._compile("build requirements", list(requirements)))
        wheels, without = self._download(list(pins.values()))
        if without:
            raise WheelMissing(
                f"build requirement {without[0].name} {without[0].version} has no wheel for {self._where()}"
            )
        return tuple(wheels)

    def _tool(self, name: str) -> Wheel:
        pins, _ = read_compiled(self._compile(name, [name]))
        wheels, _ = self._download([pins[name]])
        if not wheels:
            raise WheelMissing(f"{name} has no wheel for {self._where()}")
        return wheels[0]

    def _where(self) -> str:
        return f"Python {self.platform.minor} on {self.platform.machine} with {self.platform.libc}"


def _requires_of(sdist: Path, work: Path) -> tuple[str, ...]:
    """The build requirements that an sdist declares."""
    target = Path(tempfile.mkdtemp(dir=work))
    if sdist.name.endswith((".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")):
        with tarfile.open(sdist) as archive:
            for member in archive.getmembers():
                if member.isfile() and re.fullmatch(r"[^/]+/pyproject\.toml", member.name):
                    stream = archive.extractfile(member)
                    (target / "pyproject.toml").write_bytes(stream.read() if stream else b"")
    return sources.build_requirements(target)


def _accept(path: Path, platform: Platform, what: str) -> None:
    """Raise WheelMissing when a wheel is not for the platform."""
    if not platform.accepts(parse_wheel_filename(path.name)[3]):
        raise WheelMissing(
            f"{what}: {path.name} is not for Python {platform.minor} on {platform.machine} with {platform.libc}; "
            "build it for that platform, or give a source that can be built"
        )


def _pip_error(said: str) -> WheelhouseError:
    """The error for what pip said when it could not bring the files of a lock."""
    raise_for_network("gathering wheels", said)
    if "DO NOT MATCH THE HASHES" in said:
        found = re.search(r"DO NOT MATCH THE HASHES.*?\n\s+(\S+)", said, re.DOTALL)
        return BadLock(
            f"{found[1] if found else 'a file'} is not the file that the lock names: its hash differs; "
            "make the lock again, or find out who changed the file"
        )
    return WheelhouseError(f"gathering wheels: pip failed: {essence(said)}")


def _store(cache: Path, path: Path) -> Wheel:
    """Keep a file under its sha256."""
    digest = sources.file_digest(path)
    target = cache / "wheels" / digest / path.name
    if not target.exists() or target.stat().st_size != path.stat().st_size:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(target)
        shutil.copyfile(path, temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    if path.name.endswith(".whl"):
        name, version, _, _ = parse_wheel_filename(path.name)
    else:
        name, version = parse_sdist_filename(path.name)
    return Wheel(str(name), str(version), path.name, digest, target.stat().st_size, str(target.absolute()))


def _built_path(cache: Path, key: str, platform: Platform | None) -> Path:
    """Where it is kept what a source was built into; a pure wheel counts for every platform."""
    return cache / "built" / (f"{key}-{platform.key}.json" if platform else f"{key}.json")


def _built(cache: Path, key: str, platform: Platform | None) -> Wheel | None:
    """The wheel that a source was built into before, when it is still whole."""
    try:
        data = json.loads(_built_path(cache, key, platform).read_text(encoding="utf-8"))
        data.pop("origin", None)
        wheel = Wheel(**data)
    except (OSError, ValueError, TypeError):
        return None
    return wheel if _whole([wheel]) else None


def _built_of_app(cache: Path, build_id: str, platform: Platform) -> Wheel | None:
    """The wheel of an app built before: here, or by a host from the sdist that `build_id` leads to."""
    sdist = _built(cache, f"{build_id}.sdist", None)
    return _built(cache, build_id, None) or (
        _built(cache, sdist.sha256, None) or _built(cache, sdist.sha256, platform) if sdist else None
    )


def _read_set(path: Path) -> WheelSet | None:
    """A set gathered before; None when there is none, or when one of its files is gone or damaged."""
    try:
        found = WheelSet.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if _whole(found.files) else None


def _whole(wheels: Iterable[Wheel]) -> bool:
    try:
        return all(sources.file_digest(Path(wheel.path)) == wheel.sha256 for wheel in wheels)
    except OSError:
        return False


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    temporary.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _temporary(path: Path) -> Path:
    """A name beside `path` to write to before renaming; no other process and no other thread has it."""
    return path.with_name(f".{os.getpid()}-{threading.get_ident()}.{path.name}")


def _mtime(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


__all__ = [
    "BadLock",
    "BadSource",
    "BuildFailed",
    "HostBuild",
    "NetworkUnreachable",
    "Platform",
    "ResolutionConflict",
    "Source",
    "ToolMissing",
    "Wheel",
    "WheelMissing",
    "WheelSet",
    "WheelhouseError",
    "gather",
    "keep_built",
    "missing",
    "pack",
    "source_identity",
]
