# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What others have of a host's memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Neighbour:
    """A unit that uses memory, in MiB: what it uses and cannot be dropped, what it is promised (0: nothing), and what
    MemoryHigh= or MemoryMax= let it use (None: all)."""

    name: str
    mib: int
    promised_mib: int = 0
    limit_mib: int | None = None


@dataclass(frozen=True)
class Others:
    """MiB that are not there for the planned apps, and who has them, the largest first."""

    mib: int
    neighbours: tuple[Neighbour, ...] = ()
