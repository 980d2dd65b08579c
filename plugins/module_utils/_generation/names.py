# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Unit names that the ledger proves to be the app's own, whatever lies there by now.

A person who edits a whole unit (`systemctl edit --full`) puts a file of theirs where Headcount's link was, and one who
disables the public socket takes its files away. The unit is the app's all the same, and must stand in nobody's way; the
file is the person's, and is never deleted; nor are the drop-ins that a person wrote for a unit.
"""

from __future__ import annotations

import os
import re
import time
from typing import Callable

from .._os import ownership
from .._os.files import fsync_directory
from .._os.paths import UNITS, Layout
from .._os.systemd import UnitState
from . import ledger

SAVED = "headcount-saved"


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


def save_aside(layout: Layout, unit: str, clock: Callable[[], float] = time.time) -> str | None:
    """Rename a person's edit of the app's own unit file, so that the own one can have its place again.

    Returns what was done, in words; None where there is no such edit, and nothing was done.
    """
    if not edited(layout, unit):
        return None
    path = layout.unit(unit)
    return f"moved {path}, which somebody edited, to {_aside(layout, path, clock)}"


def save_drop_ins(layout: Layout, unit: str, clock: Callable[[], float] = time.time) -> str | None:
    """Rename the folder of drop-ins that a person wrote for a unit of the app's which goes for good.

    Returns what was done, in words; None where there is none, or it is empty and went.
    """
    path = f"{layout.unit(unit)}.d"
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return None
    except OSError:
        saved = _aside(layout, path, clock)
        return f"moved {path}, which is somebody's and changed a unit that is gone, to {saved}"
    return None


def _aside(layout: Layout, path: str, clock: Callable[[], float]) -> str:
    """Rename what lies there to a name that systemd does not read; returns that."""
    saved = f"{path}.{SAVED}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(clock()))}"
    while os.path.lexists(saved):
        saved += "+"
    os.rename(path, saved)
    fsync_directory(layout.units)
    return saved
