# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The guard's rule: it sees what is surely worse for users, and takes nothing else for it."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits
from ansible_collections.headcount.gunicorn.plugins.module_utils._recorder.counts import Tally
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.guarding import (
    AGREE,
    LOOK_EVERY_S,
    Before,
    Reading,
    Watch,
)

LIMITS = Limits(p95_ms=250, error_rate=0.01)


def tally(good: int = 0, errors: int = 0, slow: int = 0, lost: int = 0, **ends: int) -> Tally:
    """Requests that ended well and not, of which some were slow."""
    outcomes = {**Tally().outcomes, "2xx": good, "5xx": errors}
    over, told = {**Tally().over, "p95": slow}, {**Tally().ends, **ends}
    return Tally(good + errors + lost, lost, 0.0, outcomes, over, told)


def added(one: Tally, other: Tally) -> Tally:
    """Both together."""
    return other.since(Tally().since(one))


def watched(steps: Iterable[Tally], before: Tally | None = None, **watch: Any) -> tuple[str, Watch, int]:
    """What is told of looks at which so much came to it each time; the watch; and after how many looks."""
    made = Watch(LIMITS, Before(before or Tally(), 3600.0 if before is not None else 0.0), **watch)
    total, looks = Tally(), 0
    for looks, step in enumerate(steps, 1):
        total = added(total, step)
        words = made.look(Reading(looks * LOOK_EVERY_S, total))
        if words:
            return words, made, looks
    return "", made, looks


USUAL = tally(good=36_000, errors=20, slow=300)


def test_errors_after_a_minute_are_seen_within_half_a_minute() -> None:
    words, _, looks = watched([tally(50)] * 12 + [tally(25, 25)] * 20, USUAL)
    assert words.endswith("requests failed, 33.3 %, where at most 1 % may")
    assert 12 < looks <= 12 + 6


def test_few_errors_are_seen_when_they_are_enough() -> None:
    words, _, looks = watched([tally(48, 2)] * 120, USUAL)
    assert "requests failed" in words
    assert looks < 60


@pytest.mark.parametrize("share", [0.0, 0.005, 0.01])
def test_errors_within_the_limit_are_none(share: float) -> None:
    numbers = random.Random(3)
    for _ in range(30):
        steps = []
        for _ in range(120):
            count = numbers.choice((0, 0, 3, 40, 400))
            failed = sum(numbers.random() < share for _ in range(count))
            steps.append(tally(count - failed, failed))
        assert watched(steps, USUAL)[0] == ""


def test_what_was_as_faulty_before_is_no_breach() -> None:
    assert watched([tally(95, 5)] * 120, tally(good=34_000, errors=2_000))[0] == ""
    assert watched([tally(95, 5)] * 120, USUAL)[0] != ""
    assert watched([tally(95, 5)] * 120)[0] != "", "where nothing is known of the one before, the limit counts"


def test_what_was_as_slow_before_is_no_breach() -> None:
    """A report that takes long, which the load of the trial does not ask."""
    assert watched([tally(100, slow=10)] * 120, tally(good=36_000, slow=3_700))[0] == ""
    words, _, _ = watched([tally(100, slow=10)] * 120, USUAL)
    assert "took longer than the 250 ms of p95" in words


def test_a_short_disturbance_is_no_breach() -> None:
    """Three looks at which everything fails: a database that was away for a quarter of a minute."""
    assert watched([tally(50)] * 10 + [tally(0, 50)] * (AGREE - 1) + [tally(50)] * 30, USUAL)[0] == ""


def test_without_traffic_it_cannot_tell() -> None:
    words, made, _ = watched([tally(1)] + [tally()] * 119, USUAL)
    assert words == ""
    assert made.conclusion() == "not enough traffic to tell (1 requests)"
    assert watched([tally(10)] * 120, USUAL)[1].conclusion() == "1200 requests, no breach"


def test_few_requests_that_all_fail_are_enough() -> None:
    """One in half a minute: what is between the looks is not taken for better."""
    words, _, looks = watched(([tally(0, 1)] + [tally()] * 5) * 20, USUAL)
    assert "6 of all 6 requests failed" in words
    assert looks == 31


def test_workers_that_die_are_seen_and_recycling_is_not() -> None:
    assert watched([tally(10, recycled=5)] * 120, USUAL)[0] == ""
    words, _, _ = watched([tally(10, died=1)] * 120, USUAL)
    assert words.startswith("6 of its workers died within 30 s")
    assert watched([tally(10)] * 50 + [tally(10, killed=1)] + [tally(10)] * 69, USUAL)[0] == ""


def test_workers_that_died_as_often_before_are_none() -> None:
    often = tally(good=1000, died=600)
    assert watched([tally(10, died=1)] * 60, often)[0] == ""


def test_memory_beyond_its_share_is_seen() -> None:
    made = Watch(LIMITS, Before(), memory_max_mib=200.0)
    said = [made.look(Reading(5.0 * turn, tally(10 * turn), memory_mib=100.0 + 10 * turn)) for turn in range(1, 12)]
    assert said[-1].startswith("it uses 210 MiB, more than 80 % of the 200 that it may have")
    assert said[:9] == [""] * 9


def test_lost_requests_are_errors() -> None:
    assert "requests failed" in watched([tally(40, lost=5)] * 20, USUAL)[0]
