# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a host may take from others of its class, and what it must show itself."""

from __future__ import annotations

import random
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits, Load
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict import statistics as st
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.checks import error_check
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.judge import judge, needs_retry
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.pooling import (
    LEAST_HOSTS,
    SUSPICION,
    Pool,
    Shorter,
    pooled_bound,
    shorter,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.run import Run
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.types import Samples, Thresholds

CLEAN, SOME = Pool(3, 4500, 0), Pool(3, 4500, 18)
INF = float("inf")


def load(rate: float | None, seconds: float) -> Load:
    return Load.from_dict({"paths": [{"path": "/"}], "rate": rate, "seconds": seconds})


def samples(latencies: list[float], rate: float = 25.0) -> Samples:
    failures = latencies.count(INF)
    return Samples(
        start_s=[place / rate for place in range(len(latencies))],
        latency_ms=latencies,
        status=[500 if value == INF else 200 for value in latencies],
        planned=len(latencies),
        period_s=1 / rate,
        failures=failures,
        achieved_rate=rate,
        planned_rate=rate,
    )


def test_few_hosts_are_no_pool() -> None:
    assert Pool.of(None) is Pool.of({}) is Pool.of({"hosts": LEAST_HOSTS - 1, "requests": 1500, "failures": 0}) is None
    assert Pool.of({"hosts": 3, "requests": 4500, "failures": 18}) == SOME


@pytest.mark.parametrize(
    ("rate", "seconds", "limits", "short"),
    [
        (50, 30, {"error_rate": 0.01}, 15.0),
        (50, 15, {"error_rate": 0.01, "p95_ms": 250}, 7.5),
        (50, 15, {"error_rate": 0.01, "p99_ms": 250}, None),  # 528 requests show a p99, 375 do not
        (30, 15, {"error_rate": 0.01}, None),  # 225 show no share of errors of 1 % at 95 %
        (30, 15, {"error_rate": 0.05}, 7.5),
        (None, 30, {"error_rate": 0.01}, None),
        (50, 30, {"error_rate": 0.0}, None),
    ],
)
def test_how_much_shorter_a_load_is(rate: float | None, seconds: float, limits: Any, short: float | None) -> None:
    found = shorter(CLEAN, load(rate, seconds), Limits.from_dict({"memory_percent": None, **limits}))
    assert (found.seconds if found else None) == short
    assert shorter(None, load(rate, seconds), Limits.from_dict(limits)) is None
    if found:
        assert found.part == 0.5


def test_a_shorter_load_says_so() -> None:
    found = Shorter(SOME, 15.0, 30.0)
    assert found.to_dict() == {"hosts": 3, "requests": 4500, "failures": 18, "seconds": 15.0, "of_s": 30.0}
    assert found.words() == (
        "the rest of its load (it lasted 15 of 30 s, after 3 hosts of its class, which judged the same release with "
        "whole loads (18 of 4500 requests failed))"
    )


def test_a_pool_that_proves_too_little_shortens_nothing() -> None:
    assert shorter(Pool(2, 750, 6), load(50, 30), Limits(error_rate=0.01)) is None
    assert shorter(Pool(3, 4500, 60), load(50, 30), Limits(error_rate=0.01)) is None


def test_all_together_prove_what_one_alone_cannot() -> None:
    assert st.clopper_pearson(0, 375, 0.01)[1] > 0.01
    assert (pooled_bound(0, 375, 0.01, CLEAN) or 1.0) < 0.0012
    assert 0.004 < (pooled_bound(1, 750, 0.01, SOME) or 1.0) < 0.008


@pytest.mark.parametrize(
    ("failures", "requests", "pool"),
    [
        (1, 375, CLEAN),  # at 95 % it may fail more than 1 % by itself
        (2, 750, CLEAN),  # as many among the 4,500 of the others would be 12
        (0, 200, CLEAN),  # too few
        (0, 375, Pool(3, 1000, 12)),  # nor do all together prove it
    ],
)
def test_what_is_the_hosts_it_must_show_itself(failures: int, requests: int, pool: Pool) -> None:
    assert pooled_bound(failures, requests, 0.01, pool) is None


def test_the_check_names_whose_requests_proved_it_and_fails_by_its_own_alone() -> None:
    policy, limits = Thresholds(pool=CLEAN), Limits(error_rate=0.01)

    def checked(failures: int, policy: Thresholds) -> Any:
        arm = samples([INF] * failures + [20.0] * (375 - failures))
        return error_check(Run(arm, None, limits, None, None, policy), True)

    assert checked(0, Thresholds()).outcome == "inconclusive"
    assert checked(0, policy).outcome == "pass"
    assert checked(0, policy).sentence == (
        "0 of 375 requests failed (0 %), limit 1 %: with 99 % confidence at most 0.109 % by these and those of 3 hosts "
        "of its class, which judged the same release with whole loads (0 of 4500 requests failed), as it fails no more "
        "of them than they"
    )
    for failures in (2, 11, 40):
        alone, pooled = checked(failures, Thresholds()), checked(failures, policy)
        assert (alone.outcome, alone.bounds, alone.sentence) == (pooled.outcome, pooled.bounds, pooled.sentence)
    assert checked(11, policy).outcome == "fail"


def test_a_host_that_fails_more_than_it_may_seldom_hides_behind_others() -> None:
    """Simulated: 2 % fail on this host, none on the others, limit 1 %; the looser of the two bounds is its own 95 %."""
    chance = random.Random(7)
    hidden = dict.fromkeys((0.01, 0.02, 0.05), 0)
    for share in hidden:
        for _ in range(400):
            failures = sum(chance.random() < share for _ in range(375))
            hidden[share] += pooled_bound(failures, 375, 0.01, CLEAN) is not None
    assert hidden[0.01] <= 0.05 * 400
    assert hidden[0.02] <= 2
    assert hidden[0.05] == 0


def test_a_slower_release_is_caught_as_often_by_a_shorter_load_and_its_retry() -> None:
    """Simulated: 15 instead of 30 s of 50 a second; whatever is no pass has the retry, as long as ever."""
    chance = random.Random(3)
    limits, usual = Limits(error_rate=0.01, memory_percent=None), Thresholds()
    short = Thresholds(pool=CLEAN, suspicion=SUSPICION)

    def drawn(count: int, up: float) -> Samples:
        return samples([40.0 * up * chance.lognormvariate(0.0, 0.4) for _ in range(count)], 50.0)

    def caught(up: float) -> bool:
        first = judge(drawn(750, up), drawn(750, 1.0), limits, None, short)
        return needs_retry(first) and judge(drawn(3000, up), drawn(3000, 1.0), limits, None, usual).outcome != "pass"

    assert sum(caught(1.3) for _ in range(20)) >= 19
    assert sum(caught(1.0) for _ in range(20)) == 0
