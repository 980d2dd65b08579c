# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A release that came to hosts of different sizes, in a run for each, is taken back on all of them by one call."""

from __future__ import annotations

from headcount_scenarios import Scenario

SECOND = {"shop": {"environment": {"SHOP_RELEASE": "second"}}}


def test_back_on_hosts_of_different_sizes(scenario: Scenario) -> None:
    machines = scenario.machines
    for name, machine in machines.items():
        play = scenario.play("site.yml", headcount_hosts=name, headcount_app_overrides=SECOND)
        assert play.code == 0, play.words
        assert (machine.live(), machine.get("/version").json["release"]) == (2, "second")
    assert len({machine.settings()["workers"] for machine in machines.values()}) > 1, "they are planned alike"
    play = scenario.play("playbooks/rollback.yml", headcount_app="shop")
    assert play.code == 0, play.words
    for machine in machines.values():
        assert (machine.live(), machine.get("/version").json["release"]) == (1, "first")
        assert machine.running() == ["shop@1-worker.service", "shop@1.service"]
