# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A line of a log, as the journal keeps it and as its causes are looked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One line of a log: seconds since the epoch (0: not known), the process that wrote it (0: not known), and what."""

    at: float
    pid: int
    text: str
