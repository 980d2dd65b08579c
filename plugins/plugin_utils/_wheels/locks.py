# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Hash-locked requirements files, as `uv pip compile` and `pip-compile` write them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName
from packaging.utils import canonicalize_name

from .tools import BadLock

AUTOMATIC = ("requirements.lock", "requirements.txt")
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*==\s*([^\s;]+)\s*(?:;\s*(.*))?")
_ELSEWHERE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*@\s*(\S+)")
_HASH = re.compile(r"--hash=([a-z0-9]+):([0-9a-fA-F]+)")


@dataclass(frozen=True)
class Pinned:
    """One locked distribution: canonical name, version, and the sha256 of every file that is allowed."""

    name: str
    version: str
    hashes: tuple[str, ...]

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


def read_compiled(text: str) -> tuple[dict[str, Pinned], dict[str, set[str]], dict[str, str]]:
    """What `uv pip compile --generate-hashes --annotation-style=split` wrote: pins by name, who asked for each, and the
    URLs of what comes from elsewhere than an index.

    A demand from the input file itself is kept as it is written, beginning with `-r`. Raises BadLock for a line that is
    neither, because what it names would be missing.
    """
    pins: dict[str, Pinned] = {}
    via: dict[str, set[str]] = {}
    direct: dict[str, str] = {}
    name, listing = "", False
    for raw in text.splitlines():
        line = raw.strip().rstrip("\\").strip()
        found = _PIN.fullmatch(line.split("--hash=", 1)[0].strip()) if not raw.startswith((" ", "#")) else None
        if found:
            name, listing = canonicalize_name(found[1]), False
            pins[name] = Pinned(name, found[2], ())
            via[name] = set()
        elif line and not raw.startswith((" ", "#")):
            elsewhere = _ELSEWHERE.match(line)
            if not elsewhere:
                raise BadLock(f"uv resolved to {line!r}, which is neither a version nor a URL")
            name, listing = canonicalize_name(elsewhere[1]), False
            direct[name] = elsewhere[2]
            via[name] = set()
        if name in pins and "--hash=" in line:
            hashes = tuple(digest for kind, digest in _HASH.findall(line) if kind == "sha256")
            pins[name] = Pinned(name, pins[name].version, pins[name].hashes + hashes)
        if raw.startswith("#"):
            name = ""
        if name and line.startswith("#"):
            words = line.lstrip("# ").strip()
            if words.startswith("via"):
                listing, words = True, words[3:].strip()
            if listing and words:
                via[name].add(words if words.startswith("-") else canonicalize_name(words.split("[")[0]))
    return pins, via, direct


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
