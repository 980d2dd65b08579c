# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a person wrote in the place of the app's own unit files is put aside, and never deleted."""

from __future__ import annotations

import os
import time
from typing import Callable

from .._os.files import fsync_directory
from .._os.paths import Layout
from .names import edited

SAVED = "headcount-saved"


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
