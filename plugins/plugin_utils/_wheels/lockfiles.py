# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The locks of other tools, read as pins: pylock.toml, uv.lock, poetry.lock and Pipfile.lock.

A lock of the first two kinds that follow the app's own requirements (uv, poetry) holds for what is wanted: development
tools in it are not installed. The others (pylock, Pipfile.lock) say what is wanted themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration import urls
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from .locks import ALLOWED_HASH, HASHES, SHA256, Pinned, applies
from .tools import BadLock, BadSource, redact, toml

LOCKFILES = ("pylock.toml", "uv.lock", "poetry.lock", "Pipfile.lock")


@dataclass(frozen=True)
class Direct:
    """A distribution that does not come from an index: `kind` path, git or url, and where `origin` says so.

    `value`: a folder or file, a repository, or a URL; `revision` and `subdirectory` with git; `extras` that
    are wanted of it. The name may be empty where only the distribution itself has it.
    """

    name: str
    kind: str
    value: str
    origin: str
    revision: str = ""
    subdirectory: str = ""
    hashes: tuple[str, ...] = ()
    marker: str = ""
    extras: tuple[str, ...] = ()

    def describe(self) -> str:
        """What it is and who says so, without credentials."""
        return f"{self.name or 'a distribution'} from {redact(self.value)!r} ({self.origin})"


@dataclass(frozen=True)
class Found:
    """What a lock holds for one platform; `wanted`: all of it is to be installed. `aside`: the names that it has for
    development alone."""

    pins: tuple[Pinned, ...]
    direct: tuple[Direct, ...]
    wanted: bool
    aside: frozenset[str] = frozenset()


def direct_of(name: str, url: str, folder: Path, where: str, marker: str = "") -> Direct:
    """A direct reference as pip writes it: git+URL@REF#subdirectory=X, a URL, file:, or a path from `folder`.

    Raises BadSource for a credential in a URL, for what is no repository of git, and for a hash that is no sha256.
    """
    place, _, fragment = url.partition("#")
    options = dict(part.partition("=")[::2] for part in fragment.split("&") if part)
    name = canonicalize_name(name or options.get("egg", "").partition("[")[0])
    inside = options.get("subdirectory", "")
    hashes = _fragment_hashes(options, where)
    _refuse_credentials(place, url, name, where)
    vcs = re.match(r"(git|hg|svn|bzr)\+(.*)", place)
    if vcs or place.endswith(".git") or re.match(r"[\w.-]+@[\w.-]+:", place):
        return _repository(name, vcs[2] if vcs else place, vcs[1] if vcs else "git", where, (inside, marker))
    if place.startswith("file:"):
        return Direct(name, "path", unquote(urlsplit(place).path), where, "", inside, hashes, marker)
    if "://" in place:
        return Direct(name, "url", place, where, "", inside, hashes, marker)
    return Direct(name, "path", str((folder / place).resolve()), where, "", inside, hashes, marker)


def _refuse_credentials(place: str, url: str, name: str, where: str) -> None:
    if re.search(r"://[^/@\s]*:[^/@\s]+@", place) or re.search(r"https?://[^/@\s]+@", place):
        raise BadSource(
            f"{where}: {name or redact(place)} has a user or a password in its URL, which would get into the release "
            "and into process lists: take it out, and let git's credential helper or ~/.netrc know it"
        )
    parameter = urls.secret_parameter(url)
    if parameter:
        raise BadSource(
            f"{where}: {name or redact(place)} has a value of the parameter {parameter} in its URL, which would get "
            "into the release and into process lists: take it out, and let git's credential helper or ~/.netrc know it"
        )


def _fragment_hashes(options: Mapping[str, str], where: str) -> tuple[str, ...]:
    """The hashes in the fragment of a URL (#sha256=...). Raises BadSource for one that could not be checked."""
    given = [(kind, options[kind]) for kind in HASHES if kind in options]
    for kind, digest in given:
        if "sha256" not in options or (kind == "sha256" and not SHA256.fullmatch(digest)):
            raise BadSource(f"{where}: #{kind}={digest}: {ALLOWED_HASH}")
    return (options["sha256"].lower(),) if given else ()


def _repository(name: str, place: str, vcs: str, where: str, more: tuple[str, str]) -> Direct:
    if vcs != "git":
        raise BadSource(f"{where}: {name or place} comes from {vcs}: only git's repositories are read")
    # The reference is behind the last @ of the path, not that of user@host.
    head, mark, path = place.partition("://") if "://" in place else place.partition(":")
    host, slash, inner = path.partition("/") if mark == "://" else ("", "", path)
    if not mark:
        head, inner = "", place
    inner, _, revision = inner.rpartition("@") if "@" in inner else (inner, "", "")
    return Direct(name, "git", f"{head}{mark}{host}{slash}{inner}", where, revision, more[0], (), more[1])


def read_lockfile(path: Path, environment: Mapping[str, str]) -> Found:
    """What a lock of LOCKFILES holds for a platform. Raises BadLock and BadSource."""
    reader = {"uv.lock": _uv, "poetry.lock": _poetry, "Pipfile.lock": _pipfile}.get(path.name, _pylock)
    try:
        return reader(path, environment)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadLock(f"{path.name} is not understood ({type(error).__name__}: {error}): make it again") from None


class _Pins:
    """Pins while a lock is read: one version of a name for one platform."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.found: dict[str, Pinned] = {}

    def add(self, name: str, version: str, files: Iterable[str]) -> None:
        """Take one; `files` are its hashes as kind:digest."""
        canonical = canonicalize_name(name)
        known = self.found.get(canonical)
        if known is not None and known.version != version:
            raise BadLock(f"{self.label}: {canonical} is locked to {known.version} and to {version} for one platform")
        hashes = sorted({item.partition(":")[2].lower() for item in files if item.startswith("sha256:")})
        self.found[canonical] = Pinned(canonical, version, tuple(hashes))

    def all(self) -> tuple[Pinned, ...]:
        return tuple(self.found[name] for name in sorted(self.found))


def _uv(path: Path, environment: Mapping[str, str]) -> Found:
    pins, direct = _Pins(path.name), []
    for package in toml(path).get("package", []):
        markers = package.get("resolution-markers", [])
        if markers and not any(applies(str(marker), environment, path.name) for marker in markers):
            continue
        source = package["source"]
        if "registry" in source:
            files = [package.get("sdist") or {}, *package.get("wheels", [])]
            pins.add(package["name"], package["version"], [str(file.get("hash", "")) for file in files])
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
    data = toml(path)
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
            pins.add(package["name"], package["version"], [str(file["hash"]) for file in files])
    return Found(pins.all(), tuple(direct), wanted=False)


def _for_python(text: str, environment: Mapping[str, str]) -> bool:
    """Whether Poetry's range of Pythons has the platform's; a range in words of its own counts as met."""
    if not re.fullmatch(r"[<>=!~0-9.,*\s]+", text) or text.strip() == "*":
        return True
    try:
        return SpecifierSet(text).contains(environment["python_full_version"], prereleases=True)
    except InvalidSpecifier:
        return True


def _pipfile(path: Path, environment: Mapping[str, str]) -> Found:
    pins, direct = _Pins(path.name), []
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadLock(f"{path.name} cannot be read: {error}") from None
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
    for package in toml(path)["packages"]:
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
            pins.add(name, str(package["version"]), hashes_of)
    return Found(pins.all(), tuple(direct), wanted=True)


__all__ = ["LOCKFILES", "Direct", "Found", "direct_of", "read_lockfile"]
