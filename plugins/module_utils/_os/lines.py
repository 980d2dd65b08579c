# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A line of a log, as the journal keeps it and as its causes are looked for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_COMPLAINT: Final = re.compile(r"^--- Logging error ---\s*$")
_COMPLAINT_ENDS: Final = re.compile(r"^Arguments: |^Use the traceback above to help find the error")
_LOGGED: Final = re.compile(r"^\[|^\{|^\d{4}-\d\d-\d\d|^(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\b")
_STACK: Final = "Call stack:"
_MOST_COMPLAINT = 300

UNREAD = "its log could not be read: "
"""So begins the one line of a log that the host could not read, where nobody knows what was logged."""


def says(words: str) -> str:
    """What a log says, as a part of a sentence."""
    return words if words.startswith(UNREAD) else f"its log says: {words}"


@dataclass(frozen=True)
class Line:
    """One line of a log: seconds since the epoch (0: not known), the process that wrote it (0: not known), and what."""

    at: float
    pid: int
    text: str


def without_complaints(lines: Iterable[Line]) -> list[Line]:
    """The lines without what Python's logging prints when it cannot write a record: its own traceback, the stack, the
    message and its arguments. The app goes on after that, so that it is the cause of nothing.

    What another thread logs in its midst ends it early. The lines of several processes may be mixed.
    """
    kept: list[Line] = []
    within: dict[int, int] = {}
    for line in lines:
        text = line.text.strip("\r\n")
        left = within.get(line.pid, 0)
        if not left and text == _STACK:
            kept = _without_beginning(kept, line.pid)
        if _COMPLAINT.match(text) or text == _STACK:
            within[line.pid] = _MOST_COMPLAINT
        elif not left or _LOGGED.match(text):
            within[line.pid] = 0
            kept.append(line)
        else:
            within[line.pid] = 0 if _COMPLAINT_ENDS.match(text) else left - 1
    return kept


def _without_beginning(kept: list[Line], pid: int) -> list[Line]:
    """Without the exception at its end, and what is there of its traceback: the log was read from its midst on."""
    end: bool | None = True
    left: list[Line] = []
    for line in reversed(kept):
        ours = line.pid == pid and not _LOGGED.match(line.text)
        if end is not None and ours and (end or line.text.startswith((" ", "Traceback "))):
            end = False
            continue
        end = None if line.pid == pid else end
        left.append(line)
    return left[::-1]
