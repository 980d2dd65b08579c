# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The verdict on a trial: pure functions from samples, limits and memory evidence to pass, fail or inconclusive.

What is asked is in `checks`, one function a question; what it is made of in `types`. docs/verdict.md has the rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .._declaration.app import Limits
from .._declaration.shortfall import QUANTILES, RETRY_FACTOR
from . import statistics as st
from .checks import CHECKS, error_check, failed_beside, memory_checks
from .costchecks import told_cores
from .failed import told_failures, wrong_answers
from .halves import NO_NEW_PATHS, NewPaths, asked, in_halves, sick_meanwhile, worse_errors
from .run import Run, measurement_check
from .stability import trimmed
from .types import FAIL, INCONCLUSIVE, PASS, USUAL, WORST, Check, MemoryEvidence, Samples, Thresholds, Verdict, finite

__all__ = [
    "FAIL",
    "INCONCLUSIVE",
    "PASS",
    "RETRY_FACTOR",
    "Check",
    "MemoryEvidence",
    "Samples",
    "Thresholds",
    "Verdict",
    "combine",
    "decide",
    "judge",
    "judge_stopped",
    "needs_retry",
    "summary",
    "words_of_revert",
]

EXPLAINING = ("worker_still", "idle_cpu", "cpu_relative", "cpu_ms", "grows", "idle_writes", "writes")
"""Checks that tell why others failed."""
TELLING = ("answer_size", "cold_requests", "written")
"""Checks that decide nothing, and are made only where they have something to tell."""
SAME_CPU = 1.1
"""Up to so many times the live generation's CPU, a request takes no more than one of that."""

SLOW = ("steady_state", *QUANTILES, *(f"{name}_relative" for name in QUANTILES), "cpu_relative", "cpu_ms", "grows")
"""Checks of what large answers, or a cold start, may be the reason for."""

HARD_CHECKS = ("oom_kills", "restarts", "error_rate", "memory_peak")


def judge(
    candidate: Samples | None,
    baseline: Samples | None,
    limits: Limits,
    memory: MemoryEvidence | None = None,
    policy: Thresholds = USUAL,
    *,
    baseline_memory: MemoryEvidence | None = None,
    names: Sequence[str] = (),
    new: NewPaths = NO_NEW_PATHS,
) -> Verdict:
    """The verdict on one load run.

    The baseline is the live generation under the same load at the same time, or None where there is none. `names`: what
    the load's paths are called, in their order (bypath.names_of); `new`: those that the live generation does not know.
    """
    checks = memory_checks(memory, limits.memory_percent)
    if candidate is None or candidate.planned <= 0 or not candidate.latency_ms:
        sentence = "no request was sent: nothing was measured, and what is not measured does not pass"
        checks.append(Check("measurement", INCONCLUSIVE, 0, None, (None, None), sentence))
        return _conclude(checks, {}, None)
    beside = new.beside
    if beside is not None and candidate.whole:
        policy = replace(policy, fail_share=policy.fail_share / 2)  # each half may be wrong
    run = Run(candidate, baseline, limits, memory, baseline_memory, policy, names, new.status)
    measured = measurement_check(candidate, policy)
    failed_too = failed_beside(run)
    errors = worse_errors(error_check(run, measured.outcome == PASS), run, beside)
    checks += [errors, measured] if errors.outcome == FAIL else [measured, errors]
    own = wrong_answers(candidate, baseline, names, limits.error_rate)
    judged = measured.outcome == PASS
    cold = run.cold_seconds if judged else 0.0
    arms = {"candidate": candidate, "baseline": baseline, "beside": beside}
    facts = {name: summary(arm, cold) for name, arm in arms.items() if arm is not None}
    if not judged:
        return _conclude(checks, facts, candidate, beside=failed_too, own=own)
    answer = asked(run, CHECKS) if beside is None else in_halves(run, beside, new.meanwhile)
    verdict = _conclude(
        [*checks, *answer.checks],
        facts,
        candidate,
        shared=run.sick_beside or sick_meanwhile(run, new),
        beside=failed_too,
        own=own,
    )
    told = tuple(_told(answer.checks))
    return replace(verdict, warnings=tuple(answer.warnings), cold_seconds=cold, told=told).without(answer.uncompared)


def judge_stopped(
    stopped: str,
    candidate: Samples,
    baseline: Samples | None,
    limits: Limits,
    memory: MemoryEvidence | None = None,
    path_names: Sequence[str] = (),
    baseline_memory: MemoryEvidence | None = None,
) -> Verdict:
    """The verdict on a load that was stopped because the live generation suffered, which `stopped` says in a sentence.

    Inconclusive, whatever both answered under it; only what the candidate did to itself (killed for memory, dead
    workers, memory above its limit) is a fail. A path that it alone answers wrongly is told before all else.
    """
    checks = memory_checks(memory, limits.memory_percent)
    failed = [check for check in checks if check.outcome == FAIL]
    checks.append(Check("measurement", INCONCLUSIVE, candidate.planned, None, (None, None), stopped))
    arms = {"candidate": candidate, **({"baseline": baseline} if baseline is not None else {})}
    names = {"candidate": "the candidate", "baseline": "the live generation"}
    told = [
        f"{arm.failures} of {arm.planned} requests to {names[name]} failed" + told_failures(arm, path_names)
        for name, arm in arms.items()
    ]
    cores = told_cores(memory, baseline_memory)
    own = wrong_answers(candidate, baseline, path_names, limits.error_rate)
    parts = [*(check.sentence for check in failed[:1]), own, stopped, " and ".join(told), cores]
    cause = "; ".join(filter(None, parts))
    outcome = FAIL if failed else INCONCLUSIVE
    facts = {name: summary(arm) for name, arm in arms.items()}
    return Verdict(outcome, cause, tuple(checks), (), bool(failed), 1, True, facts)


def summary(samples: Samples, cold_seconds: float = 0.0) -> dict[str, object]:
    """The plain numbers of a run; a quantile is None where it falls on a failed request.

    The quantiles are those that the checks judge, without the good answers of the first `cold_seconds`; the counts are
    of the whole run.
    """
    ordered = trimmed(samples, cold_seconds).sorted_latencies()
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
    told_once = _told_once(first, second)
    second = replace(second, told=(*second.told, *told_once))
    if second.outcome == PASS and any(check.name == "stall" and check.outcome == FAIL for check in first.checks):
        cause = f"seen once, not again in the second run: {first.cause}"
        return replace(
            second, outcome=INCONCLUSIVE, cause=cause, attempts=2, facts=facts, warnings=[*second.warnings, earlier]
        )
    cause = second.cause
    doubts = (("worker_still", FAIL), ("stall", INCONCLUSIVE))
    once = [check.sentence for check in first.checks if (check.name, check.outcome) in doubts]
    if second.outcome == PASS and once:
        cause = f"{second.cause}; seen once, not again in the second run: {once[0]}"
    if second.outcome == PASS:
        cause = "; ".join([cause, *told_once])
    if second.stopped:  # nothing else is known of the candidate
        cause = f"{second.cause}; {earlier}"
    elif second.outcome != PASS:
        cause = f"{second.cause}; the first run said {first.outcome}: {_headline(first)}"
    return replace(second, cause=cause, attempts=2, facts=facts, warnings=[*second.warnings, earlier])


def _told_once(first: Verdict, second: Verdict) -> list[str]:
    """What the first run alone had to tell: in the second one the candidate is warm."""
    known = {check.question for check in second.checks}
    once = [check for check in first.checks if check.question in TELLING and check.question not in known]
    return [f"in the first run: {check.sentence}" for check in once]


def _headline(verdict: Verdict) -> str:
    """The sentence of the check that decided."""
    decisive = [check.sentence for check in verdict.checks if check.outcome == verdict.outcome]
    return decisive[0] if decisive else verdict.cause


def decide(verdict: Verdict, on_inconclusive: str = "revert") -> str:
    """What follows: "promote" or "revert". An inconclusive verdict keeps the live generation unless told to promote.

    What was not measured is never promoted: `on_inconclusive` is about measurements that are too wide to tell.
    """
    if on_inconclusive not in ("revert", "promote"):
        raise ValueError(f"on_inconclusive is {on_inconclusive!r}; allowed are revert and promote")
    if verdict.outcome == PASS:
        return "promote"
    measured = not _unmeasured(verdict)
    return "promote" if verdict.outcome == INCONCLUSIVE and measured and on_inconclusive == "promote" else "revert"


def words_of_revert(verdict: Verdict, on_inconclusive: str = "revert") -> str:
    """Why a verdict that does not promote keeps what is live, in a sentence: the cause, and why `on_inconclusive` does
    not promote what is inconclusive."""
    if verdict.outcome == FAIL:
        return verdict.cause
    kept = "inconclusive, so what is live stays"
    if on_inconclusive != "promote":
        return f"{kept}: {verdict.cause}"
    more = "; ".join(["", *(text for text in _unmeasured(verdict) if text not in verdict.cause)])
    return (
        f"{kept}, and on_inconclusive: promote does not hold, which is for a load that is a measurement, and this one "
        f"is none: {verdict.cause}{more}"
    )


def _unmeasured(verdict: Verdict) -> list[str]:
    """Why the load of a verdict is no measurement, a sentence each; none where it is one."""
    return [check.sentence for check in verdict.checks if check.name == "measurement" and check.outcome != PASS]


def _conclude(
    checks: Sequence[Check],
    facts: Mapping[str, object],
    candidate: Samples | None,
    shared: bool = False,
    beside: str = "",
    own: str = "",
) -> Verdict:
    """shared: the live generation is sick at the same time, so that failed requests may be the host's fault.
    beside: what failed of it, in words that go into the cause of what is no pass. own: what the candidate alone
    answers wrongly, which comes first in the cause of what is inconclusive for another reason."""
    outcome = max((check.outcome for check in checks), key=lambda name: WORST[name])
    decisive = [check for check in checks if check.outcome == outcome]
    failed = "" if candidate is None else f"{candidate.failures} of {candidate.planned} requests failed"
    cause = _words_of_pass(checks, failed) if outcome == PASS else _words_of(checks, outcome, failed, beside)
    if outcome == INCONCLUSIVE and own and decisive[0].question != "error_rate":
        cause = f"{own}; {cause}"
    stands = [name for name in HARD_CHECKS if not (shared and name == "error_rate")]
    hard = outcome == FAIL and any(check.question in stands and check.firm for check in decisive)
    return Verdict(outcome, cause, tuple(checks), (), hard, facts=facts)


def _words_of_pass(checks: Sequence[Check], failed: str) -> str:
    """What tells most of a run that passed: how it compares, else its last latency limit; and what failed of it."""
    told = [check.sentence for check in checks if check.name in QUANTILES]
    told += [check.sentence for check in checks if check.name == "p95_relative"]
    return "; ".join([*(told[-1:] or ["every check passed"]), failed, *_told(checks)])


def _told(checks: Sequence[Check]) -> list[str]:
    """What decides nothing and is told."""
    return [check.sentence for check in checks if check.question in TELLING]


def _words_of(checks: Sequence[Check], outcome: str, failed: str, beside: str) -> str:
    """The check that decided, what failed of the candidate where that is not what it says, what failed beside, and what
    explains it: CPU, and what piles up, make requests slow."""
    decisive = [check for check in checks if check.outcome == outcome]
    first = decisive[0]
    counts = "" if first.question in ("error_rate", "measurement") else failed
    behind = [check.sentence for check in decisive[1:] if check.question in EXPLAINING]
    if first.question == "error_rate":
        behind += [check.sentence for check in checks if check.name == "errors_of_one_worker"]
    if first.question in SLOW:
        behind += _told(checks)
    if first.question in (*SLOW, "stall"):
        behind += [check.sentence for check in checks if check.name == "recycled"]
    waits = _words_of_waiting(first, checks)
    return "; ".join(part for part in (first.sentence, *behind, waits, counts, beside) if part)


def _words_of_waiting(first: Check, checks: Sequence[Check]) -> str:
    """That requests which take longer than the live generation's wait longer, where their CPU was compared and is the
    same; else empty."""
    same = next((check for check in checks if check.name == "cpu_relative" and check.outcome == PASS), None)
    slower = first.question in ("p50_relative", "p95_relative")
    if not slower or same is None or same.value is None or same.value > SAME_CPU:
        return ""
    return (
        "a request takes no more CPU than one of the live generation, so it waits longer: for a lock, a pool, a service"
    )
