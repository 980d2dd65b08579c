# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether a load that is still under way has failed already: the questions that can be answered before its end. Pure.

A load is looked at again and again, and each look could be wrong by chance. So all looks together may use SPENT of the
chance that a fail may be wrong, shared out evenly over the load (alpha spending: Lan and DeMets, Biometrika 1983; power
1 of Kim and DeMets, Biometrika 1987); what is left is for the judgement at its end. The chance of a wrong fail stays
what it is. A load never passes early: what comes late (a leak, a standstill) is looked for to its end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from .._declaration.app import Limits
from .._declaration.patience import ANSWER_SECONDS
from .._declaration.shortfall import QUANTILES
from . import statistics as st
from .checks import absolute_latency, beside_live, error_check
from .pathchecks import path_errors
from .run import Run, measurement_check
from .stability import standstill, trimmed
from .types import FAIL, PASS, Check, Samples, Thresholds, short

SPENT: Final = 0.1
"""The share of alpha that all looks together may use."""

LEAST_SECONDS, EVERY_SECONDS = 2.0, 0.5
SETTLED_SHARE, SETTLING_SHARE = 0.95, 0.9
"""A candidate whose last quarter of requests takes less than this share of its first quarter, or of its second, is
still getting warm, unless chance alone makes such a difference in CHANCE of all pairs of quarters."""
CHANCE: Final = 0.2

PARTS, LEAST_OF_A_PART = 6, 10
"""What is over of a load is cut into so many parts, and a fault must be seen throughout."""

HANG_SHARE: Final = 0.5
"""No answer at all for this part of what an answer may take, while requests come in and the live generation answers, is
no standstill but an end."""


@dataclass(frozen=True)
class Rule:
    """By what a load is judged while it is under way: as judge() has it at its end. `answer_seconds`: how long one
    answer is waited for; `new`: as Run has it."""

    limits: Limits
    policy: Thresholds
    names: Sequence[str] = ()
    answer_seconds: float = ANSWER_SECONDS
    new: Mapping[str, int] = field(default_factory=dict)


def spent(before: float, now: float) -> float:
    """The share of alpha that a look may use when the part `now` of the load is over, the one before at `before`."""
    return SPENT * max(0.0, min(1.0, now) - before)


def failed_already(candidate: Samples, baseline: Samples | None, rule: Rule, share: float) -> str:
    """Why the load has failed, in a sentence; empty where it has not, or where that cannot be said yet.

    `share`: of alpha, that this look may use. Latency is not asked before the cold-start check can tell.
    """
    policy = replace(rule.policy, fail_share=share)
    run = Run(candidate, baseline, rule.limits, None, None, policy, rule.names, rule.new)
    if measurement_check(candidate, rule.policy).outcome != PASS or run.sick_beside:
        return ""
    found = [check for check in (error_check(run, True), *path_errors(run).checks) if _fails(check)]
    if found and _all_along(candidate):
        return found[0].sentence
    if warm(run):
        slow = [check for check in (*absolute_latency(run).checks, *beside_live(run).checks) if _fails(check)]
        found = [check for check in slow if _throughout(check, run)]
        if found:
            return found[0].sentence
    return hangs(candidate, baseline, HANG_SHARE * rule.answer_seconds)


def _fails(check: Check) -> bool:
    return check.outcome == FAIL and check.firm


def _parts(samples: Samples) -> list[list[float]]:
    """Latencies in PARTS parts of equal time; a failed request's is infinite."""
    width = (max(samples.start_s) + 1e-9) / PARTS
    found: list[list[float]] = [[] for _ in range(PARTS)]
    for start, latency in zip(samples.start_s, samples.latency_ms):
        found[min(PARTS - 1, max(0, int(start / width)))].append(latency)
    return found


def _all_along(samples: Samples) -> bool:
    """Whether requests failed in all parts but one: those of one bad moment say nothing of the rest."""
    return sum(math.inf in part for part in _parts(samples)) >= PARTS - 1


def _throughout(check: Check, run: Run) -> bool:
    """Whether the candidate is too slow in every part: more than the limit, or than the live generation in any part.

    The requests of a burst are slow together, and so far both arms had different ones. Of identical releases this holds
    once in 924 times, however their requests depend on each other within a part.
    """
    q = QUANTILES[check.name.partition("_")[0]]
    quantiles = _quantiles(run.warm, q)
    if check.name in QUANTILES:
        return bool(quantiles) and min(quantiles) > float(check.limit or 0.0)
    others = _quantiles(trimmed(run.baseline, run.cold_seconds), q) if run.baseline is not None else []
    return bool(quantiles) and bool(others) and min(quantiles) > max(others)


def _quantiles(samples: Samples, q: float) -> list[float]:
    """The quantile of each part; empty where one has too few requests."""
    parts = [sorted(part) for part in _parts(samples)] if samples.start_s else []
    if any(len(part) < LEAST_OF_A_PART for part in parts):
        return []
    return [part[st.quantile_rank(len(part), q) - 1] for part in parts]


def warm(run: Run) -> bool:
    """Whether the cold-start check can tell by now that the candidate is warm: there are enough requests for it, it
    settled, and it is not getting faster still."""
    if run.candidate.planned < 120 or not run.steady.settled:
        return False
    ordered = [latency for _, latency in sorted(zip(run.warm.start_s, run.warm.latency_ms))]
    quarter = len(ordered) // 4
    if quarter < 10:
        return False
    first, second, last = (ordered[place : place + quarter] for place in (0, quarter, len(ordered) - quarter))
    return not (_faster(last, first, SETTLED_SHARE) or _faster(last, second, SETTLING_SHARE))


def _faster(last: Sequence[float], before: Sequence[float], share: float) -> bool:
    """Whether the median of `last` is less than this share of that of `before`, and not by chance: so many of `before`
    lie above it as of the same requests would in fewer than CHANCE of all cases."""
    rank = len(last) // 2 + 1
    middle = sorted(last)[rank - 1]
    if middle >= share * sorted(before)[len(before) // 2]:
        return False
    above = sum(latency > middle for latency in before)
    return st.exceedance_sf(above, len(last), rank, len(before)) < CHANCE


def hangs(candidate: Samples, baseline: Samples | None, seconds: float) -> str:
    """That the candidate has answered nothing for so many seconds; empty where the live generation has not either."""
    gap, begin, waiting = standstill(candidate)
    if gap < 1000.0 * seconds or waiting < 5:
        return ""
    if baseline is not None and (not baseline.latency_ms or standstill(baseline)[0] >= 0.5 * gap):
        return ""
    return f"nothing was answered for {short(gap)} ms from second {short(begin)} on while {waiting} requests came in"
