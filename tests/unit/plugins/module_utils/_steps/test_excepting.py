# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A candidate that logs exceptions again and again while it answers well is told of, and the live one's are no news."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.lines import Line
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.excepting import (
    MOST_LINES,
    excepting,
    wanted,
    with_exceptions,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.types import Verdict

BEGIN, SECONDS, RATE = 1000.0, 40.0, 30.0
FILE = "/opt/headcount/shop/releases/ab/tree/shop/views.py"


def traceback(at: float, name: str = "KeyError", line: int = 41, file: str = FILE) -> list[Line]:
    return [
        Line(at, 7, text)
        for text in (
            "[2026-11-27 07:48:54] ERROR in views: the visit was not tracked",
            "Traceback (most recent call last):",
            f'  File "{file}", line {line}, in before',
            "    environ['tracker']",
            f"{name}: 'tracker'",
        )
    ]


def log(count: int, seconds: float = SECONDS, **what: Any) -> list[Line]:
    """A log with so many exceptions, evenly over so many seconds."""
    return [line for number in range(count) for line in traceback(BEGIN + seconds * number / count, **what)]


VERDICT = Verdict("pass", "p95 is 5 ms", facts={"candidate": {"planned": 600, "planned_rate": RATE}})
LOAD = {"warmup": {"requests": 100}}


def told(mine: Sequence[Line], live: Sequence[Line] | None, verdict: Verdict = VERDICT) -> list[str]:
    def tail(lines: Sequence[Line]) -> Any:
        return lambda since, most: list(lines)[-most:]

    other = tail(live) if live is not None else None
    found = excepting(tail(mine), other, verdict, LOAD, BEGIN, BEGIN + SECONDS)
    assert [check.outcome for check in found] == ["pass"] * len(found)
    return [check.sentence for check in found]


def test_an_exception_for_each_request_is_told_with_its_place() -> None:
    (said,) = told(log(690), [])
    assert said == (
        "its log has an exception for nearly each request, though they are answered well (690 within 40 s; of the live "
        "generation none): KeyError: 'tracker' (shop/views.py:41)"
    )


@pytest.mark.parametrize(
    ("mine", "live", "words"),
    [
        (log(300), log(20), "for 43 % of its requests, though they are answered well (300 within 40 s; of the live"),
        (log(300), log(300, line=38), ""),  # as before, a few lines above
        (log(300), log(100), ""),  # not far fewer
        (log(300, name="ValueError"), log(300), "ValueError"),  # another one
        (log(100), [], ""),  # one request of seven
        (log(15), [], ""),
        ([], [], ""),
        (log(300), None, ""),  # nobody shows what is usual
        (log(420), None, "for 60 % of its requests, though they are answered well (420 within 40 s): KeyError"),
        (log(690), [Line(0.0, 0, "its log could not be read: the journal does not answer")], ""),
        (log(690, name="DeprecationWarning"), [], ""),
    ],
)
def test_what_is_told(mine: list[Line], live: list[Line] | None, words: str) -> None:
    said = told(mine, live)
    assert bool(said) is bool(words)
    assert not words or words in said[0]


def test_of_a_large_log_the_end_is_enough() -> None:
    many = log(1000, SECONDS)
    assert len(many) > MOST_LINES
    (said,) = told(many, [])
    assert "for nearly each request, though they are answered well (800 within 32 s" in said
    at_once = log(1000, 0.3)  # within a moment: nothing is known of the load
    assert told(at_once, []) == []


def test_the_requests_of_a_first_run_count_too() -> None:
    first = Verdict("inconclusive", "", facts=dict(VERDICT.facts)).to_dict()
    verdict = Verdict("pass", "", facts={"candidate": {"planned": 1800, "planned_rate": RATE}, "first": first})
    assert told(log(450), [], verdict) == []
    assert told(log(600), [], verdict)


def test_it_stands_in_the_cause_of_what_failed_for_another_reason() -> None:
    checks = excepting(lambda *_: log(600), lambda *_: [], VERDICT, LOAD, BEGIN, BEGIN + SECONDS)
    slow = with_exceptions(Verdict("fail", "p95 is 469 ms"), checks)
    assert slow.cause.startswith("p95 is 469 ms; its log has an exception for ")
    assert slow.told == (checks[0].sentence,)
    assert with_exceptions(VERDICT, checks).cause == f"p95 is 5 ms; {checks[0].sentence}"
    assert with_exceptions(slow, []) == slow
    assert wanted(slow)
    assert not wanted(Verdict("fail", "40 of 120 failed", facts={"candidate": {"failures": 40}}))


def test_what_the_weigh_logged_in_the_same_second_is_none_of_the_trial() -> None:
    earlier = [replace(line, at=line.at - 0.4 - SECONDS) for line in log(690)]
    assert told([replace(line, at=BEGIN - 0.4) for line in earlier], []) == []
    assert told([*[replace(line, at=BEGIN - 0.4) for line in earlier], *log(690)], []) == told(log(690), [])
