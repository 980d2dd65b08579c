# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""No command that the fleet needs once begins beside one that a killed run left under way on another host."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.action import prepare as action
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet import runs, unsettled
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.decision import AppDecision, HostDecision
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.prepares import LOST, Claims, Todo

ONCE, EACH = Todo("flask db upgrade", "k2", False, 60.0), Todo("flask collect", "k3", True, 60.0)
BEGUN = {"run": "flask db upgrade", "since": "10:00", "by": "run 7 of ada"}
LEFT = {"preparing": {"k1": BEGUN}}


def hosts(*names: str, apps: tuple[str, ...] = ("shop",), todo: tuple[Todo, ...] = (ONCE, EACH)) -> list[HostDecision]:
    prepare = [one.to_dict() for one in todo]
    return [
        HostDecision(name, apps={app: AppDecision(app, "deploy", prepare=prepare) for app in apps}) for name in names
    ]


def settle(found: list[HostDecision], left: dict[str, Any], elsewhere: dict[str, str] | None = None) -> str | None:
    probes = {host.host: left.get(host.host, {}) for host in found}
    return unsettled.settle(found, probes, {"shop": {"flask collect"}}, elsewhere or {})


def test_a_release_that_was_mended_since_waits_as_well() -> None:
    fleet = hosts("web1", "web2")
    assert settle(fleet, {"web2": {"shop": LEFT}}) == "web2"
    assert [host.apps["shop"].unsettled for host in fleet] == ["web2", "web2"]
    assert fleet[0].apps["shop"].notes == []
    assert fleet[1].apps["shop"].notes == [
        "`flask db upgrade` was begun here by run 7 of ada at 10:00, and nothing is known of its end: this host goes "
        "first and alone, and waits for it where it is under way"
    ]


@pytest.mark.parametrize(
    ("left", "todo"),
    [
        pytest.param({}, (ONCE,), id="nothing is left"),
        pytest.param({"web2": {"api": LEFT}}, (ONCE,), id="of another app"),
        pytest.param({"web2": {"shop": LEFT}}, (EACH,), id="nothing that the fleet needs once is to be run"),
        pytest.param(
            {"web2": {"shop": {"preparing": {"k": {**BEGUN, "run": "flask collect"}}}}}, (ONCE,), id="of each host"
        ),
    ],
)
def test_where_nothing_can_be_beside_it_nobody_waits(left: dict[str, Any], todo: tuple[Todo, ...]) -> None:
    fleet = hosts("web1", "web2", todo=todo)
    assert settle(fleet, left) is None
    assert not any(host.apps["shop"].unsettled or host.refused for host in fleet)


def test_of_two_apps_that_are_left_on_two_hosts_one_is_rolled_out() -> None:
    fleet = hosts("web1", "web2", apps=("shop", "blog"))
    assert settle(fleet, {"web1": {"shop": LEFT}, "web2": {"blog": LEFT}}) == "web1"
    assert [host.pending for host in fleet] == [["shop"], ["shop"]]
    assert fleet[0].refused["blog"] == (
        "prepare: a command was begun on web2 by a run before, and nothing is known of its end, so that web2 has to go "
        "first, as web1 has to for another app; fix: roll it out by itself (headcount_app: blog)"
    )


def test_one_that_does_not_get_the_app_keeps_it_from_all() -> None:
    fleet = hosts("web1", "web2")
    fleet[0].refuse("shop", "plan: no room")
    assert settle(fleet, {"web1": {"shop": LEFT}}) is None
    assert fleet[0].refused == {"shop": "plan: no room"}
    assert fleet[1].refused["shop"] == (
        "prepare: a command was begun on web1 by a run before, and nothing is known of its end, and that host does not "
        "get it in this run; fix: roll it out there first, or wait until `systemctl is-active headcount-prepare-shop` "
        'says inactive there, and take what is under "begun" out of /var/lib/headcount/shop/prepared.json'
    )


def test_left_on_two_hosts_it_is_run_by_none() -> None:
    fleet = hosts("web1", "web2", "web3")
    assert settle(fleet, {"web1": {"shop": LEFT}, "web3": {"shop": LEFT}}) is None
    assert all("begun on web1, web3 by a run before" in host.refused["shop"] for host in fleet)


def test_a_host_that_is_not_asked_keeps_it_from_all() -> None:
    fleet = hosts("web1")
    assert settle(fleet, {}, {"shop": "web2"}) is None
    assert fleet[0].refused["shop"] == (
        "prepare: a command was begun on web2 by a run before, and nothing is known of its end, and that host was not "
        "reached or is not in this run; fix: roll it out with web2 in the run, or take that host out of the inventory "
        "where it is gone for good"
    )


@pytest.mark.parametrize(
    ("cause", "unknown"), [(None, True), (LOST, True), ("exited with status 1", False), ("", False)]
)
def test_of_hosts_that_are_not_asked_the_last_run_tells(tmp_path: Path, cause: str | None, unknown: bool) -> None:
    def run(clock: float) -> runs.Notes:
        return runs.begin(tmp_path, clock=lambda: clock)

    older, last, now = run(1e9), run(1.1e9), run(1.2e9)
    for notes, host in ((older, "web9"), (last, "web1")):
        claims = Claims(notes.path, "shop")
        with claims.turn():
            claims.begin([ONCE], host)
            if notes is last and cause is not None:
                claims.end([ONCE], host, cause)
    everyone = ["web1", "web2", "web9"]
    assert unsettled.noted(now, ["shop", "api"], ["web2"], everyone) == ({"shop": "web1"} if unknown else {})
    assert unsettled.noted(now, ["shop"], ["web1", "web2"], everyone) == {}, "it says so itself"
    assert unsettled.noted(now, ["shop"], ["web2"], ["web2"]) == {}, "it is gone for good"
    Claims(last.path, "shop").file.write_text("{", encoding="utf-8")
    assert unsettled.noted(now, ["shop"], ["web2"], everyone) == {}


def prepared(tmp_path: Path, host: str, ran: list[str], first: str = "web1") -> dict[str, Any]:
    """What the step says on a host."""
    decided = SimpleNamespace(apps={"shop": SimpleNamespace(prepare=[ONCE.to_dict()], unsettled=first)})
    notes = SimpleNamespace(path=tmp_path, decision=lambda _: decided)

    def call(*_: object) -> dict[str, Any]:
        ran.append(host)
        return {"changed": True, "prepared": []}

    step = SimpleNamespace(heals_itself=True, phase="prepare", _call=call)
    return action.ActionModule.on_host(step, "shop", {}, [], notes, {"inventory_hostname": host})  # type: ignore[arg-type]


def test_whoever_comes_before_it_runs_nothing(tmp_path: Path) -> None:
    ran: list[str] = []
    assert prepared(tmp_path, "web2", ran)["cause"] == (
        "a command that the fleet needs once was begun on web1 by a run before, nothing is known of its end, and web1 "
        "did not come to run it: no other host does; fix: roll shop out to web1 first"
    )
    assert "failed" not in prepared(tmp_path, "web1", ran)
    assert "failed" not in prepared(tmp_path, "web2", ran)
    assert ran == ["web1"]
    assert json.loads((tmp_path / "prepare" / "shop.json").read_text(encoding="utf-8"))["k2"]["host"] == "web1"
