# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which of an app's folders go with it, and which stay. Read only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Sequence

from .._os.accounts import owner
from .._os.paths import Layout
from .datafolders import proven
from .ledger import Entry


@dataclass(frozen=True)
class Removal:
    """What goes with the app, what stays of it, and which folders in the place of its own are somebody else's: those
    stay too ({path: owner})."""

    gone: list[str]
    kept: list[str]
    others: dict[str, str]


def removal(layout: Layout, entries: Sequence[Entry], user: str, everything: bool) -> Removal:
    """What becomes of the app's folders: its cache goes, its data and its logs with `everything`. `user`: account()."""
    made = proven(layout, entries)
    gone: list[str] = []
    stay: list[str] = []
    others: dict[str, str] = {}
    for path in (layout.data, layout.logs, layout.cache):
        if not os.path.isdir(path) or os.path.islink(path):
            continue
        if path in made or owner(path) in (user, layout.user):
            (gone if everything or path == layout.cache else stay).append(path)
        else:
            others[path] = owner(path)
    return Removal(gone, stay, others)
