# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How soon a trial would have failed: recorded runs, looked at while they are under way, as a trial looks. Pure.

The recorded loads ran to their end. At each second at which a trial looks, the samples are what was known by then: what
was due, and of a request without an answer that may still come the time that it had waited.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ansible_collections.headcount.gunicorn.plugins.module_utils._load.accounting import UNSETTLED_S
from ansible_collections.headcount.gunicorn.plugins.module_utils._load.early import LATER_SHARE
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict import early, judge
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.judge import Samples

from . import _judge_rules as rules
from ._common import markdown_table

RULE = early.Rule(rules.LIMITS, rules.USUAL)
#: What the looks leave of alpha for the judgement at the end.
AT_THE_END = replace(rules.USUAL, fail_share=1.0 - early.SPENT)
#: How long an answer is waited for in the recorded runs.
TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Ended:
    """A load that a look would have ended: the second, why, and the verdict on what was known then."""

    second: float
    why: str
    verdict: judge.Verdict


@dataclass(frozen=True)
class Soon:
    """How soon a trial failed: seconds of load from the first measured request, the retry's included; whether a look
    ended one of its runs. None: it did not fail."""

    seconds: float | None
    looked: bool


def known_by(samples: Samples, second: float) -> Samples:
    """The samples as they stood then."""
    kept = [index for index, start in enumerate(samples.start_s) if start <= second - UNSETTLED_S]
    latency = []
    for index in kept:
        waited = 1000.0 * (second - samples.start_s[index])
        whole = samples.latency_ms[index]
        answered = whole <= waited or (samples.status[index] > 0 and whole == float("inf"))
        latency.append(whole if answered or waited >= 1000.0 * TIMEOUT_S else waited)
    return replace(
        samples,
        start_s=[samples.start_s[index] for index in kept],
        latency_ms=latency,
        status=[samples.status[index] for index in kept],
        path=[samples.path[index] for index in kept] if samples.path else (),
        planned=len(kept),
        failures=latency.count(float("inf")),
        path_kinds=(),
        loaded=(),
        quiet=(),
        whole=False,
    )


def ended(take: rules.Take, seconds: float) -> Ended | None:
    """The first look that ends the load of a run that was to take so long; None where none does. Of one that was looked
    at as it was made, what came of that."""
    if take.looks:
        return None if take.ended_s is None else Ended(take.ended_s, "as it was made", rules.verdict_of(take))
    before, at = 0.0, early.LEAST_SECONDS
    while at < min(seconds, take.ended_s or seconds):
        share = early.spent(before, at / seconds)
        candidate, live = known_by(take.candidate, at), known_by(take.live, at)
        why = early.failed_already(candidate, live, RULE, share) if candidate.latency_ms and live.latency_ms else ""
        if why:
            policy = replace(rules.USUAL, fail_share=share)
            return Ended(at, why, judge.judge(candidate, live, rules.LIMITS, None, policy))
        before, at = at / seconds, at + max(early.EVERY_SECONDS, LATER_SHARE * at)
    return None if take.ended_s is None else Ended(take.ended_s, "as it was made", rules.verdict_of(take))


def soon(first: rules.Take, retry: rules.Take | None, seconds: float = 30.0) -> Soon | None:
    """How soon a trial with these runs fails; None where a retry was needed that was not recorded."""
    one = ended(first, seconds)
    verdict = one.verdict if one is not None else rules.verdict_of(first, AT_THE_END)
    passed = one.second if one is not None else seconds
    if not judge.needs_retry(verdict):
        return Soon(passed if verdict.outcome == judge.FAIL else None, one is not None)
    if retry is None:
        return None
    two = ended(retry, 2 * seconds)
    last = two.verdict if two is not None else rules.verdict_of(retry, AT_THE_END)
    passed += two.second if two is not None else 2 * seconds
    return Soon(passed if last.outcome == judge.FAIL else None, one is not None or two is not None)


def table(found: Mapping[str, Sequence[Soon]]) -> str:
    """How soon each release failed, by its name."""
    rows = []
    for name, trials in found.items():
        took = sorted(one.seconds for one in trials if one.seconds is not None)
        row = [name, str(len(trials)), f"{len(took)} of {len(trials)}", str(sum(one.looked for one in trials))]
        rows.append([*row, f"{statistics.median(took):.1f}" if took else "–", f"{took[-1]:.1f}" if took else "–"])
    header = ["release", "trials", "failed", "ended by a look", "seconds to the fail, median", "longest"]
    return markdown_table(header, rows, right=range(1, 6))
