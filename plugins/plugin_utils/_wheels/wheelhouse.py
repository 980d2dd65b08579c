# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The wheels of an app for one platform, gathered on the controller and locked by hash.

An app and its server are resolved together (uv), for the Python and the C library of the hosts that will run them.
The result is kept under the digest of its inputs: later runs, and other hosts of the platform, read it back. What
exists only as source is built once: here when the wheel is pure, on a host of the platform when it is not.

The cache (`cache_dir`), all of it written by renaming finished files into place::

    wheels/SHA256/NAME.whl   every file, by content; picked/KEY.json: which of them a pin is on a platform
    sets/KEY.json            what a resolution came to; sets/KEY.lock is held while it is made
    built/KEY.json           which wheel a source was built into, and by whom when it was a host
    built/SHA256.impure      a source whose wheel is not pure: it is not tried here again
    built/KEY.sdist.json     the source of an app that only a host can build
    git/KEY                  mirrors of repositories
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from ansible_collections.headcount.gunicorn.plugins.module_utils._release import releases
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .._display.text import listed
from .._edge import Json
from .._source.project import PACKAGE
from .._source.serverconf import unread
from . import cache as cached
from . import indexes, kept, sources
from .archives import missing, pack, pack_tree
from .commits import Commits, known_set
from .conflicts import lines_about
from .contradictions import check_python, lacks
from .declared import Declared, declared, project_sources
from .fetch import Fetching, accept
from .files import shipped
from .gathered import HostBuild, Platform, Wheel, WheelSet
from .inspection import check_credentials, check_whole, other_way
from .lockfiles import Direct, direct_of
from .locks import Pinned, exact, outside, read_compiled
from .progress import tell
from .sources import Source, source_identity
from .tools import (
    BadLock,
    BadSource,
    BuildFailed,
    CannotBuild,
    ResolutionConflict,
    WheelhouseError,
    WheelMissing,
    file_lock,
)

_SCHEMA = 3
_ROUNDS = 20


def gather(
    source: Json | Source,
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
        cached.own(cache)
        return _Gathering(platform, cache, parsed, tuple(extra_requirements), Path(base_dir)).run(refresh)
    except OSError as error:
        where = error.filename or cache
        raise WheelhouseError(f"{parsed.describe()}: {where} on the controller: {error.strerror or error}") from None


def keep_built(
    cache_dir: str | Path, platform: Platform, sdist: Wheel, wheel: str | Path, origin: Mapping[str, object]
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
    accept(path, platform, what)
    kept = cached.store(cache, path)
    record = {**kept.to_dict(), "origin": {**origin, "platform": platform.key, "sdist": sdist.filename}}
    cached.write_json(cached.built_path(cache, sdist.sha256, None if pure else platform), record)
    return kept


@dataclass(frozen=True)
class _Asked:
    """What uv is asked to resolve: the app by its name, and what is `wanted` of it from an index; messages say `what`.

    Of the distributions in `with_wheels` only versions that have wheels are taken; the limits in `keep` hold for all.
    """

    what: str
    app: str
    wanted: tuple[Requirement, ...] = ()
    with_wheels: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()


@dataclass
class _Gathering(Fetching):
    """One call of `gather`.

    `_told`: what the project declares; `_local`: what was built or fetched beside the index, by name, the app itself
    among it; `_extras` are wanted of that; `_builds`: what of it only a host can build; `_via`: who asked for what;
    `_tree`: the archive of a project that is released as it is; `_form`: what the project is released as, and why;
    `_app_name`: its canonical name, if any; `_kept`: the file that versions are kept in; `_moved`: which became others;
    `_commits`: what is kept of branches.
    """

    source: Source
    extra: tuple[str, ...]
    base: Path
    _told: Declared = field(default_factory=Declared, init=False)
    _local: dict[str, Wheel] = field(default_factory=dict, init=False)
    _builds: dict[str, HostBuild] = field(default_factory=dict, init=False)
    _extras: dict[str, set[str]] = field(default_factory=dict, init=False)
    _via: dict[str, set[str]] = field(default_factory=dict, init=False)
    _notes: dict[str, None] = field(default_factory=dict, init=False)
    _tree: Wheel | None = field(default=None, init=False)
    _form: str = field(default="", init=False)
    _app_name: str = field(default="", init=False)
    _kept: Path = field(default=Path(), init=False)
    _moved: list[str] = field(default_factory=list, init=False)
    _commits: Commits = field(init=False)

    def __post_init__(self) -> None:
        self._commits = Commits(self.cache, self.source, self.base)

    def run(self, refresh: bool) -> WheelSet:
        source = sources.identity(self.source, self.base)
        key = cached.digest(_SCHEMA, source.text, sorted(self.extra), self.platform.python, self.platform.key)
        record = self.cache / "sets" / f"{key}.json"
        if not refresh and (known := known_set(record)) is not None:
            return known
        before = cached.mtime(record)
        with file_lock(record.with_suffix(".lock")):
            if (not refresh or cached.mtime(record) != before) and (known := known_set(record)) is not None:
                return known
            scratch = self.cache / "tmp"
            scratch.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=scratch) as work:
                self.work = Path(work)
                found = self._gather(source.text, source.commit)
            if not found.needs_host_build:
                cached.write_json(record, found.to_dict())
            moved = (*self._commits.moved, *self._moved)
            return replace(found, notes=(*found.notes, *moved))  # no later run tells what happened in this one

    def _gather(self, source_id: str, commit: str | None) -> WheelSet:
        what = self.source.describe()
        app = self._app(source_id, commit)
        name = self._app_name = str(canonicalize_name(app.name)) if app else ""
        asked = _Asked(what, name, (app,) if isinstance(app, Requirement) else ())
        first = self._resolve(asked)
        found, unbuilt = self.files(first)
        if unbuilt:
            found, unbuilt = self._with_wheels(asked, first, (found, unbuilt))
        build_list = [*self._builds.values(), *map(self.with_newer, unbuilt)]
        found += [wheel for local, wheel in self._local.items() if local not in self._builds]
        tool = self.tool("pip")
        wheels = tuple(sorted(found, key=lambda wheel: wheel.name))
        lock_pins = [releases.Pin(wheel.name, wheel.version, wheel.sha256) for wheel in wheels]
        lock_text = releases.render_lock(
            releases.Lock(
                self.platform.minor,
                self.platform.machine,
                releases.Pin(tool.name, tool.version, tool.sha256),
                tuple(lock_pins),
                self._tree.sha256 if self._tree else None,
            )
        )
        version = next((wheel.version for wheel in (*wheels, *self._local.values()) if wheel.name == name), "")
        release = "" if build_list else releases.release_id(lock_text)
        return WheelSet(
            release, source_id, name, version, self.platform, lock_text, wheels, tool, tuple(build_list),
            tuple(self._notes), self._tree, self._form, self._pinned_server(),
            str(self._kept) if self._open(wheels) else "",
            str(self._commits.path) if self._commits.used else "", self._commits.used,
        )  # fmt: skip

    def _with_wheels(
        self, asked: _Asked, first: Sequence[Pinned], had: tuple[list[Wheel], list[HostBuild]]
    ) -> tuple[list[Wheel], list[HostBuild]]:
        """`had` (wheels, and what only a host can build), or better: with older versions that have wheels.

        The newest version is not always one that has a wheel for an older Python. What the project asks for itself is
        never lowered for that, only what others need; what was lowered is told.
        """
        own = self._asked_for(asked.app)
        bare = [build.sdist.name for build in had[1] if build.sdist.name not in own]
        if not bare:
            return had
        versions = {pin.name: pin.version for pin in first}
        keep = [f"{name}=={versions[name]}" for name in sorted(own & set(versions))]
        via = self._via
        try:
            second = self._resolve(replace(asked, with_wheels=tuple(bare), keep=tuple(keep)))
            found = self.files(second)
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
                f"{asked.what}: there is no wheel of {listed(bare)} for {self.where()}, so that older versions were "
                f"taken: {listed(lowered, 12)}; ask for a version in the project to have it built on a host instead"
            ] = None
        return found

    def _asked_for(self, app: str) -> set[str]:
        """What the project itself asks for, in its own words or in a file beside it."""
        owners = {app, *self._local}
        extra = {str(canonicalize_name(Requirement(item).name)) for item in self.extra}
        own = {name for name, who in self._via.items() if who & owners}
        own |= {str(canonicalize_name(Requirement(text).name)) for _, text in self._told.requirements}
        if self._told.prefer_binary:
            own &= {pin.name for pin in self._told.pins}
        return own - extra - {app}

    def _app(self, source_id: str, commit: str | None) -> Wheel | Requirement | None:
        """The app as a wheel or a requirement, None of a tree; notes what is declared beside it, and brings what is no
        index's."""
        source, what = self.source, self.source.describe()
        app: Wheel | Requirement | None
        if source.kind in ("pip", "wheel"):
            lock = sources.lock_path(source, self.base)
            empty = self.work / "none"
            empty.mkdir()
            self._told = declared(empty, empty, self.platform.markers(), lock) if lock else Declared()
            self.indexes = indexes.asked(project=self._told.indexes)
            app = sources.requirement(source) if source.kind == "pip" else self._given(source)
        else:
            folder, top = self._folder(source, commit)
            lock = sources.resolve(source.lock, self.base) if source.lock else None
            form = sources.project_form(source, folder)
            self._form = form.words
            self._note(*(f"{what}: {words}" for words in unread(folder)))
            self._told = declared(folder, top, self.platform.markers(), lock, source.requirements, form.is_tree)
            self.indexes = indexes.asked(project=self._told.indexes)  # the build of the project asks them, too
            check_python(folder, self._told, self.platform.python)
            app = None if form.is_tree else self._built_app(source, source_id, folder)
            files = shipped(folder, source.include, what)
            self._note(*(files.notes if source.kind == "git" else ()))  # those of a folder are told without gathering
            if app is None:
                self._tree = self._packed(source, folder, files.names)
            else:
                self._note(check_whole(source, app, files.names))
        mixed = self.indexes.mixed(os.environ)
        self._note(f"{what}: {mixed}" if mixed else "")
        if isinstance(app, Wheel):
            self._extras.setdefault(app.name, set()).update(self._told.itself or ())
            self._local[app.name] = app
            self._bring_demanded(app, self._told.direct, what)
        for direct in self._told.wanted_direct:
            self._bring(direct)
        if app is None:
            self._bring_stated()
        return app

    def _packed(self, source: Source, folder: Path, names: Sequence[str]) -> Wheel:
        """The archive of a tree: the files of its folder that are shipped."""
        check_credentials(source, folder, names)
        out = Path(tempfile.mkdtemp(prefix="tree-", dir=self.work))
        return cached.store(self.cache, pack_tree(folder, names, out), "tree", "0")

    def _bring_stated(self) -> None:
        """What a tree asks for that its workspace or its metadata take from elsewhere than an index."""
        for _, text in self._told.requirements:
            wanted = Requirement(text)
            name = canonicalize_name(wanted.name)
            self._extras.setdefault(name, set()).update(wanted.extras)
            if name in self._told.direct:
                self._bring(self._told.direct[name])

    def _note(self, *notes: str) -> None:
        """Keep what a person should know, once; "" is nothing."""
        self._notes.update(dict.fromkeys(note for note in notes if note))

    def _given(self, source: Source) -> Wheel:
        path = sources.wheel_file(source, self.base)
        accept(path, self.platform, source.describe())
        return cached.store(self.cache, path)

    def _folder(self, source: Source, commit: str | None) -> tuple[Path, Path]:
        """The folder of a project, and the one that everything of its source is in."""
        if source.kind == "path":
            root = sources.resolve(source.value, self.base)
            return sources.project_folder(source, root), Path(root.anchor)
        target = Path(tempfile.mkdtemp(prefix="clone-", dir=self.work)) / "checkout"
        sources.checkout(source, commit or "", self.cache, target)
        return sources.project_folder(source, target), target

    def _built_app(self, source: Source, source_id: str, folder: Path) -> Wheel:
        try:
            return self._project(source, source_id, folder)
        except BuildFailed as error:
            raise BuildFailed(f"{error}; {other_way(folder)}") from None

    def _project(self, source: Source, source_id: str, folder: Path) -> Wheel:
        """The wheel of a project; noted for a host to build when it is not pure."""
        build_id = cached.digest("app", source_id)
        with file_lock(self.cache / "built" / f"{build_id}.lock"):
            known = cached.built_of_app(self.cache, build_id, self.platform)
            if known is not None:
                return known
            project = folder
            if source.kind == "path":
                project = sources.copy_beside(folder, Path(tempfile.mkdtemp(prefix="project-", dir=self.work)), source)
            out = Path(tempfile.mkdtemp(prefix="app-", dir=self.work))
            tell(f"building a wheel of {source.describe()}")
            made = sources.build_wheel(project, out, source.describe(), self.environment())
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
            inside = direct.subdirectory or None
            source = Source(direct.kind, direct.value, direct.revision or None, subdirectory=inside, form=PACKAGE)
            try:
                with self._commits.settled(direct, source) if direct.kind == "git" else nullcontext() as commit:
                    known = sources.identity(replace(source, version=commit), Path("/"))
                    folder, top = self._folder(source, known.commit)
                    wheel = self._project(source, known.text, folder)
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
            known = self.built_before(direct.hashes)
            if known:
                return known
            path = self.fetched(direct)
        elif not path.is_file():
            raise BadSource(f"{direct.describe()}: there is no such file or folder on the controller")
        if direct.hashes and sources.file_digest(path) not in direct.hashes:
            raise BadLock(
                f"{direct.describe()}: it is not the file that was locked: its hash differs; make the lock again"
            )
        if path.name.endswith(".whl"):
            sources.check_wheel(path, direct.describe())
            accept(path, self.platform, direct.describe())
            return cached.store(self.cache, path)
        made = self.built(cached.store(self.cache, path), direct.describe())
        if isinstance(made, HostBuild):
            raise BuildFailed(
                f"{direct.describe()}: it exists only as source and is not pure Python: give a wheel, or a repository"
            )
        return made

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
            out = Path(tempfile.mkdtemp(prefix="sdist-", dir=self.work))
            stored = cached.store(self.cache, sources.build_sdist(project, out, what, self.environment()))
            cached.write_json(cached.built_path(self.cache, f"{build_id}.sdist", None), stored.to_dict())
        return self.on_host(stored, what)

    def _resolve(self, asked: _Asked) -> tuple[Pinned, ...]:
        """Pins of everything but local wheels, with the hashes of the lock, if any; notes who asked for each.

        Raises BadLock when a lock that has to be complete lacks something, and whatever uv and the sources raise.
        """
        told = self._told
        if asked.wanted and told.complete and asked.app not in {pin.name for pin in told.pins}:
            raise BadLock(
                f"{self._label()}: {asked.app} itself is not in the lock; make the lock from {str(asked.wanted[0])!r}"
            )
        tell("asking which versions of its dependencies fit together")
        pins, self._via = self._with_all_brought(asked)
        if told.complete:
            self._check_complete(asked.app)
        else:
            self._moved += kept.keep(self._kept, pins.values())
        locked = {(pin.name, pin.version): pin for pin in told.pins if pin.hashes}
        return tuple(
            locked.get((name, pin.version), pin) for name, pin in sorted(pins.items()) if name not in self._local
        )

    def _with_all_brought(self, asked: _Asked) -> tuple[dict[str, Pinned], dict[str, set[str]]]:
        """Pins and who asked for them, once everything is local that comes from elsewhere than an index.

        What is brought may ask for more, so that uv is asked again until nothing is left to bring.
        """
        declared_direct = self._told.direct
        for _ in range(_ROUNDS):
            pins, via, direct = read_compiled(self._compile_all(asked))
            left = [
                direct_of(name, url, Path("/"), asked.what) for name, url in direct.items() if name not in self._local
            ]
            left += [declared_direct[name] for name in pins if name in declared_direct and name not in self._local]
            if not left:
                return pins, via
            for item in left:
                self._bring(item)
        raise WheelhouseError(f"{asked.what}: what it needs from elsewhere than an index does not come to an end")

    def _check_complete(self, app: str) -> None:
        """Raise BadLock when the app needs what its lock does not hold."""
        extra = [str(canonicalize_name(Requirement(item).name)) for item in self.extra]
        locked = [*self._told.pins, *(Pinned(name, "", ()) for name in self._local)]
        for name, owner in outside(locked, self._via, app if app in self._local else None, extra).items():
            raise lacks(self._label(), name, owner, self.platform.python)

    def _gives_way(self, what: str, where: str, text: str, extra: Mapping[str, str]) -> bool:
        """Whether a declared version of the server is another one than the plan's, which is then taken and told."""
        wanted = Requirement(text)
        name = str(canonicalize_name(wanted.name))
        if name not in extra or wanted.specifier.contains(extra[name], prereleases=True):
            return False
        if not any(f": {text} gives way" in note for note in self._notes):
            self._notes[
                f"{what}: {where}: {text} gives way to {name} {extra[name]}, which the plan needs; "
                "settings.gunicorn_version decides which Gunicorn it is"
            ] = None
        return True

    def _open(self, wheels: Iterable[Wheel]) -> set[str]:
        """Whose versions nothing in the project says, and no plan."""
        told = {pin.name for pin in self._told.pins} | set(exact(text for _, text in self._own_demands()))
        return {wheel.name for wheel in wheels} - told - set(self._local) - set(exact(self.extra))

    def _pinned_server(self) -> str:
        """The version of Gunicorn that the project itself pins; "" where it pins none."""
        texts = [*(pin.requirement() for pin in self._told.pins), *(text for _, text in self._own_demands())]
        return exact(texts).get("gunicorn", "")

    def _own_demands(self) -> list[tuple[str, str]]:
        """What the wheel of the project asks for on the platform, and in which file that is written."""
        app = self._local.get(self._app_name)
        texts = sources.demands(Path(app.path), self.platform.markers()) if app else []
        return [("the project's metadata", text) for text in texts]

    def _replaced_servers(self, what: str, extra: Mapping[str, str]) -> list[str]:
        """The server's own requirements, where the metadata of the project asks for other versions of them."""
        given = {
            canonicalize_name(Requirement(text).name)
            for where, text in self._own_demands()
            if self._gives_way(what, where, text, extra)
        }
        return [text for text in self.extra if canonicalize_name(Requirement(text).name) in given]

    def _label(self) -> str:
        """The lock in messages."""
        return str(self.source.lock or f"{self._told.label} of {self.source.describe()}")

    def _compile_all(self, asked: _Asked) -> str:
        """What uv resolves the app, all that is declared beside it, and the server to."""
        told, extra = self._told, exact(self.extra)
        files = self._local_files()
        beside = self._declared_beside(asked.what, files, extra)
        lines = [*files.values(), *map(str, asked.wanted), *beside, *self.extra]
        options = [word for name in files for word in ("--no-emit-package", name)]
        options += [word for name in (*told.only_binary, *asked.with_wheels) for word in ("--only-binary", name)]
        limits = [*self._limits(asked.what, files, extra), *asked.keep]
        overrides = [*(line for name, line in files.items() if name != asked.app), *told.overrides]
        overrides += [*self._replaced_servers(asked.what, extra), *told.absent]
        self._kept = self._kept_path(asked, [*beside, *limits, *told.overrides, *told.only_binary])
        try:
            return self.compile(asked.what, lines, options, limits, overrides, kept.read(self._kept))
        except CannotBuild as said:
            raise CannotBuild(f"{said}{lines_about(said.name, told.requirements)}", said.name) from None
        except ResolutionConflict as said:
            error = self.without_wheel(asked.what, said)
            raise ResolutionConflict(self._conflict(error), error.cause, error.detail) from None

    def _limits(self, what: str, files: Mapping[str, str], extra: Mapping[str, str]) -> list[str]:
        """What the project pins and limits of what comes from an index, without what gives way to the plan's server."""
        pins = [pin for pin in self._told.pins if not self._gives_way(what, self._told.label, pin.requirement(), extra)]
        texts = [pin.requirement() for pin in pins if pin.name not in files and pin.name not in extra]
        others = self._told.constraints
        return [*texts, *(text for text in others if not self._gives_way(what, self._told.label, text, extra))]

    def _conflict(self, error: ResolutionConflict) -> str:
        """A conflict with the lines of the project's files that it is about."""
        told, cause = self._told, error.cause.lower()
        message = f"{error}{lines_about(cause, told.requirements)}"
        pinned = told.made and any(pin.name not in exact(self.extra) for pin in told.pins)
        if pinned and "the host has python" not in cause:
            message += f"; {self._label()} says which versions: make it again after a change of what is required"
        return message

    def hashed_by(self, name: str) -> tuple[str, tuple[str, ...]]:
        found = {pin.name: (self._label(), pin.files) for pin in self._told.pins if pin.hashes}
        return found.get(name, ("", ()))

    def _kept_path(self, asked: _Asked, told: Sequence[str]) -> Path:
        """Where the versions that nothing says are kept: the same for the same demands, whatever the code is."""
        local = {name: sources.requires(Path(wheel.path)) for name, wheel in sorted(self._local.items())}
        words = [*map(str, asked.wanted), *asked.with_wheels, *asked.keep, *told]
        return kept.path_of(self.cache, local, words, self.platform)

    def _local_files(self) -> dict[str, str]:
        """What is local, by name, as the line that has uv read it from its file."""
        lines = {}
        for name, wheel in self._local.items():
            # An override takes the place of what asked for extras, so that it has to name them.
            extras = f"[{','.join(sorted(self._extras[name]))}]" if self._extras.get(name) else ""
            path = sources.stand_in(Path(wheel.path), self.work)
            lines[name] = f"{name}{extras} @ file://{quote(str(path.absolute()))}"
        return lines

    def _declared_beside(self, what: str, files: Mapping[str, str], extra: Mapping[str, str]) -> list[str]:
        """What the project declares beside the app that is not local and does not give way to the plan's server."""
        return [
            text
            for where, text in self._told.requirements
            if canonicalize_name(Requirement(text).name) not in files and not self._gives_way(what, where, text, extra)
        ]


__all__ = [
    "BadLock",
    "BadSource",
    "BuildFailed",
    "HostBuild",
    "Platform",
    "ResolutionConflict",
    "Source",
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
