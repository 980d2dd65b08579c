# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Why requests of a trial failed: the paths that failed, their own answers, and what the candidate's log says of it.

The load generator keeps statuses and no bodies. So a path is asked again while the candidate still runs, with nothing
else to do: its answer can be shown then, and what is logged at that moment belongs to it. A journal takes only so many
lines of a unit within some time (journald.conf(5), RateLimitBurst=), and a traceback has thirty: where it has not taken
that one, an earlier one of the same candidate says it. Where the path is well by now, the moments at which its requests
failed are looked up in the log.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from .._generation.answers import Address, Request
from .._os.http import Answer, Ask, request, unwell
from .._os.logged import MOST_KEPT, Log, Own, owns, told
from .._verdict.types import Samples, Verdict, short

EARLIER_SECONDS = 60.0
"""So long before a trial its candidate may have been weighed."""

AGAIN = 20
AGAIN_SECONDS = 2.0
"""A path of which some requests fail is asked up to so often, within so long, until one fails again."""

MOST_PATHS = 3
"""So many paths that failed are asked again."""

MOMENTS = 5
"""So many of the last moments at which requests of a path failed are looked up in the log."""

SLOW_S: Final = 0.5
"""What takes longer alone is told with its time."""

SILENT = "its log says nothing of it"


@dataclass(frozen=True)
class Candidate:
    """What is asked why its requests failed: where it answers, the paths of its load in their order, how many seconds
    one answer is waited for, and its log (None: nobody reads it)."""

    address: Address
    paths: Sequence[Ask]
    seconds: float
    log: Log | None = None
    ask: Request = request
    clock: Callable[[], float] = time.time


@dataclass(frozen=True)
class Failed:
    """One path that failed, as it is kept in the evidence: what it answered when it was asked again, in words, the
    cause that its log names, and the lines of that moment. `well`: whether it is well by now."""

    request: str
    answered: str
    cause: str = ""
    log: Sequence[str] = ()
    well: bool = False

    def to_dict(self) -> dict[str, object]:
        """Plain data that JSON can hold."""
        return {**vars(self), "log": list(self.log)}


@dataclass(frozen=True)
class Why:
    """Why requests failed: in words that go behind a verdict's cause, and each path as it is kept; empty where none
    did."""

    words: str = ""
    paths: Sequence[Failed] = field(default_factory=tuple)


NOTHING_FAILED: Final = Why()


def why_failed(samples: Samples, verdict: Verdict, candidate: Candidate, began: float) -> Why:
    """Why requests failed.

    The paths that decided the verdict go before those of which the most failed. `candidate` still runs; `began`: when
    the trial did (seconds since the epoch). Bounded: MOST_PATHS, and none after one that gave no answer.
    """
    found: tuple[Failed, ...] = ()
    for index in _guilty(samples, verdict, candidate.paths):
        one, silent = _asked_again(samples, index, candidate, began)
        found = (*found, one)
        if silent:
            break
    if verdict.stopped and all(one.well and one.cause in ("", SILENT) for one in found):
        return Why("", found)  # it was the load, or the host
    return Why("; ".join(_sentences(found)), found)


def _sentences(found: Sequence[Failed]) -> list[str]:
    """What is told of each path, of those first that are not well now. A cause that was told of one before is not told
    again, and nothing of a further path that is well by now and says nothing more."""
    words: list[str] = []
    causes: set[str] = set()
    for one in sorted(found, key=lambda one: one.well):
        again = one.cause in causes
        if words and one.well and (again or one.cause in ("", SILENT)):
            continue
        causes.add(one.cause)
        words.append(one.answered if again or not one.cause else f"{one.answered}; {one.cause}")
    return [f"asked again, {words[0]}", *words[1:]] if words else []


def _guilty(samples: Samples, verdict: Verdict, paths: Sequence[Ask]) -> list[int]:
    """The paths that failed, by their place in the load: those first whose own check is the verdict's, then by how many
    of their requests failed."""
    failed = Counter(path for latency, path in zip(samples.latency_ms, samples.path) if not math.isfinite(latency))
    names = [f"{path.method.upper()} {path.path}" for path in paths]
    decided = [check.name.partition(":")[2] for check in verdict.checks if check.outcome == verdict.outcome]
    decisive = {index for index in failed if index < len(paths) and names[index] in decided}
    order = sorted(failed, key=lambda index: (index not in decisive, -failed[index], index))
    share = 0.1 * max(failed.values(), default=0)  # the others are told by their number
    chosen = [index for index in order if index < len(paths) and (index in decisive or failed[index] >= share)]
    return chosen[:MOST_PATHS]


def _asked_again(samples: Samples, index: int, candidate: Candidate, began: float) -> tuple[Failed, bool]:
    """What is told of a path of the load that failed, and whether it gave no answer now."""
    path, ended = candidate.paths[index], candidate.clock()
    answer, begin = _again(path, candidate)
    wrong = unwell(path, answer)
    name = f"{path.method} {path.path}"
    answered = wrong or f"{name} answered {answer.status}{_how_late(samples, index, answer, candidate.seconds)}"
    answered += " (an empty body)" if wrong == f"{name} answered {answer.status}" and not answer.body else ""
    if candidate.log is None:
        return Failed(name, answered, well=not wrong), answer.timed_out
    now = candidate.clock()
    # The journal may have stopped taking lines of the unit; what it logged when it was weighed is the same candidate's.
    spans = [(begin, now), (began, ended), (began - EARLIER_SECONDS, began)]
    spans = spans if wrong else spans[1:]
    raised = next(filter(None, (candidate.log.raised(path.path, *span) for span in spans)), "")
    lines = candidate.log.around(begin, now) if wrong else _at_its_moments(samples, index, candidate)
    cause = raised or told(lines) or SILENT
    return Failed(name, answered, cause, [own.text for own in lines[-MOST_KEPT:]], not wrong), answer.timed_out


def _how_late(samples: Samples, index: int, answer: Answer, seconds: float) -> str:
    """After how many seconds it answered, where it is slow, and when its requests that timed out did."""
    took = answer.elapsed_ms / 1000.0
    late = f" after {short(took)} s" if took >= SLOW_S else ""
    timed_out = index < len(samples.path_kinds) and samples.path_kinds[index].get("timed out")
    return f"{late} (under load no answer within {seconds:g} s)" if timed_out else late


def _at_its_moments(samples: Samples, index: int, candidate: Candidate) -> list[Own]:
    """What was logged when requests of the path failed under load, and tells of trouble: others were answered then."""
    if not samples.origin_s or candidate.log is None:
        return []
    failed = [
        samples.origin_s + start
        for start, latency, path in zip(samples.start_s, samples.latency_ms, samples.path)
        if path == index and not math.isfinite(latency)
    ]
    moments = failed[-MOMENTS:]
    lines = candidate.log.said(moments[0] - 1.0) if moments else []
    found = {own.text: own for moment in moments for own in owns(lines, moment, moment) if own.level}
    return list(found.values())


def _again(path: Ask, candidate: Candidate) -> tuple[Answer, float]:
    """The first answer that does not mean well, else the last one, and when it was asked for."""
    first = candidate.clock()
    for _ in range(AGAIN):
        begin = candidate.clock()
        answer = candidate.ask(candidate.address, path, path.within(candidate.seconds))
        if unwell(path, answer) or candidate.clock() - first >= AGAIN_SECONDS:
            break
    return answer, begin
