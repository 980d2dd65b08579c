# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether a rollout goes on, and who goes back."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.decision import AppDecision, HostDecision
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.gating import gate, revert_plan
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.outcome import Outcome
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.verdicts import (
    counts_as_failed,
    failed_before,
    hold,
)

ORDER = ["web1", "web2", "web3", "web4"]


def came(outcome: str, before: int | None = None, to: int | None = None) -> dict[str, Outcome]:
    return {"shop": Outcome("", "shop", outcome, before=before, to=to)}


class TestGate:
    """Before a batch."""

    @pytest.mark.parametrize(
        ("hosts", "outcomes", "before", "allowed", "stop", "why"),
        [
            (["web1"], {}, {}, 0, False, "batch 1 of 3: web1"),
            (["web2"], {"web1": came("promoted")}, {}, 0, False, "batch 2 of 3: web2"),
            (
                ["web2"],
                {"web1": came("failed")},
                [],
                0,
                True,
                "batch 2 of 3 is not begun: shop failed on 1 host (web1), headcount_rollout_max_failed allows 0",
            ),
            (["web3", "web4"], {"web1": came("failed")}, {}, 1, False, "batch 3 of 3: web3, web4"),
            (
                ["web3", "web4"],
                {"web1": came("failed")},
                ["db1"],
                1,
                True,
                "batch 3 of 3 is not begun: shop failed on 2 hosts (db1, web1), headcount_rollout_max_failed allows 1",
            ),
            (
                ["web2"],
                {"web1": came("lost")},
                [],
                0,
                True,
                "batch 2 of 3 is not begun: shop failed on 1 host (web1), headcount_rollout_max_failed allows 0",
            ),
        ],
    )
    def test_begins_or_not(
        self, hosts: list[str], outcomes: dict[str, Any], before: list[str], allowed: int, stop: bool, why: str
    ) -> None:
        batch = {host: ["shop"] for host in hosts}
        found = gate(ORDER, [1, 1, 2], batch, outcomes, {"shop": before}, allowed)
        assert (found.stop, found.why) == (stop, why)
        assert found.stopped == (["shop"] if stop else [])

    def test_an_app_that_failed_goes_no_further_and_the_others_go_on(self) -> None:
        outcomes = {"web1": {**came("failed"), "api": Outcome("web1", "api", "promoted", before=3, to=4)}}
        found = gate(ORDER, [1, 1, 2], {"web2": ["shop", "api"]}, outcomes, {}, 0)
        assert (found.stop, found.stopped) == (False, ["shop"])
        assert found.why == (
            "batch 2 of 3: web2; left out: shop failed on 1 host (web1), headcount_rollout_max_failed allows 0"
        )

    def test_two_apps_of_two_hosts_do_not_add_up(self) -> None:
        outcomes = {"web1": came("failed"), "web2": {"api": Outcome("web2", "api", "failed")}}
        found = gate(ORDER, [1, 1, 2], {"web3": ["shop", "api"], "web4": ["api"]}, outcomes, {}, 1)
        assert (found.stop, found.stopped) == (False, [])


PROMOTED = came("promoted", 3, 4)
FIRST = came("promoted", None, 1)


class TestRevertPlan:
    """After the batches."""

    def test_nothing_failed(self) -> None:
        assert not revert_plan({"web1": PROMOTED}, {}, 0, "revert_all").needed

    def test_fewer_failed_than_are_allowed(self) -> None:
        assert not revert_plan({"web1": PROMOTED, "web2": came("failed")}, {}, 1, "revert_all").needed

    def test_all_that_were_promoted_go_back(self) -> None:
        found = revert_plan({"web1": PROMOTED, "web2": PROMOTED, "web3": came("failed")}, {}, 0, "revert_all")
        assert found.hosts == {"web1": ["shop"], "web2": ["shop"]}
        assert (found.needed, found.ask) == (True, False)
        assert found.why == "shop failed on 1 host (web3): 2 hosts go back (web1, web2)"

    def test_a_person_is_asked(self) -> None:
        assert revert_plan({"web1": PROMOTED, "web2": came("lost")}, {}, 0, "ask").ask

    def test_they_stay_where_that_is_wished(self) -> None:
        found = revert_plan({"web1": PROMOTED, "web2": came("failed")}, {}, 0, "keep")
        assert not found.needed
        assert found.kept == ["web1: shop (headcount_on_failure: keep)"]

    def test_a_first_deployment_stays(self) -> None:
        found = revert_plan({"web1": FIRST, "web2": came("failed")}, {}, 0, "revert_all")
        assert not found.needed
        assert found.kept == ["web1: shop stays on generation 1: its first deployment"]

    def test_apps_go_back_in_the_reverse_order(self) -> None:
        both = {"api": PROMOTED["shop"], "shop": PROMOTED["shop"]}
        bad = {"api": came("failed")["shop"], **came("lost")}
        found = revert_plan({"web1": both, "web2": bad}, {}, 0, "revert_all")
        assert found.hosts == {"web1": ["shop", "api"]}
        assert found.why == (
            "api failed on 1 host (web2): 1 host goes back (web1); "
            "shop failed on 1 host (web2): 1 host goes back (web1)"
        )

    def test_an_app_stays_whatever_became_of_another_one_of_its_hosts(self) -> None:
        mixed = {"api": PROMOTED["shop"], **came("failed")}
        assert not revert_plan({"web1": mixed, "web2": {"api": PROMOTED["shop"]}}, {}, 0, "revert_all").needed

    def test_a_host_that_cannot_be_planned_for_counts_for_all_apps(self) -> None:
        both = {"api": PROMOTED["shop"], **PROMOTED}
        before = failed_before([planned("db1", "failed"), planned("web1", shop="deploy", api="deploy")])
        assert revert_plan({"web1": both}, before, 0, "revert_all").hosts == {"web1": ["shop", "api"]}
        assert not revert_plan({"web1": both}, before, 1, "revert_all").needed


def planned(name: str, status: str = "ok", **actions: str) -> HostDecision:
    """A host with an app for each keyword, and what is to be done about it."""
    return HostDecision(name, status, apps={app: AppDecision(app, action, ["why"]) for app, action in actions.items()})


class TestHold:
    """What cannot be rolled out stops what is the same, and nothing else."""

    def test_a_refused_app_is_held_back_everywhere_and_the_others_go_on(self) -> None:
        one, two = planned("web1", shop="refuse", api="deploy"), planned("web2", shop="deploy", api="deploy")
        assert hold([one, two], 0) == (
            None,
            ["shop is held back: 1 host cannot have it (web1), headcount_rollout_max_failed allows 0"],
        )
        assert (one.pending, two.pending) == (["api"], ["api"])
        assert [counts_as_failed(host) for host in (one, two)] == [False, False]

    def test_as_many_may_be_refused_as_may_fail(self) -> None:
        one, two = planned("web1", shop="refuse", api="deploy"), planned("web2", shop="deploy", api="deploy")
        assert hold([one, two], 1) == (None, [])
        assert (one.pending, two.pending) == (["api"], ["shop", "api"])
        assert [counts_as_failed(host) for host in (one, two)] == [True, False]

    def test_where_nothing_else_is_to_be_done_no_host_is_touched(self) -> None:
        hosts = [planned("web1", shop="refuse"), planned("web2", shop="deploy"), planned("web3", shop="none")]
        stopped, held = hold(hosts, 0)
        assert stopped == (
            "no host is touched: 1 host cannot be rolled out (web1), headcount_rollout_max_failed allows 0"
        )
        assert held == []

    def test_an_app_of_one_host_stops_nothing(self) -> None:
        host = planned("web1", shop="refuse", api="deploy")
        assert hold([host], 0) == (None, [])
        assert (host.pending, counts_as_failed(host)) == (["api"], False)

    def test_a_host_that_cannot_be_planned_for_counts_for_all_of_its_apps(self) -> None:
        hosts = [planned("web1", "failed", shop="none"), planned("web2", shop="deploy", api="deploy")]
        assert hold(hosts, 0)[0] == (
            "no host is touched: 1 host cannot be rolled out (web1), headcount_rollout_max_failed allows 0"
        )
        more = [*hosts, planned("web3", shop="refuse"), planned("web4", api="deploy")]
        assert hold(more, 1) == (
            None,
            ["shop is held back: 2 hosts cannot have it (web1, web3), headcount_rollout_max_failed allows 1"],
        )
        assert more[1].pending == ["api"]
