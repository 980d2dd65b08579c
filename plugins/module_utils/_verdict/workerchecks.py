# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a verdict asks of single workers: whether one of several stood still while the others went on, and whether what
failed was one worker's alone. From what was seen of each worker while the load ran (workers.WorkerLog)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from . import statistics as st
from .run import Answer, Run
from .types import FAIL, PASS, Check, MemoryEvidence, Samples, short

STILL_S: Final = 3.0
"""A worker gives a sign of life once a second. One that gives none for so long stood still; a busy host delays them by
less (docs/verdict.md has what was seen)."""

LIVE_TIMES: Final = 2.0
"""So many times as long as any worker of the live generation it must have stood still."""

LEAST_ERRORS: Final = 5
SURE: Final = 0.001
"""The failed requests are one worker's where that would be less likely by chance, and it has nearly all of them:"""
NEARLY_ALL: Final = 0.9


@dataclass(frozen=True)
class StoodStill:
    """A time in which a worker gave no sign of life: its process, from which second of the load on, for how long, and
    whether others went on."""

    pid: int
    begin: float
    seconds: float
    alone: bool


@dataclass(frozen=True)
class Seen:
    """What was seen of a worker: when it stood still, and how many requests it answered, and of those failed (None:
    nobody counted them)."""

    pid: int
    stills: tuple[StoodStill, ...] = ()
    requests: int | None = None
    errors: int | None = None


def seen(memory: MemoryEvidence | None) -> list[Seen]:
    """The workers of which signs of life were looked for."""
    if memory is None:
        return []
    return [_seen(one, one["still"]) for one in memory.workers if isinstance(one.get("still"), list)]


def _seen(one: Mapping[str, object], stills: Any) -> Seen:
    pid, requests, errors = one.get("pid"), one.get("requests"), one.get("errors")
    number = pid if isinstance(pid, int) else 0
    return Seen(
        number,
        tuple(StoodStill(number, float(begin), float(seconds), bool(alone)) for begin, seconds, alone in stills),
        requests if isinstance(requests, int) else None,
        errors if isinstance(errors, int) else None,
    )


def stood_still(memory: MemoryEvidence | None, samples: Samples) -> list[StoodStill]:
    """The times in which workers stood still while they were loaded, the longest first."""
    found = [still for one in seen(memory) for still in one.stills if _while_loaded(still, samples)]
    return sorted(found, key=lambda still: -still.seconds)


def _while_loaded(still: StoodStill, samples: Samples) -> bool:
    return any(begin <= still.begin < end - 1.0 for begin, end in samples.loaded)


def one_stands_still(run: Run) -> Answer:
    """Whether one worker of several stood still while the others went on, longer than any of the live generation's."""
    count = len(seen(run.memory))
    mine = [still for still in stood_still(run.memory, run.candidate) if still.alone]
    if count < 2 or not mine:
        return Answer()
    worst = mine[0]
    theirs = stood_still(run.baseline_memory, run.baseline) if run.baseline is not None else []
    usual = theirs[0].seconds if theirs else 0.0
    limit = max(STILL_S, LIVE_TIMES * usual)
    said = (
        f"a worker (process {worst.pid}) stood still for {short(worst.seconds)} s from second {short(worst.begin)} of "
        f"the load on, while others went on"
    )
    if worst.seconds <= limit:
        return Answer([Check("worker_still", PASS, worst.seconds, limit, (None, None), said)])
    if run.baseline is None or not seen(run.baseline_memory):
        alone = f"{said}; there is no live generation to tell by whether that is usual"
        return Answer([Check("worker_still", PASS, worst.seconds, limit, (None, None), alone)], [alone])
    said += f"; the workers of the live generation for {short(usual)} s at most" if usual else ""
    return Answer([Check("worker_still", FAIL, worst.seconds, limit, (None, None), said)])


def whose_errors(run: Run) -> Answer:
    """Whether nearly all requests that failed were one worker's; it decides nothing, and tells where to look."""
    counted = [(one.errors or 0, one.requests, one.pid) for one in seen(run.memory) if one.requests]
    failed, asked = sum(errors for errors, _, _ in counted), sum(requests or 0 for _, requests, _ in counted)
    if len(counted) < 2 or failed < LEAST_ERRORS:
        return Answer()
    errors, requests, pid = max(counted)
    mine = requests or 0
    chance = st.hypergeometric_sf(errors, failed, asked, mine) * len(counted)
    if errors < NEARLY_ALL * failed or chance >= SURE:
        return Answer()
    share = "all" if errors == failed else f"{errors} of {failed}"
    said = (
        f"{share} requests that failed were one worker's (process {pid}: {errors} of {mine}; the others: "
        f"{failed - errors} of {asked - mine})"
    )
    return Answer([Check("errors_of_one_worker", PASS, errors / failed, None, (None, None), said)])


def recycling(run: Run) -> Answer:
    """How many workers were replaced because they had answered max_requests; it decides nothing, and explains waits."""
    mine = run.memory.recycled if run.memory is not None else 0
    if not mine:
        return Answer()
    workers = "1 worker" if mine == 1 else f"{mine} workers"
    said = f"{workers} of the candidate {'was' if mine == 1 else 'were'} replaced meanwhile, as max_requests says"
    live = run.baseline_memory.recycled if run.baseline is not None and run.baseline_memory is not None else None
    said += "" if live is None else f", {live or 'none'} of the live generation"
    return Answer([Check("recycled", PASS, mine, live, (None, None), said)])
