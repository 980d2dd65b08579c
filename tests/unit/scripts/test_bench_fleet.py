# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The arithmetic of the fleet benchmark: many names over few hosts, ratios within turns, slopes, stated figures."""

from __future__ import annotations

from typing import Any

import pytest
from headcount_bench import fleet

BASE = {"hosts": {"h1": "10.0.0.1", "h2": "10.0.0.2"}, "vars": {"ansible_user": "ansible"}}


def turn(ping: float, noop: float, drift: float, memory: float = 100.0) -> dict[str, Any]:
    walls = {"ping": ping, "noop": noop, "drift": drift}
    return {kind: {"wall": wall, "cpu": 1.0, "memory_mib": memory, "remote": 8} for kind, wall in walls.items()}


def test_names_are_spread_over_the_hosts() -> None:
    found = fleet.inventory(BASE, 5, 1)["fleet"]["hosts"]
    assert {name: host["ansible_host"] for name, host in found.items()} == {
        "h1": "10.0.0.1",
        "h2": "10.0.0.2",
        "h1-1": "10.0.0.1",
        "h2-1": "10.0.0.2",
        "h1-2": "10.0.0.1",
    }


def test_one_host_can_be_bad() -> None:
    found = fleet.inventory(BASE, 2, 2, bad="h2")["fleet"]["hosts"]
    assert [name for name, host in found.items() if "headcount_app_overrides" in host] == ["h2"]


def test_only_what_runs_on_hosts_counts_as_remote() -> None:
    counts = {"headcount.gunicorn.host_info": 8, "headcount.gunicorn.plan": 1, "ansible.builtin.add_host": 8, "ping": 2}
    assert fleet.remote_tasks(counts) == 10


def test_ratios_are_of_the_same_turn() -> None:
    # The machine was ten times slower in the last turn; the ratios do not see it.
    value = {"hosts": 8, "names": 8, "turns": [turn(1, 2, 1.5), turn(1, 2.2, 1.4), turn(10, 21, 15)]}
    found = fleet.medians(value)
    assert (found["noop_ratio"], found["drift_ratio"], found["noop_ratio_most"]) == (2.1, 1.5, 2.2)
    assert (found["ping_wall"], found["noop_remote"], found["turns"]) == (1, 8, 3)


def test_a_slope_is_exact_on_a_line() -> None:
    base, rise, fit = fleet.slope([(10, 3.0), (50, 7.0), (200, 22.0)])
    assert (base, rise, fit) == pytest.approx((2.0, 0.1, 1.0))
    assert fleet.slope([(1, 2.0), (2, 2.0)]) == (2.0, 0.0, 1.0)


def test_what_was_said_and_not_reached_is_told() -> None:
    row = fleet.medians({"hosts": 8, "names": 200, "turns": [turn(1, 3.5, 2.5, 1500)]})
    users = {"one bad host": {"users": {"sent": 10, "failed": 1}}, "first rollout": {"users": None}}
    assert fleet.misses([row], users) == [
        "noop of 200 names on 8 hosts takes 3.5 times a ping, at most 3 were said",
        "drift of 200 names on 8 hosts takes 2.5 times a ping, at most 2 were said",
        "the controller needs 1500 MiB for 200 names on 8 hosts, at most 1024 were said",
        "one bad host: 1 of 10 requests failed",
    ]
    good = fleet.medians({"hosts": 8, "names": 8, "turns": [turn(1, 2, 1.5)]})
    assert fleet.misses([good], {}) == []
