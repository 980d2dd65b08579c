# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Where a host has the secrets of an app, and what of it is public: its environment files, its generations' records."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path

from .paths import STATE, Layout
from .secrecy import learn, publish, publish_words

SHORTEST_UNNAMED = 8
"""Where nobody wrote down which values of an environment file are secrets, those from this length on count as some."""

MARK = "# secrets:"
"""The line of an environment file that names which of its values are secrets."""

_NAMED_LIKE = re.compile(
    r"(?i)(^|_)(password|passwd|pass|pw|secret|token|api_?key|key|private_?key|credentials?|dsn)(_|$)"
)
_ASSIGNMENT = re.compile(r'^([A-Za-z_]\w*)=(?:"((?:[^"\\]|\\.)*)"|([^\n]*))$', re.MULTILINE | re.DOTALL)

_READ: set[str] = set()
"""Records whose public words are known; a record never changes."""


def learn_from(state: str) -> None:
    """Learn the secrets of all generations of an app whose environment files lie in the folder `state`, and the words
    of its generations that are public."""
    _publish_records(state)
    try:
        names = sorted(name for name in os.listdir(state) if re.fullmatch(r"[0-9]+(\.trial)?\.env", name))
    except OSError:
        return
    for name in names:
        with contextlib.suppress(OSError):
            learn(secrets_of(Path(state, name).read_text(encoding="utf-8", errors="surrogateescape")))


def _publish_records(state: str) -> None:
    folder, name = os.path.split(state)
    if not os.path.join("/", folder).endswith(f"/{STATE}"):
        return
    publish(name)
    for path in Path(Layout(name, folder[: -len(STATE)]).generations).glob("*/generation.json"):
        if str(path) not in _READ:
            with contextlib.suppress(OSError, ValueError, AttributeError):
                record = json.loads(path.read_text(encoding="utf-8"))
                publish(name, record["app"] if isinstance(record.get("app"), dict) else {})
                publish_words([str(record.get("release") or "")])
            _READ.add(str(path))


def secrets_of(text: str) -> list[str]:
    """The secret values in an environment file: those that it names as such, and those whose names look like it.

    One without such a line is an older Headcount's: there every value of some length counts.
    """
    named = [line[len(MARK) :].split() for line in text.splitlines() if line.startswith(MARK)]
    names = {name for line in named for name in line}
    found = []
    for match in _ASSIGNMENT.finditer(text):
        name, quoted, bare = match.groups()
        value = re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) if quoted is not None else bare.strip().strip("'")
        if name in names or _NAMED_LIKE.search(name) or (not named and len(value) >= SHORTEST_UNNAMED):
            found.append(value)
    return found
