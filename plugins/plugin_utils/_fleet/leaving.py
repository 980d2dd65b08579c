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

from ...module_utils._facts.hardware import split_parts
from .._edge import Json

FURTHER: Final = "headcount_further"
_WENT_BACK: Final = {"rolled_back": "went back", "reverted": "was reverted"}
_LIVE: Final = ("promoted", *_WENT_BACK)


_OWN: Final = ("declared", "secrets")
"""The parts of a generation's digest that are the app's own; the others are the host's."""


@dataclass(frozen=True)
class _What:
    """What a generation is, whatever its host: its code, and what is declared of it."""

    code: str
    declared: tuple[str | None, ...]


@dataclass(frozen=True)
class _Made:
    """An event that made a generation live, what that is and what was live before it (None where the ledger is of
    before that was written, or there was nothing)."""

    event: Json
    what: _What | None
    before: _What | None

    @property
    def brought_code(self) -> bool:
        """Whether it made other code live."""
        return self.what is not None and (self.before is None or self.what.code != self.before.code)


def staying(ledgers: Mapping[str, Sequence[Json]]) -> dict[str, str]:
    """Why hosts stay as they are, by host; those that go back are left out.

    `ledgers`: the events of the app, newest first, of all hosts that answered. What is left is what the newest promote
    made live, whether or not its host has gone back since: what its run promoted, and, on whichever host, the code that
    it brought, or, where it brought none, the same code under the same declaration. What a host adds (its cores, its
    memory, the apps beside) makes no difference. A promote that changed neither (a retune) is left where its run
    promoted.
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
    if live.event is newest.event:
        return True
    if live.event.get("run") is not None and live.event.get("run") == newest.event.get("run"):
        return True
    if live.what is None or newest.what is None or newest.what == newest.before:
        return False
    if newest.brought_code and live.brought_code:
        return live.what.code == newest.what.code
    return live.what == newest.what


def _made(entries: Sequence[Json], events: Collection[str]) -> _Made | None:
    """The newest of `events`; None where nothing is live by the ledger: then the host itself says so."""
    for place, entry in enumerate(entries):
        if entry.get("event") in events:
            return _Made(entry, _what(entries[place:], entry.get("to")), _what(entries[place + 1 :], entry.get("from")))
        if entry.get("event") in ("removed", "given_back"):
            return None
    return None


def _what(entries: Sequence[Json], number: object) -> _What | None:
    """What a generation is, by the event that promoted it."""
    for entry in entries:
        if entry.get("event") == "promoted" and entry.get("to") == number:
            parts = split_parts(str(entry.get("digest") or ""))
            code = entry.get("source_id")
            return _What(str(code), tuple(parts.get(name) for name in _OWN)) if code else None
    return None


def _back_already(event: Json) -> str:
    return (
        f"it {_WENT_BACK[str(event['event'])]} from generation {event.get('from')} to {event.get('to')} at "
        f"{event.get('time')} already: {FURTHER}=true takes it one further back, and headcount_to names a generation"
    )
