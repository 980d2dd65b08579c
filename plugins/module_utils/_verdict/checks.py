# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The questions that a verdict asks of a run that is a measurement: one function each, in the order of `CHECKS`.

To change what is asked, change a function here; judge.py asks them and draws the conclusion. The statistics are exact
and assume no shape of latencies; docs/verdict.md has the formulas and their sources.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from .._declaration.shortfall import QUANTILES, needed_requests
from .._facts.neighbours import lacking_above
from . import statistics as st
from .compared import Compared
from .costchecks import cpu_per_request, idle_cpu, piles_up, writes
from .failed import failures_by_path, told_failures
from .pathchecks import path_errors, path_latency
from .pooling import pooled_bound
from .run import Answer, Run
from .stability import standstill, trimmed
from .toldchecks import answer_sizes, cold_requests, fewer_bytes
from .types import FAIL, INCONCLUSIVE, PASS, Check, MemoryEvidence, Samples, Thresholds, short
from .workerchecks import one_stands_still, recycling, whose_errors


def steady_state(run: Run) -> Answer:
    """Whether the candidate settled. Where the live generation did not either, it was the host."""
    steady, live = run.steady, run.live_steady
    shaken = not steady.settled and not (live is not None and not live.settled)
    outcome = INCONCLUSIVE if shaken else PASS
    warnings = []
    if run.cold_seconds > 0:
        cold = short(run.cold_seconds)
        mine = live is None or steady.cold_seconds >= live.cold_seconds
        why = steady.sentence if mine or live is None else f"of the live generation {live.sentence}"
        warnings.append(f"cold start: the first {cold} s are not judged for latency ({why})")
    check = Check("steady_state", outcome, steady.cold_seconds, None, (None, None), steady.sentence)
    return Answer([check], warnings)


def absolute_latency(run: Run) -> Answer:
    """The quantiles that have a limit."""
    limits = {name: run.limits.latency_ms(name) for name in QUANTILES}
    return Answer(
        [
            _quantile_check(name, QUANTILES[name], run.warm, float(limit), run.policy)
            for name, limit in limits.items()
            if limit is not None
        ]
    )


def beside_live(run: Run) -> Answer:
    """The quantiles against those of the live generation, where that can serve as a yardstick."""
    if run.baseline is None:
        return Answer()
    yardstick = run.yardstick
    if yardstick.outcome == PASS:
        relative = _relative_checks(run.warm, trimmed(run.baseline, run.cold_seconds), run.policy)
        return Answer([yardstick, *relative])
    if yardstick.name == "baseline":  # sick: no yardstick, but no obstacle to its replacement either
        sick = "latency and CPU (the live generation is sick itself)"
        return Answer([replace(yardstick, outcome=PASS)], [yardstick.sentence], [sick])
    return Answer([yardstick], [yardstick.sentence])


def stall(run: Run) -> Answer:
    """Whether the candidate stood still."""
    if run.policy.stall_ms is None:
        return Answer()
    # Where nobody shows what is usual, an app that may take longer for each answer may be silent as long.
    slowest = [run.limits.latency_ms(name) or 0.0 for name in QUANTILES] if run.baseline is None else [0.0]
    check = _stall_check(run.candidate, run.baseline, max(run.policy.stall_ms, *slowest), run.policy)
    return Answer([check], [check.sentence] if MAYBE in check.sentence else [])


def memory_growth(run: Run) -> Answer:
    """Whether it takes more memory than the live generation."""
    grown = _memory_growth(run.memory, run.baseline_memory, run.policy)
    if grown is None:
        return Answer()
    told = grown.outcome == PASS and grown.sentence.startswith("memory grew")
    return Answer([grown], [grown.sentence] if told else [])


def enough_requests(run: Run) -> Answer:
    """Whether the limits can be passed at all with so many requests; it decides nothing."""
    needed, reason = needed_requests(run.limits, run.policy.level, run.policy.min_requests)
    if run.candidate.planned >= needed or not run.candidate.whole:  # the whole load may well have been enough
        return Answer()
    words = f"{run.candidate.planned} requests cannot pass {reason}: that takes at least {needed}. "
    return Answer(warnings=[f"{words}Lengthen load.seconds or raise load.rate"])


CHECKS: Final[tuple[Callable[[Run], Answer], ...]] = (
    path_errors,
    steady_state,
    absolute_latency,
    beside_live,
    path_latency,
    stall,
    one_stands_still,
    whose_errors,
    recycling,
    cpu_per_request,
    idle_cpu,
    piles_up,
    writes,
    memory_growth,
    enough_requests,
    answer_sizes,
    fewer_bytes,
    cold_requests,
)


def error_check(run: Run, measured: bool) -> Check:
    """Whether more requests failed than may. `measured`: whether the run is a measurement."""
    samples, limit, policy = run.candidate, run.limits.error_rate, run.policy
    # Of a run that is no measurement only the failures that were answered as such are proven.
    failures = samples.failures if measured else sum(status >= 400 or 0 < status < 200 for status in samples.status)
    low = st.clopper_pearson(failures, samples.planned, policy.fail_level)[0]
    high = st.clopper_pearson(failures, samples.planned, policy.level)[1]
    rate = failures / samples.planned
    said = f"{failures} of {samples.planned} requests failed ({100 * rate:.3g} %), limit {100 * limit:.3g} %"
    said += told_failures(samples, run.names) if failures else ""
    if low > limit:
        outcome, sentence = FAIL, f"{said}: with {policy.confidence} confidence above {100 * low:.3g} %"
    elif not measured:
        outcome, sentence = INCONCLUSIVE, f"{said}, in a run that is not a measurement"
    elif high <= limit:
        outcome, sentence = PASS, f"{said}: with {policy.confidence} confidence at most {100 * high:.3g} %"
    else:
        outcome = INCONCLUSIVE
        sentence = f"{said}: it lies between {100 * low:.3g} and {100 * high:.3g} %, too wide to tell"
        pool = policy.pool
        bound = pooled_bound(failures, samples.planned, limit, pool, policy.level) if pool else None
        if pool and bound is not None:
            outcome, high = PASS, bound
            sentence = (
                f"{said}: with {policy.confidence} confidence at most {100 * high:.3g} % by these and those of "
                f"{pool.words()}, as it fails no more of them than they"
            )
    return Check("error_rate", outcome, rate, limit, (low, high), sentence)


def _bound(ordered: Sequence[float], rank: int) -> float | None:
    return ordered[rank - 1] if 1 <= rank <= len(ordered) else None


def _quantile_check(name: str, q: float, samples: Samples, limit: float, policy: Thresholds) -> Check:
    ordered = samples.sorted_latencies()
    low_rank = st.quantile_ranks(len(ordered), q, policy.fail_level)[0]
    high_rank = st.quantile_ranks(len(ordered), q, policy.level)[1]
    low, high = _bound(ordered, low_rank), _bound(ordered, high_rank)
    value = ordered[st.quantile_rank(len(ordered), q) - 1]
    said = f"{name} is {short(value)} ms, limit {short(limit)}"
    if not math.isfinite(value):
        said = (
            f"{name} has no value because more than {100 * (1 - q):.3g} % of requests failed, limit {short(limit)} ms"
        )
    if low is not None and low > limit:
        if math.isfinite(low):
            said = f"{said}: with {policy.confidence} confidence above {short(low)}"
        return Check(name, FAIL, value, limit, (low, high), said)
    if high is not None and high <= limit:
        return Check(
            name, PASS, value, limit, (low, high), f"{said}: with {policy.confidence} confidence at most {short(high)}"
        )
    least, most = "0" if low is None else short(low), "anything" if high is None else short(high)
    sentence = f"{said}: with {len(ordered)} requests it lies between {least} and {most}, too wide to tell"
    return Check(name, INCONCLUSIVE, value, limit, (low, high), sentence)


def failed_beside(run: Run) -> str:
    """That the live generation failed under the same load too, or has no such path either, and how; empty when it did
    not, beyond its limit."""
    neither = [
        f"the live generation answers {run.new[one.name]} to {one.name}, too"
        for one in failures_by_path(run.candidate, run.names)
        if one.name in run.new and one.kinds.get(f"answered {run.new[one.name]}") == one.requests
    ]
    return "; ".join(filter(None, (*neither, _failed_beside(run))))


def _failed_beside(run: Run) -> str:
    baseline, limit, policy = run.baseline, run.limits.error_rate, run.policy
    if baseline is None or not baseline.failures or baseline.planned <= 0:
        return ""
    if st.clopper_pearson(baseline.failures, baseline.planned, policy.level)[0] <= limit:
        return ""
    how = told_failures(baseline, run.names)
    return f"of the live generation, under the same load, {baseline.failures} of {baseline.planned} failed too{how}"


def _relative_checks(candidate: Samples, baseline: Samples, policy: Thresholds) -> list[Check]:
    new, old = candidate.sorted_latencies(), baseline.sorted_latencies()
    found = [Compared.of(f"{name}_relative", new, old, QUANTILES[name], policy) for name in policy.relative]
    rejected = st.holm([one.chance for one in found], policy.fail_level)
    level = policy.fail_level / max(1, len(found))
    return [one.check(surely, one.chance < policy.suspicion, level, policy) for one, surely in zip(found, rejected)]


def _stall_check(candidate: Samples, baseline: Samples | None, stall_ms: float, policy: Thresholds) -> Check:
    """Whether nothing was answered for `stall_ms` or longer, or more requests took as long than of the live one."""
    live = baseline if baseline is not None and baseline.complete and baseline.latency_ms else None
    gap, begin, waiting = standstill(candidate)
    rate = candidate.planned_rate or candidate.achieved_rate
    least = max(stall_ms, 15000.0 / rate if rate > 0 else stall_ms)
    if gap >= least and waiting >= 5:
        sentence = (
            f"nothing was answered for {short(gap)} ms from second {short(begin)} on while {waiting} requests came in"
        )
        shared = _shared_standstill(candidate, live, begin, gap) if live is not None else ""
        if shared:
            return Check("stall", PASS, gap, least, (None, None), f"{sentence}; {shared}")
        return Check("stall", FAIL, gap, least, (None, None), sentence)
    slow = _more_slow_ones(candidate, live, stall_ms, policy) if live is not None and policy.relative else None
    sentence = f"the longest time without an answer was {short(gap)} ms"
    return slow or Check("stall", PASS, gap, least, (None, None), sentence)


def _shared_standstill(candidate: Samples, live: Samples, begin: float, gap: float) -> str:
    """Why a standstill of `gap` ms, `begin` seconds into the run, is not the candidate's: the live generation stood
    still too, at the same time or at the same requests. Empty where it did not."""
    other, its_begin, _ = standstill(live)
    if other >= 0.5 * gap and its_begin < begin + gap / 1000.0 and begin < its_begin + other / 1000.0:
        return f"the live generation stood still too ({short(other)} ms), so the host did"
    other = _same_standstill(candidate, live, begin, gap)
    if other >= 0.5 * gap:
        return f"the same requests made the live generation stand still too ({short(other)} ms)"
    return ""


MAYBE: Final = "which may be chance"
MOMENT_S: Final = 2.0
LEAST_MOMENTS: Final = 12
"""A load is cut into moments of so many seconds, or into so many shorter ones."""


def _more_slow_ones(candidate: Samples, live: Samples, stall_ms: float, policy: Thresholds) -> Check | None:
    """A fail where more requests took `stall_ms` or longer than of the live generation, beyond chance.

    Requests of one moment are slow together: where a neighbour takes the CPU for a second, either arm may be the one
    that waits, with all that it is asked then. So it must be beyond chance by the moments too, of which each is one.
    """
    slow = sum(stall_ms <= latency < math.inf for latency in candidate.latency_ms)
    usual = sum(stall_ms <= latency < math.inf for latency in live.latency_ms)
    total = len(candidate.latency_ms) + len(live.latency_ms)
    p = st.hypergeometric_sf(slow, slow + usual, total, len(candidate.latency_ms))
    if p >= policy.fail_level:
        return None
    sentence = (
        f"{slow} of {candidate.planned} requests took {short(stall_ms)} ms or more, "
        f"against {usual} of {live.planned} of the live generation (p = {p:.2g})"
    )
    width = min(MOMENT_S, max((*candidate.start_s, *live.start_s), default=0.0) / LEAST_MOMENTS)
    mine, theirs = (_slow_moments(arm, stall_ms, width) for arm in (candidate, live))
    alone, other = len(mine - theirs), len(theirs - mine)
    chance = st.binomial_sf(alone, alone + other, 0.5)
    if chance < policy.fail_level:
        return Check("stall", FAIL, slow, usual, (None, None), sentence)
    outcome = INCONCLUSIVE if chance < policy.suspicion else PASS
    few = f"in {alone} {'moment' if alone == 1 else 'moments'} against {other}, {MAYBE}"
    return Check("stall", outcome, slow, usual, (None, None), f"{sentence}, but {few} (p = {chance:.2g})")


def _slow_moments(samples: Samples, stall_ms: float, width: float) -> set[int]:
    """In which moments of `width` seconds requests were due that took so long."""
    slow = (start for start, ms in zip(samples.start_s, samples.latency_ms) if stall_ms <= ms < math.inf)
    return {int(start / width) for start in slow} if width > 0 else set()


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


def memory_checks(memory: MemoryEvidence | None, percent: float | None) -> list[Check]:
    """What the kernel and the processes say of memory, `percent` of MemoryMax being the most."""
    none = (None, None)
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
        # What the processes hold is less than what their group is charged with: of that nothing is concluded.
        above = lacking_above(memory.peak_mib, memory.limit_mib) if memory.source.startswith("cgroup") else ""
        sentence += f" ({above})" if above else ""
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
        checks.append(_memory_peak(memory, percent))
    return checks


def _memory_peak(memory: MemoryEvidence, percent: float) -> Check:
    none = (None, None)
    if memory.peak_mib is None or memory.limit_mib is None or memory.limit_mib <= 0:
        missing = "the peak" if memory.peak_mib is None else "the memory limit of the unit"
        sentence = f"memory cannot be judged: {missing} is not known ({memory.source})"
        return Check("memory_peak", INCONCLUSIVE, memory.peak_mib, memory.limit_mib, none, sentence)
    limit = memory.limit_mib * percent / 100.0
    pss = "" if memory.pss_mib is None else f", PSS {short(memory.pss_mib)} MiB"
    sentence = (
        f"memory peaked at {short(memory.peak_mib)} MiB{pss}, limit {short(limit)} "
        f"({short(percent)} % of {short(memory.limit_mib)}; {memory.source})"
    )
    return Check("memory_peak", FAIL if memory.peak_mib > limit else PASS, memory.peak_mib, limit, none, sentence)


def _memory_growth(new: MemoryEvidence | None, old: MemoryEvidence | None, policy: Thresholds) -> Check | None:
    if new is None or old is None or not new.pss_mib or not old.pss_mib:
        return None
    ratio = new.pss_mib / old.pss_mib
    margin = 1.15 if policy.memory_margin is None else policy.memory_margin
    said = f"from {short(old.pss_mib)} to {short(new.pss_mib)} MiB PSS ({100 * (ratio - 1):+.0f} %)"
    if ratio > margin and new.pss_mib - old.pss_mib > policy.memory_floor_mib:
        outcome = PASS if policy.memory_margin is None else FAIL
        return Check("memory_growth", outcome, ratio, margin, (None, None), f"memory grew {said}")
    return Check("memory_growth", PASS, ratio, margin, (None, None), f"memory went {said}")
