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

import os
import re
import sys
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence
from urllib.parse import quote

from ansible_collections.headcount.gunicorn.plugins.module_utils import _releases
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from . import _wheel_cache as cached
from . import _wheel_indexes as indexes
from . import _wheel_sources as sources
from ._text import listed
from ._wheel_declared import Declared, declared, project_sources
from ._wheel_lockfiles import Direct, direct_of
from ._wheel_locks import Pinned, outside, read_compiled
from ._wheel_sources import Source, source_identity
from ._wheel_tools import (
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
from ._wheel_types import HostBuild, Platform, Wheel, WheelSet

_SCHEMA = 2
_COMPILE_SECONDS = 300.0
_DOWNLOAD_SECONDS = 1200.0
_ROUNDS = 20


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
    kept = cached.store(cache, path)
    record = {**kept.to_dict(), "origin": {**origin, "platform": platform.key, "sdist": sdist.filename}}
    cached.write_json(cached.built_path(cache, sdist.sha256, None if pure else platform), record)
    return kept


def missing(wheelset: WheelSet, present: set[str]) -> tuple[Wheel, ...]:
    """The files of `wheelset` that a host lacks which has those with the sha256 in `present`."""
    return tuple(item for item in wheelset.files if item.sha256 not in present)


def pack(wheels: Iterable[Wheel], path: str | Path) -> Path:
    """Write files as one tar, members SHA256/NAME; the same files give the same bytes. Returns `path`."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = cached.temporary(target)
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
    """One call of `gather`.

    `_told`: what the project declares; `_local`: what was built or fetched beside the index, by name, the app itself
    among it; `_extras` are wanted of that; `_builds`: what of it only a host can build; `_via`: who asked for what.
    """

    source: Source
    platform: Platform
    extra: tuple[str, ...]
    cache: Path
    base: Path
    _work: Path = field(default=Path(), init=False)
    _told: Declared = field(default_factory=Declared, init=False)
    _indexes: indexes.Indexes = field(default_factory=indexes.Indexes, init=False)
    _local: dict[str, Wheel] = field(default_factory=dict, init=False)
    _builds: dict[str, HostBuild] = field(default_factory=dict, init=False)
    _extras: dict[str, set[str]] = field(default_factory=dict, init=False)
    _via: dict[str, set[str]] = field(default_factory=dict, init=False)
    _notes: dict[str, None] = field(default_factory=dict, init=False)

    def run(self, refresh: bool) -> WheelSet:
        source_id, commit = sources.identity(self.source, self.base)
        key = cached.digest(_SCHEMA, source_id, sorted(self.extra), self.platform.python, self.platform.key)
        record = self.cache / "sets" / f"{key}.json"
        if not refresh and (known := cached.read_set(record)) is not None:
            return known
        before = cached.mtime(record)
        with file_lock(record.with_suffix(".lock")):
            if (not refresh or cached.mtime(record) != before) and (known := cached.read_set(record)) is not None:
                return known
            scratch = self.cache / "tmp"
            scratch.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=scratch) as work:
                self._work = Path(work)
                found = self._gather(source_id, commit)
            if not found.needs_host_build:
                cached.write_json(record, found.to_dict())
            return found

    def _gather(self, source_id: str, commit: str | None) -> WheelSet:
        what = self.source.describe()
        app = self._app(source_id, commit)
        name = str(canonicalize_name(app.name))
        wanted = [app] if isinstance(app, Requirement) else []
        first = self._resolve(what, name, wanted)
        found, unbuilt = self._all(first)
        if unbuilt:
            found, unbuilt = self._with_wheels(what, name, wanted, first, (found, unbuilt))
        build_list = [*self._builds.values(), *unbuilt]
        found += [wheel for local, wheel in self._local.items() if local not in self._builds]
        tool = self._tool("pip")
        wheels = tuple(sorted(found, key=lambda wheel: wheel.name))
        lock_pins = [_releases.Pin(wheel.name, wheel.version, wheel.sha256) for wheel in wheels]
        lock_text = _releases.render_lock(
            _releases.Lock(
                self.platform.minor,
                self.platform.machine,
                _releases.Pin(tool.name, tool.version, tool.sha256),
                tuple(lock_pins),
            )
        )
        known = (*wheels, *self._local.values())
        version = next((wheel.version for wheel in known if wheel.name == name), "")
        release = "" if build_list else _releases.release_id(lock_text)
        return WheelSet(
            release, source_id, name, version, self.platform, lock_text, wheels, tool, tuple(build_list),
            tuple(self._notes),
        )  # fmt: skip

    def _with_wheels(
        self,
        what: str,
        app: str,
        wanted: list[Requirement],
        first: Sequence[Pinned],
        had: tuple[list[Wheel], list[HostBuild]],
    ) -> tuple[list[Wheel], list[HostBuild]]:
        """`had` (wheels, and what only a host can build), or better: with older versions that have wheels.

        The newest version is not always one that has a wheel for an older Python. What the project asks for itself is
        never lowered for that, only what others need; what was lowered is told.
        """
        own = self._asked_for(app)
        bare = [build.sdist.name for build in had[1] if build.sdist.name not in own]
        if not bare:
            return had
        versions = {pin.name: pin.version for pin in first}
        keep = [f"{name}=={versions[name]}" for name in sorted(own & set(versions))]
        via = self._via
        try:
            second = self._resolve(what, app, wanted, bare, keep)
            found = self._all(second)
        except ResolutionConflict:
            self._via = via
            return had
        lowered = [
            f"{pin.name} {pin.version} instead of {versions[pin.name]}"
            for pin in second
            if versions.get(pin.name, pin.version) != pin.version
        ]
        if lowered:
            self._notes[
                f"{what}: there is no wheel of {listed(bare)} for {self._where()}, so that older versions were taken: "
                f"{listed(lowered, 12)}; ask for a version in the project to have it built on a host instead"
            ] = None
        return found

    def _asked_for(self, app: str) -> set[str]:
        """What the project itself asks for, in its own words or in a file beside it."""
        owners = {app, *self._local}
        extra = {str(canonicalize_name(Requirement(item).name)) for item in self.extra}
        own = {name for name, who in self._via.items() if who & owners}
        own |= {str(canonicalize_name(Requirement(text).name)) for _, text in self._told.requirements}
        return own - extra - {app}

    def _all(self, pins: Sequence[Pinned]) -> tuple[list[Wheel], list[HostBuild]]:
        """The wheels of `pins`, and what only a host can build."""
        found, without = self._download(pins)
        made = [self._from_source(pin) for pin in without]
        wheels = [item for item in made if isinstance(item, Wheel)]
        return found + wheels, [item for item in made if isinstance(item, HostBuild)]

    def _app(self, source_id: str, commit: str | None) -> Wheel | Requirement:
        """The app as a wheel or a requirement; notes what is declared beside it, and brings what is no index's."""
        source, what = self.source, self.source.describe()
        app: Wheel | Requirement
        if source.kind in ("pip", "wheel"):
            lock = sources.lock_path(source, self.base)
            empty = self._work / "none"
            empty.mkdir()
            self._told = declared(empty, empty, self.platform.markers(), lock) if lock else Declared()
            app = sources.requirement(source) if source.kind == "pip" else self._given(source)
        else:
            folder, top = self._folder(source, commit)
            lock = sources.resolve(source.lock, self.base) if source.lock else None
            self._told = declared(folder, top, self.platform.markers(), lock)
            app = self._project(source, source_id, folder)
        self._indexes = indexes.asked(project=self._told.indexes)
        if isinstance(app, Wheel):
            self._local[app.name] = app
            self._bring_demanded(app, self._told.direct, what)
        for direct in self._told.wanted_direct:
            self._bring(direct)
        return app

    def _given(self, source: Source) -> Wheel:
        path = sources.wheel_file(source, self.base)
        _accept(path, self.platform, source.describe())
        return cached.store(self.cache, path)

    def _folder(self, source: Source, commit: str | None) -> tuple[Path, Path]:
        """The folder of a project, and the one that everything of its source is in."""
        if source.kind == "path":
            root = sources.resolve(source.value, self.base)
            return sources.project_folder(source, root), Path(root.anchor)
        target = Path(tempfile.mkdtemp(prefix="clone-", dir=self._work)) / "checkout"
        sources.checkout(source, commit or "", self.cache, target)
        return sources.project_folder(source, target), target

    def _project(self, source: Source, source_id: str, folder: Path) -> Wheel:
        """The wheel of a project; noted for a host to build when it is not pure."""
        build_id = cached.digest("app", source_id)
        with file_lock(self.cache / "built" / f"{build_id}.lock"):
            known = cached.built_of_app(self.cache, build_id, self.platform)
            if known is not None:
                return known
            project = folder
            if source.kind == "path":
                project = sources.copy_beside(folder, Path(tempfile.mkdtemp(prefix="project-", dir=self._work)), source)
            out = Path(tempfile.mkdtemp(prefix="app-", dir=self._work))
            made = sources.build_wheel(project, out, source.describe(), self._environment())
            known = cached.store(self.cache, made)
            if sources.check_wheel(made, source.describe())[2]:
                cached.write_json(cached.built_path(self.cache, build_id, None), known.to_dict())
            else:
                self._builds[known.name] = self._app_on_host(project, build_id, source.describe())
        return known

    # -- what is no index's -------------------------------------------------------------------------------------------

    def _bring(self, direct: Direct) -> None:
        """Build or fetch a distribution that comes from elsewhere than an index, and what it needs of that kind."""
        self._extras.setdefault(direct.name, set()).update(direct.extras)
        if direct.name in self._local:
            return
        path = Path(direct.value)
        folder: Path | None = None
        if direct.kind == "git" or (direct.kind == "path" and path.is_dir()):
            source = Source(
                direct.kind, direct.value, direct.revision or None, subdirectory=direct.subdirectory or None
            )
            try:
                source_id, commit = sources.identity(source, Path("/"))
                folder, top = self._folder(source, commit)
                wheel = self._project(source, source_id, folder)
            except ResolutionConflict:
                raise
            except WheelhouseError as error:
                raise type(error)(f"{direct.describe()}: {error}") from None
        else:
            wheel = self._archive(direct, path)
        if direct.name and wheel.name != direct.name:
            raise BadSource(f"{direct.describe()}: it holds {wheel.name} {wheel.version} instead; correct the name")
        self._local[wheel.name] = wheel
        self._extras.setdefault(wheel.name, set()).update(direct.extras)
        beside = project_sources(folder, top, self.platform.markers()) if folder is not None else {}
        self._bring_demanded(wheel, {**self._told.direct, **beside}, direct.describe())

    def _archive(self, direct: Direct, path: Path) -> Wheel:
        """A wheel or an sdist by its path or URL."""
        if direct.kind == "url":
            path = self._fetch(direct)
        elif not path.is_file():
            raise BadSource(f"{direct.describe()}: there is no such file or folder on the controller")
        if direct.hashes and sources.file_digest(path) not in direct.hashes:
            raise BadLock(
                f"{direct.describe()}: it is not the file that was locked: its hash differs; make the lock again"
            )
        if path.name.endswith(".whl"):
            sources.check_wheel(path, direct.describe())
            _accept(path, self.platform, direct.describe())
            return cached.store(self.cache, path)
        made = self._built(cached.store(self.cache, path), direct.describe())
        if isinstance(made, HostBuild):
            raise BuildFailed(
                f"{direct.describe()}: it exists only as source and is not pure Python: give a wheel, or a repository"
            )
        return made

    def _fetch(self, direct: Direct) -> Path:
        out = Path(tempfile.mkdtemp(prefix="url-", dir=self._work))
        words: list[str | Path] = [*pip(), "download", "--no-deps", "--progress-bar", "off", "--dest", out]
        done = run([*words, direct.value], _DOWNLOAD_SECONDS, cwd=self._work, extra_env=self._environment())
        files = [item for item in out.iterdir() if item.is_file()]
        if not files:
            raise_for_network(direct.describe(), done.text)
            raise BadSource(f"{direct.describe()}: it cannot be fetched: {essence(done.text, 1)}")
        return files[0]

    def _bring_demanded(self, wheel: Wheel, known: Mapping[str, Direct], what: str) -> None:
        """What a wheel asks for that comes from elsewhere than an index."""
        extras = ["", *self._extras.get(wheel.name, ())]
        environments = [{**self.platform.markers(), "extra": extra} for extra in extras]
        for text in sources.requires(Path(wheel.path)):
            wanted = Requirement(text)
            name = canonicalize_name(wanted.name)
            if wanted.marker and not any(wanted.marker.evaluate(environment) for environment in environments):
                continue
            self._extras.setdefault(name, set()).update(wanted.extras)
            if name in known:
                self._bring(known[name])
            elif wanted.url:
                self._bring(direct_of(name, wanted.url, Path("/"), f"{wheel.name} of {what}"))

    def _app_on_host(self, project: Path, build_id: str, what: str) -> HostBuild:
        # What a host builds is kept under its sdist, whose bytes may differ each time: it is made once.
        stored = cached.built(self.cache, f"{build_id}.sdist", None)
        if stored is None:
            out = Path(tempfile.mkdtemp(prefix="sdist-", dir=self._work))
            stored = cached.store(self.cache, sources.build_sdist(project, out, what, self._environment()))
            cached.write_json(cached.built_path(self.cache, f"{build_id}.sdist", None), stored.to_dict())
        return HostBuild(stored, self._gather_tools(sources.build_requirements(project)))

    def _resolve(
        self,
        what: str,
        app: str,
        wanted: list[Requirement],
        with_wheels: Sequence[str] = (),
        keep: Sequence[str] = (),
    ) -> tuple[Pinned, ...]:
        """Pins of everything but local wheels, with the hashes of the lock where there is one.

        Of the distributions in `with_wheels` only versions that have wheels are taken; `keep` holds for all.
        """
        told = self._told
        if wanted and told.complete and app not in {pin.name for pin in told.pins}:
            raise BadLock(f"{self._label()}: {app} itself is not in the lock; make the lock from {str(wanted[0])!r}")
        for _ in range(_ROUNDS):
            pins, via, direct = read_compiled(self._compile_all(what, app, wanted, with_wheels, keep))
            left = [direct_of(name, url, Path("/"), what) for name, url in direct.items() if name not in self._local]
            left += [told.direct[name] for name in pins if name in told.direct and name not in self._local]
            if not left:
                break
            for item in left:
                self._bring(item)
        else:
            raise WheelhouseError(f"{what}: what it needs from elsewhere than an index does not come to an end")
        self._via = via
        for name in self._local:
            pins.pop(name, None)
        if told.complete:
            extra = [str(canonicalize_name(Requirement(item).name)) for item in self.extra]
            locked = [*told.pins, *(Pinned(name, "", ()) for name in self._local)]
            for name, owner in outside(locked, via, app if app in self._local else None, extra).items():
                raise BadLock(
                    f"{self._label()}: {name} is needed by {owner} and is not in the lock; make the lock again"
                )
        for pin in told.pins:
            if pin.hashes and pin.name in pins and pins[pin.name].version == pin.version:
                pins[pin.name] = pin
        return tuple(pins[name] for name in sorted(pins))

    def _label(self) -> str:
        """The lock in messages."""
        return str(self.source.lock or f"{self._told.label} of {self.source.describe()}")

    def _compile_all(
        self, what: str, app: str, wanted: list[Requirement], with_wheels: Sequence[str], keep: Sequence[str]
    ) -> str:
        """What uv resolves the app, all that is declared beside it, and the server to."""
        told, extra = self._told, _exact(self.extra)
        paths = {name: sources.stand_in(Path(item.path), self._work) for name, item in self._local.items()}
        # An override takes the place of what asked for extras, so that it has to name them.
        extras = {name: f"[{','.join(sorted(self._extras[name]))}]" for name in paths if self._extras.get(name)}
        files = {
            name: f"{name}{extras.get(name, '')} @ file://{quote(str(path.absolute()))}" for name, path in paths.items()
        }
        lines = [*files.values(), *(str(item) for item in wanted)]
        for where, text in told.requirements:
            requirement = Requirement(text)
            name = str(canonicalize_name(requirement.name))
            if name in extra and not requirement.specifier.contains(extra[name], prereleases=True):
                self._notes[
                    f"{what}: {where}: {text} gives way to {name} {extra[name]}, which the plan needs; "
                    "settings.gunicorn_version decides which Gunicorn it is"
                ] = None
            elif name not in files:
                lines.append(text)
        options = [word for name in files for word in ("--no-emit-package", name)]
        options += [word for name in with_wheels for word in ("--only-binary", name)]
        pins = [pin.requirement() for pin in told.pins if pin.name not in files and pin.name not in extra]
        limits = [*pins, *told.constraints, *keep]
        overrides = [*(files[name] for name in files if name != app), *told.overrides]
        try:
            return self._compile(what, [*lines, *self.extra], options, limits, overrides)
        except ResolutionConflict as error:
            if not pins:
                raise
            message = f"{error}; {self._label()} says which versions: make it again after a change of what is required"
            raise ResolutionConflict(message, error.cause, error.detail) from None

    def _environment(self) -> dict[str, str]:
        """The variables by which uv and pip ask the same indexes."""
        return self._indexes.environment(os.environ)

    def _compile(
        self,
        what: str,
        lines: Sequence[str],
        options: Sequence[str] = (),
        limits: Sequence[str] = (),
        overrides: Sequence[str] = (),
    ) -> str:
        number = len(list(self._work.glob("inputs-*")))
        inputs = self._work / f"inputs-{number}.in"
        inputs.write_text("\n".join(lines) + "\n", encoding="utf-8")
        words: list[str | Path] = [*uv(), "pip", "compile", inputs, "--generate-hashes", "--no-header", "--quiet"]
        words += ["--python", sys.executable, "--no-python-downloads", "--annotation-style", "split"]
        words += ["--no-emit-index-url", "--no-emit-find-links"]
        words += ["--python-version", self.platform.python, "--python-platform", self.platform.uv_platform()]
        for option, texts in (("--constraint", limits), ("--override", overrides)):
            if texts:
                path = self._work / f"{option[2:]}-{number}.txt"
                path.write_text("\n".join(texts) + "\n", encoding="utf-8")
                words += [option, path]
        if self._indexes.no_index:
            words.append("--no-index")  # uv has no variable for it
        bound = self._indexes.project()
        if bound is not None:
            folder = self._work / f"bound-{number}"
            folder.mkdir()
            (folder / "pyproject.toml").write_text(bound, encoding="utf-8")
            words.append(folder / "pyproject.toml")
        done = run([*words, *options], _COMPILE_SECONDS, cwd=self._work, extra_env=self._environment())
        if done.status:
            raise resolution_error(what, done.stderr, self.platform.python, self._indexes.told())
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
        wheels = [cached.store(self.cache, path) for path in sorted(out.glob("*.whl"))]
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
        done = run(words, _DOWNLOAD_SECONDS, cwd=self._work, extra_env=self._environment())
        return done.text if done.status else None

    def _from_source(self, pin: Pinned) -> Wheel | HostBuild:
        """A distribution that has no wheel for the platform: built here when that gives a pure wheel."""
        what = f"{pin.name} {pin.version}"
        for digest in pin.hashes:
            known = cached.built(self.cache, digest, None) or cached.built(self.cache, digest, self.platform)
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
        return self._built(cached.store(self.cache, files[0]), what)

    def _built(self, sdist: Wheel, what: str) -> Wheel | HostBuild:
        """An sdist built here when that gives a pure wheel, else what a host needs to build it."""
        known = cached.built(self.cache, sdist.sha256, None) or cached.built(self.cache, sdist.sha256, self.platform)
        if known:
            return known
        out = Path(tempfile.mkdtemp(prefix="build-", dir=self._work))
        impure = self.cache / "built" / f"{sdist.sha256}.impure"
        try:
            wheel = None if impure.exists() else sources.build_wheel(Path(sdist.path), out, what, self._environment())
        except BuildFailed:
            wheel = None  # a compiler or headers are missing here; the host may have them
        if wheel and sources.check_wheel(wheel, what)[2]:
            kept = cached.store(self.cache, wheel)
            cached.write_json(cached.built_path(self.cache, sdist.sha256, None), kept.to_dict())
            return kept
        if wheel:
            impure.parent.mkdir(parents=True, exist_ok=True)
            impure.touch()
        return HostBuild(sdist, self._gather_tools(_requires_of(Path(sdist.path), self._work)))

    def _gather_tools(self, requirements: Sequence[str]) -> tuple[Wheel, ...]:
        """Wheels of what a build on the host needs."""
        pins, _, _ = read_compiled(self._compile("build requirements", list(requirements)))
        wheels, without = self._download(list(pins.values()))
        if without:
            raise WheelMissing(
                f"build requirement {without[0].name} {without[0].version} has no wheel for {self._where()}"
            )
        return tuple(wheels)

    def _tool(self, name: str) -> Wheel:
        pins, _, _ = read_compiled(self._compile(name, [name]))
        wheels, _ = self._download([pins[name]])
        if not wheels:
            raise WheelMissing(f"{name} has no wheel for {self._where()}")
        return wheels[0]

    def _where(self) -> str:
        return f"Python {self.platform.minor} on {self.platform.machine} with {self.platform.libc}"


def _exact(requirements: Iterable[str]) -> dict[str, str]:
    """Names to versions of those requirements that ask for exactly one."""
    found = {}
    for text in requirements:
        wanted = Requirement(text)
        for spec in wanted.specifier:
            if spec.operator == "==" and "*" not in spec.version:
                found[str(canonicalize_name(wanted.name))] = spec.version
    return found


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
