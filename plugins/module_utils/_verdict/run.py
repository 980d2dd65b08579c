# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""One load run as it is judged, and whether it and the live generation beside it are a measurement at all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from .._declaration.app import Limits
from .._declaration.shortfall import QUANTILES
from . import statistics as st
from .failed import told_failures
from .stability import Steadiness, steadiness, trimmed
from .types import FAIL, INCONCLUSIVE, PASS, Check, MemoryEvidence, Samples, Thresholds, short


@dataclass(frozen=True)
class Run:
    """One load run as it is judged. The baseline is the live generation under the same load at the same time; `names`:
    what the load's paths are called, "GET /report", in their order (empty: not known). `new`: those that the live
    generation does not know, with the status that it answers."""

    candidate: Samples
    baseline: Samples | None
    limits: Limits
    memory: MemoryEvidence | None
    baseline_memory: MemoryEvidence | None
    policy: Thresholds
    names: Sequence[str] = ()
    new: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def steady(self) -> Steadiness:
        """Of the candidate."""
        return steadiness(self.candidate)

    @cached_property
    def live_steady(self) -> Steadiness | None:
        """Of the live generation; None where nothing of it was measured."""
        return None if self.baseline is None or not self.baseline.latency_ms else steadiness(self.baseline)

    @property
    def cold_seconds(self) -> float:
        """The first seconds of the run, which are not judged for latency."""
        return max(self.steady.cold_seconds, self.live_steady.cold_seconds if self.live_steady else 0.0)

    @cached_property
    def warm(self) -> Samples:
        """The candidate's samples after the cold start."""
        return trimmed(self.candidate, self.cold_seconds)

    @cached_property
    def yardstick(self) -> Check:
        """Whether the live generation can serve as a yardstick."""
        return _yardstick(self)

    @property
    def sick_beside(self) -> bool:
        """Whether the live generation is sick at the same time, so that failed requests may be the host's fault."""
        return self.yardstick.name == "baseline" and self.yardstick.outcome == FAIL


@dataclass(frozen=True)
class Answer:
    """What came of one question: checks, warnings that decide nothing, and what could not be compared, each as the end
    of a sentence that begins with "not compared:"."""

    checks: Sequence[Check] = ()
    warnings: Sequence[str] = ()
    uncompared: Sequence[str] = ()


def measurement_check(samples: Samples, policy: Thresholds) -> Check:
    """Whether a run is a measurement at all."""
    wanted = samples.planned_rate or samples.achieved_rate
    share = samples.achieved_rate / wanted if wanted > 0 else 0.0
    outcome = PASS
    sentence = f"{samples.planned} requests at {short(samples.achieved_rate)} a second"
    if not samples.complete:
        outcome, sentence = INCONCLUSIVE, f"not a measurement: {samples.why}"
    elif len(samples.latency_ms) != samples.planned:
        outcome = INCONCLUSIVE
        sentence = f"not a measurement: {len(samples.latency_ms)} rows for {samples.planned} planned requests"
    elif samples.planned < policy.min_requests:
        outcome = INCONCLUSIVE
        sentence = f"not a measurement: {samples.planned} requests are too few, {policy.min_requests} is the least. "
        sentence += "Lengthen load.seconds or raise load.rate" if samples.whole else "The load was ended before that"
    elif share < policy.min_rate_share:
        outcome = INCONCLUSIVE
        sentence = (
            f"not a measurement: the generator reached {short(samples.achieved_rate)} of {short(wanted)} a second"
        )
    return Check("measurement", outcome, samples.planned, policy.min_requests, (None, None), sentence)


def _yardstick(run: Run) -> Check:
    """Whether the live generation can serve as a yardstick; named "baseline_run" where that could not be found out."""
    none = (None, None)
    baseline, limit, policy = run.baseline, run.limits.error_rate, run.policy
    if baseline is None:
        return Check("baseline_run", PASS, None, None, none, "there is no live generation to compare with")
    if not baseline.latency_ms or baseline.planned <= 0:
        return Check("baseline_run", INCONCLUSIVE, None, None, none, "no request reached the live generation's arm")
    measured = measurement_check(baseline, policy)
    if measured.outcome != PASS:
        return Check(
            "baseline_run", INCONCLUSIVE, None, None, none, f"the live generation's arm is {measured.sentence}"
        )
    low, high = st.clopper_pearson(baseline.failures, baseline.planned, policy.level)
    rate = baseline.failures / baseline.planned
    said = f"{baseline.failures} of {baseline.planned} requests to the live generation failed"
    said += told_failures(baseline, run.names)
    ordered = trimmed(baseline, run.cold_seconds).sorted_latencies()
    ranks = [st.quantile_rank(len(ordered), QUANTILES[name]) for name in policy.relative]
    if low > limit or any(not math.isfinite(ordered[rank - 1]) for rank in ranks):
        sentence = f"{said}: it is sick itself and no yardstick, so the candidate is held against the limits alone"
        return Check("baseline", FAIL, rate, limit, (low, high), sentence)
    return Check("baseline", PASS, rate, limit, (low, high), said)
