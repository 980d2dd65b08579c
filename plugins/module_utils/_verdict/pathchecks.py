# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a verdict asks of each path of the load by itself: its errors, and its latency beside the live generation's.

A path of a small weight is lost among the others: where it always answers 500, but is one of 400 requests, the share of
all requests that fail is within the limit. The chance of a wrong answer is held over all paths together (Holm).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from .._declaration.shortfall import QUANTILES
from . import statistics as st
from .compared import Compared
from .failed import PathFailures, failures_by_path
from .run import Answer, Run
from .stability import trimmed
from .types import FAIL, INCONCLUSIVE, PASS, Check, Samples, Thresholds, Verdict

LEAST = 20
"""Fewer requests of a path are not held against the live generation's."""

FIRM = 5
"""So many failed requests of a path are a fail that no retry must undo: fewer can be one bad second of the host."""


def path_errors(run: Run) -> Answer:
    """Whether any path fails more of its requests than `limits.error_rate` allows of all. Where there is one path only,
    error_check says it."""
    told = failures_by_path(run.candidate, run.names)
    if len(told) < 2:
        return Answer()
    beside = _failures_beside(run)
    asked = [one for one in told if one.requests]
    found = [_excused(check, one, beside.get(one.name), run) for check, one in zip(_error_checks(asked, run), asked)]
    never = ", ".join(one.name for one in told if not one.requests and one.name not in run.new)
    why = "never asked: too small a weight" if run.candidate.whole else "not asked before the load was ended"
    return Answer(
        [check for (check, _), one in zip(found, asked) if one.failures],
        [check.sentence for check, excused in found if excused],
        [f"{never} ({why})"] if never else [],
    )


def confirmed(
    verdict: Verdict, samples: Samples, names: Sequence[str], again: Collection[str], error_rate: float
) -> Verdict:
    """The verdict; a fail where a path failed all of its requests, too few to tell, and the one of `again` as well.

    `samples`: the candidate's of the last load; `again`: names of paths that were asked once more and failed. The
    chance that all of them fail at `error_rate` is held against the level of all paths together (Bonferroni).
    """
    doubtful = {
        check.name.partition(":")[2]: check
        for check in verdict.checks
        if check.name.startswith("error_rate:") and check.outcome == INCONCLUSIVE and not verdict.stopped
    }
    for one in failures_by_path(samples, names):
        check, all_failed = doubtful.get(one.name), 0 < one.failures == one.requests
        chance = error_rate ** (one.requests + 1)
        if check is None or not all_failed or one.name not in again or chance > Thresholds().level / 2 / len(names):
            continue
        said = f"{one.share()} of {one.name} {one.how()}, and so did one more, limit {100 * error_rate:.3g} %"
        verdict = verdict.also(replace(check, outcome=FAIL, sentence=said))
    return verdict


def _failures_beside(run: Run) -> dict[str, PathFailures]:
    """What the live generation failed of each path, by its name; empty where it is no measurement. Of a path that it
    does not know: all, where the candidate answers the same."""
    same = {
        one.name: one
        for one in failures_by_path(run.candidate, run.names)
        if one.name in run.new and one.kinds == {f"answered {run.new[one.name]}": one.requests}
    }
    live = run.baseline
    if live is None or not live.complete:
        return same
    return {**{one.name: one for one in failures_by_path(live, run.names)}, **same}


def _error_checks(asked: Sequence[PathFailures], run: Run) -> list[Check]:
    """A check of each path; the chance of a wrong fail is held over all of them."""
    chances = [st.binomial_sf(one.failures, one.requests, run.limits.error_rate) for one in asked]
    # Half of the level, as the lower bound of the error rate of all has.
    surely, maybe = st.holm(chances, run.policy.fail_level / 2.0), st.holm(chances, run.policy.path_suspicion)
    checks = []
    for one, sure, doubt, level in zip(asked, surely, maybe, st.holm_levels(chances, run.policy.fail_level)):
        suspicious = one.failures > 0 and (doubt or one.failures == one.requests)
        checks.append(_error_check(one, FAIL if sure else INCONCLUSIVE if suspicious else PASS, level, run))
    return checks


def _excused(check: Check, one: PathFailures, other: PathFailures | None, run: Run) -> tuple[Check, bool]:
    """The check, as a pass where the live generation fails the path no less; and whether it is one for that."""
    if check.outcome == PASS or other is None or not _no_worse(one, other, run.limits.error_rate, run.policy):
        return check, False
    words = f"{check.sentence}; of the live generation {other.share()} too, so it is no worse for that"
    return replace(check, outcome=PASS, sentence=words), True


def _error_check(one: PathFailures, outcome: str, level: float, run: Run) -> Check:
    limit = run.limits.error_rate
    low, high = st.clopper_pearson(one.failures, one.requests, level)
    said = f"{one.share()} of {one.name} {one.how()}, limit {100 * limit:.3g} %"
    if outcome == FAIL:
        said += f": with {run.policy.confidence} confidence more than {100 * low:.3g} % of its requests fail"
    elif outcome == INCONCLUSIVE:
        said += ": too few requests of this path to tell"
    firm = outcome == FAIL and one.failures >= FIRM
    return Check(f"error_rate:{one.name}", outcome, one.failures / one.requests, limit, (low, high), said, firm)


def _no_worse(new: PathFailures, old: PathFailures, limit: float, policy: Thresholds) -> bool:
    """Whether the live generation fails the path as well, beyond its limit, and the candidate not surely more."""
    if not old.failures:
        return False
    if old.failures < old.requests and st.clopper_pearson(old.failures, old.requests, policy.level)[0] <= limit:
        return False
    total, failed = new.requests + old.requests, new.failures + old.failures
    return st.hypergeometric_sf(new.failures, failed, total, new.requests) >= policy.level


@dataclass(frozen=True)
class _Pair:
    """One path of both arms: ascending latencies in ms, of the requests that are judged."""

    name: str
    new: Sequence[float]
    old: Sequence[float]


def path_latency(run: Run) -> Answer:
    """The quantiles of each path against those of the live generation's, where that can serve as a yardstick and both
    have enough requests."""
    if len(run.names) < 2 or run.baseline is None or not run.policy.relative or run.yardstick.outcome != PASS:
        return Answer()
    pairs = _pairs(run.warm, trimmed(run.baseline, run.cold_seconds), run.names)
    enough = [pair for pair in pairs if min(len(pair.new), len(pair.old)) >= LEAST]
    few = [f"{pair.name} ({len(pair.new)})" for pair in pairs if pair not in enough and pair.new]
    ended = "" if run.candidate.whole else " before the load was ended"
    told = f"the latency of {', '.join(few)}, with fewer than {LEAST} requests each{ended}" if few else ""
    return Answer(_compared(enough, run.policy), (), [told] if told else [])


def _compared(pairs: Sequence[_Pair], policy: Thresholds) -> list[Check]:
    """Every quantile of every path, all one family."""
    found = [
        Compared.of(f"{quantile}_relative:{pair.name}", pair.new, pair.old, QUANTILES[quantile], policy)
        for pair in pairs
        for quantile in policy.relative
        if _answered(pair.old, QUANTILES[quantile])
    ]
    chances = [one.chance for one in found]
    surely, maybe = st.holm(chances, policy.fail_level), st.holm(chances, policy.path_suspicion)
    levels = st.holm_levels(chances, policy.fail_level)
    return [one.check(sure, doubt, level, policy) for one, sure, doubt, level in zip(found, surely, maybe, levels)]


def _pairs(new: Samples, old: Samples, names: Sequence[str]) -> list[_Pair]:
    def of(samples: Samples) -> dict[int, list[float]]:
        found: dict[int, list[float]] = {}
        for latency, path in sorted(zip(samples.latency_ms, samples.path)):
            found.setdefault(path, []).append(latency)
        return found

    ours, theirs = of(new), of(old)
    return [_Pair(name, ours.get(index, []), theirs.get(index, [])) for index, name in enumerate(names)]


def _answered(ordered: Sequence[float], q: float) -> bool:
    return math.isfinite(ordered[st.quantile_rank(len(ordered), q) - 1])
