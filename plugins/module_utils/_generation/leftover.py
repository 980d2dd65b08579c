# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What is in an app's folder, or changes its units, and is not Headcount's: it outlives the app and hinders its return.
Read only."""

from __future__ import annotations

import os
import re
from typing import Sequence

from .._os.paths import Layout
from .._release.contents import is_release
from . import generations

_SHOWN = 5


def left(layout: Layout) -> list[str]:
    """Paths of what a removal leaves in the app's folder, or has left there, and of somebody's drop-ins for its units,
    sorted."""
    home, found = layout.home, _drop_ins(layout)
    for name in _names(home):
        path = os.path.join(home, name)
        if path == layout.generations:
            found += [one for one in _inside(path) if not generations.made(one)]
        elif path == layout.releases:
            found += [one for one in _inside(path) if not is_release(one)]
        elif path != layout.live or not os.path.islink(path):
            found.append(path)
    return sorted(found)


def _drop_ins(layout: Layout) -> list[str]:
    """Folders of drop-ins for the app's public socket and for its templates, none of which Headcount makes."""
    pattern = re.compile(rf"{re.escape(layout.app)}(\.socket|(-trial)?@\.(service|socket))\.d")
    names = os.listdir(layout.units) if os.path.isdir(layout.units) else []
    return [layout.unit(name) for name in names if pattern.fullmatch(name)]


def temporary(name: str) -> bool:
    """Whether a file of that name is one that Headcount was writing when it was killed."""
    return name.startswith((".headcount-", ".live."))


def _names(folder: str) -> list[str]:
    names = os.listdir(folder) if os.path.isdir(folder) and not os.path.islink(folder) else []
    return [name for name in names if not temporary(name)]


def _inside(folder: str) -> list[str]:
    return [os.path.join(folder, name) for name in _names(folder)]


def words(paths: Sequence[str]) -> str:
    """What is left and what that means, in a sentence with the fix; empty where nothing is."""
    if not paths:
        return ""
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return (
        f"{', '.join(paths[:_SHOWN])}{more}: not Headcount's, and left; move it away before the app is to come back, "
        "which is refused as long as it is there"
    )
