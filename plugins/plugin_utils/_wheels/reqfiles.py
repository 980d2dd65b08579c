# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Requirements files, as pip reads them: a line is a pin, a requirement, a build, an option that holds, or an error."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from .._source.requirements import Stated
from . import indexes
from .lockfiles import Direct, direct_of
from .locks import Pinned, applies, logical_lines, without_hashes
from .tools import BadLock

_ARCHIVES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tgz")
_QUIET = ("--use-pep517", "--no-build-isolation")  # so it is done in any case, or what is built is the same
CHOOSE = "or say which one counts with source.requirements or source.lock"
OWN = "the project's metadata"
"""What a project asks for in its pyproject.toml, setup.cfg or setup.py, in messages."""
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CODING: Final = re.compile(rb"coding[:=]\s*([-\w.]+)")


def decoded(data: bytes, errors: str = "strict") -> str:
    """The text of a requirements file as pip reads it: by the mark that it begins with (Windows' PowerShell writes
    UTF-16), by a comment in its first lines, or as UTF-8."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode("utf-8-sig" if encoding == "utf-8" else encoding, errors)
    comments = b"\n".join(line for line in data.split(b"\n", 2)[:2] if line.startswith(b"#"))
    said = _CODING.search(comments)
    try:
        return data.decode(said[1].decode("ascii") if said else "utf-8", errors)
    except LookupError:  # an encoding that nobody knows
        return data.decode("utf-8", errors)


_MADE: Final = re.compile(
    r"^#.*(auto-?generated|pip-compile|uv (pip compile|export|pip freeze)|poetry export|pdm export|pip freeze)",
    re.MULTILINE | re.IGNORECASE,
)
"""What a program that writes a requirements file says in it."""


@dataclass(frozen=True)
class Declared:
    """`requirements` are wanted beside the app, with the place that says so; `pins` hold for what is wanted, with the
    hashes of the files that are allowed (none: any); with `complete` nothing else may be needed.

    `direct` are distributions by name that come from elsewhere than an index; `wanted_direct` of them are wanted beside
    the app. `itself`: the extras with which the project itself is named (`-e .[extra]`); None where it is not. `label`
    names the lock in messages. Of the packages in `only_binary` (":all:": of all) nothing but wheels is taken; with
    `prefer_binary` an older version that has a wheel goes before a newer one that has none. `aside`: names that a lock
    has for development alone. `absent`: overrides that drop what dependencies ask for and is none, as it is the project
    itself, whose files are there. `made`: a program wrote the versions, and not a person. `python`: the project's own
    requires-python.
    """

    label: str = ""
    requirements: tuple[tuple[str, str], ...] = ()
    pins: tuple[Pinned, ...] = ()
    complete: bool = False
    direct: Mapping[str, Direct] = field(default_factory=dict)
    wanted_direct: tuple[Direct, ...] = ()
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    indexes: indexes.Indexes = field(default_factory=indexes.Indexes)
    itself: tuple[str, ...] | None = None
    only_binary: tuple[str, ...] = ()
    prefer_binary: bool = False
    aside: frozenset[str] = frozenset()
    absent: tuple[str, ...] = ()
    made: bool = False
    python: str = ""


@dataclass
class Reading:
    """A requirements file and those that it includes, while they are read.

    `hashes_required`: the place that says --require-hashes; "" where none does. `hashless`: what it would be about.
    """

    folder: Path
    environment: Mapping[str, str]
    requirements: list[tuple[str, str]] = field(default_factory=list)
    pins: dict[str, Pinned] = field(default_factory=dict)
    constraints: list[str] = field(default_factory=list)
    direct: list[Direct] = field(default_factory=list)
    indexes: indexes.Indexes = field(default_factory=indexes.Indexes)
    seen: set[Path] = field(default_factory=set)
    unhashed: int = 0
    itself: tuple[str, ...] | None = None
    hashes_required: str = ""
    hashless: list[tuple[str, str, str]] = field(default_factory=list)
    only_binary: tuple[str, ...] = ()
    prefer_binary: bool = False
    made: bool = False

    def read(self, path: Path, constrain: bool = False, asked: str = "") -> None:
        """Take in a file; with `constrain` its lines hold for what is wanted, and want nothing themselves. `asked`: the
        place that names it."""
        if path.resolve() in self.seen:
            return
        self.seen.add(path.resolve())
        label = os.path.relpath(path, self.folder)
        try:
            text = decoded(path.read_bytes())
        except OSError as error:
            words = f"cannot be read: {error.strerror or error}"
            if not asked:
                raise BadLock(f"{label} {words}") from None
            raise BadLock(
                f"{asked} names {label}, which {words}: correct the path, which begins in the folder of that file, or "
                "add what it names"
            ) from None
        except UnicodeDecodeError as error:
            raise BadLock(
                f"{label} cannot be read: {error}; fix: save it as UTF-8, or say in its first line what it is: "
                "# -*- coding: latin-1 -*-"
            ) from None
        self.made = self.made or bool(_MADE.search(text))
        for number, raw in logical_lines(text):
            where = f"{label}, line {number}"
            indexes.check_options(raw, where)
            line = indexes.expand(raw, os.environ, where)
            if line.startswith("-"):
                self._option(path, line, where, constrain)
            else:
                self._line(path, line, where, constrain)

    def take_stated(self, stated: Sequence[Stated], folder: Path) -> None:
        """Take in requirements that are written elsewhere than in a requirements file."""
        for where, text in stated:
            self._line(folder / "requirements", text, where, constrain=False)

    def result(self, label: str) -> Declared:
        """All that was read; `label` names it in messages. Raises BadLock where a hash is required and not there."""
        self._check_hashes()
        return Declared(
            label=label,
            requirements=tuple(self.requirements),
            pins=tuple(self.pins.values()),
            complete=bool(self.pins) and not self.unhashed and not self.direct,
            wanted_direct=tuple(self.direct),
            direct={item.name: item for item in self.direct if item.name},
            constraints=tuple(self.constraints),
            indexes=self.indexes,
            itself=self.itself,
            only_binary=self.only_binary,
            prefer_binary=self.prefer_binary,
            made=self.made or bool(self.pins and all(pin.hashes for pin in self.pins.values())),
        )

    def _check_hashes(self) -> None:
        """A hash may also be in another line of the same version, as in a file of constraints."""
        if not self.hashes_required:
            return
        for where, text, name in self.hashless:
            if name and name in self.pins and self.pins[name].hashes:
                continue
            how = (
                "write its version with == and the sha256 of its files there (`uv pip compile --generate-hashes` does)"
            )
            raise BadLock(
                f"{where}: {text} has no hash, and {self.hashes_required} has --require-hashes: "
                f"{how if name else 'name a wheel or an archive by its URL with #sha256=...'}, or remove that option"
            )

    def _option(self, path: Path, line: str, where: str, constrain: bool) -> None:
        found = re.match(r"(-[a-z](?=\S)|--?[a-z-]+)[=\s]*(.*)", line)
        option, value = (found[1], found[2].strip()) if found else (line, "")
        if option in ("-r", "--requirement", "-c", "--constraint"):
            self.read(path.parent / value, constrain or option in ("-c", "--constraint"), where)
        elif option in ("-e", "--editable"):
            self._line(path, value, where, constrain)
        elif option in ("-i", "--index-url"):
            self.indexes = replace(self.indexes, default=indexes.Index(value, where))
        elif option == "--extra-index-url":
            index = indexes.Index(value, where, as_pip=True)
            self.indexes = replace(self.indexes, extra=(*self.indexes.extra, index))
        elif option in ("-f", "--find-links"):
            link = value if "://" in value else str((path.parent / value).resolve())
            self.indexes = replace(self.indexes, find_links=(*self.indexes.find_links, link))
        elif option == "--trusted-host":
            self.indexes = replace(self.indexes, trusted=(*self.indexes.trusted, value))
        elif option == "--no-index":
            self.indexes = replace(self.indexes, no_index=True)
        elif not self._way(option, value, where):
            raise BadLock(f"{where}: {option} is not understood here: remove it, {CHOOSE}")

    def _way(self, option: str, value: str, where: str) -> bool:
        """Take in an option that says how packages are installed; False for one that is not known."""
        if option == "--require-hashes":
            self.hashes_required = where
        elif option == "--only-binary":
            names = tuple(name.strip() for name in value.split(",") if name.strip())
            self.only_binary = (*self.only_binary, *names)
            if ":none:" in names:
                self.only_binary = names[names.index(":none:") + 1 :]
        elif option == "--prefer-binary":
            self.prefer_binary = True
        return option in ("--require-hashes", "--only-binary", "--prefer-binary", *_QUIET)

    def _line(self, path: Path, line: str, where: str, constrain: bool) -> None:
        bare, hashes = without_hashes(line, where)
        more = re.search(r"\s(--[a-z][a-z-]*)", bare)
        if more is not None:
            raise BadLock(f"{where}: {more[1]} of a requirement is not understood here: remove it, {CHOOSE}")
        text = bare.strip()
        direct = direct_line(text, path.parent, where)
        if direct is not None:
            marker = direct.marker
            if not applies(marker, self.environment, where):
                return
            if direct.value == str(self.folder.resolve()):
                self.itself = (*(self.itself or ()), *direct.extras)
            else:
                self.direct.append(replace(direct, hashes=hashes or direct.hashes))
                if not self.direct[-1].hashes:
                    self.hashless.append((where, text, ""))
            return
        try:
            wanted = Requirement(text)
        except InvalidRequirement as error:
            raise BadLock(f"{where}: {text!r} is not a requirement: {str(error).splitlines()[0]}") from None
        if not applies(str(wanted.marker) if wanted.marker else None, self.environment, where):
            return
        wanted.marker = None
        self._take(wanted, hashes, where, constrain)

    def _take(self, wanted: Requirement, hashes: tuple[str, ...], where: str, constrain: bool) -> None:
        name = canonicalize_name(wanted.name)
        if constrain:
            self.constraints.append(str(wanted))
        else:
            self.requirements.append((where, str(wanted)))
        exact = [spec for spec in wanted.specifier if spec.operator in ("==", "===") and "*" not in spec.version]
        if hashes and not exact:
            raise BadLock(
                f"{where}: {wanted} has a hash and no version, so that it could not be checked: write the version that "
                "the hash is of with ==, or remove the hash"
            )
        if not hashes and not constrain:
            self.hashless.append((where, str(wanted), name))
        if not exact:
            self.unhashed += 1
            return
        known = self.pins.get(name)
        if known is not None and known.version != exact[0].version:
            raise BadLock(f"{where}: {name} is pinned to {known.version} and to {exact[0].version} for one platform")
        self.unhashed += not hashes
        self.pins[name] = Pinned(name, exact[0].version, hashes or (known.hashes if known else ()))


def requirements_file(path: Path, folder: Path, environment: Mapping[str, str]) -> Declared:
    """A requirements file of the project in `folder`, with what it includes: pinned, hashed, loose, as each line is."""
    reading = Reading(folder, environment)
    reading.read(path)
    return reading.result(os.path.relpath(path, folder) if path.is_relative_to(folder) else path.name)


def stated_requirements(stated: Sequence[Stated], folder: Path, environment: Mapping[str, str], label: str) -> Declared:
    """Requirements that are written elsewhere than in a requirements file. What they pin holds as written; it is no
    lock of all the others."""
    reading = Reading(folder, environment)
    reading.take_stated(stated, folder)
    return replace(reading.result(label), complete=False)


def direct_line(text: str, folder: Path, where: str) -> Direct | None:
    """A line that names a URL, a repository or a path instead of a version; None for any other."""
    found = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*@\s*(\S+)\s*(?:;\s*(.*))?", text)
    if found:
        return replace(direct_of(found[1], found[3], folder, where, found[4] or ""), extras=_extras(found[2] or ""))
    place, _, marker = (part.strip() for part in text.partition(" ;"))
    wanted = re.search(r"\[[A-Za-z0-9,._ -]*\]$", place)
    place = place[: wanted.start()] if wanted else place
    local = place in (".", "..") or place.startswith(("./", "../", "/", "file:")) or (folder / place).is_dir()
    if (
        "://" in place
        or re.match(r"(git|hg|svn|bzr)\+", place)
        or (local and re.fullmatch(r"[^=<>~!;]+", place))
        or place.endswith(_ARCHIVES)
    ):
        return replace(direct_of("", place, folder, where, marker), extras=_extras(wanted[0] if wanted else ""))
    return None


def _extras(text: str) -> tuple[str, ...]:
    return tuple(word for word in re.split(r"[\[\], ]+", text) if word)


__all__ = ["CHOOSE", "OWN", "Declared", "Reading", "direct_line", "requirements_file", "stated_requirements"]
