# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How much of what others keep on a host is looked at: so many files, and so long. Pure, but for the clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable

MOST, SECONDS = 20_000, 3.0


@dataclass
class Bounds:
    """What is left of the count and the time."""

    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.most = self.left = MOST
        self.end = self.clock() + SECONDS

    def spent(self) -> bool:
        """Whether no more is looked at; counts one."""
        self.left -= 1
        return self.left < 0 or self.clock() > self.end
