# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A rollout as it goes: which lines come out of what is told."""

from __future__ import annotations

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._display.course import Course, recap, step_of

VERDICT = {"outcome": "pass", "cause": "p95 is 52 ms, limit 250"}


def test_an_app_of_a_host_is_one_line_when_it_is_done() -> None:
    course = Course()
    course.gated({"batch": 1, "batches": 2})
    told: list[str] = []
    for at, step, result in (
        (0.0, "stage", {"size": "gthread 1 x 100"}),
        (6.2, "weigh", {"size": "gthread 2 x 50"}),
        (18.0, "trial", {"verdict": VERDICT}),
        (33.7, "promote", {}),
    ):
        course.begin("web1", "shop", step, at)
        told.append(course.end("web1", "shop", step, at + 4, result))
    assert told[:3] == ["", "", ""]
    assert told[3] == (
        "[1/2] web1: shop: gthread 2 x 50; staged 4 s, weighed 4 s, tried 4 s, promoted 4 s; "
        "pass: p95 is 52 ms, limit 250"
    )
    assert course.ways == {}
    assert course.running == {}


def test_a_failure_has_its_cause_and_the_candidates_last_lines() -> None:
    course = Course()
    course.begin("web1", "shop", "trial", 10)
    result = {
        "cause": "GET /products answered 500: KeyError: 'price'",
        "phase": "trial",
        "msg": "shop: trial: ...",
        "log": [f"line {number}" for number in range(20)],
    }
    lines = course.fail("web1", "shop", "trial", 25.4, result)
    assert lines[0] == "web1: shop: FAILED in trial after 15 s: GET /products answered 500: KeyError: 'price'"
    assert lines[1:] == [f"    | line {number}" for number in range(12, 20)]
    course.fail("web2", "shop", "weigh", 30, {"msg": "non-zero return code"})
    assert course.first_cause == "web1: shop: trial: GET /products answered 500: KeyError: 'price'"


def test_the_status_says_what_runs_and_how_long_a_load_takes() -> None:
    course = Course()
    assert course.status(0) == ""
    course.planned({"load_seconds": {"shop": 15.0}})
    course.gated({"batch": 2, "batches": 3})
    for host in ("web1", "web2", "web3", "web4", "web5"):
        course.begin(host, "shop", "trial" if host == "web1" else "weigh", 10)
    assert course.status(18) == (
        "[2/3] web1 shop trial 8 s (a load of 15 s), web2 shop weigh 8 s, web3 shop weigh 8 s and 2 more"
    )
    course.skip("web1", "shop")
    assert "web1" not in course.status(18)


@pytest.mark.parametrize(
    ("action", "step"),
    [("headcount.gunicorn.trial", "trial"), ("headcount.gunicorn.gate", ""), ("command", ""), ("trial", "")],
)
def test_steps_are_tasks_of_headcounts_own(action: str, step: str) -> None:
    assert step_of(action) == step


def test_what_is_no_result_of_a_plan_or_a_gate_is_passed_over() -> None:
    course = Course()
    course.planned({"load_seconds": "no"})
    course.gated({"batch": "1"})
    assert (course.load_seconds, course.batches) == ({}, 0)


def summary(changed: int = 0, failures: int = 0, unreachable: int = 0) -> dict[str, int]:
    return {"changed": changed, "failures": failures, "unreachable": unreachable}


def test_the_recap_counts_hosts_and_names_those_that_are_not_well() -> None:
    assert recap({"web1": summary(), "web2": summary()}, "") == ["2 hosts: nothing changed"]
    hosts = {f"web{number}": summary(2, failures=number > 2) for number in range(1, 7)}
    assert recap({**hosts, "db": summary(unreachable=1)}, "web3: shop: trial: too slow") == [
        "7 hosts: 2 changed, failed on web3, web4, web5 and 1 more, not reached on db",
        "first cause: web3: shop: trial: too slow",
    ]
    assert recap({}, "") == []
    assert recap({"web1": summary(3), "web2": summary()}, "", check=True) == ["2 hosts: 1 would change"]
    assert recap({"web1": summary(), "web2": summary(1, failures=1)}, "", check=True) == ["2 hosts: failed on web2"]
    assert recap({"web1": summary()}, "", check=True) == ["1 host: nothing would change"]
