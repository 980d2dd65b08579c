# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which hosts go back where people roll back a fleet: those on which what was promoted last is live. Pure functions.

One host alone can only take the generation before its live one. Over a fleet that would take a host further back that
never had the release which is left, and, when the call is repeated for a host that was away, all that are back already.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .._edge import Json

FURTHER: Final = "headcount_further"
_WENT_BACK: Final = {"rolled_back": "went back", "reverted": "was reverted"}
_LIVE: Final = ("promoted", *_WENT_BACK)


@dataclass(frozen=True)
class _Made:
    """An event that made a generation live, what that is (its code and its declaration; None where the ledger is of
    before that was written), and whether the one before it was something else."""

    event: Json
    what: tuple[object, object] | None
    other: bool


def staying(ledgers: Mapping[str, Sequence[Json]]) -> dict[str, str]:
    """Why hosts stay as they are, by host; those that go back are left out.

    `ledgers`: the events of the app, newest first, of all hosts that answered. What is left is what the newest promote
    made live, whether or not its host has gone back since: the same code and declaration on whichever host, or, where
    that promote changed neither (a retune), what its run promoted.
    """
    lives = {host: made for host, entries in ledgers.items() if (made := _made(entries, _LIVE)) is not None}
    promotes = [made for entries in ledgers.values() if (made := _made(entries, ("promoted",))) is not None]
    if not promotes:
        return {}
    newest = max(promotes, key=lambda made: str(made.event.get("time")))
    why = {}
    for host, live in lives.items():
        if live.event["event"] != "promoted":
            why[host] = _back_already(live.event)
        elif not _is_left(live, newest):
            why[host] = (
                f"generation {live.event.get('to')} is live since {live.event.get('time')}, and is not what was"
                f" promoted last, at {newest.event.get('time')}; {FURTHER}=true takes it back too"
            )
    return why


def _is_left(live: _Made, newest: _Made) -> bool:
    if newest.other and live.what is not None and newest.what is not None:
        return live.what == newest.what
    same_run = live.event.get("run") is not None and live.event.get("run") == newest.event.get("run")
    return same_run or live.event is newest.event


def _made(entries: Sequence[Json], events: Collection[str]) -> _Made | None:
    """The newest of `events`; None where nothing is live by the ledger: then the host itself says so."""
    for place, entry in enumerate(entries):
        if entry.get("event") in events:
            what = _what(entries[place:], entry.get("to"))
            return _Made(entry, what, what is None or what != _what(entries[place + 1 :], entry.get("from")))
        if entry.get("event") in ("removed", "given_back"):
            return None
    return None


def _what(entries: Sequence[Json], number: object) -> tuple[object, object] | None:
    """The code and the declaration of a generation, by the event that promoted it."""
    for entry in entries:
        if entry.get("event") == "promoted" and entry.get("to") == number:
            return (entry.get("source_id"), entry.get("digest")) if entry.get("source_id") else None
    return None


def _back_already(event: Json) -> str:
    return (
        f"it {_WENT_BACK[str(event['event'])]} from generation {event.get('from')} to {event.get('to')} at "
        f"{event.get('time')} already: {FURTHER}=true takes it one further back, and headcount_to names a generation"
    )
