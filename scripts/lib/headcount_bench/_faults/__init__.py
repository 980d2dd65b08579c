# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The catalogue of faults: what is done, what is promised, and how it is checked."""

from .broken import BROKEN
from .built import BUILDS
from .controllers import CONTROLLERS
from .data import DATA
from .entering import ENTERING
from .foreign import FOREIGN
from .hand import HAND
from .held import STEPS_HELD
from .hosts import HOSTS
from .kills import KILLS, POWERS
from .living import LIVING
from .past import PAST
from .prepares import PREPARES
from .releases import RELEASES
from .row import GROUPS, Row
from .takeovercuts import CUTS
from .takeoverends import ENDS
from .takeovers import TAKEOVERS
from .takeoverstill import STILLS
from .watched import WATCHED

ROWS: list[Row] = [
    *RELEASES,
    *HOSTS,
    *HAND,
    *KILLS,
    *POWERS,
    *CONTROLLERS,
    *FOREIGN,
    *STEPS_HELD,
    *BROKEN,
    *DATA,
    *BUILDS,
    *PAST,
    *ENTERING,
    *TAKEOVERS,
    *STILLS,
    *ENDS,
    *CUTS,
    *PREPARES,
    *LIVING,
    *WATCHED,
]

__all__ = ["GROUPS", "ROWS", "Row"]
