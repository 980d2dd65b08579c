# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A line of a log, as the journal keeps it and as its causes are looked for."""

from __future__ import annotations

from dataclasses import dataclass

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
