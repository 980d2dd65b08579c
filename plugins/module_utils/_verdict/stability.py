# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether a run settled, when it was cold, and whether it stood still: pure functions over the samples of one arm."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace

from . import statistics as st
from .types import Samples, short


@dataclass(frozen=True)
class Steadiness:
    """Whether a run settled: seconds of cold start at its beginning (0: none), and whether it was steady after that."""

    settled: bool
    cold_seconds: float
    sentence: str


def trimmed(samples: Samples, cold_seconds: float) -> Samples:
    """The samples without the good answers of the first seconds. Failures stay, whenever they happened."""
    if cold_seconds <= 0:
        return samples
    kept = [
        index
        for index, (start, latency) in enumerate(zip(samples.start_s, samples.latency_ms))
        if start >= cold_seconds or not math.isfinite(latency)
    ]
    return replace(
        samples,
        start_s=[samples.start_s[index] for index in kept],
        latency_ms=[samples.latency_ms[index] for index in kept],
        status=[samples.status[index] for index in kept],
        path=[samples.path[index] for index in kept] if samples.path else (),
        planned=len(kept),
    )


def steadiness(samples: Samples, blocks: int = 12, ratio: float = 1.3, floor_ms: float = 5.0) -> Steadiness:
    """Tells a cold start and a run that never settles from slowness.

    The run is cut into `blocks` of equal time. Leading blocks whose median lies above `ratio` times (and `floor_ms`
    above) the median of the later half are a cold start, if they are at most a third of the run. A longer one, or
    medians that keep rising through the last two thirds (Kendall's S at least 24 of 28, about one in a thousand by
    chance, and by more than ratio and floor from its first to its last quarter), is a run that did not settle.
    """
    if samples.planned < 10 * blocks or not samples.start_s:
        return Steadiness(True, 0.0, "too short to look for a cold start")
    end = max(samples.start_s) + 1e-9
    width = end / blocks
    parts: list[list[float]] = [[] for _ in range(blocks)]
    for start, latency in zip(samples.start_s, samples.latency_ms):
        parts[min(blocks - 1, max(0, int(start / width)))].append(latency)
    medians = [sorted(part)[len(part) // 2] if part else math.inf for part in parts]
    later = sorted(medians[blocks // 2 :])
    reference = later[len(later) // 2]
    if not math.isfinite(reference):
        return Steadiness(True, 0.0, "most requests failed: there is no steady state to speak of")

    def above(value: float, usual: float) -> bool:
        return value > ratio * usual and value > usual + floor_ms

    cold = 0
    while cold < blocks and above(medians[cold], reference):
        cold += 1
    tail = medians[blocks // 3 :]
    pairs = len(tail) * (len(tail) - 1) // 2
    first, last = min(tail[:2]), min(tail[-2:])
    if st.kendall_s(tail) >= round(pairs * 24 / 28) and above(last, first):
        rose = f"the median rose from {short(first)} ms to {short(last)} ms and was still rising"
        return _unsettled(samples, rose, "")
    if cold > blocks // 3:
        slow = f"the median was {short(medians[0])} ms at first and {short(reference)} ms only after"
        took = f"{short(cold * width)} of {short(end)} s"
        return _unsettled(samples, f"{slow} {took}", ". Raise load.warmup_requests")
    if cold:
        return Steadiness(
            True,
            cold * width,
            f"the median was {short(medians[0])} ms at first, {short(reference)} ms from {short(cold * width)} s on",
        )
    return Steadiness(True, 0.0, f"steady at a median of {short(reference)} ms")


def _unsettled(samples: Samples, words: str, advice: str) -> Steadiness:
    """A run that did not settle; of one that was ended nobody knows whether it would have."""
    whole = f"the run never settled: {words}{advice}"
    return Steadiness(False, 0.0, whole if samples.whole else f"{words} when the load was ended")


def standstill(samples: Samples) -> tuple[float, float, int]:
    """The longest time without any good answer although requests came in: (milliseconds, second it began, requests).

    Slow answers are no standstill, as long as some come; this finds a whole app that stops, without limit or baseline.
    """
    due = sorted(samples.start_s)
    ends = sorted(
        start + latency / 1000.0
        for start, latency in zip(samples.start_s, samples.latency_ms)
        if math.isfinite(latency)
    )
    longest = (0.0, 0.0, 0)
    usual = min(samples.latency_ms, default=0.0) / 1000.0  # the first answer may take as long as any
    starts = [usual if math.isfinite(usual) else 0.0, *ends]
    for previous, end in zip(starts, [*ends, due[-1] if due else 0.0]):
        first = bisect_right(due, previous)
        waiting = bisect_left(due, end) - first
        if waiting > 0 and (end - due[first]) * 1000.0 > longest[0]:
            longest = ((end - due[first]) * 1000.0, due[first], waiting)
    return longest
