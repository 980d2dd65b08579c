# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The locks of other tools, read as pins: pylock.toml, uv.lock, poetry.lock, pdm.lock and Pipfile.lock.

A lock of the kinds that follow the app's own requirements (uv, poetry, pdm) holds for what is wanted: development
tools in it are not installed. The others (pylock, Pipfile.lock) say what is wanted themselves. Loaded only where wheels
are gathered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from .._edge import Json
from .contradictions import remade
from .lockfiles import Direct, direct_of
from .locks import Pinned, applies
from .tools import BadLock, BadSource, toml


@dataclass(frozen=True)
class Found:
    """What a lock holds for one platform; `wanted`: all of it is to be installed. `aside`: the names that it has for
    development alone."""

    pins: tuple[Pinned, ...]
    direct: tuple[Direct, ...]
    wanted: bool
    aside: frozenset[str] = frozenset()


def read_lockfile(path: Path, environment: Mapping[str, str]) -> Found:
    """What a lock of LOCKFILES holds for a platform. Raises BadLock and BadSource."""
    readers = {"uv.lock": _uv, "poetry.lock": _poetry, "pdm.lock": _pdm, "Pipfile.lock": _pipfile}
    reader = readers.get(path.name, _pylock)
    try:
        return reader(path, environment)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadLock(f"{path.name} is not understood ({type(error).__name__}: {error}): {remade(path.name)}") from None
    except _Unreadable as error:
        raise BadLock(f"{error}: was it cut, or merged by hand? {remade(path.name).capitalize()}") from None


class _Unreadable(BadLock):
    """The text of a lock is none of its kind."""


def _toml(path: Path) -> Json:
    try:
        return toml(path)
    except BadSource as error:
        raise _Unreadable(str(error)) from None


class _Pins:
    """Pins while a lock is read: one version of a name for one platform."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.found: dict[str, Pinned] = {}

    def add(self, name: str, version: str, files: Iterable[str], said: Iterable[Json] = ()) -> None:
        """Take one; `files` are its hashes as kind:digest, `said` is what the lock says of each file."""
        canonical = canonicalize_name(name)
        known = self.found.get(canonical)
        if known is not None and known.version != version:
            raise BadLock(f"{self.label}: {canonical} is locked to {known.version} and to {version} for one platform")
        hashes = sorted({item.partition(":")[2].lower() for item in files if item.startswith("sha256:")})
        self.found[canonical] = Pinned(canonical, version, tuple(hashes), _names(said))

    def all(self) -> tuple[Pinned, ...]:
        return tuple(self.found[name] for name in sorted(self.found))


def _names(said: Iterable[Json]) -> tuple[str, ...]:
    """The names of the files of a distribution; none where one of them has none."""
    files = [file for file in said if file]
    places = [str(file.get("file") or file.get("name") or file.get("url") or file.get("path") or "") for file in files]
    names = [unquote(urlsplit(place).path).rpartition("/")[2] for place in places]
    return tuple(names) if all(names) else ()


def _uv(path: Path, environment: Mapping[str, str]) -> Found:
    pins, direct = _Pins(path.name), []
    for package in _toml(path).get("package", []):
        markers = package.get("resolution-markers", [])
        if markers and not any(applies(str(marker), environment, path.name) for marker in markers):
            continue
        source = package["source"]
        if "registry" in source:
            files = [package.get("sdist") or {}, *package.get("wheels", [])]
            pins.add(package["name"], package["version"], [str(file.get("hash", "")) for file in files], files)
        elif "git" in source:
            place, _, commit = str(source["git"]).partition("#")
            place, _, query = place.partition("?")
            inside = re.search(r"(?:^|&)subdirectory=([^&]*)", query)
            found = direct_of(package["name"], f"git+{place}", path.parent, path.name)
            direct.append(
                Direct(found.name, "git", found.value, path.name, commit, unquote(inside[1]) if inside else "")
            )
        else:
            kinds = ("url", "path", "directory", "editable", "virtual")
            place = next(str(source[kind]) for kind in kinds if kind in source)
            if (path.parent / place).resolve() != path.parent.resolve():
                direct.append(direct_of(package["name"], place, path.parent, path.name))
    return Found(pins.all(), tuple(direct), wanted=False)


def _poetry(path: Path, environment: Mapping[str, str]) -> Found:
    pins, direct = _Pins(path.name), []
    data = _toml(path)
    old_files = data.get("metadata", {}).get("files", {})
    for package in data.get("package", []):
        marker = package.get("markers")
        if isinstance(marker, Mapping):
            marker = marker.get("main", next(iter(marker.values()), ""))
        if not _for_python(str(package.get("python-versions", "*")), environment):
            continue
        if not applies(str(marker or ""), environment, path.name):
            continue
        source = package.get("source", {})
        kind = source.get("type", "legacy")
        if kind == "git":
            found = direct_of(package["name"], f"git+{source['url']}", path.parent, path.name)
            commit, inside = str(source.get("resolved_reference", "")), str(source.get("subdirectory", ""))
            direct.append(Direct(found.name, "git", found.value, path.name, commit, inside))
        elif kind in ("url", "file", "directory"):
            direct.append(direct_of(package["name"], str(source["url"]), path.parent, path.name))
        else:
            files = package.get("files") or old_files.get(package["name"], [])
            pins.add(package["name"], package["version"], [str(file["hash"]) for file in files], files)
    return Found(pins.all(), tuple(direct), wanted=False)


def _for_python(text: str, environment: Mapping[str, str]) -> bool:
    """Whether Poetry's range of Pythons has the platform's; a range in words of its own counts as met."""
    if not re.fullmatch(r"[<>=!~0-9.,*\s]+", text) or text.strip() == "*":
        return True
    try:
        return SpecifierSet(text).contains(environment["python_full_version"], prereleases=True)
    except InvalidSpecifier:
        return True


def _pdm(path: Path, environment: Mapping[str, str]) -> Found:
    pins, direct = _Pins(path.name), []
    for package in _toml(path).get("package", []):
        if package.get("extras") or not _for_python(str(package.get("requires_python", "*")), environment):
            continue  # with extras it stands there once more, with what these ask for
        if not applies(str(package.get("marker") or ""), environment, path.name):
            continue
        if "git" in package:
            found = direct_of(package["name"], f"git+{package['git']}", path.parent, path.name)
            commit, inside = str(package.get("revision", "")), str(package.get("subdirectory", ""))
            direct.append(Direct(found.name, "git", found.value, path.name, commit, inside))
        elif "url" in package or "path" in package:
            item = direct_of(package["name"], str(package.get("url") or package["path"]), path.parent, path.name)
            direct += [item] if item.value != str(path.parent.resolve()) else []
        else:
            files = package.get("files", [])
            pins.add(package["name"], package["version"], [str(file["hash"]) for file in files], files)
    return Found(pins.all(), tuple(direct), wanted=False)


def _pipfile(path: Path, environment: Mapping[str, str]) -> Found:
    pins, direct = _Pins(path.name), []
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _Unreadable(f"{path.name} cannot be read: {error}") from None
    for name, entry in data.get("default", {}).items():
        if not applies(str(entry.get("markers") or ""), environment, path.name):
            continue
        if "git" in entry:
            reference = f"@{entry['ref']}" if entry.get("ref") else ""
            direct.append(direct_of(name, f"git+{entry['git']}{reference}", path.parent, path.name))
        elif "path" in entry or "file" in entry:
            item = direct_of(name, str(entry.get("path") or entry["file"]), path.parent, path.name)
            if item.value != str(path.parent.resolve()):
                direct.append(item)
        else:
            pins.add(name, str(entry["version"]).lstrip("="), [str(item) for item in entry.get("hashes", [])])
    aside = frozenset(str(canonicalize_name(name)) for name in data.get("develop", {})) - set(pins.found)
    return Found(pins.all(), tuple(direct), wanted=True, aside=aside)


def _pylock(path: Path, environment: Mapping[str, str]) -> Found:
    pins, direct = _Pins(path.name), []
    for package in _toml(path)["packages"]:
        if not applies(str(package.get("marker") or ""), environment, path.name):
            continue
        name = package["name"]
        if "vcs" in package:
            vcs = package["vcs"]
            place = f"{vcs['type']}+{vcs.get('url') or vcs['path']}@{vcs['commit-id']}"
            inside = f"#subdirectory={vcs['subdirectory']}" if vcs.get("subdirectory") else ""
            direct.append(direct_of(name, f"{place}{inside}", path.parent, path.name))
        elif "directory" in package:
            item = direct_of(name, str(package["directory"]["path"]), path.parent, path.name)
            if item.value != str(path.parent.resolve()):
                direct.append(item)
        elif "archive" in package:
            archive = package["archive"]
            item = direct_of(name, str(archive.get("url") or archive["path"]), path.parent, path.name)
            hashes = (str(archive["hashes"]["sha256"]),) if "sha256" in archive.get("hashes", {}) else ()
            direct.append(Direct(item.name, item.kind, item.value, item.origin, "", item.subdirectory, hashes))
        else:
            files = [package.get("sdist") or {}, *package.get("wheels", [])]
            hashes_of = [f"sha256:{file['hashes']['sha256']}" for file in files if "sha256" in file.get("hashes", {})]
            pins.add(name, str(package["version"]), hashes_of, files)
    return Found(pins.all(), tuple(direct), wanted=True)


__all__ = ["Found", "read_lockfile"]
