# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What on a host Headcount made itself: proven by where a unit's file leads and from where a process runs, by no name.

Anybody may call a unit `shop@7.service`. Headcount's own are links into /opt/headcount/APP, so that only what leads
there is ever stopped, replaced or removed.
"""

from __future__ import annotations

import os

from .paths import HOME, UNITS, Layout, under
from .systemd import UnitState


class Foreign(FileExistsError):
    """Something of somebody else's is where Headcount would put its own; it was not touched. The message names it."""


def leads_home(layout: Layout, path: str) -> bool:
    """Whether the unit file `path` is a link into what Headcount laid down for the app, also when its end is gone."""
    try:
        target = os.readlink(path)
    except OSError:
        return False
    return os.path.normpath(target).startswith(f"/{HOME}/{layout.app}/")


def owns(layout: Layout, unit: str, state: UnitState) -> bool:
    """Whether `unit`, which systemd describes by `state`, is one of the app's own.

    The file that systemd has read must lead into the app's folder. A unit whose file is gone is known by its main
    process, which works in a release of the app.
    """
    if state.fragment and state.fragment != f"/{UNITS}/{unit}":
        return state.fragment.startswith(f"/{HOME}/{layout.app}/")
    if leads_home(layout, layout.unit(unit)):
        return True
    return state.main_pid > 0 and _works_at_home(layout, state.main_pid)


def _works_at_home(layout: Layout, pid: int) -> bool:
    try:
        folder = os.readlink(under(layout.root, f"/proc/{pid}/cwd"))
    except OSError:
        return False
    return folder.startswith(f"/{HOME}/{layout.app}/")


def owned(layout: Layout, states: dict[str, UnitState]) -> dict[str, UnitState]:
    """Those of `states` that are the app's own units."""
    return {unit: state for unit, state in states.items() if owns(layout, unit, state)}


def masked(path: str) -> bool:
    """Whether somebody masked the unit of that file."""
    try:
        return os.readlink(path) == os.devnull
    except OSError:
        return False


def check_free(layout: Layout, path: str) -> None:
    """Raise Foreign when the unit file `path` is there and is not the app's own."""
    if os.path.lexists(path) and not leads_home(layout, path):
        if masked(path):
            fix = f"`systemctl unmask {os.path.basename(path)}`"
            raise Foreign(f"{path} is not Headcount's and is not touched: it is masked; {fix}, and run again")
        raise Foreign(
            f"{path} is not Headcount's and is not touched: it does not lead into {layout.home}; take it away, "
            "and run again"
        )
