# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The log of a unit, asked why a request failed: an exception that can be it, else the lines of that moment.

An app may tell of trouble without a traceback: `log.error("prices: no answer")`, a plain line to standard error, a JSON
record. So where no exception is found, its own lines of the moment are told, those of trouble first. What Gunicorn,
systemd and access logs write for every request or start is none of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from . import causes
from .lines import UNREAD, Line, without_complaints

MOST_LINES = 2
"""So many lines are told in a sentence, and"""
MOST_KEPT = 10
"""so many are kept in the evidence, each of at most"""
MOST_CHARACTERS = 200

_TIME: Final = re.compile(
    r"^\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?(?: ?(?:Z|[+-]\d\d:?\d\d))?\]?\s*[|-]?\s*"
)
_ACCESS: Final = re.compile(r'"[A-Z]{3,7} \S+ HTTP/\d|\b[A-Z]{3,7} \S+ HTTP/\d(?:\.\d)?"? \d{3}\b')
_CHATTER: Final = re.compile(r"^(?:\[\d+\] )?\[(?:INFO|DEBUG)\]|^\(?\d+\) \[(?:INFO|DEBUG)\]")
_ERROR: Final = re.compile(
    r"\b(?:ERROR|CRITICAL|FATAL|SEVERE|ALERT|EMERG)\b|\b(?:[Ee]rror|[Ff]ailed|[Ff]ailure|denied|refused|timed out)\b"
    r"|\b\w+(?:Error|Exception)\b"
)
_WARNING: Final = re.compile(r"\bWARN(?:ING)?\b|\b[Ww]arning\b")
_LEVELS: Final = {"error": 2, "critical": 2, "fatal": 2, "alert": 2, "emerg": 2, "warning": 1, "warn": 1}


@dataclass(frozen=True)
class Log:
    """The log of a unit. `said`: its lines since a second of the epoch, without secrets, with time and process."""

    said: Callable[[float], Sequence[Line]]

    def __call__(self, path: str, begin: float, end: float) -> str:
        """What it says of requests for `path` that failed between two times (answers.Why): an exception, else lines
        that tell of an error."""
        lines = self.said(begin - causes.SLACK_SECONDS)
        raised = causes.cause_of_request(lines, path, begin, end)
        return raised or told([own for own in owns(lines, begin, end) if own.level > 1])

    def raised(self, path: str, begin: float, end: float) -> str:
        """The exception alone, as causes.cause_of_request() tells it."""
        return causes.cause_of_request(self.said(begin - causes.SLACK_SECONDS), path, begin, end)

    def around(self, begin: float, end: float) -> list[Own]:
        """The app's own lines of a time, the earliest first."""
        return owns(self.said(begin - causes.SLACK_SECONDS), begin, end)


@dataclass(frozen=True)
class Own:
    """A line of the app's own, without its time. `level`: 2 tells of an error, 1 of a warning, 0 of anything."""

    text: str
    level: int


def owns(lines: Iterable[Line], begin: float, end: float) -> list[Own]:
    """The app's own lines between two times (seconds since the epoch; a line without one counts), the earliest first.

    Tracebacks are left out: what they say is told as an exception, or is none of a request.
    """
    known = without_complaints(lines)
    raised = {part for one in causes.exceptions(known) for part in (one.text, one.header)}
    found = []
    for line in known:
        meanwhile = not line.at or begin - causes.SLACK_SECONDS <= line.at <= end + causes.SLACK_SECONDS
        own = own_line(line.text) if meanwhile and line.text.strip() not in raised else None
        if own is not None:
            found.append(own)
    return found


def own_line(text: str) -> Own | None:
    """A line of a log as the app's own; None where it is somebody else's, or says nothing."""
    bare = causes.without_colour(text)
    if bare.startswith(UNREAD):
        return Own(bare[:MOST_CHARACTERS], 2)
    if not bare.strip() or bare[0] in " \t|" or causes.is_frame(bare) or causes.MANAGER.match(bare.strip()):
        return None
    record = causes.structured(bare)
    if record is not None:
        return _of_record(record)
    bare = _TIME.sub("", bare).strip()
    if not bare or _ACCESS.search(bare) or _CHATTER.search(bare):
        return None
    level = 2 if _ERROR.search(bare) else 1 if _WARNING.search(bare) else 0
    return Own(bare[:MOST_CHARACTERS], level)


def _of_record(record: causes.Record) -> Own | None:
    """A structured record: what happened, and why."""
    level = _LEVELS.get(str(record.get("level") or record.get("levelname") or "").lower(), 0)
    said = next((str(record[key]) for key in ("event", "message", "msg") if record.get(key)), "")
    why = next((str(record[key]) for key in ("error", "err", "reason", "detail") if record.get(key)), "")
    words = ": ".join(filter(None, (said, why)))
    return Own(words[:MOST_CHARACTERS], level) if words else None


def told(found: Sequence[Own]) -> str:
    """The last of the most telling lines, as a part of a sentence; empty where there are none.

    They were logged at that moment: whether for that request, nobody knows.
    """
    worst = max((own.level for own in found), default=0)
    texts = list(dict.fromkeys(own.text for own in found if own.level == worst))[-MOST_LINES:]
    if texts and texts[0].startswith(UNREAD):
        return texts[0]
    return f"logged meanwhile: {', '.join(map(_quoted, texts))}" if texts else ""


def _quoted(text: str) -> str:
    return '"' + text.replace('"', "'") + '"'
