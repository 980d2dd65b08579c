# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The Debian mirror this machine uses, and the same mirror for another Debian release.

Reads both formats of sources.list(5): one line each, and deb822 (`*.sources`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .console import ScriptError

DEFAULT_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


@dataclass(frozen=True)
class Source:
    """One archive: its address, suites ("bookworm", "bookworm-updates"), components and keyring (a path, or None)."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str | None = None


def parse_one_line(text: str) -> list[Source]:
    """Sources of a `.list` file; lines that are not `deb` lines are left out."""
    sources = []
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line.strip())
        if match:
            options = dict(word.split("=", 1) for word in (match[1] or "").split() if "=" in word)
            sources.append(Source(match[2], (match[3],), tuple(match[4].split()), options.get("signed-by")))
    return sources


def parse_deb822(text: str) -> list[Source]:
    """Sources of a `.sources` file; stanzas that are disabled, or not of type `deb`, are left out.

    A key that stands in the file itself (not a path) is not carried over: the distribution's keyring takes its place.
    """
    sources = []
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", plain):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1] in (" ", "\t"):
                fields[name] = f"{fields.get(name, '')} {line.strip()}"
            elif ":" in line:
                name, value = line.split(":", 1)
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        keyring = fields.get("signed-by", "").strip()
        for uri in fields.get("uris", "").split():
            sources.append(
                Source(
                    uri,
                    tuple(fields.get("suites", "").split()),
                    tuple(fields.get("components", "").split()),
                    keyring if keyring.startswith("/") else None,
                )
            )
    return sources


def read(etc: Path = Path("/etc")) -> list[Source]:
    """All sources of a machine, in apt's order."""
    apt = etc / "apt"
    files = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
    sources: list[Source] = []
    for file in files:
        if file.is_file() and file.suffix in (".list", ".sources"):
            text = file.read_text(encoding="utf-8", errors="replace")
            sources += parse_deb822(text) if file.suffix == ".sources" else parse_one_line(text)
    return sources


def codename(etc: Path = Path("/etc")) -> str | None:
    """VERSION_CODENAME of a Debian machine ("bookworm"), None on any other."""
    try:
        lines = (etc / "os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    release = {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}
    return release.get("VERSION_CODENAME") if release.get("ID") == "debian" else None


def lines_for(suite: str, own: str | None, sources: Iterable[Source], base_alone: bool = False) -> list[str]:
    """One-line sources of the release `suite` on the mirrors of `sources`, which name the release `own`.

    Of the own release's suites the base, -updates and -security are taken over, with `base_alone` the first of them.
    ScriptError without any.
    """
    taken = ("",) if base_alone else ("", "updates", "security")
    lines: list[str] = []
    for source in sources:
        if "main" not in source.components or source.uri.startswith("cdrom:"):
            continue
        for old in source.suites:
            base, dash, part = old.partition("-")
            if own is None or base not in (own, "stable") or part not in taken:
                continue
            keyring = source.signed_by or DEFAULT_KEYRING
            line = f"deb [signed-by={keyring}] {source.uri} {suite}{dash}{part} main"
            if line not in lines:
                lines.append(line)
    if not any(f" {suite} main" in line for line in lines):
        raise ScriptError(
            f"the apt sources of this machine name no mirror with {own or 'a Debian release'} main, from which"
            f" the lab's {suite} hosts could be built: add one to /etc/apt/sources.list"
        )
    return lines
