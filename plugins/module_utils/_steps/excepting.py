# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether a candidate logs an exception again and again while it answers well, which the live generation does not.

No answer shows it: what failed was caught, logged, and left out of the page. So the last lines of both logs are read
after the load, at most MOST_LINES of each, and how often each kind of exception is in them is held against each other.
It is told, and decides nothing: a release may mean it. The arithmetic is pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from .._os.causes import LEAVING, Raised, exceptions
from .._os.lines import UNREAD, Line
from .._verdict.types import FAIL, PASS, Check, Verdict, short

MOST_LINES: Final = 4000
LEAST: Final = 20
"""So many exceptions of a kind at least, and"""
LEAST_SHARE: Final = 0.2
"""so many for each request that the candidate was asked, are told; without a live generation so many:"""
ALONE_SHARE: Final = 0.5
MORE: Final = 4.0
"""So many times as many a second as of the same kind in the live generation's log."""
NEARLY_EACH: Final = 0.8
LEAST_SECONDS: Final = 0.5
"""A log whose last MOST_LINES are of less time tells nothing."""

Said = Callable[[float, int], Sequence[Line]]
"""The last lines of a log since a second of the epoch, at most so many."""

_PLACE: Final = re.compile(r":\d+$")


@dataclass(frozen=True)
class Logged:
    """The end of a log: the exceptions of each kind in it, and the seconds that it is of. `whole`: of all the time that
    was asked for."""

    kinds: Mapping[tuple[str, str], Sequence[Raised]] = field(default_factory=dict)
    seconds: float = 0.0
    whole: bool = True

    def rate(self, kind: tuple[str, str]) -> float:
        """Exceptions of a kind a second."""
        return len(self.kinds.get(kind, ())) / max(self.seconds, LEAST_SECONDS)


def logged(lines: Sequence[Line], begin: float, end: float, most: int = MOST_LINES) -> Logged:
    """What `lines`, the last ones of a log between two times, at most `most` of them, hold of exceptions.

    A kind is an exception's class, and the file where it was raised: another release has it on another line.
    """
    kinds: dict[tuple[str, str], list[Raised]] = {}
    for raised in exceptions(lines):
        if not raised.name.endswith("Warning") and raised.name not in LEAVING:
            kinds.setdefault((raised.name, _PLACE.sub("", raised.where)), []).append(raised)
    whole = len(lines) < most
    return Logged(kinds, end - begin if whole else lines[-1].at - lines[0].at, whole)


def _number(found: object, *keys: str) -> float:
    """A number within what is kept of a trial; 0 where it is not there."""
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return float(found) if isinstance(found, (int, float)) else 0.0


def asked_in_all(verdict: Verdict, load: object) -> tuple[float, float]:
    """How many requests the candidate was asked in a trial, its warm-up and a first run too, and how many a second.
    `load`: as the evidence has it."""
    facts = dict(verdict.facts)
    before = _number(facts, "first", "facts", "candidate", "planned")
    asked = _number(facts, "candidate", "planned") + before + _number(load, "warmup", "requests")
    return asked, _number(facts, "candidate", "planned_rate")


def more_exceptions(mine: Logged, live: Logged | None, requests: float, rate: float) -> list[Check]:
    """What a candidate's log says again and again of `requests` that were answered well, `rate` a second; `live`: the
    live generation's log of the same time. One check, which passes, with the exception that is most frequent."""
    asked = requests if mine.whole else min(requests, rate * mine.seconds)
    if asked <= 0 or (not mine.whole and mine.seconds < LEAST_SECONDS):
        return []
    told = [kind for kind in mine.kinds if _told(kind, mine, live, asked)]
    if not told:
        return []
    kind = max(told, key=lambda kind: len(mine.kinds[kind]))
    found = mine.kinds[kind]
    share = len(found) / asked
    often = "nearly each request" if share >= NEARLY_EACH else f"{100 * share:.0f} % of its requests"
    beside = f"; of the live generation {len(live.kinds.get(kind, ())) or 'none'}" if live is not None else ""
    more = f", and of {len(told) - 1} other kind{'s' if len(told) > 2 else ''}" if len(told) > 1 else ""
    words = (
        f"its log has an exception for {often}, though they are answered well ({len(found)} within "
        f"{short(mine.seconds)} s{beside}): {found[-1].words(place=True)}{more}"
    )
    return [Check(f"exceptions:{kind[0]}", PASS, share, None, (None, None), words)]


def _told(kind: tuple[str, str], mine: Logged, live: Logged | None, asked: float) -> bool:
    """Whether there are so many exceptions of a kind that a person should know."""
    least = LEAST_SHARE if live is not None else ALONE_SHARE
    many = len(mine.kinds[kind]) >= max(LEAST, least * asked)
    return many and (live is None or mine.rate(kind) >= MORE * live.rate(kind))


def wanted(verdict: Verdict) -> bool:
    """Whether the log is to be read for it: why requests failed is told by what is logged of those."""
    return verdict.outcome != FAIL or not _number(dict(verdict.facts), "candidate", "failures")


def with_exceptions(verdict: Verdict, found: Sequence[Check]) -> Verdict:
    """The verdict with what is told of the candidate's log, in its cause whatever it is: what is logged again and again
    may be what takes the time."""
    told = verdict.telling(found)
    if verdict.outcome == PASS:
        return told
    return replace(told, cause="; ".join([verdict.cause, *(check.sentence for check in found)]))


def _within(lines: Sequence[Line], begin: float) -> list[Line]:
    """Without what the weigh, or whoever asked before, logged in the same second: a journal is asked for whole ones."""
    return [line for line in lines if line.at >= begin]


def excepting(mine: Said, live: Said | None, verdict: Verdict, load: object, begin: float, end: float) -> list[Check]:
    """What is told of the candidate's log of a trial between two times, beside the live generation's (None: that was
    not asked the same), which was not read where it need not be."""
    own = _within(mine(begin, MOST_LINES), begin)
    requests, rate = asked_in_all(verdict, load)
    found = logged(own, begin, end)
    if not more_exceptions(found, Logged(), requests, rate):
        return []
    other = live(begin, MOST_LINES) if live is not None else []
    if other and other[0].text.startswith(UNREAD):
        return []
    return more_exceptions(
        found, logged(_within(other, begin), begin, end) if live is not None else None, requests, rate
    )
