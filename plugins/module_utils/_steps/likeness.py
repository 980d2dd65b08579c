# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether the answers of a candidate are of the kind that the live generation's are: their Content-Type, where they
redirect to, their Content-Encoding and Cache-Control, the size of their headers, and whether some are empty or cut.

The load says nothing of it: what was HTML and is JSON, or has no type at all, is answered 200 as fast as before. So
each path of the load is asked once of both, after the load, and once more where they differ. The load knows how many
bytes the answers of a few requests have together, and so not whether one of them is empty or cut: a path that has fewer
there is asked AGAIN times. What differs is told, and decides nothing: a release may mean it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

from .._os.http import Answer, Ask, redirected, request, well
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
SHORT: Final = 0.8
"""The same for answers that have less than this share of the bytes that others of the same path have."""

NO_TYPE: Final = "no Content-Type"
NOTHING: Final = "none"
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
            found += _cut(candidate, live, path, seconds, ask, lambda: monotonic() < end)
    return found


def _named(path: Ask) -> str:
    return f"{path.method} {path.path}"


def _cut(candidate: str, live: str, path: Ask, seconds: float, send: Send, left: Callable[[], bool]) -> list[Check]:
    """Whether some good answers to a path are empty, or much shorter than the others, and none of as many of the live
    generation."""

    def sizes(address: str) -> list[int]:
        found: list[int] = []
        for _ in range(AGAIN):
            if not left():
                break
            answer = send(address, path, path.within(seconds))
            if well(answer.status, path.status):
                found.append(max(len(answer.body), answer.received - answer.header_bytes) if answer.body else 0)
        return found

    mine = sizes(candidate)
    if not _short(mine):
        return []
    usual, name = sizes(live), _named(path)
    empty, short = mine.count(0), _short(mine)
    if _no_chance(empty, len(mine), usual.count(0), len(usual)):
        words = f"{empty} of {len(mine)} answers of {name} were empty (0 bytes)"
        return [_told("empty", name, empty / len(mine), f"{words}, none of {len(usual)} of the live generation's")]
    if not _no_chance(len(short), len(mine), len(_short(usual)), len(usual)):
        return []
    words = (
        f"{len(short)} of {len(mine)} answers of {name} were much shorter than its others (about {in_bytes(short[-1])} "
    )
    words += f"instead of {in_bytes(_usual(mine))}), none of {len(usual)} of the live generation's"
    return [_told("cut", name, len(short) / len(mine), words)]


def _usual(sizes: Sequence[int]) -> int:
    """The size that a quarter of the answers has at least: also where most of them are cut."""
    return sorted(sizes)[3 * len(sizes) // 4]


def _short(sizes: Sequence[int]) -> list[int]:
    """Those that are much shorter than the others, in their order; all that are empty too."""
    return [size for size in sorted(sizes) if not size or size < SHORT * _usual(sizes)]


def _no_chance(found: int, asked: int, known: int, usual: int) -> bool:
    """Whether so many of the answers asked for, and none of the live generation's, would hardly be chance."""
    return bool(found and usual and not known) and hypergeometric_sf(found, found, asked + usual, asked) < EMPTY_LEVEL


def _told(question: str, name: str, share: float, words: str) -> Check:
    return Check(f"{question}:{name}", PASS, share, None, (None, None), words)


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
    if redirected(new) and redirected(old):
        said += _unlike("redirect", name, "lead to", _place(new), _place(old))
    said += _unlike("encoding", name, "have the Content-Encoding", new.encoding.lower(), old.encoding.lower())
    said += _unlike("caching", name, "have the Cache-Control", _caching(new), _caching(old))
    size, before = new.header_bytes, old.header_bytes
    if max(size, before) > HEADER_TIMES * min(size, before) and abs(size - before) > HEADER_BYTES:
        # to two digits: a date or a cookie makes no difference
        words = f"headers of {name} have {in_bytes(_round(size))}, of the live generation {in_bytes(_round(before))}"
        said.append(("header_size", words))
    return [Check(f"{question}:{name}", PASS, None, None, (None, None), words) for question, words in said]


def _unlike(question: str, name: str, has: str, new: str, old: str) -> list[tuple[str, str]]:
    """What is told of a header that differs."""
    words = f"answers of {name} {has} {new or NOTHING}, of the live generation {old or NOTHING}"
    return [(question, words)] if new != old else []


def _place(answer: Answer) -> str:
    """Where a redirect leads to, without what may be new each time."""
    return re.split("[?#]", answer.location)[0]


def _caching(answer: Answer) -> str:
    """The directives of a Cache-Control, without their seconds, which may run."""
    return ", ".join(sorted({part.partition("=")[0].strip().lower() for part in answer.caching.split(",")}))


def _typed(kind: str) -> str:
    return kind if kind == NO_TYPE else f"the type {kind}"


def _round(count: int) -> float:
    return float(f"{count:.2g}")
