# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Judges the samples that scripts/bench judge has recorded, with the collection's judge and with other rules. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict import judge, statistics
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.early import SPENT
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.judge import (
    MemoryEvidence,
    Samples,
    Thresholds,
    Verdict,
)
from numpy.typing import NDArray
from scipy import stats

USUAL = Thresholds()
STRICT_MEMORY = Thresholds(memory_margin=1.15)

LIMITS = Limits(error_rate=0.01, memory_percent=None)
#: The rules that are held against ours, by the name that tables use.
PEERS = {
    "ratio": "p95 ratio > 1.2",
    "mann_whitney": "Mann-Whitney p < 0.01",
    "kayenta": "Kayenta",
    "k6": "k6-style thresholds",
}
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Take:
    """One load run of a pair, as recorded. `ended_s`: the second at which it was ended because the candidate had failed
    (None: it was not), as the look saw that could use the `share` of alpha; `looks`: how often it was looked."""

    candidate: Samples
    live: Samples
    memory: MemoryEvidence
    live_memory: MemoryEvidence
    core_share: float
    rate: float
    ended_s: float | None = None
    share: float = 1.0
    looks: int = 0

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Take:
        """From the raw data of a cell."""
        ended = data["load"].get("ended") or {}
        return cls(
            Samples.from_dict(data["candidate"]),
            Samples.from_dict(data["live"]),
            _memory(data["memory"]),
            _memory(data["live_memory"]),
            float(data["load"]["cost_core_share"]),
            float(data["load"]["rate"]),
            float(ended["at_s"]) if ended else None,
            float(ended["share"]) if ended else 1.0,
            int(data["load"].get("looks", 0)),
        )

    def cut(self, begin: float, seconds: float) -> Take:
        """The part of the run whose requests were due from `begin` on, for so long. Memory stays that of the run."""
        part = replace(self, candidate=window(self.candidate, begin, seconds), live=window(self.live, begin, seconds))
        later = self.ended_s is not None and self.ended_s > begin + seconds
        return replace(part, ended_s=None, share=1.0, looks=0) if later else part

    def has(self, begin: float) -> bool:
        """Whether it was still under way at that second."""
        return self.ended_s is None or self.ended_s > begin


def _memory(data: Mapping[str, Any]) -> MemoryEvidence:
    names = MemoryEvidence.__dataclass_fields__
    return MemoryEvidence(**{name: value for name, value in data.items() if name in names})


def window(samples: Samples, begin: float, seconds: float) -> Samples:
    """The requests that were due within [begin, begin + seconds)."""
    kept = [index for index, start in enumerate(samples.start_s) if begin <= start < begin + seconds]
    latency = [samples.latency_ms[index] for index in kept]
    return replace(
        samples,
        start_s=[samples.start_s[index] - begin for index in kept],
        latency_ms=latency,
        status=[samples.status[index] for index in kept],
        path=[samples.path[index] for index in kept] if samples.path else (),
        planned=len(kept),
        failures=sum(not math.isfinite(value) for value in latency),
        loaded=(),  # CPU is not told of a part
        quiet=(),
    )


def joined(first: Samples, second: Samples) -> Samples:
    """Two runs one after the other, as if they were one."""
    shift = (max(first.start_s) if first.start_s else 0.0) + first.period_s
    return replace(
        first,
        start_s=[*first.start_s, *(start + shift for start in second.start_s)],
        latency_ms=[*first.latency_ms, *second.latency_ms],
        status=[*first.status, *second.status],
        path=[*first.path, *second.path],
        planned=first.planned + second.planned,
        failures=first.failures + second.failures,
        achieved_rate=min(first.achieved_rate, second.achieved_rate),
        complete=first.complete and second.complete,
        why=first.why or second.why,
        loaded=(),
        quiet=(),
    )


def slowed(samples: Samples, factor: float, above_ms: float = 0.0) -> Samples:
    """The same samples with the latencies above `above_ms` multiplied."""
    return replace(samples, latency_ms=[value * factor if value > above_ms else value for value in samples.latency_ms])


def verdict_of(take: Take, policy: Thresholds = USUAL) -> Verdict:
    """Our verdict on one run; of one that was ended, with what that look could use of alpha, and never a pass."""
    if take.ended_s is not None:
        policy = replace(policy, fail_share=take.share)
    elif take.looks:
        policy = replace(policy, fail_share=1.0 - SPENT)
    found = judge.judge(take.candidate, take.live, LIMITS, take.memory, policy, baseline_memory=take.live_memory)
    ended = take.ended_s is not None and found.outcome == judge.PASS
    return replace(found, outcome=judge.INCONCLUSIVE) if ended else found


@dataclass(frozen=True)
class Outcome:
    """A verdict with its retry. `final` is None when a retry was needed that was not recorded."""

    first: str
    final: str | None
    check: str
    cause: str

    @property
    def caught(self) -> bool | None:
        """Whether the release was kept from being promoted."""
        return None if self.final is None else self.final != judge.PASS


def outcome_of(first: Take, retry: Take | None, policy: Thresholds = USUAL) -> Outcome:
    """Our verdict on a trial: the first run, and the retry where the first asks for one."""
    found = verdict_of(first, policy)
    final: Verdict | None = found
    if judge.needs_retry(found):
        final = None if retry is None else judge.combine(found, verdict_of(retry, policy))
    told = final or found
    worst = next((check.name for check in told.checks if check.outcome == told.outcome), "")
    if told.outcome == judge.INCONCLUSIVE and told.cause.startswith("seen once"):
        worst = "stall"
    return Outcome(found.outcome, None if final is None else final.outcome, worst, told.cause)


def finite(values: Sequence[float]) -> Floats:
    """As an array; failures become an hour."""
    capped: Floats = np.minimum(np.asarray(values, dtype=np.float64), 3.6e6)
    return capped


def quantile(values: Sequence[float], q: float) -> float:
    """The point estimate of a quantile, as the judge takes it."""
    return sorted(values)[statistics.quantile_rank(len(values), q) - 1]


def hodges_lehmann(new: Floats, old: Floats, level: float) -> tuple[float, float]:
    """(estimate, lower confidence bound) of the shift from old to new, two-sided level, normal approximation.

    As R's wilcox.test gives it for large samples without its continuity correction (Hollander and Wolfe,
    Nonparametric Statistical Methods, 4.3).
    """
    differences = np.subtract.outer(new, old).ravel()
    m, n = len(new), len(old)
    z = float(stats.norm.ppf(0.5 + level / 2.0))
    rank = max(0, math.floor(m * n / 2.0 - z * math.sqrt(m * n * (m + n + 1) / 12.0)))
    middle = len(differences) // 2
    parted = np.partition(differences, [rank, middle])
    return float(parted[middle]), float(parted[rank])


def kayenta(new: Floats, old: Floats, tolerance: float = 0.25, level: float = 0.98) -> bool:
    """Whether Kayenta's judge would call the metric High: bound of the Hodges-Lehmann shift > tolerance x estimate.

    MannWhitneyClassifier with the settings of NetflixACAJudge (spinnaker/kayenta), on single latencies.
    """
    estimate, lower = hodges_lehmann(new, old, level)
    return lower > tolerance * abs(estimate)


def peers_of(take: Take, p95_limit_ms: float) -> dict[str, bool]:
    """Which of the other rules would stop the release, on the same samples of one run."""
    new, old = finite(take.candidate.latency_ms), finite(take.live.latency_ms)
    failed = take.candidate.failures / max(1, take.candidate.planned)
    p95 = quantile(take.candidate.latency_ms, 0.95)
    return {
        "ratio": bool(p95 > 1.2 * quantile(take.live.latency_ms, 0.95)),
        "mann_whitney": bool(stats.mannwhitneyu(new, old, alternative="greater").pvalue < 0.01),
        "kayenta": kayenta(new, old),
        "k6": bool(p95 >= p95_limit_ms or failed >= LIMITS.error_rate),
    }


def share_bounds(count: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson bounds of a share."""
    low, high = statistics.clopper_pearson(count, total, 1.0 - level)
    return float(low), float(high)
