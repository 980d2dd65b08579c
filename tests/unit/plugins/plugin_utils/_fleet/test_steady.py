# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What others of a host use just now is no reason for another generation as long as what is live fits beside them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet import steady
from test_choice import FACTS
from test_decision import apps, deployed, plan


def others(mib: int, *names: str) -> dict[str, Any]:
    each = mib // max(1, len(names))
    named = [{"name": name, "mib": each, "promised_mib": 0, "limit_mib": None} for name in names]
    return {**FACTS, "memory": {**FACTS["memory"], "others_mib": mib, "neighbours": named}}


@pytest.mark.parametrize("before", [others(12), others(200, "postgresql.service")])
@pytest.mark.parametrize("now", [others(260, "postgresql.service"), others(400, "blog@9.service", "session-7.scope")])
def test_an_unchanged_rerun_does_nothing(before: dict[str, Any], now: dict[str, Any]) -> None:
    first = plan(facts=before)
    assert plan(facts=now).apps["shop"].plan != first.apps["shop"].plan  # it would be another one
    found = plan(deployed(first), now)
    app = found.apps["shop"]
    assert (app.action, app.reasons, app.changes, found.pending) == ("none", [], {}, [])
    assert app.plan == first.apps["shop"].plan


def test_what_changed_is_told_although_the_plan_holds() -> None:
    app = plan(deployed(plan(facts=others(12))), others(300, "postgresql.service")).apps["shop"]
    assert app.notes == ["memory that others use 0 -> 300 MiB (postgresql.service 300 MiB): the plan holds"]


def test_a_plan_that_does_not_fit_any_more_is_renewed_and_that_is_the_reason() -> None:
    app = plan(deployed(plan(facts=others(12))), others(700, "postgresql.service")).apps["shop"]
    assert app.action == "deploy"
    assert app.reasons == [
        "memory that others use 0 -> 700 MiB (postgresql.service 700 MiB), beside which what is live does not fit"
    ]
    assert "memory_max_mib" in app.changes


def test_what_is_free_again_is_a_hint_and_taken_by_a_retune() -> None:
    first = plan(facts=others(820, "postgresql.service"))
    app = plan(deployed(first), others(12)).apps["shop"]
    assert (app.action, app.plan) == ("none", first.apps["shop"].plan)
    assert "playbooks/retune.yml takes it" in app.notes[-1]
    retuned = plan(deployed(first), others(12), retune=True).apps["shop"]
    assert (retuned.action, retuned.reasons) == ("deploy", ["memory that others use 820 -> 0 MiB"])


def test_what_is_deployed_for_another_reason_is_planned_for_what_is_there_now() -> None:
    first, now = plan(facts=others(12)), others(300, "postgresql.service")
    for app in (
        plan(deployed(first), now, source="s2").apps["shop"],
        plan(deployed(first, problems=["shop.service was edited"], intact=False), now).apps["shop"],
        plan(deployed(first), now, declared=apps(concurrency=7)).apps["shop"],
    ):
        assert app.action == "deploy"
        assert app.changes["memory_max_mib"] == [460, 336]
        assert app.planning["facts"]["memory"]["others_mib"] == 300


def test_other_hardware_is_no_breath() -> None:
    now = others(300, "postgresql.service")
    smaller = {**now, "memory": {**now["memory"], "effective_mib": 512}}
    assert plan(deployed(plan(facts=others(12))), smaller).apps["shop"].action == "deploy"
    fewer = {**now, "cores": {**now["cores"], "effective": 1.0}}
    assert plan(deployed(plan(facts=others(12))), fewer).apps["shop"].action == "deploy"


@pytest.mark.parametrize(
    ("was", "now", "headroom", "expected"),
    [
        (0, 50, False, True),  # the usual reserve covers it
        (0, 60, False, False),
        (0, 460, True, True),
        (0, 520, True, False),
        (500, 500, False, True),
        (500, 501, False, False),
        (500, 12, False, True),
    ],
)
def test_what_fits(was: int, now: int, headroom: bool, expected: bool) -> None:
    assert steady.fits(others(was), others(now), [{"budget_mib": 460}], headroom) is expected
