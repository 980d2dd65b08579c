# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What of a host's memory no app is planned to have."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.normalise import normalise_apps
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts.given import declared
from ansible_collections.headcount.gunicorn.plugins.module_utils._plan.planner import plan_host
from ansible_collections.headcount.gunicorn.plugins.module_utils._plan.reserve import NO_LIMITS, reserve_of
from ansible_collections.headcount.gunicorn.plugins.module_utils._plan.types import Host, PlanError, Policy

DATABASE = {"name": "postgresql.service", "mib": 307, "promised_mib": 0, "limit_mib": None}


def facts(total: int, others: int | None = None, *neighbours: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = declared(2, total).to_dict()
    return {**found, "memory": {**found["memory"], "others_mib": others, "neighbours": list(neighbours)}}


@pytest.mark.parametrize(
    ("total", "others", "kept"),
    [(512, None, 64), (512, 20, 64), (512, 32, 64), (512, 33, 65), (512, 318, 350), (200, 0, 50), (65536, 4096, 4608)],
)
def test_more_is_kept_where_others_use_more(total: int, others: int | None, kept: float) -> None:
    assert reserve_of(Host.from_facts(facts(total, others)), Policy()).mib == kept


def test_a_neighbour_is_in_the_plan_and_in_its_warnings() -> None:
    reserve = reserve_of(Host.from_facts(facts(512, 318, DATABASE)), Policy())
    told = "others use 318 of 512 MiB (62 %) (postgresql.service 307 MiB)"
    assert reserve.why == f"{told}, and 32 are kept beside that"
    assert reserve.warnings == (f"{told}: what is planned is what they leave",)


def test_a_declared_reserve_holds_and_is_told_where_it_is_too_little() -> None:
    host = Host.from_facts(facts(512, 318, DATABASE))
    assert reserve_of(host, Policy(reserve_memory_mib=400)).warnings == ()
    short = reserve_of(host, Policy(reserve_memory_mib=64))
    assert short.mib == 64
    assert "headcount_reserve_memory_mib leaves them 64: memory that is not there is planned" in short.warnings[0]


@pytest.mark.parametrize(
    ("systemd", "memory", "holds"),
    [(252, 1, True), (257, 1, True), (257, 2, True), (262, 2, True), (262, 1, False), (252, 0, False), (0, 0, True)],
)
def test_where_systemd_cannot_limit_memory_it_is_told(systemd: int, memory: int, holds: bool) -> None:
    found = facts(1024, 60)
    found.update(systemd=systemd, cgroup={**found["cgroup"], "memory": memory})
    warnings = reserve_of(Host.from_facts(found), Policy()).warnings
    assert warnings == (() if holds else (NO_LIMITS,))


def test_a_unit_that_may_still_take_more_is_told() -> None:
    host = Host.from_facts(facts(1024, 60, {**DATABASE, "mib": 50, "limit_mib": 600}))
    assert reserve_of(host, Policy()).warnings == (
        "postgresql.service uses 50 MiB and may use 600: memory runs short when it does; headcount_reserve_memory_mib:"
        " 610 keeps it",
    )


def app(**changes: Any) -> dict[str, Any]:
    raw = {
        "name": "shop",
        "source": {"pip": "shop==1.0"},
        "entry_point": "shop:app",
        "listen": "0.0.0.0:8000",
        "profile": "cpu",
        **changes,
    }
    apps, problems = normalise_apps([raw], "web1")
    assert not problems
    return dict(apps[0])


def test_a_plan_is_made_of_what_a_neighbour_leaves() -> None:
    alone = plan_host(facts(512), [app()])["shop"]
    beside = plan_host(facts(512, 318, DATABASE), [app()])["shop"]
    assert alone.settings["memory_max_mib"].value == 224
    assert beside.settings["memory_max_mib"].value == 81
    assert "postgresql.service 307 MiB" in beside.settings["memory_max_mib"].reason
    assert any("what is planned is what they leave" in warning for warning in beside.warnings)


def test_where_nothing_is_left_the_refusal_names_who_has_it() -> None:
    with pytest.raises(PlanError, match=r"nothing is left of it: others use 490 of 512 MiB \(96 %\) \(postgresql"):
        plan_host(facts(512, 490, DATABASE), [app()])
    with pytest.raises(PlanError, match=r"postgresql.service 307 MiB"):
        plan_host(facts(512, 440, DATABASE), [app()])
