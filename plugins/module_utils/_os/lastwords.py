# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a process said before it died, by its log: why it could not begin, what it died of, its last line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from .causes import BOOT, LEAVING, MANAGER, MOST_CHARACTERS, Raised, exceptions
from .lines import UNREAD, Line, without_complaints
from .logged import own_line

_SERVER: Final = re.compile(r"^\[\d{4}-\d\d-\d\d [^\]]*\] \[\d+\] \[[A-Z]+\]")
_WORKER_EXITED: Final = re.compile(r"\bWorker \(pid:\s*\d+\) exited with code\b")
_TROUBLE: Final = re.compile(
    r"\b(Error|error|ERROR|FATAL|failed|denied|No such file|not found|Killed)\b|^Failed to (find|parse|import)"
    r"|: Failed to (spawn|fork|run|set up|load)\b.*: "
)


def own_lines(lines: Sequence[str]) -> list[str]:
    """The lines of a log without what logging says of itself."""
    return [line.text for line in without_complaints(Line(0.0, 0, text) for text in lines)]


def first_cause(lines: Sequence[str]) -> str | None:
    """The line of a log that says why a process died, or None when none does.

    The exception that Gunicorn tells of a worker that could not boot is the cause; without any the last one that is no
    thread's and no request's, because what an app logged before that it lived through. Gunicorn's own "Worker failed to
    boot" only repeats that something was wrong before, and its "Worker exited with code 1" that the app ended by
    itself: then the app's own line before it is the cause.
    """
    raised = _fatal_exception(lines) or next((line for line in lines if line.startswith(UNREAD)), None)
    if raised:
        return raised
    words = ""
    for line in own_lines(lines):
        text = line.strip()
        if _WORKER_EXITED.search(text):
            return (words or text)[:MOST_CHARACTERS]
        if text and not _SERVER.match(text) and not MANAGER.match(text):
            words = text
        if _TROUBLE.search(text) and "Shutting" not in text:
            return text[:MOST_CHARACTERS]
    return None


def last_words(lines: Sequence[str]) -> str:
    """The last words of a command that failed: its last exception, else its last line. Empty where it said nothing;
    what systemd itself says of a unit is none of its words."""
    said = [line for line in own_lines(lines) if line.strip() and not MANAGER.match(line.strip())]
    raised = [one for one in exceptions(Line(0.0, 0, text) for text in said) if not one.name.endswith("Warning")]
    last = raised[-1].words() if raised else "".join(said[-1:]).strip()
    return last[:MOST_CHARACTERS]


def last_of_the_dead(lines: Sequence[str]) -> str:
    """What a worker said before it died: that Python itself crashed, why it could not begin, or the app's own last line
    before the worker left by itself. Empty where the log does not tell: one that was killed says nothing."""
    crashed = next((line.strip() for line in lines if line.startswith((UNREAD, "Fatal Python error: "))), "")
    begun = crashed or _could_not_begin(lines)
    if begun:
        return begun[:MOST_CHARACTERS]
    words = ""
    for line in own_lines(lines):
        if _WORKER_EXITED.search(line):
            return words
        own = own_line(line)
        words = own.text if own is not None else words
    return ""


def _could_not_begin(lines: Sequence[str]) -> str:
    """The exception that kept a worker from beginning, as Gunicorn names it; empty where it names none."""
    found = exceptions(Line(0.0, 0, text) for text in lines)
    return next((raised.words() for raised in found if BOOT.search(raised.header) and _tells(raised)), "")


def _fatal_exception(lines: Sequence[str]) -> str:
    """The exception, or the crash of Python itself, that a process died of; empty where there is none."""
    found = [raised for raised in exceptions(Line(0.0, 0, text) for text in lines) if _tells(raised)]
    booting = [raised for raised in found if BOOT.search(raised.header)]
    crashed = [line.strip() for line in lines if line.startswith("Fatal Python error: ")]
    own = [raised for raised in found if not raised.aside and not raised.path]
    last = own[-1:] or found[-1:]
    told = [*(raised.words() for raised in booting[:1]), *crashed, *(raised.words() for raised in last)]
    return told[0] if told else ""


def _tells(raised: Raised) -> bool:
    """Whether it says something: Gunicorn's own way out of a worker does not."""
    return not raised.name.endswith("Warning") and raised.name not in ("HaltServer", *LEAVING)
