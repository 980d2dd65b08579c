# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""One worker of several that stands still, or fails by itself: what the verdict says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict import judge as j

LIMITS = Limits(memory_percent=None)
Still = Sequence[Any]


def arm(failing: int = 0) -> j.Samples:
    latency = [float("inf") if place < failing else 20.0 + place % 9 for place in range(1500)]
    return j.Samples(
        start_s=[place / 50 for place in range(1500)],
        latency_ms=latency,
        status=[500 if place < failing else 200 for place in range(1500)],
        planned=1500,
        period_s=0.02,
        failures=failing,
        achieved_rate=50.0,
        planned_rate=50.0,
        loaded=[(0.0, 30.0)],
    )


def seen(*stills: Still, counts: Sequence[tuple[int, int]] = ((700, 0), (800, 0))) -> j.MemoryEvidence:
    """Two workers, the first of which stood still; `counts`: requests and errors of each."""
    workers: list[dict[str, Any]] = [{"pid": 9, "pss_mib": 9.0}]
    workers += [
        {"pid": 11 + place, "still": list(stills) if place == 0 else [], "requests": requests, "errors": errors}
        for place, (requests, errors) in enumerate(counts)
    ]
    return j.MemoryEvidence(100.0, "cgroup", limit_mib=200.0, workers=workers)


def judged(
    new: j.MemoryEvidence, old: j.MemoryEvidence | None = None, failing: int = 0, live: bool = True
) -> j.Verdict:
    return j.judge(arm(failing), arm() if live else None, LIMITS, new, baseline_memory=old or seen())


def test_one_that_stood_still_while_the_other_went_on_fails_and_a_retry_decides() -> None:
    verdict = judged(seen([12.0, 4.1, True]))
    assert (verdict.outcome, verdict.hard) == (j.FAIL, False)
    assert verdict.cause.startswith(
        "a worker (process 11) stood still for 4.1 s from second 12 of the load on, while others went on; 0 of 1500"
    )
    assert j.needs_retry(verdict)
    both = j.combine(verdict, judged(seen()))
    assert both.outcome == j.PASS
    assert [words for words in both.warnings if "stood still for 4.1 s" in words]
    assert "; seen once, not again in the second run: a worker (process 11) stood still for 4.1 s" in both.cause


@pytest.mark.parametrize(
    ("still", "live"),
    [
        ([12.0, 2.9, True], []),  # a busy host
        ([12.0, 4.1, False], []),  # all of them did
        ([-3.0, 4.1, True], []),  # in the warm-up
        ([29.5, 4.1, True], []),  # after the load
        ([12.0, 4.1, True], [3.0, 2.5, True]),  # those of the live generation do, too
        ([12.0, 4.1, True], [3.0, 2.5, False]),
    ],
)
def test_what_is_no_fault_of_a_worker(still: Still, live: Still) -> None:
    verdict = judged(seen(still), seen(live) if live else None)
    assert verdict.outcome == j.PASS


def test_without_a_live_generation_it_is_told() -> None:
    verdict = judged(seen([12.0, 4.1, True]), live=False)
    assert verdict.outcome == j.PASS
    assert [words for words in verdict.warnings if "stood still for 4.1 s" in words and "no live generation" in words]


def test_what_failed_in_one_worker_alone_is_told_as_such() -> None:
    verdict = judged(seen(counts=[(700, 690), (800, 0)]), failing=690)
    assert verdict.cause.startswith("690 of 1500 requests failed")
    assert verdict.cause.endswith(
        "; all requests that failed were one worker's (process 11: 690 of 700; the others: 0 of 800)"
    )


@pytest.mark.parametrize(
    "counts", [[(700, 330), (800, 360)], [(1495, 690), (5, 0)], [(1500, 690)], [(700, 4), (800, 0)]]
)
def test_what_failed_in_any_worker_is_told_of_none(counts: list[tuple[int, int]]) -> None:
    assert "one worker" not in judged(seen(counts=counts), failing=690).cause


def test_what_was_not_looked_at_is_no_fault() -> None:
    assert judged(replace(seen(), workers=[{"pid": 9}, {"pid": 11}])).outcome == j.PASS


def test_workers_that_were_replaced_explain_what_is_slow_and_decide_nothing() -> None:
    recycled = replace(seen(), recycled=3)
    good = judged(recycled)
    assert (good.outcome, good.check("recycled").outcome, "replaced" in good.cause) == (j.PASS, j.PASS, False)
    slow = replace(arm(), latency_ms=[80.0 + place % 9 for place in range(1500)])
    verdict = j.judge(slow, arm(), LIMITS, recycled, baseline_memory=seen())
    said = "3 workers of the candidate were replaced meanwhile, as max_requests says, none of the live generation"
    assert (verdict.outcome, f"; {said}; " in verdict.cause) == (j.FAIL, True)
    alone = j.judge(arm(), None, LIMITS, replace(seen(), recycled=1))
    assert alone.check("recycled").sentence == "1 worker of the candidate was replaced meanwhile, as max_requests says"
    assert "recycled" not in [check.name for check in judged(seen()).checks]
