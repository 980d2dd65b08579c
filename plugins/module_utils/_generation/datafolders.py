# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which folders keep an app's data on a host, and whose they are. Read only.

A folder is the app's when the ledger says that Headcount made it, or when it belongs to the account that the app runs
as. What is neither is somebody else's: systemd would give it to the app, with everything in it, so that the app is
refused before that.
"""

from __future__ import annotations

import os
import re
from typing import Any, Iterable, Mapping, Sequence

from .._os.accounts import owner
from .._os.files import as_mapping
from .._os.paths import Layout
from .._os.secrecy import HIDDEN
from . import generations
from .ledger import Entry

MADE, REMOVED = "data_made", "removed"
"""Events of the ledger: folders that Headcount made for the app (`folders`), and the end of the app, with `folders`
that went with it."""


def folders(layout: Layout, data: Mapping[str, object] | None) -> list[str]:
    """The app's own folders by its declared `data` (None: nothing is declared), the one that lasts first."""
    kept = data or {}
    optional = [path for key, path in (("cache", layout.cache), ("logs", layout.logs)) if kept.get(key)]
    return [layout.data, *optional]


def proven(layout: Layout, entries: Iterable[Entry]) -> set[str]:
    """Which of the app's folders Headcount made for it, by its ledger."""
    found: set[str] = set()
    own = (layout.data, layout.cache, layout.logs)
    for entry in entries:
        listed = entry.get("folders")
        names = [str(one) for one in listed] if isinstance(listed, list) else []
        told = {path for path in own if any(_told_as(path, name) for name in names)}
        if entry.get("event") == MADE:
            found |= told
        elif entry.get("event") == REMOVED:
            found -= told
    return found


def _told_as(path: str, told: str) -> bool:
    """Whether a ledger tells of `path`; an older one hid what was alike to a secret of the app."""
    return re.fullmatch(".+".join(map(re.escape, told.split(HIDDEN))), path) is not None


def clashes(layout: Layout, app: Mapping[str, Any], entries: Sequence[Entry]) -> list[str]:
    """What hinders the app from having its folders, one sentence each: they are somebody else's, or another account has
    them. `app`: with `user` (None: the account that Headcount makes) and `data`, as far as it is known."""
    user = str(app.get("user") or layout.user)
    made, found = proven(layout, entries), []
    for path in folders(layout, app.get("data")):
        if not os.path.lexists(path):
            continue
        if not os.path.isdir(path) or os.path.islink(path):
            found.append(f"{path}, where the app's data belongs, is no folder: move it away; a disk is mounted there")
        elif path not in made and owner(path) != user:
            found.append(
                f"{path}, where the app's data belongs, is not Headcount's and belongs to {owner(path)}: move it away; "
                f"where it is what this app is to have, make the account (`useradd --system --no-create-home --shell "
                f"/usr/sbin/nologin {user}`) "
                f"and give it to it (`chown -R {user}: {path}`)"
            )
    return found + _changed_account(layout, user)


def _changed_account(layout: Layout, user: str) -> list[str]:
    """The live generation writes its data as another account: systemd would take it from that for the candidate."""
    live = generations.live(layout)
    record = generations.record(layout, live) if live is not None else {}
    before = str((record.get("app") or {}).get("user") or layout.user)
    if not record or before == user or owner(layout.data) != before or not holds_anything(layout.data):
        return []
    return [
        f"{layout.data} belongs to {before}, as which generation {live} is live, and another `user` ({user}) would "
        f"take it from that while it serves: keep `user`, or stop the app and `chown -R {user}: {layout.data}` first"
    ]


def holds_anything(path: str) -> bool:
    """Whether there is a file in a folder, however deep; empty folders are made by every start."""
    return any(files for _, _, files in os.walk(path))


def account(layout: Layout, entries: Sequence[Entry]) -> str:
    """The account that the app runs as on this host, or ran as until it was removed: that of its newest generation."""
    for number in reversed(generations.numbers(layout)):
        app = as_mapping(generations.record(layout, number).get("app"))
        if app:
            return str(app.get("user") or layout.user)
    told = next((entry for entry in reversed(entries) if entry.get("event") == REMOVED), {})
    return str(told.get("account") or layout.user)
