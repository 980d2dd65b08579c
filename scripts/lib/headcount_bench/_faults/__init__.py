# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The catalogue of faults: what is done, what is promised, and how it is checked."""

from .controllers import CONTROLLERS
from .hand import HAND
from .held import STEPS_HELD
from .hosts import HOSTS
from .kills import KILLS, POWERS
from .releases import RELEASES
from .row import GROUPS, Row

ROWS: list[Row] = [*RELEASES, *HOSTS, *HAND, *KILLS, *POWERS, *CONTROLLERS, *STEPS_HELD]

__all__ = ["GROUPS", "ROWS", "Row"]
