# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Asking uv for versions and pip for files, and building here what exists only as source and is pure Python."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote

from packaging.utils import canonicalize_name, parse_wheel_filename

from .._display.text import listed, plural
from . import cache as cached
from . import sources
from .buildneeds import build_requirements
from .conflicts import conflict_cause, is_absent, refuses, resolution_error
from .contradictions import remade
from .gathered import HostBuild, Platform, Wheel
from .indexes import FIRST, Indexes
from .lockfiles import Direct
from .locks import Pinned, read_compiled
from .progress import tell
from .tools import (
    BadLock,
    BadSource,
    BuildFailed,
    Done,
    ResolutionConflict,
    WheelhouseError,
    WheelMissing,
    essence,
    no_index,
    pip,
    raise_for_network,
    run,
    uv,
)

_VERSION = re.compile(r"^[\w.-]+==[^\s;\\]+", re.MULTILINE)
_COMPILE_SECONDS = 300.0
_PYTHONS = frozenset({"3.9", "3.10", "3.11", "3.12", "3.13", "3.14"})
"""Those that hosts have."""
DOWNLOAD_SECONDS = 1200.0


@dataclass
class Fetching:
    """What uv and pip are asked for one platform; `work` is a folder that goes with it."""

    platform: Platform
    cache: Path
    work: Path = field(default=Path(), init=False)
    indexes: Indexes = field(default_factory=Indexes, init=False)

    def environment(self) -> dict[str, str]:
        """The variables by which uv and pip ask the same indexes."""
        return self.indexes.environment(os.environ)

    def hashed_by(self, name: str) -> tuple[str, tuple[str, ...]]:
        """The lock that has the hashes of a distribution ("" where an index says them), and the files that it names."""
        return "", ()

    def _pip_error(self, said: str) -> WheelhouseError:
        """The error for what pip said when it could not bring the files of a lock."""
        raise_for_network("gathering wheels", said)
        if "DO NOT MATCH THE HASHES" not in said:
            return WheelhouseError(f"gathering wheels: pip failed: {essence(said)}")
        file_name = r"(?: from (?:\S*/)?([^\s/#]+\.(?:whl|gz|zip|bz2|tgz)))?"
        found = re.search(rf"DO NOT MATCH THE HASHES.*?\n\s+(\S+){file_name}", said, re.DOTALL)
        what, file = (found[1], unquote(found[2] or "")) if found else ("a file", "")
        lock, named = self.hashed_by(str(canonicalize_name(what.partition("==")[0])))
        if file and named and file not in named:
            return BadLock(
                f"{what} ({file}) is what {self.where()} would take, and {lock} names no such file, but "
                f"{listed(named, 4)}: it was made for other Pythons or machines, or before that file was there; "
                f"{remade(lock)}, or name a Python that it has a file for (headcount_python; --python of new-app)"
            )
        again = f"{remade(lock)} where the file is right" if lock else "find out which of the indexes has the right one"
        return BadLock(
            f"{what}{f' ({file})' if file else ''} is not the file that {lock or 'the index'} names: its hash differs; "
            f"{again}, or find out who changed the file"
        )

    def files(self, pins: Sequence[Pinned]) -> tuple[list[Wheel], list[HostBuild]]:
        """The wheels of `pins`, and what only a host can build."""
        found, without = self._download(pins)
        made = [self.from_source(pin) for pin in without]
        wheels = [item for item in made if isinstance(item, Wheel)]
        return found + wheels, [item for item in made if isinstance(item, HostBuild)]

    def compile(
        self,
        what: str,
        lines: Sequence[str],
        options: Sequence[str] = (),
        limits: Sequence[str] = (),
        overrides: Sequence[str] = (),
        preferred: str = "",
    ) -> str:
        """What uv resolves requirements to, as it writes it. Raises ResolutionConflict and other WheelhouseErrors.

        `limits` hold for what is needed, whoever needs it; `overrides` take the place of what is asked for; `preferred`
        is a requirements file with the versions that are taken where they fit.
        """
        number = len(list(self.work.glob("inputs-*")))
        inputs = self.work / f"inputs-{number}.in"
        inputs.write_text("\n".join(lines) + "\n", encoding="utf-8")
        words: list[str | Path] = [*uv(), "pip", "compile", inputs, "--generate-hashes", "--no-header", "--quiet"]
        words += ["--python", sys.executable, "--no-python-downloads", "--annotation-style", "split"]
        words += ["--no-emit-index-url", "--no-emit-find-links"]
        words += ["--python-version", self.platform.python, "--python-platform", self.platform.uv_platform()]
        for option, texts in (("--constraint", limits), ("--override", overrides)):
            if texts:
                path = self.work / f"{option[2:]}-{number}.txt"
                path.write_text("\n".join(texts) + "\n", encoding="utf-8")
                words += [option, path]
        words += no_index(self.environment())
        bound = self.indexes.project()
        if bound is not None:
            folder = self.work / f"bound-{number}"
            folder.mkdir()
            (folder / "pyproject.toml").write_text(bound, encoding="utf-8")
            words.append(folder / "pyproject.toml")
        done = self._preferring(preferred, number, [*words, *options]) if preferred else self._run([*words, *options])
        if done.status:
            said = done.stderr + self._refused([*words, *options], done.stderr)
            raise resolution_error(what, said, self.platform.python, self.indexes.told())
        return done.stdout

    def _run(self, words: Sequence[str | Path]) -> Done:
        return run(words, _COMPILE_SECONDS, cwd=self.work, extra_env=self.environment())

    def _preferring(self, preferred: str, number: int, words: Sequence[str | Path]) -> Done:
        """uv prefers the versions of its output file. Of a version that it prefers it looks at the first index alone
        that has it, be its files for other Pythons: where that fails, the same versions are asked for as limits."""
        known = self.work / f"preferred-{number}.txt"
        known.write_text(preferred, encoding="utf-8")
        done = self._run([*words, "--output-file", known])
        if not done.status:
            return done._replace(stdout=done.stdout or known.read_text(encoding="utf-8"))
        limits = self.work / f"kept-{number}.txt"
        limits.write_text("\n".join(_VERSION.findall(preferred)) + "\n", encoding="utf-8")
        again = self._run([*words, "--constraint", limits])
        return done if again.status else again

    def _refused(self, words: Sequence[str | Path], said: str) -> str:
        """What uv says of an index that lets nobody in, asked once more: it passes over such a one without a word
        where all indexes are asked for the best version."""
        asked = self.environment()
        strategy = asked.get("UV_INDEX_STRATEGY") or os.environ.get("UV_INDEX_STRATEGY", FIRST)
        absent = "No solution found" in said and is_absent(conflict_cause(said, self.platform.python))
        if not absent or refuses(said) or strategy == FIRST:
            return ""
        more = {**asked, "UV_INDEX_STRATEGY": FIRST}
        done = run(words, _COMPILE_SECONDS, cwd=self.work, extra_env=more)
        return f"\nhint: {done.stderr.partition('hint: ')[2]}" if refuses(done.stderr) else ""

    def fetched(self, direct: Direct) -> Path:
        """The file at the URL of a distribution that is no index's; one whose hash is known is fetched once."""
        known = cached.by_hash(self.cache, direct.hashes)
        if known is not None:
            return known
        out = Path(tempfile.mkdtemp(prefix="url-", dir=self.work))
        words: list[str | Path] = [*pip(), "download", "--no-deps", "--progress-bar", "off", "--dest", out]
        done = run([*words, direct.value], DOWNLOAD_SECONDS, cwd=self.work, extra_env=self.environment())
        files = [item for item in out.iterdir() if item.is_file()]
        if not files:
            raise_for_network(direct.describe(), done.text)
            raise BadSource(f"{direct.describe()}: it cannot be fetched: {essence(done.text, 1)}")
        return files[0]

    def _download(self, pins: Sequence[Pinned]) -> tuple[list[Wheel], list[Pinned]]:
        """Wheels of `pins` for the platform, and the pins of which there is none. What was fetched before is there."""
        known = {pin.name: cached.picked(self.cache, pin, self.platform) for pin in pins}
        had = [wheel for wheel in known.values() if wheel is not None]
        wheels, without = self._fetched([pin for pin in pins if known[pin.name] is None])
        return had + wheels, without

    def _fetched(self, pins: Sequence[Pinned]) -> tuple[list[Wheel], list[Pinned]]:
        out = self.work / f"wheels-{len(list(self.work.glob('wheels-*')))}"
        out.mkdir()
        left = {pin.name: pin for pin in pins}
        if len(left) > 1:
            tell(f"fetching {plural(len(left), 'wheel')}")
        without: list[Pinned] = []
        while left:
            done = self._pip_download(list(left.values()), out, binary=True)
            if done is None:
                break
            found = re.search(r"No matching distribution found for ([A-Za-z0-9._-]+)", done)
            name = str(canonicalize_name(found[1])) if found else ""
            if name not in left:
                raise self._pip_error(done)
            without.append(left.pop(name))
        wheels = [cached.store(self.cache, path) for path in sorted(out.glob("*.whl"))]
        absent = sorted(set(left) - {wheel.name for wheel in wheels})
        if absent:
            raise WheelhouseError(f"gathering wheels: pip brought nothing for {', '.join(absent)}")
        self._keep_picked(wheels, left)
        return wheels, without

    def _keep_picked(self, wheels: Sequence[Wheel], pins: Mapping[str, Pinned]) -> None:
        """Note which file each of `pins` is on the platform."""
        for wheel in wheels:
            if wheel.name in pins:
                cached.write_json(cached.picked_path(self.cache, pins[wheel.name], self.platform), wheel.to_dict())

    def _pip_download(self, pins: Sequence[Pinned], out: Path, binary: bool) -> str | None:
        """None, or what pip said when it failed."""
        listed = self.work / "download.txt"
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
        done = run(words, DOWNLOAD_SECONDS, cwd=self.work, extra_env=self.environment())
        return done.text if done.status else None

    def from_source(self, pin: Pinned) -> Wheel | HostBuild:
        """A distribution that has no wheel for the platform: built here when that gives a pure wheel."""
        what = f"{pin.name} {pin.version}"
        known = self.built_before(pin.hashes)
        if known:
            return known
        out = Path(tempfile.mkdtemp(prefix="source-", dir=self.work))
        said = self._pip_download([pin], out, binary=False) or ""
        files = [path for path in out.iterdir() if path.is_file()]
        if not files:
            raise_for_network(what, said)
            if "DO NOT MATCH THE HASHES" in said:
                raise self._pip_error(said)
            if "No matching distribution" in said:
                raise WheelMissing(
                    f"{what}: neither a wheel for {self.where()} nor a source; allow another version of it"
                    f"{self._newer_words(pin)}{python_words(self._pythons(pin))}"
                )
            raise BuildFailed(
                f"{what}: there is no wheel for {self.where()}, and its source cannot be prepared on the controller "
                f"({essence(said)}); allow another version of it{self._newer_words(pin)}, or build a wheel of it and "
                "put it where pip finds it"
            )
        return self.built(cached.store(self.cache, files[0]), what)

    def with_newer(self, build: HostBuild) -> HostBuild:
        """What a host has to build, with the oldest later version of it that has a wheel."""
        name = str(canonicalize_name(build.sdist.name))
        pin = Pinned(name, build.sdist.version, ())
        return replace(build, with_wheel=self._newer(pin), pythons=self._pythons(pin))

    def _newer(self, pin: Pinned) -> str:
        """The oldest version after that of a pin that has a wheel for the platform; "" where there is none."""
        options = ["--only-binary", pin.name, "--no-deps", "--resolution", "lowest"]
        try:
            found = read_compiled(self.compile(pin.name, [f"{pin.name}>{pin.version}"], options))
        except WheelhouseError:
            return ""
        return found.pins[pin.name].version if pin.name in found.pins else ""

    def _pythons(self, pin: Pinned) -> tuple[str, ...]:
        """The other Pythons that the version of a pin has a wheel for."""
        options = ["--only-binary", pin.name, "--no-deps"]
        return tuple(
            python
            for python in sorted(_PYTHONS - {self.platform.minor}, key=lambda text: int(text.partition(".")[2]))
            if self._resolves(f"{pin.name}=={pin.version}", python, options)
        )

    def _resolves(self, wanted: str, python: str, options: Sequence[str]) -> bool:
        other = Fetching(replace(self.platform, python=python), self.cache)
        other.work, other.indexes = self.work, self.indexes
        try:
            return bool(read_compiled(other.compile(wanted, [wanted], options)).pins)
        except WheelhouseError:
            return False

    def without_wheel(self, what: str, error: ResolutionConflict) -> ResolutionConflict:
        """The error in plain words where it is that a version has neither a wheel for the platform nor a source."""
        found = re.search(r"Because ([\w.-]+)==(\S+) has no wheels with a matching", " ".join(error.detail.split()))
        if not found:
            return error
        pin = Pinned(str(canonicalize_name(found[1])), found[2], ())
        cause = (
            f"{found[1]}=={found[2]} has neither a wheel for {self.where()} nor a source; allow another version of it"
            f"{self._newer_words(pin)}{python_words(self._pythons(pin))}"
        )
        return ResolutionConflict(f"{what}: {cause}", cause, error.detail)

    def _newer_words(self, pin: Pinned) -> str:
        newer = self._newer(pin)
        return f" ({newer} is the oldest after it that has a wheel)" if newer else ""

    def built_before(self, digests: Sequence[str]) -> Wheel | None:
        """The wheel that one of the sources with these sha256 was built into before, for the platform."""
        found = (cached.built(self.cache, digest, on) for digest in digests for on in (None, self.platform))
        return next(filter(None, found), None)

    def built(self, sdist: Wheel, what: str) -> Wheel | HostBuild:
        """An sdist built here when that gives a pure wheel, else what a host needs to build it."""
        known = self.built_before((sdist.sha256,))
        if known:
            return known
        out = Path(tempfile.mkdtemp(prefix="build-", dir=self.work))
        impure = self.cache / "built" / f"{sdist.sha256}.impure"
        tell(f"building a wheel of {what}")
        try:
            wheel = None if impure.exists() else sources.build_wheel(Path(sdist.path), out, what, self.environment())
        except BuildFailed:
            wheel = None  # a compiler or headers are missing here; the host may have them
        if wheel and sources.check_wheel(wheel, what)[2]:
            kept = cached.store(self.cache, wheel)
            cached.write_json(cached.built_path(self.cache, sdist.sha256, None), kept.to_dict())
            return kept
        if wheel:
            impure.parent.mkdir(parents=True, exist_ok=True)
            impure.touch()
        return self.on_host(sdist, what)

    def on_host(self, sdist: Wheel, what: str) -> HostBuild:
        """An sdist for a host to build, and what its build needs."""
        wanted = build_requirements(Path(sdist.path), self.work, what, self.environment())
        return HostBuild(sdist, self.tools(wanted))

    def tools(self, requirements: Sequence[str]) -> tuple[Wheel, ...]:
        """Wheels of what a build on the host needs."""
        pins, _, _ = read_compiled(self.compile("build requirements", list(requirements)))
        wheels, without = self._download(list(pins.values()))
        if without:
            raise WheelMissing(
                f"build requirement {without[0].name} {without[0].version} has no wheel for {self.where()}"
            )
        return tuple(wheels)

    def tool(self, name: str) -> Wheel:
        pins, _, _ = read_compiled(self.compile(name, [name]))
        wheels, _ = self._download([pins[name]])
        if not wheels:
            raise WheelMissing(f"{name} has no wheel for {self.where()}")
        return wheels[0]

    def where(self) -> str:
        return f"Python {self.platform.minor} on {self.platform.machine} with {self.platform.libc}"


def python_words(pythons: Sequence[str]) -> str:
    """What another Python would do for a version that lacks a wheel for the host's."""
    return f", or have headcount_python name Python {listed(pythons, 6)}, which it has a wheel for" if pythons else ""


def accept(path: Path, platform: Platform, what: str) -> None:
    """Raise WheelMissing when a wheel is not for the platform."""
    if not platform.accepts(parse_wheel_filename(path.name)[3]):
        raise WheelMissing(
            f"{what}: {path.name} is not for Python {platform.minor} on {platform.machine} with {platform.libc}; "
            "build it for that platform, or give a source that can be built"
        )


__all__ = ["DOWNLOAD_SECONDS", "Fetching", "accept"]
