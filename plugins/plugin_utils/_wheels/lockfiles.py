# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What locks of other tools are called, and what does not come from an index: a folder, a repository, a URL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration import urls
from packaging.utils import canonicalize_name

from .locks import ALLOWED_HASH, HASHES, SHA256
from .tools import BadSource, redact

LOCKFILES = ("pylock.toml", "uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock")
FOLLOWING = ("uv.lock", "poetry.lock", "pdm.lock")
"""Those that say the versions of what the project's own metadata asks for."""


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


__all__ = ["FOLLOWING", "LOCKFILES", "Direct", "direct_of"]
