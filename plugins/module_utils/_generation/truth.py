# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which generation is live, and which one to go back to, when not everything on the host says so any more.

The link `live` says it; where it was deleted or leads nowhere, the ledger, what is on disk and what runs do. Pure
reading: nothing is changed here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Iterable, Sequence

from .._os.paths import Layout
from . import generations, ledger

NEWEST = "the newest good one on disk"


@dataclass(frozen=True)
class Live:
    """The live generation. `why` is empty where the link says so, else in words how it is known."""

    number: int
    why: str = ""


def live(layout: Layout, running: Iterable[int]) -> Live | None:
    """The live generation; `running` are the generations with an instance that runs. None where nothing ever was live.

    Where the link is gone: what the ledger made live last, if it is whole; where another one runs instead and that one
    does not, the one that runs; else the newest good one on disk.
    """
    number = generations.live(layout)
    if number is not None:
        return Live(number)
    whole = [one for one in generations.numbers(layout) if generations.finished(layout, one)]
    good = [one for one in whole if generations.describe(layout, one).status == "good"]
    entries = ledger.read(layout.ledger)
    if ledger.given_back(entries):
        return None
    last = ledger.last_live(entries)
    up = set(running)
    if last in whole and (last in up or not up & set(good)):
        assert last is not None
        return Live(last, "by the ledger" + (" and what runs" if last in up else ""))
    for number in sorted(up & set(good), reverse=True):
        return Live(number, "by what runs")
    return Live(good[-1], NEWEST) if good else None


def lost(layout: Layout) -> str:
    """What is missing where live() finds nothing although the ledger says that the app is live, in words; else empty.

    Nothing of it can be made whole then, so that what runs is worth more than what would be put in its place.
    """
    last = ledger.last_live(ledger.read(layout.ledger))
    if last is None:
        return ""
    folders = (layout.home, layout.generations, layout.generation(last))
    what = next((f"{folder} is missing" for folder in folders if not os.path.isdir(folder)), "")
    return (
        f"generation {last} of {layout.app} is live by the ledger, but {what or f'{folders[-1]} is not whole'}, and no "
        "other good one is on this host: what runs is left alone; put it back, or stop "
        f"{layout.public_socket_unit} and '{layout.instance_glob}' and roll out again"
    )


def listed(layout: Layout, live_number: int | None) -> str:
    """The generations on disk with their status, in words."""
    left = ledger.deserted(ledger.read(layout.ledger))

    def status(item: generations.Generation) -> str:
        if item.number == live_number:
            return "live"
        return f"{item.status}, but left by a way back" if item.number in left else item.status

    known = [generations.describe(layout, number) for number in generations.numbers(layout)]
    return ", ".join(f"{item.number} ({status(item)})" for item in known) or "none"


def predecessor(entries: Sequence[ledger.Entry], live_number: int, good: Sequence[int]) -> int | None:
    """The good generation that `live_number` took over from when it was promoted; else the highest good one below it.

    A rollback is no promotion: after 3 went back to 2, one more rollback goes to what was before 2, not to 3 again.
    """
    for entry in reversed(entries):
        if entry.get("event") == "promoted" and entry.get("to") == live_number:
            before = entry.get("from")
            if isinstance(before, int) and before in good:
                return before
            break
    return max((number for number in good if number < live_number), default=None)


def rollback_target(layout: Layout, live_number: int | None) -> int | None:
    """The generation that a rollback without a number goes to: the good and intact one before the live; None without.

    One that is not intact any more (a file was edited, or is torn) is passed over, unless none of them is intact; one
    that was left by a way back always: there was a reason.
    """
    if live_number is None:
        return None
    entries = ledger.read(layout.ledger)
    passed = ledger.deserted(entries) | {live_number}
    good = [
        number
        for number in generations.numbers(layout)
        if number not in passed and generations.describe(layout, number).status == "good"
    ]
    first = number = predecessor(entries, live_number, good)
    while number is not None and generations.problems(layout, number):
        good.remove(number)
        number = predecessor(entries, live_number, good)
    return first if number is None else number


def rollback_hint(layout: Layout, live_number: int | None) -> str:
    """How a person gets away from a live generation that is broken, in words; empty where no rollback is possible."""
    number = rollback_target(layout, live_number)
    if number is None:
        return ""
    wrong = generations.problems(layout, number)
    if wrong:
        return (
            f"generation {number}, which `headcount-rollback {layout.app}` would go back to, is not intact: {wrong[0]}"
        )
    return f"`headcount-rollback {layout.app}` on the host goes back to generation {number}"
