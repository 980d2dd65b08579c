# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether the answers of a candidate are of the kind that the live generation's are: their Content-Type, the size of
their headers, and whether some are empty.

The load says nothing of either: what was HTML and is JSON, or has no type at all, is answered 200 as fast as before. So
each path of the load is asked once of both, after the load, and once more where they differ. The load knows how many
bytes the answers of a few requests have together, and so not whether one of them is empty: a path that has fewer there
is asked AGAIN times. What differs is told, and decides nothing: a release may mean it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

from .._os.http import Answer, Ask, request, well
from .._verdict.statistics import hypergeometric_sf
from .._verdict.toldchecks import in_bytes
from .._verdict.types import PASS, Check

MOST_SECONDS: Final = 10.0
"""Later no further path is asked."""

HEADER_TIMES, HEADER_BYTES = 3.0, 1000
"""Headers that have so many times the bytes of the live generation's, or so many times fewer, and differ by so many
bytes, are told: proxies refuse answers whose headers have more than 4 or 8 kB."""

AGAIN: Final = 40
"""So often both generations are asked for a path whose answers had fewer bytes, and"""
EMPTY_LEVEL: Final = 0.01
"""it is told where so many empty answers, and none of the live generation, would be chance less often than this."""

NO_TYPE: Final = "no Content-Type"
_CHARSET: Final = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)

Send = Callable[..., Answer]


def kind_of(answer: Answer) -> str:
    """The type of an answer, with its charset, as two answers are held against each other."""
    kind = answer.kind.partition(";")[0].strip().lower()
    charset = _CHARSET.search(answer.kind)
    return (kind or NO_TYPE) + (f"; charset={charset[1].lower()}" if kind and charset else "")


def unlike(
    candidate: str,
    live: str,
    paths: Sequence[Ask],
    seconds: float,
    ask: Send = request,
    monotonic: Callable[[], float] = time.monotonic,
    shorter: Collection[str] = (),
) -> list[Check]:
    """What answers to the load's paths are unlike those of the live generation, both at their unix sockets: a check for
    each, which passes. `seconds`: how long one answer is waited for; `shorter`: the paths whose answers had fewer bytes
    than those of the live generation under load (toldchecks.fewer_bytes())."""
    end = monotonic() + MOST_SECONDS
    found: list[Check] = []
    for path in paths:
        if monotonic() >= end:
            break
        first = _differing(candidate, live, path, seconds, ask)
        if first:
            again = {check.sentence for check in _differing(candidate, live, path, seconds, ask)}
            found += [check for check in first if check.sentence in again]
    for path in paths:
        if _named(path) in shorter:
            found += _empty(candidate, live, path, seconds, ask, lambda: monotonic() < end)
    return found


def _named(path: Ask) -> str:
    return f"{path.method} {path.path}"


def _empty(candidate: str, live: str, path: Ask, seconds: float, send: Send, left: Callable[[], bool]) -> list[Check]:
    """Whether some good answers to a path are empty, and none of as many of the live generation."""

    def counts(address: str) -> tuple[int, int]:
        empty = answered = 0
        for _ in range(AGAIN):
            if not left():
                break
            answer = send(address, path, path.within(seconds))
            if well(answer.status, path.status):
                empty, answered = empty + (not answer.body), answered + 1
        return empty, answered

    empty, answered = counts(candidate)
    known, usual = counts(live) if empty else (0, 0)
    chance = hypergeometric_sf(empty, empty, answered + usual, answered)
    if not empty or known or not usual or chance >= EMPTY_LEVEL:
        return []
    name = _named(path)
    words = f"{empty} of {answered} answers of {name} were empty (0 bytes), none of {usual} of the live generation's"
    return [Check(f"empty:{name}", PASS, empty / answered, None, (None, None), words)]


def _differing(candidate: str, live: str, path: Ask, seconds: float, ask: Send) -> list[Check]:
    """How one answer of both differs; nothing where either does not mean well."""
    new, old = (ask(address, path, path.within(seconds)) for address in (candidate, live))
    if not (well(new.status, path.status) and well(old.status, path.status)):
        return []
    name = _named(path)
    said = []
    kind, usual = kind_of(new), kind_of(old)
    if kind != usual:
        said.append(("answer_kind", f"answers of {name} have {_typed(kind)}, of the live generation {_typed(usual)}"))
    size, before = new.header_bytes, old.header_bytes
    if max(size, before) > HEADER_TIMES * min(size, before) and abs(size - before) > HEADER_BYTES:
        # to two digits: a date or a cookie makes no difference
        words = f"headers of {name} have {in_bytes(_round(size))}, of the live generation {in_bytes(_round(before))}"
        said.append(("header_size", words))
    return [Check(f"{question}:{name}", PASS, None, None, (None, None), words) for question, words in said]


def _typed(kind: str) -> str:
    return kind if kind == NO_TYPE else f"the type {kind}"


def _round(count: int) -> float:
    return float(f"{count:.2g}")
