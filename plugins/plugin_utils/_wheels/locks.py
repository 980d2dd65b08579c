# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Hash-locked requirements files, as `uv pip compile` and `pip-compile` write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .tools import BadLock

AUTOMATIC = ("requirements.lock", "requirements.txt")
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*==\s*([^\s;]+)\s*(?:;\s*(.*))?")
_ELSEWHERE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*@\s*(\S+)")
_HASH = re.compile(r"--hash=([a-z0-9]+):([0-9a-fA-F]+)")
_HASH_OPTION = re.compile(r"\s--hash\b[=\s]*(\S*)")
HASHES = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
SHA256 = re.compile(r"[0-9a-fA-F]{64}")
ALLOWED_HASH = (
    "allowed is sha256 with 64 hex digits, and another hash beside it only, because it is sha256 that is checked; "
    "write the sha256 of the file there (`uv pip compile --generate-hashes` does), or remove the hash"
)


@dataclass(frozen=True)
class Pinned:
    """One locked distribution: canonical name, version, and the sha256 of every file that is allowed. `files`: the
    names of these, where the lock says them."""

    name: str
    version: str
    hashes: tuple[str, ...]
    files: tuple[str, ...] = field(default=(), compare=False)

    def requirement(self) -> str:
        """The pin as a requirement."""
        return f"{self.name}=={self.version}"

    def line(self) -> str:
        """The pin as one line of a requirements file."""
        return " ".join([f"{self.name}=={self.version}", *(f"--hash=sha256:{digest}" for digest in self.hashes)])


def automatic(folder: Path) -> Path | None:
    """The lock that a project carries: the first of AUTOMATIC in which every requirement has a hash."""
    for name in AUTOMATIC:
        path = folder / name
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        lines = [line for _, line in logical_lines(text) if not line.startswith("-")]
        if lines and all("--hash=" in line for line in lines):
            return path
    return None


def logical_lines(text: str) -> list[tuple[int, str]]:
    """(line number, content) of each requirement or option: continued lines joined, comments dropped."""
    result: list[tuple[int, str]] = []
    buffer, first = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*$", "", raw).rstrip()
        if not buffer:
            first = number
        if line.endswith("\\"):
            buffer += line[:-1] + " "
            continue
        buffer = (buffer + line).strip()
        if buffer:
            result.append((first, buffer))
        buffer = ""
    if buffer.strip():
        result.append((first, buffer.strip()))
    return result


def without_hashes(line: str, where: str) -> tuple[str, tuple[str, ...]]:
    """A line of a requirements file without its --hash options, and their sha256.

    Raises BadLock, which begins with `where`, for a malformed hash and where there are hashes, but none of sha256.
    """
    found = [value.partition(":")[::2] for value in _HASH_OPTION.findall(line)]
    checked = [digest.lower() for kind, digest in found if kind == "sha256"]
    for kind, digest in found:
        if not checked or kind not in HASHES or (kind == "sha256" and not SHA256.fullmatch(digest)):
            raise BadLock(f"{where}: --hash={kind}:{digest}: {ALLOWED_HASH}")
    return _HASH_OPTION.sub("", line), tuple(sorted(set(checked)))


def applies(marker: str | None, environment: Mapping[str, str] | None, where: str) -> bool:
    """Whether a marker is met in an `environment`; none is, and without one (None) every marker.

    Raises BadLock, which begins with `where`.
    """
    if environment is None or not marker or not marker.strip():
        return True
    try:
        return Marker(marker).evaluate({"extra": "", **environment})
    except (InvalidMarker, UndefinedEnvironmentName) as error:
        raise BadLock(f"{where}: the marker {marker!r} cannot be read: {str(error).splitlines()[0]}") from None


class Compiled(NamedTuple):
    """What uv resolved to: pins by name, who asked for each, and the URLs of what comes from elsewhere than an index.

    A demand from the input file itself is kept as it is written, beginning with `-r`.
    """

    pins: dict[str, Pinned]
    via: dict[str, set[str]]
    direct: dict[str, str]


def read_compiled(text: str) -> Compiled:
    """What `uv pip compile --generate-hashes --annotation-style=split` wrote.

    Raises BadLock for an entry that is neither a version nor a URL, because what it names would be missing.
    """
    compiled = Compiled({}, {}, {})
    for head, *below in _entries(text):
        pinned = _PIN.fullmatch(head.split("--hash=", 1)[0].strip())
        found = pinned or _ELSEWHERE.match(head)
        if not found:
            raise BadLock(f"uv resolved to {head!r}, which is neither a version nor a URL")
        name = canonicalize_name(found[1])
        compiled.via[name] = _owners(below)
        if pinned:
            hashes = [digest for line in (head, *below) for kind, digest in _HASH.findall(line) if kind == "sha256"]
            compiled.pins[name] = Pinned(name, found[2], tuple(hashes))
        else:
            compiled.direct[name] = found[2]
    return compiled


def _entries(text: str) -> Iterator[list[str]]:
    """The lines of each distribution: the one that names it, and the indented ones below it, without their `\\`."""
    entry: list[str] = []
    for raw in text.splitlines():
        line = raw.strip().rstrip("\\").strip()
        if raw.startswith(" "):
            if entry:
                entry.append(line)
        elif line:
            if entry:
                yield entry
            entry = [] if raw.startswith("#") else [line]
    if entry:
        yield entry


def _owners(lines: Sequence[str]) -> set[str]:
    """Who asked for a distribution: the names behind `# via`, on its line and on those below it."""
    owners: set[str] = set()
    listing = False
    for comment in (line for line in lines if line.startswith("#")):
        words = comment.lstrip("# ").strip()
        if words.startswith("via"):
            listing, words = True, words[3:].strip()
        if listing and words:
            owners.add(words if words.startswith("-") else canonicalize_name(words.split("[")[0]))
    return owners


def outside(
    locked: Sequence[Pinned], via: Mapping[str, set[str]], app: str | None, extra: Sequence[str]
) -> dict[str, str]:
    """Distributions that the app needs and its lock does not hold: name -> who needs it.

    What only the `extra` requirements (the server) bring may be outside of the lock.
    """
    names = {pin.name for pin in locked} | ({app} if app else set())
    missing: dict[str, str] = {}
    for name, owners in sorted(via.items()):
        if name not in names and name not in extra:
            inside = sorted(owners & names - set(extra))
            if inside and not (owners - names):
                missing[name] = inside[0]
    return missing


def exact(requirements: Iterable[str]) -> dict[str, str]:
    """Names to versions of those requirements that ask for exactly one."""
    found: dict[str, str] = {}
    for text in requirements:
        wanted = Requirement(text)
        for spec in wanted.specifier:
            if spec.operator == "==" and "*" not in spec.version:
                found[canonicalize_name(wanted.name)] = spec.version
    return found
