# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What each path of a load took, and which one a breached limit on latency is due to: pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .._declaration.app import LoadPath
from .._declaration.shortfall import QUANTILES
from . import statistics as st
from .failed import failures_by_path
from .histogram import Histogram
from .types import PASS, WORST, Check, Samples, Verdict, finite, milliseconds

NO_GOOD_ANSWER = "had no good answer"
LEAST = 20
"""Fewer requests of a path have no 95th percentile of their own: the longest is told instead."""


@dataclass(frozen=True)
class PathTold:
    """One path of one arm: its requests, how many failed and in what ways, and percentiles in ms (infinite where they
    fall on a failed one; that of fewer than LEAST requests is their longest)."""

    name: str
    requests: int
    failures: int
    p50_ms: float
    p95_ms: float
    failed_how: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """Plain data that JSON can hold."""
        return {
            **vars(self),
            "failed_how": dict(self.failed_how),
            "p50_ms": finite(self.p50_ms, 3),
            "p95_ms": finite(self.p95_ms, 3),
        }


def names_of(paths: Sequence[LoadPath]) -> list[str]:
    """How the paths of an app's load are called: "GET /report"."""
    return [f"{path.method.upper()} {path.path}" for path in paths]


def by_path(samples: Samples, names: Sequence[str]) -> list[PathTold]:
    """Each path that was asked, in the order of the load."""
    found = []
    failed = {one.name: one.kinds for one in failures_by_path(samples, names)}
    for index, name in enumerate(names):
        mine = sorted(latency for latency, path in zip(samples.latency_ms, samples.path) if path == index)
        if mine:
            high = mine[st.quantile_rank(len(mine), 0.95) - 1] if len(mine) >= LEAST else mine[-1]
            failures = sum(not math.isfinite(latency) for latency in mine)
            usual = mine[st.quantile_rank(len(mine), 0.5) - 1]
            found.append(PathTold(name, len(mine), failures, usual, high, failed.get(name, {})))
    return found


def path_evidence(samples: Samples, names: Sequence[str]) -> list[dict[str, object]]:
    """What is kept of each path that was asked: what it took, and its good answers as a histogram (LEAST and more)."""
    kept = []
    for told in by_path(samples, names):
        index = names.index(told.name)
        mine = [latency for latency, path in zip(samples.latency_ms, samples.path) if path == index]
        histogram = {"histogram": Histogram.of_milliseconds(mine).encode()} if len(mine) >= LEAST else {}
        kept.append({**told.to_dict(), **histogram})
    return kept


def slow_path(verdict: Verdict, candidate: Samples, baseline: Samples | None, names: Sequence[str]) -> str:
    """The path that a breached limit on latency is due to, in a sentence, at the quantile that was breached; empty
    where none was breached, or where only one path was asked. Of several breached limits it is the one that decided.

    Of an absolute limit it is the path with the most requests above it beyond the share that may be; of the comparison
    with the live generation the one whose requests took the most longer than there.
    """
    mine = _latencies(candidate, names)
    breached = [check for check in verdict.checks if check.outcome != PASS and _of_latency(check)]
    if len(mine) < 2 or not breached:
        return ""
    check = max(breached, key=lambda one: WORST[one.outcome])
    measure = check.name.partition("_")[0] if check.name != "stall" else "p95"
    if check.name in QUANTILES and check.limit is not None:
        guilty = _above(candidate, names, check.limit, 1.0 - QUANTILES[check.name])
        return _sentence(guilty, mine[guilty], measure) if guilty in mine else ""
    others = _latencies(baseline, names) if baseline is not None else {}
    slower = {name: _longer(some, others.get(name, []), measure) for name, some in mine.items()}
    most = max(slower, key=lambda name: slower[name])
    if not slower[most] > 0:
        return ""
    beside = others.get(most, [])
    told = f", {milliseconds(_quantile(beside, measure))} of the live generation's {len(beside)}" if beside else ""
    return _sentence(most, mine[most], measure) + told


def _latencies(samples: Samples, names: Sequence[str]) -> dict[str, list[float]]:
    """The latencies of each path that was asked, ascending, in the order of the load."""
    found: dict[str, list[float]] = {}
    for index, name in enumerate(names):
        mine = sorted(latency for latency, path in zip(samples.latency_ms, samples.path) if path == index)
        found.update({name: mine} if mine else {})
    return found


def _enough(count: int, measure: str) -> bool:
    """Whether so many requests have that quantile by themselves."""
    return count * (1.0 - QUANTILES[measure]) >= 1.0 - 1e-9


def _quantile(ordered: Sequence[float], measure: str) -> float:
    """The quantile of some latencies; of too few of them the longest."""
    enough = _enough(len(ordered), measure)
    return ordered[st.quantile_rank(len(ordered), QUANTILES[measure]) - 1] if enough else ordered[-1]


def _sentence(name: str, ordered: Sequence[float], measure: str) -> str:
    """For people: "GET /report: p95 812 ms of 41 requests"."""
    value = _quantile(ordered, measure)
    if math.isinf(value):
        failures = sum(not math.isfinite(latency) for latency in ordered)
        return f"{name}: {failures} of {len(ordered)} requests {NO_GOOD_ANSWER}"
    what = f"{measure} " if _enough(len(ordered), measure) else "up to "
    return f"{name}: {what}{milliseconds(value)} of {len(ordered)} requests"


def _of_latency(check: Check) -> bool:
    return check.name in (*QUANTILES, *(f"{name}_relative" for name in QUANTILES), "stall")


def _above(samples: Samples, names: Sequence[str], limit_ms: float, share: float) -> str:
    excess: dict[str, float] = {}
    for latency, path in zip(samples.latency_ms, samples.path):
        if path < len(names):
            excess[names[path]] = excess.get(names[path], 0.0) + (latency > limit_ms) - share
    return max(excess, key=lambda name: excess[name], default="")


def _longer(mine: Sequence[float], beside: Sequence[float], measure: str) -> float:
    """How many ms a path takes longer than the live generation's, at the quantile that was breached, over all of its
    requests; by itself where there is none."""
    value, base = _quantile(mine, measure), _quantile(beside, measure) if beside else 0.0
    if math.isinf(value):
        return 0.0 if math.isinf(base) else math.inf
    return 0.0 if math.isinf(base) else (value - base) * len(mine)
