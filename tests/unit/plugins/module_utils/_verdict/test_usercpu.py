# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""CPU a request beside a live generation that serves users meanwhile: their requests are told apart from the load's,
whatever they take; where they cannot be, that is said."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict import judge as j
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict import use as u
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict import usercpu

LIMITS = Limits(memory_percent=None)
RATE, REST = 30.0, 6.0
Cost = Callable[[random.Random], float]


def about(ms: float, spread: float = 0.1) -> Cost:
    """CPU of requests that are alike."""
    return lambda source: ms * source.lognormvariate(0, spread)


ALIKE = about(2.0)


def mixed(source: random.Random) -> float:
    """One of twenty takes 40 ms."""
    return 40.0 if source.random() < 0.05 else 2.0 * source.lognormvariate(0, 0.2)


def arm(seed: int, seconds: float) -> j.Samples:
    source = random.Random(seed)
    count = int(seconds * RATE)
    return j.Samples(
        start_s=sorted(source.uniform(0, seconds) for _ in range(count)),
        latency_ms=[30 * source.lognormvariate(0, 0.3) for _ in range(count)],
        status=[200] * count,
        planned=count,
        period_s=1 / RATE,
        failures=0,
        achieved_rate=RATE,
        planned_rate=RATE,
        loaded=[(0.5, 0.5 + seconds)],
        quiet=(seconds + 1.0, seconds + 1.0 + REST),
    )


def used(
    samples: j.Samples, each: Cost, users: float = 0.0, theirs: Cost = ALIKE, seed: int = 1, counted: bool = True
) -> j.MemoryEvidence:
    """What is seen twice a second of a generation that answers the samples, and users who come at random."""
    source = random.Random(seed)
    end = samples.quiet[1] + 1.0
    events = [(0.55 + due, each(source), ms / 1000) for due, ms in zip(samples.start_s, samples.latency_ms)]
    second = -3.0
    while users and second < end:
        second += source.expovariate(users)
        events.append((second, theirs(source), 0.03))
    columns: dict[str, list[float | None]] = {name: [] for name in u.COLUMNS}
    look = -2.5
    while look < end:
        cpu = sum(ms for begin, ms, lasts in events if begin + 0.5 * lasts < look) / 1000.0
        asked = 0.5 * sum((begin < look) + (begin + lasts < look) for begin, _, lasts in events)
        row = (look, cpu, 0.0, 20.0, 9.0, 50.0, 3.0, asked if counted else None)
        for name, value in zip(u.COLUMNS, row):
            columns[name].append(value)
        look += 0.5 + source.uniform(0.0, 0.02)
    return j.MemoryEvidence(100.0, "cgroup", pss_mib=50.0, limit_mib=200.0, use=columns)


def judged(
    new: Cost, old: Cost, users: float, theirs: Cost = ALIKE, seed: int = 1, seconds: float = 20.0,
    counted: bool = True,
) -> j.Verdict:  # fmt: skip
    mine, live = arm(seed, seconds), arm(seed, seconds)
    beside = used(live, old, users, theirs, seed=seed + 1000, counted=counted)
    return j.judge(mine, live, LIMITS, used(mine, new, seed=seed + 2000), baseline_memory=beside)


@pytest.mark.parametrize(
    ("users", "theirs"),
    [(2.0, about(2.0)), (8.0, about(6.0)), (8.0, about(0.3)), (20.0, about(2.0)), (40.0, about(2.0))],
)
def test_twice_the_cpu_is_refused_whoever_asks_the_live_generation(users: float, theirs: Cost) -> None:
    for seed in range(10):
        verdict = judged(about(4.0), about(1.9), users, theirs, seed)
        assert verdict.outcome == j.FAIL
        check = verdict.check("cpu_relative")
        assert check.value == pytest.approx(4.0 / 1.9, rel=0.15)
        assert " of the live generation" in check.sentence


def test_users_are_named_with_what_theirs_take() -> None:
    said = judged(about(4.0), about(1.9), 8.0, about(6.0)).cause
    assert said.startswith("a request took ")
    assert ", whose users made 1" in said
    assert " requests meanwhile, of " in said
    assert "; declare limits.cpu_ms where the release is meant to take more" in said


def test_few_users_whose_requests_take_much_hide_nothing() -> None:
    for seed in range(10):
        verdict = judged(about(4.0), about(1.9), 0.3, about(200.0), seed)
        assert verdict.outcome == j.FAIL or any(one.startswith("CPU a request (users") for one in verdict.uncompared)


@pytest.mark.parametrize("users", [0.0, 0.3, 2.0, 8.0, 20.0, 40.0])
@pytest.mark.parametrize("theirs", [about(0.2), about(1.9), about(8.0), about(40.0, 0.5), mixed])
def test_the_same_release_passes_whoever_asks_the_live_generation(users: float, theirs: Cost) -> None:
    for seed in range(20):
        assert judged(about(1.9), about(1.9), users, theirs, seed).outcome == j.PASS
        assert judged(about(1.9, 0.5), about(1.9, 0.5), users, theirs, seed).outcome == j.PASS


def test_where_users_cannot_be_told_apart_it_is_said() -> None:
    told = [
        judged(about(3.0), about(1.9), 8.0, lambda source: 100.0 if source.random() < 0.1 else 1.0, seed)
        for seed in range(10)
    ]
    said = "CPU a request (users made "
    for verdict in told:
        assert verdict.outcome == j.PASS
        assert any(words.startswith(said) for words in verdict.uncompared)
        assert [check for check in verdict.checks if check.name == "cpu_relative"] == []
        assert f"; not compared: {said}" in verdict.cause or said in verdict.cause


def test_requests_that_nobody_counts_are_said_where_they_matter() -> None:
    verdict = judged(about(4.0), about(1.9), 8.0, about(8.0), counted=False)
    assert verdict.outcome == j.PASS
    assert any("and nobody counted theirs)" in words for words in verdict.uncompared)
    assert "so it waits" not in verdict.cause
    alike = judged(about(1.9), about(1.9), 2.0, about(1.9), counted=False)
    assert alike.outcome == j.PASS
    assert not [words for words in alike.uncompared if words.startswith("CPU a request")]
    assert judged(about(8.0), about(1.9), 8.0, about(1.9), counted=False).outcome == j.FAIL


def test_what_waits_beside_users_is_not_said_to_take_no_more() -> None:
    mine, live = arm(1, 20.0), arm(1, 20.0)
    slow = replace(mine, latency_ms=[90.0] * mine.planned)
    beside = used(live, about(1.9), 8.0, about(6.0))
    verdict = j.judge(slow, live, LIMITS, used(slow, about(4.0)), baseline_memory=beside)
    assert verdict.outcome == j.FAIL
    assert "so it waits" not in verdict.cause
    assert "; a request took " in verdict.cause


def test_a_load_whose_requests_are_slow_is_counted_as_the_recorder_does() -> None:
    live = replace(arm(3, 20.0), latency_ms=[900.0] * 600)
    found = usercpu.apart(live, u.Use(used(live, about(2.0), 8.0, about(2.0)).use))
    assert found is not None
    assert found.each_ms == pytest.approx(2.0, rel=0.1)
    assert found.others == pytest.approx(150, abs=40)


def test_nobody_else_is_nobody() -> None:
    live = arm(3, 20.0)
    found = usercpu.apart(live, u.Use(used(live, about(2.0)).use))
    assert found is None or not found.seen


def test_idle_cpu_is_not_excused_by_that_of_users_in_silence() -> None:
    mine, live = arm(1, 20.0), arm(1, 20.0)
    spins = used(mine, about(1.9))
    seconds, cpu = spins.use["second"], spins.use["cpu_seconds"]
    spins = replace(spins, use={**spins.use, "cpu_seconds": [c + 0.6 * (s + 5) for s, c in zip(seconds, cpu)]})
    beside = used(live, about(1.9), 8.0, about(45.0))
    verdict = j.judge(mine, live, LIMITS, spins, baseline_memory=beside)
    assert any(words.startswith("idle CPU (the candidate took 0.6") for words in verdict.uncompared)
    assert any("something in it runs by itself" in words for words in verdict.warnings)
    assert j.judge(mine, live, LIMITS, spins, baseline_memory=used(live, about(1.9))).outcome == j.FAIL
