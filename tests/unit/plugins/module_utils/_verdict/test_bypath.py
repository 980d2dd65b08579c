# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What each path took, and which one a breached limit is due to."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits, LoadPath
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict import bypath as by
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict import judge as j

NAMES = by.names_of([LoadPath("/"), LoadPath("/report", method="post"), LoadPath("/never")])


def samples(*paths: Sequence[float]) -> j.Samples:
    """Latencies in ms of each path, which take turns as far as they last."""
    due = sorted((place / len(mine), index, latency) for index, mine in enumerate(paths)
                 for place, latency in enumerate(mine))  # fmt: skip
    latencies = [latency for _, _, latency in due]
    count = len(due)
    return j.Samples(
        start_s=[number * 0.02 for number in range(count)],
        latency_ms=latencies,
        status=[200 if math.isfinite(latency) else 0 for latency in latencies],
        planned=count,
        period_s=0.02,
        failures=sum(not math.isfinite(latency) for latency in latencies),
        achieved_rate=50.0,
        planned_rate=50.0,
        path=[index for _, index, _ in due],
    )


def test_each_path_is_told_by_itself() -> None:
    found = by.by_path(samples([10.0] * 90 + [20.0] * 10, [300.0] * 5 + [math.inf]), NAMES)
    assert [(one.name, one.requests, one.failures, one.p50_ms, one.p95_ms) for one in found] == [
        ("GET /", 100, 0, 10.0, 20.0),
        ("POST /report", 6, 1, 300.0, math.inf),
    ]
    json.dumps([one.to_dict() for one in found], allow_nan=False)


@pytest.mark.parametrize(
    ("candidate", "limits", "expected"),
    [
        # the slow path is rare: all together the p95 is that of the fast one
        (([10.0] * 900, [812.0] * 100), {"p95_ms": 250}, "POST /report: p95 812 ms of 100 requests"),
        (([10.0] * 900, [400.0] * 20 + [812.0] * 80), {"p99_ms": 500}, "POST /report: p99 812 ms of 100 requests"),
        (([300.0] * 990, [280.0] * 10), {"p95_ms": 250}, "GET /: p95 300 ms of 990 requests"),
        (([10.0] * 900, [100.0] * 100), {"p95_ms": 250}, ""),
        (([300.0] * 1000,), {"p95_ms": 250}, ""),
    ],
)
def test_the_path_behind_a_breached_limit_is_named(
    candidate: Sequence[Sequence[float]], limits: dict[str, float], expected: str
) -> None:
    run = samples(*candidate)
    verdict = j.judge(run, None, Limits(**{"memory_percent": None, **limits}))
    assert by.slow_path(verdict, run, None, NAMES) == expected
    assert (verdict.outcome == j.PASS) is (expected == "" and len(candidate) > 1)


def test_the_path_that_became_slower_is_named_not_the_one_that_always_was() -> None:
    live = samples([10.0] * 600, [900.0] * 300)
    new = samples([100.0] * 600, [905.0] * 300)
    verdict = j.judge(new, live, Limits(memory_percent=None))
    assert verdict.outcome == j.FAIL
    assert by.slow_path(verdict, new, live, NAMES) == (
        "GET /: p50 100 ms of 600 requests, 10 ms of the live generation's 600"
    )


def test_the_path_is_told_at_the_quantile_that_was_breached() -> None:
    """The slowest at p95 is another one: it always was slow now and then, and no limit on that was breached."""
    live = samples([10.0] * 600, [20.0] * 180 + [900.0] * 120)
    new = samples([40.0] * 600, [25.0] * 180 + [950.0] * 120)
    verdict = j.judge(new, live, Limits(memory_percent=None))
    assert verdict.cause.startswith("p50 is ")
    assert by.slow_path(verdict, new, live, NAMES) == (
        "GET /: p50 40 ms of 600 requests, 10 ms of the live generation's 600"
    )
    limited = j.judge(new, None, Limits(p50_ms=30, p95_ms=1000, memory_percent=None))
    assert by.slow_path(limited, new, None, NAMES) == "GET /: p50 40 ms of 600 requests"


def test_a_path_without_a_good_answer_at_that_quantile_is_told_so() -> None:
    run = samples([10.0] * 900, [math.inf] * 80 + [20.0] * 20)
    verdict = j.judge(run, None, Limits(p95_ms=250, error_rate=0.5, memory_percent=None))
    assert by.slow_path(verdict, run, None, NAMES) == "POST /report: 80 of 100 requests had no good answer"


def test_of_two_breached_limits_the_one_that_decided_is_told() -> None:
    run = samples([50.0] * 500 + [60.0] * 20, [300.0] * 100)
    checks = (
        j.Check("p50", j.INCONCLUSIVE, 50.0, 50.0, (None, None), "p50 may be above its limit"),
        j.Check("p95", j.FAIL, 300.0, 250.0, (None, None), "p95 is above its limit"),
    )
    verdict = j.Verdict(j.FAIL, "p95 is above its limit", checks, (), False)
    assert by.slow_path(verdict, run, None, NAMES) == "POST /report: p95 300 ms of 100 requests"


def test_nothing_is_named_where_nothing_was_measured() -> None:
    none = samples([], [])
    verdict = j.judge(none, None, Limits(p95_ms=250, memory_percent=None))
    assert by.slow_path(verdict, none, None, NAMES) == ""


def test_no_path_is_to_blame_for_more_cpu() -> None:
    run = samples([10.0] * 900, [30.0] * 100)
    check = j.Check("cpu_relative", j.FAIL, 3.0, 1.3, (None, None), "a request took 9 ms of CPU against 3")
    verdict = j.Verdict(j.FAIL, check.sentence, (check,), (), False)
    assert by.slow_path(verdict, run, samples([10.0] * 900, [29.0] * 100), NAMES) == ""
