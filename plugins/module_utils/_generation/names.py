# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Unit names that the ledger proves to be the app's own, whatever lies there by now.

A person who edits a whole unit (`systemctl edit --full`) puts a file of theirs where Headcount's link was, and one who
disables the public socket takes its files away. The unit is the app's all the same, and must stand in nobody's way; the
file is the person's, and is never deleted (`aside`).
"""

from __future__ import annotations

import os
import re

from .._os import ownership
from .._os.paths import UNITS, Layout
from .._os.systemd import UnitState
from . import ledger


def proven(layout: Layout, unit: str) -> bool:
    """Whether the ledger says that `unit` became the app's own: its socket once it was live, the units of a generation
    that was staged and is still on disk."""
    entries = ledger.read(layout.ledger)
    if unit == layout.public_socket_unit:
        return ledger.last_live(entries) is not None
    match = re.fullmatch(rf"{re.escape(layout.app)}(?:-trial)?@([0-9]+)(?:-[a-z].*)?\.(?:service|socket|timer)", unit)
    return match is not None and int(match[1]) in ledger.staged(entries) and _holds(layout, int(match[1]), unit)


def _holds(layout: Layout, number: int, unit: str) -> bool:
    return os.path.isfile(os.path.join(layout.generation(number), unit))


def owns(layout: Layout, unit: str, state: UnitState) -> bool:
    """Whether `unit`, which systemd describes by `state`, is one of the app's own: by where its file leads, by where it
    works (ownership.owns), or by its name, where that is proven and systemd has it from no other place."""
    if ownership.owns(layout, unit, state):
        return True
    return state.fragment in ("", f"/{UNITS}/{unit}") and not _led_away(layout, unit) and proven(layout, unit)


def _led_away(layout: Layout, unit: str) -> bool:
    """Whether the unit file is a link to somewhere else, as that of a masked unit is: that is no edit of ours."""
    path = layout.unit(unit)
    return os.path.islink(path) and not ownership.leads_home(layout, path)


def owned(layout: Layout, states: dict[str, UnitState]) -> dict[str, UnitState]:
    """Those of `states` that are the app's own units."""
    return {unit: state for unit, state in states.items() if owns(layout, unit, state)}


def edited(layout: Layout, unit: str) -> bool:
    """Whether a person's file lies in the place of the app's own unit file: a regular one, under a proven name."""
    path = layout.unit(unit)
    return os.path.isfile(path) and not os.path.islink(path) and proven(layout, unit)
