# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The verdict on a trial: pure functions from samples, limits and memory evidence to pass, fail or inconclusive.

Latencies are in milliseconds; a request without a good answer has an infinite latency. Rates are per second, shares
0..1. The statistics are exact and assume no shape of latencies; docs/verdict.md has the formulas and their sources.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from . import statistics as st

PASS = "pass"
FAIL = "fail"
INCONCLUSIVE = "inconclusive"
_WORST = {PASS: 0, INCONCLUSIVE: 1, FAIL: 2}
QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
HARD_CHECKS = ("oom_kills", "restarts", "error_rate", "memory_peak")
DEFAULT_ERROR_RATE = 0.01
RETRY_FACTOR = 2.0
"""How many times longer the retry of a trial runs."""


@dataclass(frozen=True)
class Samples:
    """What one arm of a load run answered: one entry per planned request, in the order in which they were due.

    `start_s` is the second after the start of the run at which a request was due; `latency_ms` counts from then, and is
    infinite for a failure; `status` is the HTTP status or 0 where no answer came; `path` the index of the load's path.
    `lag_ms` is the longest wait for a connection that was added to a latency, `drift_ms` how far the generator fell
    behind. `complete` is False when the run is no measurement, and `why` says for what reason. `kinds`: in what ways
    requests failed, and how many each ("answered 503", "timed out"). Where both arms get the same requests at different
    times, `turned_s` tells by how much later than the schedule this arm begins, and `run_s` after how long it begins
    again at its beginning (0: it is not known which requests are the same).
    """

    start_s: Sequence[float]
    latency_ms: Sequence[float]
    status: Sequence[int]
    planned: int
    period_s: float
    failures: int
    achieved_rate: float
    lag_ms: float = 0.0
    complete: bool = True
    why: str = ""
    path: Sequence[int] = ()
    planned_rate: float = 0.0
    drift_ms: float = 0.0
    cpu_seconds: float = 0.0
    notes: Sequence[str] = ()
    kinds: Mapping[str, int] = field(default_factory=dict)
    turned_s: float = 0.0
    run_s: float = 0.0

    def how_failed(self) -> str:
        """In what ways its requests failed, the most frequent first, as part of a sentence; empty when not known."""
        ways = sorted(self.kinds.items(), key=lambda item: (-item[1], item[0]))
        return ", ".join(f"{count} {how}" for how, count in ways)

    def sorted_latencies(self) -> list[float]:
        """Ascending latencies of all planned requests, failures (infinite) last."""
        return sorted(self.latency_ms)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold; a failure's latency is null."""
        return {
            "start_s": [round(value, 6) for value in self.start_s],
            "latency_ms": [finite(value, 3) for value in self.latency_ms],
            "status": list(self.status),
            "path": list(self.path),
            "notes": list(self.notes),
            "kinds": dict(self.kinds),
            **{name: getattr(self, name) for name in _PLAIN},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Samples:
        """The inverse of `to_dict`."""
        return cls(
            start_s=list(data["start_s"]),
            latency_ms=[math.inf if value is None else float(value) for value in data["latency_ms"]],
            status=list(data["status"]),
            path=list(data.get("path", ())),
            notes=list(data.get("notes", ())),
            kinds=dict(data.get("kinds", {})),
            **{name: data[name] for name in _PLAIN if name in data},
        )


_PLAIN = (
    "planned", "period_s", "failures", "achieved_rate", "lag_ms", "complete", "why", "planned_rate", "drift_ms",
    "cpu_seconds", "turned_s", "run_s",
)  # fmt: skip


@dataclass(frozen=True)
class MemoryEvidence:
    """Memory of one unit over a load window, in MiB; None is what could not be measured.

    `peak_mib` and `source` come from the cgroup where there is one; `limit_mib` is the limit that the peak is
    held against before `memory_percent` (usually MemoryMax). `restarts` are workers lost without having been recycled
    on purpose, `deaths` how they ended, where that is known.
    """

    peak_mib: float | None
    source: str
    pss_mib: float | None = None
    after_warmup_mib: float | None = None
    oom_kills: int | None = 0
    restarts: int = 0
    workers: Sequence[Mapping[str, Any]] = ()
    limit_mib: float | None = None
    recycled: int = 0
    cpu_seconds: float | None = None
    uss_mib: float | None = None
    seconds: float = 0.0
    notes: Sequence[str] = ()
    deaths: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**plain, "workers": [dict(worker) for worker in self.workers], "notes": list(self.notes)}


@dataclass(frozen=True)
class Policy:
    """How strictly to judge.

    alpha: the chance of a wrong fail that a single check may have; comparisons: by how many hosts (or other verdicts of
    the same question) it is divided (Bonferroni); margin and floor_ms: a relative slowdown counts only above both;
    suspicion: a slowdown that is not proven, but would be chance less often than this, is inconclusive (the retry looks
    again, for twice as long); stall_ms: a standstill of this length is a fault (None: not looked for); min_requests:
    fewer are no measurement; min_rate_share: nor is a rate below this share of the planned one;
    memory_margin: a PSS above this many times the live one's fails (None: it is only said).
    """

    alpha: float = 0.01
    comparisons: int = 1
    margin: float = 1.2
    floor_ms: float = 5.0
    suspicion: float = 0.2
    relative: tuple[str, ...] = ("p50", "p95")
    min_requests: int = 100
    min_rate_share: float = 0.95
    stall_ms: float | None = 500.0
    memory_margin: float | None = None
    memory_floor_mib: float = 8.0
    on_inconclusive: str = "revert"

    @property
    def level(self) -> float:
        """alpha after the correction for several comparisons."""
        return self.alpha / max(1, self.comparisons)

    @property
    def confidence(self) -> str:
        """The level as a person reads it: "99 %"."""
        return f"{100 * (1 - self.level):.6g} %"


@dataclass(frozen=True)
class Check:
    """One question of the verdict: its answer, the value, the limit, confidence bounds, and a sentence that says it."""

    name: str
    outcome: str
    value: float | None
    limit: float | None
    bounds: tuple[float | None, float | None]
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold."""
        return {
            "name": self.name,
            "outcome": self.outcome,
            "value": finite(self.value),
            "limit": finite(self.limit),
            "bounds": [finite(bound) for bound in self.bounds],
            "sentence": self.sentence,
        }


@dataclass(frozen=True)
class Verdict:
    """The outcome (pass, fail or inconclusive), the first cause in one sentence, every check, and what is only said.

    `hard`: a fail that a retry must not undo. `stopped`: the load was ended because the live generation suffered, so
    that there must be no retry.
    """

    outcome: str
    cause: str
    checks: Sequence[Check] = ()
    warnings: Sequence[str] = ()
    hard: bool = False
    attempts: int = 1
    stopped: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold."""
        return {
            "outcome": self.outcome,
            "cause": self.cause,
            "checks": [check.to_dict() for check in self.checks],
            "warnings": list(self.warnings),
            "hard": self.hard,
            "attempts": self.attempts,
            "stopped": self.stopped,
            "facts": dict(self.facts),
        }

    def check(self, name: str) -> Check:
        """The check of that name; KeyError where it was not made."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)


@dataclass(frozen=True)
class Steadiness:
    """Whether a run settled: seconds of cold start at its beginning (0: none), and whether it was steady after that."""

    settled: bool
    cold_seconds: float
    sentence: str


def finite(value: float | None, digits: int = 6) -> float | None:
    """The value rounded, None where it is infinite or no number: JSON has no infinity."""
    if value is None or not math.isfinite(value):
        return None
    return round(value, digits)


def number(value: float) -> str:
    """A measured number as a person reads it: three significant digits."""
    if not math.isfinite(value):
        return "unanswered"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def milliseconds(value: float) -> str:
    """A latency as a person reads it; "unanswered" for an infinite one."""
    return f"{number(value)} ms" if math.isfinite(value) else "unanswered"


def needed_requests(limits: Mapping[str, Any], policy: Policy = Policy()) -> tuple[int, str]:
    """The fewest requests with which these limits can be passed at all, and which limit asks for them.

    A quantile q needs n with 1 - q**n >= 1 - alpha/2; an error rate e needs (1 - e)**n <= alpha/2 when nothing fails.
    """
    needs = [(policy.min_requests, "a verdict of any kind")]
    half = policy.level / 2.0
    for name, q in QUANTILES.items():
        if limits.get(f"{name}_ms") is not None:
            needs.append((math.ceil(math.log(half) / math.log(q)), f"the limit on {name}"))
    rate = error_limit(limits)
    if 0.0 < rate < 1.0:
        needs.append((math.ceil(math.log(half) / math.log1p(-rate)), f"the limit of {100 * rate:.3g} % on errors"))
    return max(needs)


@dataclass(frozen=True)
class Shortfall:
    """Fewer requests than the limits take. `hopeless`: not even the retry, twice as long, can pass. `reason`: what
    needs them; `seconds` and `rate`: either would be enough, the other one as declared."""

    planned: int
    needed: int
    hopeless: bool
    sentence: str
    reason: str
    seconds: int
    rate: int


def load_shortfall(load: Mapping[str, Any], limits: Mapping[str, Any], policy: Policy = Policy()) -> Shortfall | None:
    """Whether load.rate times load.seconds is too little for the limits, known before anything runs.

    load, limits: those of the normalised app. None where it is enough, or where the rate is derived on the host.
    """
    rate, seconds = load.get("rate"), load.get("seconds")
    if rate is None or seconds is None:
        return None
    planned = math.floor(float(rate) * float(seconds) + 1e-9)
    needed, reason = needed_requests(limits, policy)
    if planned >= needed:
        return None
    hopeless = RETRY_FACTOR * planned < needed
    then = "no verdict can pass" if hopeless else "every first run is inconclusive and takes its retry, twice as long"
    longer, faster = math.ceil(needed / float(rate)), math.ceil(needed / float(seconds))
    return Shortfall(
        planned,
        needed,
        hopeless,
        f"load.rate {float(rate):g} for load.seconds {float(seconds):g} are {planned} requests, and {reason} takes at "
        f"least {needed}: {then}. Set load.seconds to {longer} or more, or load.rate to {faster} or more",
        reason,
        longer,
        faster,
    )


def error_limit(limits: Mapping[str, Any]) -> float:
    """The highest share of failed requests; 1 % when none is given."""
    rate = limits.get("error_rate")
    return DEFAULT_ERROR_RATE if rate is None else float(rate)


def judge(
    candidate: Samples | None,
    baseline: Samples | None,
    limits: Mapping[str, Any],
    memory: MemoryEvidence | None = None,
    policy: Policy = Policy(),
    *,
    baseline_memory: MemoryEvidence | None = None,
) -> Verdict:
    """The verdict on one load run.

    limits: p50_ms, p95_ms, p99_ms, error_rate, memory_percent; None or absent is no limit, except for errors.
    The baseline is the live generation under the same load at the same time, or None where there is none.
    """
    checks = list(_memory_checks(memory, limits))
    warnings: list[str] = []
    facts: dict[str, Any] = {}
    if candidate is None or candidate.planned <= 0 or not candidate.latency_ms:
        sentence = "no request was sent: nothing was measured, and what is not measured does not pass"
        checks.append(Check("measurement", INCONCLUSIVE, 0, None, (None, None), sentence))
        return _conclude(checks, warnings, facts, None)
    measured = _measurement_check(candidate, policy)
    beside = _failed_beside(baseline, error_limit(limits), policy)
    errors = _error_check(candidate, error_limit(limits), policy, measured.outcome == PASS)
    checks += [errors, measured] if errors.outcome == FAIL else [measured, errors]
    facts["candidate"] = summary(candidate)
    if baseline is not None:
        facts["baseline"] = summary(baseline)
    if measured.outcome != PASS:
        return _conclude(checks, warnings, facts, candidate, beside=beside)
    steady = steadiness(candidate)
    live = None if baseline is None or not baseline.latency_ms else steadiness(baseline)
    cut = max(steady.cold_seconds, live.cold_seconds if live else 0.0)
    if cut > 0:
        warnings.append(f"cold start: the first {number(cut)} s are not judged for latency ({steady.sentence})")
    shaken = not steady.settled and not (live is not None and not live.settled)
    checks.append(
        Check(
            "steady_state", INCONCLUSIVE if shaken else PASS, steady.cold_seconds, None, (None, None), steady.sentence
        )
    )
    warm = trimmed(candidate, cut)
    checks += [
        _quantile_check(name, q, warm, float(limits[f"{name}_ms"]), policy)
        for name, q in QUANTILES.items()
        if limits.get(f"{name}_ms") is not None
    ]
    yardstick = _yardstick(baseline, cut, error_limit(limits), policy)
    if baseline is not None:
        checks.append(yardstick)
    if yardstick.outcome == PASS and baseline is not None:
        checks += _relative_checks(warm, trimmed(baseline, cut), policy)
    elif baseline is not None:
        warnings.append(yardstick.sentence)
        if yardstick.name == "baseline":  # sick: no yardstick, but no obstacle to its replacement either
            checks[-1] = replace(yardstick, outcome=PASS)
    if policy.stall_ms is not None:
        checks.append(_stall_check(candidate, baseline, policy.stall_ms, policy))
    grown = _memory_growth(memory, baseline_memory, policy)
    if grown is not None:
        checks.append(grown)
        if grown.outcome == PASS and grown.sentence.startswith("memory grew"):
            warnings.append(grown.sentence)
    needed, reason = needed_requests(limits, policy)
    if candidate.planned < needed:
        warnings.append(
            f"{candidate.planned} requests cannot pass {reason}: that takes at least {needed}. "
            "Lengthen load.seconds or raise load.rate"
        )
    shared = yardstick.name == "baseline" and yardstick.outcome == FAIL
    return _conclude(checks, warnings, facts, candidate, shared=shared, beside=beside)


def judge_stopped(
    stopped: str,
    candidate: Samples,
    baseline: Samples | None,
    limits: Mapping[str, Any],
    memory: MemoryEvidence | None = None,
) -> Verdict:
    """The verdict on a load that was stopped because the live generation suffered, which `stopped` says in a sentence.

    Inconclusive, whatever both answered under it; only what the candidate did to itself (killed for memory, dead
    workers, memory above its limit) is a fail.
    """
    checks = list(_memory_checks(memory, limits))
    failed = [check for check in checks if check.outcome == FAIL]
    checks.append(Check("measurement", INCONCLUSIVE, candidate.planned, None, (None, None), stopped))
    arms = {"candidate": candidate, **({"baseline": baseline} if baseline is not None else {})}
    names = {"candidate": "the candidate", "baseline": "the live generation"}
    told = [
        f"{arm.failures} of {arm.planned} requests to {names[name]} failed"
        + (f" ({arm.how_failed()})" if arm.failures and arm.kinds else "")
        for name, arm in arms.items()
    ]
    cause = "; ".join([*(check.sentence for check in failed[:1]), stopped, " and ".join(told)])
    outcome = FAIL if failed else INCONCLUSIVE
    facts = {name: summary(arm) for name, arm in arms.items()}
    return Verdict(outcome, cause, tuple(checks), (), bool(failed), 1, True, facts)


def summary(samples: Samples) -> dict[str, Any]:
    """The plain numbers of a run; a quantile is None where it falls on a failed request."""
    ordered = samples.sorted_latencies()
    quantiles = {
        f"{name}_ms": finite(ordered[st.quantile_rank(len(ordered), q) - 1], 3) if ordered else None
        for name, q in QUANTILES.items()
    }
    return {
        "planned": samples.planned,
        "failures": samples.failures,
        **quantiles,
        "achieved_rate": finite(samples.achieved_rate, 3),
        "planned_rate": finite(samples.planned_rate, 3),
        "lag_ms": finite(samples.lag_ms, 3),
        "drift_ms": finite(samples.drift_ms, 3),
        "complete": samples.complete,
        "why": samples.why,
        "failed_how": dict(samples.kinds),
    }


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
        return Steadiness(
            False,
            0.0,
            f"the run never settled: the median rose from {number(first)} ms to {number(last)} ms and was still rising",
        )
    if cold > blocks // 3:
        return Steadiness(
            False,
            0.0,
            f"the run never settled: the median was {number(medians[0])} ms at first and {number(reference)} ms only "
            f"after {number(cold * width)} of {number(end)} s. Raise load.warmup_requests",
        )
    if cold:
        return Steadiness(
            True,
            cold * width,
            f"the median was {number(medians[0])} ms at first, {number(reference)} ms from {number(cold * width)} s on",
        )
    return Steadiness(True, 0.0, f"steady at a median of {number(reference)} ms")


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


def needs_retry(verdict: Verdict) -> bool:
    """Whether a verdict deserves its one retry: an inconclusive one, or a fail that is not a hard one. Never one whose
    load was stopped: the retry would do the same to users, for twice as long."""
    if verdict.stopped:
        return False
    return verdict.outcome == INCONCLUSIVE or (verdict.outcome == FAIL and not verdict.hard)


def combine(first: Verdict, second: Verdict | None) -> Verdict:
    """The verdict after the retry. The second run, with swapped arms and twice as long, decides, except that

    - a first verdict that needed no retry stands;
    - a standstill that the second run did not show again leaves it inconclusive: a fault seen once was seen.
    """
    if second is None or not needs_retry(first):
        return first
    earlier = f"the first run said {first.outcome}: {first.cause}"
    facts = {**second.facts, "first": first.to_dict()}
    if second.outcome == PASS and any(check.name == "stall" and check.outcome == FAIL for check in first.checks):
        cause = f"seen once, not again in the second run: {first.cause}"
        return replace(
            second, outcome=INCONCLUSIVE, cause=cause, attempts=2, facts=facts, warnings=[*second.warnings, earlier]
        )
    return replace(second, attempts=2, facts=facts, warnings=[*second.warnings, earlier])


def decide(verdict: Verdict, on_inconclusive: str = "revert") -> str:
    """What follows: "promote" or "revert". An inconclusive verdict keeps the live generation unless told to promote.

    What was not measured is never promoted: `on_inconclusive` is about measurements that are too wide to tell.
    """
    if on_inconclusive not in ("revert", "promote"):
        raise ValueError(f"on_inconclusive is {on_inconclusive!r}; allowed are revert and promote")
    if verdict.outcome == PASS:
        return "promote"
    measured = all(check.outcome == PASS for check in verdict.checks if check.name == "measurement")
    return "promote" if verdict.outcome == INCONCLUSIVE and measured and on_inconclusive == "promote" else "revert"


def _conclude(
    checks: Sequence[Check],
    warnings: Sequence[str],
    facts: Mapping[str, Any],
    candidate: Samples | None,
    shared: bool = False,
    beside: str = "",
) -> Verdict:
    """shared: the live generation is sick at the same time, so that failed requests may be the host's fault.
    beside: what failed of it, in words that go into the cause of what is no pass."""
    outcome = max((check.outcome for check in checks), key=lambda name: _WORST[name])
    failed = "" if candidate is None else f"{candidate.failures} of {candidate.planned} requests failed"
    causes = [check for check in checks if check.outcome == outcome]
    if outcome == PASS:
        told = [check.sentence for check in checks if check.name in QUANTILES]
        told += [check.sentence for check in checks if check.name == "p95_relative"]
        cause = "; ".join([*(told[-1:] or ["every check passed"]), failed])
    else:
        cause = causes[0].sentence
        if failed and causes[0].name not in ("error_rate", "measurement"):
            cause = f"{cause}; {failed}"
        cause = "; ".join(part for part in (cause, beside) if part)
    stands = [name for name in HARD_CHECKS if not (shared and name == "error_rate")]
    hard = outcome == FAIL and any(check.name in stands for check in causes)
    return Verdict(outcome, cause, tuple(checks), tuple(warnings), hard, facts=facts)


def _measurement_check(samples: Samples, policy: Policy) -> Check:
    wanted = samples.planned_rate or samples.achieved_rate
    share = samples.achieved_rate / wanted if wanted > 0 else 0.0
    outcome = PASS
    sentence = f"{samples.planned} requests at {number(samples.achieved_rate)} a second"
    if not samples.complete:
        outcome, sentence = INCONCLUSIVE, f"not a measurement: {samples.why}"
    elif len(samples.latency_ms) != samples.planned:
        outcome = INCONCLUSIVE
        sentence = f"not a measurement: {len(samples.latency_ms)} rows for {samples.planned} planned requests"
    elif samples.planned < policy.min_requests:
        outcome = INCONCLUSIVE
        sentence = (
            f"not a measurement: {samples.planned} requests are too few, {policy.min_requests} is the least. "
            "Lengthen load.seconds or raise load.rate"
        )
    elif share < policy.min_rate_share:
        outcome = INCONCLUSIVE
        sentence = (
            f"not a measurement: the generator reached {number(samples.achieved_rate)} of {number(wanted)} a second"
        )
    return Check("measurement", outcome, samples.planned, policy.min_requests, (None, None), sentence)


def _error_check(samples: Samples, limit: float, policy: Policy, measured: bool) -> Check:
    # Of a run that is no measurement only the failures that were answered as such are proven.
    failures = samples.failures if measured else sum(status >= 400 or 0 < status < 200 for status in samples.status)
    low, high = st.clopper_pearson(failures, samples.planned, policy.level)
    rate = failures / samples.planned
    said = f"{failures} of {samples.planned} requests failed ({100 * rate:.3g} %), limit {100 * limit:.3g} %"
    if failures and samples.kinds:
        said += f" ({samples.how_failed()})"
    if low > limit:
        outcome, sentence = FAIL, f"{said}: with {policy.confidence} confidence above {100 * low:.3g} %"
    elif not measured:
        outcome, sentence = INCONCLUSIVE, f"{said}, in a run that is not a measurement"
    elif high > limit:
        outcome = INCONCLUSIVE
        sentence = f"{said}: it lies between {100 * low:.3g} and {100 * high:.3g} %, too wide to tell"
    else:
        outcome, sentence = PASS, f"{said}: with {policy.confidence} confidence at most {100 * high:.3g} %"
    return Check("error_rate", outcome, rate, limit, (low, high), sentence)


def _bound(ordered: Sequence[float], rank: int) -> float | None:
    return ordered[rank - 1] if 1 <= rank <= len(ordered) else None


def _quantile_check(name: str, q: float, samples: Samples, limit: float, policy: Policy) -> Check:
    ordered = samples.sorted_latencies()
    low_rank, high_rank = st.quantile_ranks(len(ordered), q, policy.level)
    low, high = _bound(ordered, low_rank), _bound(ordered, high_rank)
    value = ordered[st.quantile_rank(len(ordered), q) - 1]
    said = f"{name} is {number(value)} ms, limit {number(limit)}"
    if not math.isfinite(value):
        said = (
            f"{name} has no value because more than {100 * (1 - q):.3g} % of requests failed, limit {number(limit)} ms"
        )
    if low is not None and low > limit:
        if math.isfinite(low):
            said = f"{said}: with {policy.confidence} confidence above {number(low)}"
        return Check(name, FAIL, value, limit, (low, high), said)
    if high is not None and high <= limit:
        return Check(
            name, PASS, value, limit, (low, high), f"{said}: with {policy.confidence} confidence at most {number(high)}"
        )
    least, most = "0" if low is None else number(low), "anything" if high is None else number(high)
    sentence = f"{said}: with {len(ordered)} requests it lies between {least} and {most}, too wide to tell"
    return Check(name, INCONCLUSIVE, value, limit, (low, high), sentence)


def _yardstick(baseline: Samples | None, cut: float, limit: float, policy: Policy) -> Check:
    """Whether the live generation can serve as a yardstick; named "baseline_run" where that could not be found out."""
    none = (None, None)
    if baseline is None:
        return Check("baseline_run", PASS, None, None, none, "there is no live generation to compare with")
    if not baseline.latency_ms or baseline.planned <= 0:
        return Check("baseline_run", INCONCLUSIVE, None, None, none, "no request reached the live generation's arm")
    measured = _measurement_check(baseline, policy)
    if measured.outcome != PASS:
        return Check(
            "baseline_run", INCONCLUSIVE, None, None, none, f"the live generation's arm is {measured.sentence}"
        )
    low, high = st.clopper_pearson(baseline.failures, baseline.planned, policy.level)
    rate = baseline.failures / baseline.planned
    said = f"{baseline.failures} of {baseline.planned} requests to the live generation failed"
    if baseline.failures and baseline.kinds:
        said += f" ({baseline.how_failed()})"
    ordered = trimmed(baseline, cut).sorted_latencies()
    ranks = [st.quantile_rank(len(ordered), QUANTILES[name]) for name in policy.relative]
    if low > limit or any(not math.isfinite(ordered[rank - 1]) for rank in ranks):
        sentence = f"{said}: it is sick itself and no yardstick, so the candidate is held against the limits alone"
        return Check("baseline", FAIL, rate, limit, (low, high), sentence)
    return Check("baseline", PASS, rate, limit, (low, high), said)


def _failed_beside(baseline: Samples | None, limit: float, policy: Policy) -> str:
    """That the live generation failed under the same load too, and how; empty when it did not, beyond its limit."""
    if baseline is None or not baseline.failures or baseline.planned <= 0:
        return ""
    if st.clopper_pearson(baseline.failures, baseline.planned, policy.level)[0] <= limit:
        return ""
    how = f" ({baseline.how_failed()})" if baseline.kinds else ""
    return f"of the live generation, under the same load, {baseline.failures} of {baseline.planned} failed too{how}"


def _relative_checks(candidate: Samples, baseline: Samples, policy: Policy) -> list[Check]:
    new, old = candidate.sorted_latencies(), baseline.sorted_latencies()
    n, m = len(old), len(new)
    found = []
    for name in policy.relative:
        q = QUANTILES[name]
        rank = st.quantile_rank(n, q)
        usual, value = old[rank - 1], new[st.quantile_rank(m, q) - 1]
        above = sum(latency > policy.margin * usual for latency in new)
        found.append((name, q, rank, usual, value, above, st.exceedance_sf(above, n, rank, m)))
    rejected = st.holm([item[-1] for item in found], policy.level)
    checks = []
    for (name, q, rank, usual, value, above, p), significant in zip(found, rejected):
        grew = value - usual > policy.floor_ms
        outcome = PASS
        if grew:
            outcome = FAIL if significant else INCONCLUSIVE if p < policy.suspicion else PASS
        ratio = value / usual if usual > 0 else (1.0 if value == usual else math.inf)
        change = f"{100 * (ratio - 1):+.0f} %" if math.isfinite(ratio) else "unbounded"
        sentence = f"{name} is {milliseconds(value)} against {milliseconds(usual)} of the live generation ({change})"
        if outcome == FAIL:
            sentence += (
                f": {above} of {m} requests took longer than {policy.margin:.3g} times its {name}, "
                f"where {m * (1 - q):.0f} are usual (p = {p:.2g})"
            )
        elif outcome == INCONCLUSIVE:
            sentence += f": more than {policy.margin:.3g} times, but it may be chance (p = {p:.2g})"
        elif significant:
            sentence += f": less than {policy.floor_ms:.3g} ms more, which does not count"
        low = _ratio_bound(new, usual, n, rank, policy.level / len(found))
        checks.append(Check(f"{name}_relative", outcome, ratio, policy.margin, (low, None), sentence))
    return checks


def _ratio_bound(new: Sequence[float], usual: float, n: int, rank: int, level: float) -> float | None:
    """The largest margin that the exceedance test would still reject: a lower confidence bound of the slowdown."""
    m = len(new)
    low, high = 0, m + 1  # smallest k that is significant
    while high - low > 1:
        middle = (low + high) // 2
        if st.exceedance_sf(middle, n, rank, m) < level:
            high = middle
        else:
            low = middle
    return None if high > m or usual <= 0 else new[m - high] / usual


def _stall_check(candidate: Samples, baseline: Samples | None, stall_ms: float, policy: Policy) -> Check:
    gap, begin, waiting = standstill(candidate)
    rate = candidate.planned_rate or candidate.achieved_rate
    least = max(stall_ms, 15000.0 / rate if rate > 0 else stall_ms)
    usable = baseline is not None and baseline.complete and bool(baseline.latency_ms)
    if gap >= least and waiting >= 5:
        sentence = (
            f"nothing was answered for {number(gap)} ms from second {number(begin)} on while {waiting} requests came in"
        )
        if usable and baseline is not None:
            other, its_begin, _ = standstill(baseline)
            if other >= 0.5 * gap and its_begin < begin + gap / 1000.0 and begin < its_begin + other / 1000.0:
                shared = f"{sentence}; the live generation stood still too ({number(other)} ms), so the host did"
                return Check("stall", PASS, gap, least, (None, None), shared)
            other = _same_standstill(candidate, baseline, begin, gap)
            if other >= 0.5 * gap:
                shared = f"{sentence}; the same requests made the live generation stand still too ({number(other)} ms)"
                return Check("stall", PASS, gap, least, (None, None), shared)
        return Check("stall", FAIL, gap, least, (None, None), sentence)
    if usable and baseline is not None:
        slow = sum(stall_ms <= latency < math.inf for latency in candidate.latency_ms)
        usual = sum(stall_ms <= latency < math.inf for latency in baseline.latency_ms)
        total = len(candidate.latency_ms) + len(baseline.latency_ms)
        p = st.hypergeometric_sf(slow, slow + usual, total, len(candidate.latency_ms))
        if p < policy.level:
            sentence = (
                f"{slow} of {candidate.planned} requests took {number(stall_ms)} ms or more, "
                f"against {usual} of {baseline.planned} of the live generation (p = {p:.2g})"
            )
            return Check("stall", FAIL, slow, usual, (None, None), sentence)
    return Check("stall", PASS, gap, least, (None, None), f"the longest time without an answer was {number(gap)} ms")


def _same_standstill(candidate: Samples, baseline: Samples, begin: float, gap_ms: float) -> float:
    """Milliseconds that the live generation stood still at the requests that made the candidate stand still at second
    `begin`; 0 where it is not known which those are."""
    if not candidate.run_s or candidate.run_s != baseline.run_s:
        return 0.0
    there = (begin + candidate.turned_s - baseline.turned_s) % candidate.run_s
    near = [abs(start - there) <= 2.0 * gap_ms / 1000.0 for start in baseline.start_s]
    some = replace(
        baseline,
        start_s=[start for start, wanted in zip(baseline.start_s, near) if wanted],
        latency_ms=[latency for latency, wanted in zip(baseline.latency_ms, near) if wanted],
    )
    return standstill(some)[0]


def _memory_checks(memory: MemoryEvidence | None, limits: Mapping[str, Any]) -> list[Check]:
    none = (None, None)
    percent = limits.get("memory_percent")
    if memory is None:
        if percent is None:
            return []
        sentence = "memory was not measured although it has a limit (limits.memory_percent)"
        return [Check("memory_peak", INCONCLUSIVE, None, None, none, sentence)]
    checks = []
    if memory.oom_kills is None:
        sentence = (
            "it is not known whether the kernel killed a process for memory: the cgroup's count could not be read"
        )
        checks.append(Check("oom_kills", INCONCLUSIVE, None, 0, none, sentence))
    elif memory.oom_kills > 0:
        times = "once" if memory.oom_kills == 1 else f"{memory.oom_kills} times"
        sentence = f"the kernel killed a process of the candidate for memory {times}"
        checks.append(Check("oom_kills", FAIL, memory.oom_kills, 0, none, sentence))
    else:
        checks.append(Check("oom_kills", PASS, 0, 0, none, "no process was killed for memory"))
    if memory.restarts > 0:
        lost = "1 worker" if memory.restarts == 1 else f"{memory.restarts} workers"
        how = f" ({memory.deaths})" if memory.deaths else ""
        checks.append(
            Check("restarts", FAIL, memory.restarts, 0, none, f"{lost} of the candidate died under load{how}")
        )
    else:
        checks.append(Check("restarts", PASS, 0, 0, none, "no worker died"))
    if percent is not None:
        checks.append(_memory_peak(memory, float(percent)))
    return checks


def _memory_peak(memory: MemoryEvidence, percent: float) -> Check:
    none = (None, None)
    if memory.peak_mib is None or memory.limit_mib is None or memory.limit_mib <= 0:
        missing = "the peak" if memory.peak_mib is None else "the memory limit of the unit"
        sentence = f"memory cannot be judged: {missing} is not known ({memory.source})"
        return Check("memory_peak", INCONCLUSIVE, memory.peak_mib, memory.limit_mib, none, sentence)
    limit = memory.limit_mib * percent / 100.0
    pss = "" if memory.pss_mib is None else f", PSS {number(memory.pss_mib)} MiB"
    sentence = (
        f"memory peaked at {number(memory.peak_mib)} MiB{pss}, limit {number(limit)} "
        f"({number(percent)} % of {number(memory.limit_mib)}; {memory.source})"
    )
    return Check("memory_peak", FAIL if memory.peak_mib > limit else PASS, memory.peak_mib, limit, none, sentence)


def _memory_growth(new: MemoryEvidence | None, old: MemoryEvidence | None, policy: Policy) -> Check | None:
    if new is None or old is None or not new.pss_mib or not old.pss_mib:
        return None
    ratio = new.pss_mib / old.pss_mib
    margin = 1.15 if policy.memory_margin is None else policy.memory_margin
    said = f"from {number(old.pss_mib)} to {number(new.pss_mib)} MiB PSS ({100 * (ratio - 1):+.0f} %)"
    if ratio > margin and new.pss_mib - old.pss_mib > policy.memory_floor_mib:
        outcome = PASS if policy.memory_margin is None else FAIL
        return Check("memory_growth", outcome, ratio, margin, (None, None), f"memory grew {said}")
    return Check("memory_growth", PASS, ratio, margin, (None, None), f"memory went {said}")
