# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which account the app's data belongs to, where its generations run as different ones: systemd gives the folder to the
account of whatever it begins, and takes it from whoever serves."""

from __future__ import annotations

from .._os.accounts import owner
from .._os.files import as_mapping
from .._os.paths import Layout
from . import generations
from .datafolders import holds_anything


def _account(layout: Layout, number: int | None) -> str:
    """The account that a generation runs as; empty where nothing is known of it."""
    record = generations.record(layout, number) if number is not None else {}
    return str(as_mapping(record.get("app")).get("user") or layout.user) if record else ""


def _owner(layout: Layout) -> str:
    """Whom the app's data belongs to; empty where there is none."""
    return owner(layout.data) if holds_anything(layout.data) else ""


def would_take(layout: Layout, number: int) -> str:
    """Why generation `number` cannot be begun beside the live one, in a sentence: it runs as another account, and
    systemd would give it the data that the live one writes. Empty where it would not."""
    user, before = _account(layout, number), _account(layout, generations.live(layout))
    if "" in (user, before) or user == before or _owner(layout) != before:
        return ""
    return (
        f"generation {number} runs as {user}, and systemd gives {layout.data}, which belongs to {before}, to whom it "
        "begins"
    )


def given_to(layout: Layout, old: int, new: int) -> bool:
    """Whether the app's data belongs to the account of generation `new`, which is not that of `old`."""
    users = _account(layout, old), _account(layout, new)
    return "" not in users and users[0] != users[1] == _owner(layout)


def given_away(layout: Layout, number: int) -> str:
    """To whom somebody gave the app's data by hand, as is done for another `user`: an account that none of its
    generations has, and whom `number` would take it from. Empty where nobody did."""
    now, accounts = _owner(layout), {_account(layout, one) for one in generations.numbers(layout)}
    return now if _account(layout, number) and now not in ("", "root", *accounts) else ""
