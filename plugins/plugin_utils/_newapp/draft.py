# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""An entry that is being made: what was asked about, what is known, and what was proposed so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._edge import Json
from .survey import Found
from .there import There, missing
from .types import Hints, Imported


@dataclass(frozen=True)
class Subject:
    """What new-app was asked about. `source` is the entry's, `why` says how it is taken, `project` names the app.

    `guessed`: what the code imports, where nothing in the project says what it depends on. `is_tree`: its folder is the
    working directory on the host. `there`: what a command can call; None where that is not looked at. `compiled`: what
    of its dependencies has no wheel and was compiled here.
    """

    source: Json
    project: str
    why: str
    notes: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()
    is_tree: bool = True
    there: There | None = None
    compiled: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """What could not be known. `must`: the app cannot go live, or cannot be right, before it is answered."""

    text: str
    must: bool = False


@dataclass(frozen=True)
class Proposal:
    """`entry` is an app of headcount_apps, `comments` a reason for its keys ("load.paths"), `notes` are lines above."""

    entry: Json
    comments: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()


@dataclass
class Draft:
    subject: Subject
    hints: Hints
    found: Found
    app: Imported
    entry: dict[str, object] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    questions: list[Question] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def put(self, key: str, value: Any, why: str = "") -> None:
        """Give a key of the app a value, and say why."""
        self.entry[key] = value
        if why:
            self.comments[key] = why

    def missing(self, command: str) -> str:
        """What keeps a command of the project from being run in a release; "" where nothing is known to."""
        there = self.subject.there
        return missing(command, there.of(self.app.kind, self.app.commands)) if there else ""

    def ships(self, path: str) -> bool:
        """Whether a file of the project is in its release."""
        there = self.subject.there
        return there is not None and path in (there.files or ())

    def ask(self, text: str, must: bool = False) -> None:
        """Add a question."""
        self.questions.append(Question(text, must))


def mapping(value: object) -> Json:
    """A part of an entry that holds others; an empty one where it is not there."""
    return value if isinstance(value, dict) else {}
