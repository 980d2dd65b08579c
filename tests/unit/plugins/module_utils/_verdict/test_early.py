# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A load that has failed ends: what is seen how soon, and how often that is wrong, by simulation with fixed seeds."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict import early as e
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict import judge as j

SECONDS, RATE = 30.0, 50.0
LIMITS = Limits(memory_percent=None)
RULE = e.Rule(LIMITS, j.Thresholds())
Made = Callable[[random.Random, float], float]


def usual(source: random.Random, second: float) -> float:
    return 40.0 * source.lognormvariate(0, 0.4)


def whole(made: Made, seed: int, seconds: float = SECONDS) -> j.Samples:
    """A run; `made` gives the latency of a request that was due at a second, infinite for one that failed."""
    source = random.Random(seed)
    starts = sorted(source.uniform(0, seconds) for _ in range(int(seconds * RATE)))
    return so_far(starts, [made(source, start) for start in starts], seconds)


def so_far(starts: list[float], latencies: list[float], second: float) -> j.Samples:
    """What had been due until a second."""
    kept = [(start, latency) for start, latency in zip(starts, latencies) if start < second]
    return j.Samples(
        start_s=[start for start, _ in kept],
        latency_ms=[latency for _, latency in kept],
        status=[500 if math.isinf(latency) else 200 for _, latency in kept],
        planned=len(kept),
        period_s=1 / RATE,
        failures=sum(math.isinf(latency) for _, latency in kept),
        achieved_rate=RATE,
        planned_rate=RATE,
    )


def until(samples: j.Samples, second: float) -> j.Samples:
    return so_far(list(samples.start_s), list(samples.latency_ms), second)


def ended_at(made: Made, seed: int, live: Made | None = usual, rule: e.Rule = RULE) -> tuple[float, str]:
    """The second at which a load would be ended, and why; infinite where it goes on to its end."""
    candidate = whole(made, 2 * seed)
    beside = whole(live, 2 * seed + 1) if live is not None else None
    before, second = 0.0, e.LEAST_SECONDS
    while second < SECONDS:
        share = e.spent(before / SECONDS, second / SECONDS)
        why = e.failed_already(
            until(candidate, second - 1.0), until(beside, second - 1.0) if beside is not None else None, rule, share
        )
        if why:
            return second, why
        before, second = second, second + max(e.EVERY_SECONDS, 0.1 * second)
    return math.inf, ""


def slower(factor: float) -> Made:
    return lambda source, second: factor * usual(source, second)


def failing(share: float) -> Made:
    return lambda source, second: math.inf if source.random() < share else usual(source, second)


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


@pytest.mark.parametrize(("factor", "within"), [(1.5, 8.0), (2.0, 6.0), (4.0, 6.0)])
def test_a_slow_release_is_seen_soon(factor: float, within: float) -> None:
    found = [ended_at(slower(factor), seed) for seed in range(15)]
    assert median([second for second, _ in found]) <= within
    assert found[0][1].startswith("p50 is ")


@pytest.mark.parametrize("live", [usual, None])
def test_failing_requests_are_seen_soon(live: Made | None) -> None:
    found = [ended_at(failing(0.2), seed, live) for seed in range(15)]
    assert median([second for second, _ in found]) <= 4.0
    assert "requests failed" in found[0][1]


def test_a_hang_is_seen_without_a_limit_and_without_a_live_generation() -> None:
    def hangs(source: random.Random, second: float) -> float:
        return usual(source, second) if second < 3.0 else 60_000.0

    for live in (usual, None):
        second, why = ended_at(hangs, 1, live)
        assert second <= 11.0
        assert why.startswith(("nothing was answered for ", "p95 is", "p50 is"))


def test_a_hang_that_the_live_generation_shares_is_the_hosts() -> None:
    still = until(whole(lambda source, second: usual(source, second) if second < 3 else 60_000.0, 1), 12.0)
    beside = until(whole(lambda source, second: usual(source, second) if second < 3 else 60_000.0, 2), 12.0)
    assert e.hangs(still, None, 5.0).startswith("nothing was answered for ")
    assert e.hangs(still, until(whole(usual, 2), 12.0), 5.0).startswith("nothing was answered for ")
    assert e.hangs(still, beside, 5.0) == ""


@pytest.mark.parametrize(("seconds", "ended"), [(10.0, True), (80.0, False)])
def test_an_app_that_may_take_long_for_each_answer_does_not_hang(seconds: float, ended: bool) -> None:
    """A first release whose every answer takes 8 s: at second 7 nothing was answered yet, and everything waits."""
    starts = [place / RATE for place in range(int(6 * RATE))]
    waiting = so_far(starts, [1000.0 * (7.0 - start) for start in starts], 7.0)
    rule = e.Rule(Limits(memory_percent=None, p95_ms=500.0 * seconds), j.Thresholds(), answer_seconds=seconds)
    assert bool(e.failed_already(waiting, None, rule, 0.001)) is ended


@pytest.mark.parametrize(("cold_s", "most"), [(2.0, 0), (4.0, 0), (8.0, 1)])
def test_a_cold_start_ends_no_load(cold_s: float, most: int) -> None:
    """Four times as slow at first, and faster and faster: not before the cold-start check can tell. One that takes long
    may look settled for a moment, by chance: the retry, which it meets warm, decides then."""

    def warming(source: random.Random, second: float) -> float:
        return usual(source, second) * (1.0 + 3.0 * max(0.0, 1.0 - second / cold_s))

    assert sum(math.isfinite(ended_at(warming, seed)[0]) for seed in range(12)) <= most


def test_too_few_requests_are_no_reason() -> None:
    few = until(whole(failing(1.0), 1), 1.0)
    assert few.planned < 100
    assert e.failed_already(few, None, RULE, 0.1) == ""


def test_a_sick_host_ends_no_load() -> None:
    assert ended_at(failing(0.3), 1, failing(0.3)) == (math.inf, "")


def test_all_looks_together_use_a_tenth() -> None:
    parts = [0.0, *(second / 30 for second in range(2, 30)), 1.0]
    assert sum(e.spent(before, now) for before, now in zip(parts, parts[1:])) == pytest.approx(e.SPENT)
    assert e.spent(0.5, 0.4) == 0.0
    policy = j.Thresholds(fail_share=1.0 - e.SPENT, comparisons=10)
    assert policy.fail_level == pytest.approx(0.0009)
    assert policy.confidence == "99.9 %"


def final(candidate: j.Samples, live: j.Samples) -> str:
    return j.judge(candidate, live, LIMITS, policy=replace(j.Thresholds(), fail_share=1.0 - e.SPENT)).outcome


def test_identical_releases_are_never_ended() -> None:
    assert [ended_at(usual, seed)[0] for seed in range(40)] == [math.inf] * 40


def test_a_release_at_the_limit_is_hardly_ever_ended() -> None:
    """Errors of just the limit: all looks together may be wrong once in 2000 times, the end once in 220."""
    ended = sum(math.isfinite(ended_at(failing(0.01), seed, None)[0]) for seed in range(30))
    assert ended == 0
    failed = sum(
        j.judge(whole(failing(0.01), seed), None, LIMITS, policy=j.Thresholds(fail_share=0.9)).outcome == j.FAIL
        for seed in range(100)
    )
    assert failed <= 2


def test_the_looks_cost_hardly_any_power() -> None:
    found = [(final(whole(slower(1.3), 2 * seed), whole(usual, 2 * seed + 1)) != j.PASS) for seed in range(40)]
    assert sum(found) >= 36
