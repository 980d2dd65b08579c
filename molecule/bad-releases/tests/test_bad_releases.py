# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A release that is not fit to serve never does, and what served before goes on with the very same processes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from headcount_scenarios import ROOT, Machine, Play, Scenario

SECRET = hashlib.sha256(b"not-to-be-seen").hexdigest()


@dataclass(frozen=True)
class Bad:
    """A fault of the sample app, and what the cause has to say (a pattern)."""

    name: str
    fault: str
    cause: str
    overrides: dict[str, Any] | None = None

    @property
    def shop(self) -> dict[str, Any]:
        """What is declared differently."""
        return {"environment": {"SHOP_RELEASE": self.name, "SHOP_FAULTS": self.fault}, **(self.overrides or {})}


BAD = [
    Bad("slow", "slow:500", r"p95 .*(limit|slower|live)"),
    Bad(
        "answers_500",
        "errors:0.5,raises",
        r"failed .*answered 500 \(text/html \"500 Internal Server Error\"\)"
        r".*its log says: shop\.faults\.InjectedError: SHOP_FAULTS=raises: this request finds no price",
    ),
    Bad("eats_memory", "leak:2m", r"(memory|OOM|MiB)"),
    Bad(
        "dies_at_import",
        "crash_import",
        r"died while starting: .*SHOP_FAULTS=crash_import: this release cannot be imported",
    ),
    Bad("never_ready", "never_ready", r"503", {"health": {"path": "/healthz", "boot_seconds": 5}}),
]


#: As the scenario declares it.
SHOP: dict[str, Any] = yaml.safe_load((ROOT / "molecule/bad-releases/molecule.yml").read_text(encoding="utf-8"))[
    "provisioner"
]["inventory"]["group_vars"]["all"]["headcount_apps"][0]


def roll_out(scenario: Scenario, host: str, shop: dict[str, Any], *arguments: str) -> Play:
    return scenario.play("site.yml", *arguments, headcount_hosts=host, headcount_app_overrides={"shop": shop})


@pytest.fixture
def served(scenario: Scenario) -> Machine:
    return scenario.machines["served"]


@pytest.fixture(autouse=True)
def always_one_instance(served: Machine) -> Iterator[None]:
    """Whatever a test did: exactly the live generation runs, and it answers."""
    yield
    assert served.running() == [f"shop@{served.live()}.service"]
    assert served.get("/").status == 200


@pytest.mark.parametrize("bad", BAD, ids=[bad.name for bad in BAD])
def test_a_bad_release_is_taken_back(scenario: Scenario, served: Machine, bad: Bad) -> None:
    live, master, workers, told = served.live(), served.master(), served.workers(), len(served.ledger())
    play = roll_out(scenario, "served", bad.shop, "-vvv" if bad.name == "slow" else "-v")
    # The play says why.
    assert play.code == 2
    cause = scenario.report()["failed"]["served"]
    assert re.search(bad.cause, cause), cause
    assert " ".join(cause.split()) in play.words
    assert "Traceback" not in cause
    # The same processes serve.
    assert (served.live(), served.master(), served.workers()) == (live, master, workers)
    assert served.get("/version").json["release"] == "first"
    assert served.running() == [f"shop@{live}.service"]
    # The ledger says so.
    events = served.ledger()[told:]
    assert events[-1]["event"] == "failed" or [event["event"] for event in events][-2:] == ["failed", "pruned"]
    failed = next(event for event in events if event["event"] == "failed")
    assert failed["cause"] in cause
    assert failed["run"]
    assert failed["user"]
    assert SECRET not in play.text


def test_after_all_of_them_the_host_is_as_declared(scenario: Scenario, served: Machine) -> None:
    play = scenario.play("site.yml", headcount_hosts="served")
    assert play.code == 0
    assert play.changed == 0
    assert served.status()["leftovers"] == []


def test_a_first_deployment_that_fails_leaves_nothing_running(scenario: Scenario) -> None:
    bare = scenario.machines["bare"]
    overrides = {"shop": BAD[3].shop}
    shown_by = "headcount.gunicorn.rollout"
    play = scenario.play("site.yml", shown_by=shown_by, headcount_hosts="bare", headcount_app_overrides=overrides)
    assert play.code == 2
    assert re.search(BAD[3].cause, scenario.report()["failed"]["bare"])
    # One line for the host, and below it what the candidate logged last.
    (at,) = [place for place, line in enumerate(play.lines) if line.startswith("[1/1] bare: shop: FAILED in ")]
    assert play.lines[at + 1].startswith("    | ")
    assert play.lines[-1] == "1 host: failed on bare"
    assert "TASK [" not in play.text
    assert SECRET not in play.text
    assert bare.running() == []
    assert bare.get("/").status == 0
    assert bare.code("test -e /opt/headcount/shop/live") != 0
    assert bare.code("test -e /etc/systemd/system/sockets.target.wants/shop.socket") != 0
    assert "failed" in [event["event"] for event in bare.ledger()]


def test_then_a_good_one_goes_live_there_beside_an_app_that_fails(scenario: Scenario) -> None:
    """Apps of a host are independent: the one is named and makes the rollout fail, the other is promoted and stays."""
    bare = scenario.machines["bare"]
    blog = {**SHOP, "name": "blog", "listen": "0.0.0.0:8001", "environment": {"SHOP_FAULTS": "crash_import"}}
    play = scenario.play("site.yml", headcount_hosts="bare", headcount_apps=[blog, SHOP])
    assert play.code == 2
    assert re.match(f"blog: start: {BAD[3].cause}", scenario.report()["failed"]["bare"])
    assert "1 host: 1 promoted, 1 failed" in play.words
    assert bare.running("blog") == []
    assert bare.get("/version").json["release"] == "first"
    assert bare.running() == [f"shop@{bare.live()}.service"]


class TestRollback:
    """playbooks/rollback.yml, after a second good release."""

    def test_a_second_good_release(self, scenario: Scenario, served: Machine) -> None:
        master = served.master()
        play = roll_out(scenario, "served", {"environment": {"SHOP_RELEASE": "second"}})
        assert play.code == 0
        assert served.get("/version").json["release"] == "second"
        assert served.master() != master

    def test_a_generation_that_is_not_there(self, scenario: Scenario, served: Machine) -> None:
        live, master = served.live(), served.master()
        play = scenario.play("playbooks/rollback.yml", headcount_hosts="served", headcount_app="shop", headcount_to=99)
        assert play.code == 2
        assert "99" in play.words
        # It lists those that are.
        assert re.search(rf"\b1\b.*\b{live}\b|\b{live}\b.*\b1\b", play.words.partition("99")[2])
        assert (served.live(), served.master()) == (live, master)

    def test_an_app_that_is_not_there(self, scenario: Scenario) -> None:
        play = scenario.play("playbooks/rollback.yml", headcount_hosts="served", headcount_app="shoe")
        assert play.code == 2
        assert "shop" in play.words.partition("shoe")[2]

    def test_a_removal_of_an_app_that_is_not_there(self, scenario: Scenario, served: Machine) -> None:
        live = served.live()
        play = scenario.play("playbooks/remove.yml", headcount_hosts="served", headcount_app="shoe")
        assert play.code == 2
        assert "allowed is one of the apps that there are, shop; fix: name the one that is to go" in play.words
        assert served.live() == live

    def test_back_by_hand(self, scenario: Scenario, served: Machine) -> None:
        before = served.live()
        play = scenario.play("playbooks/rollback.yml", headcount_hosts="served", headcount_app="shop")
        assert play.code == 0
        assert served.live() == 1
        assert served.get("/version").json["release"] == "first"
        event = next(event for event in reversed(served.ledger()) if event["event"] == "rolled_back")
        assert (event["from"], event["to"]) == (before, 1)

    def test_again_says_what_to_do(self, scenario: Scenario, served: Machine) -> None:
        live = served.live()
        play = scenario.play(
            "playbooks/rollback.yml", headcount_hosts="served", headcount_app="shop", headcount_to=live
        )
        assert served.live() == live
        assert play.changed == 0

    def test_the_history_tells_all_of_it(self, scenario: Scenario, served: Machine) -> None:
        play = scenario.play("playbooks/history.yml", headcount_hosts="served", headcount_app="shop", headcount_last=50)
        assert play.code == 0
        events = served.ledger()
        causes = [event["cause"] for event in events if event["event"] == "failed"]
        assert len(causes) == len(BAD)
        for words in [*causes, "rolled back", "promoted"]:
            assert " ".join(words.split()) in play.words


class TestLoadFromElsewhere:
    """The load comes from the other host, over the network; the verdicts are the same, and nothing is left."""

    HERE: ClassVar[dict[str, Any]] = {"load": {"from": "bare", "seconds": 3}}

    @staticmethod
    def open_ports(served: Machine) -> set[int]:
        lines = served.out("cat /proc/net/tcp /proc/net/tcp6").splitlines()
        listening = [line.split() for line in lines if " 0A " in line]
        return {int(fields[1].rpartition(":")[2], 16) for fields in listening}

    def test_without_h2load_there_nothing_is_changed(self, scenario: Scenario, served: Machine) -> None:
        bare, tree = scenario.machines["bare"], served.tree()
        bare.out("mv /usr/bin/h2load /usr/bin/h2load.away")
        try:
            play = scenario.play(
                "site.yml",
                headcount_hosts="served",
                headcount_app_overrides={"shop": {**self.HERE, "environment": {"SHOP_RELEASE": "third"}}},
                headcount_install_packages=False,
            )
        finally:
            bare.out("mv /usr/bin/h2load.away /usr/bin/h2load")
        assert play.code == 2
        assert "h2load is not on load host bare" in play.words
        assert "install the package nghttp2-client" in play.words
        assert served.tree() == tree

    def test_a_good_one_goes_live(self, scenario: Scenario, served: Machine) -> None:
        play = roll_out(scenario, "served", {**self.HERE, "environment": {"SHOP_RELEASE": "third"}})
        assert play.code == 0, play.text
        assert served.get("/version").json["release"] == "third"
        evidence = json.loads(served.out(f"cat /opt/headcount/shop/generations/{served.live()}/evidence.json"))
        assert evidence["load"]["from"] == "bare"
        assert evidence["candidate"]["failures"] == 0
        assert [(told["name"], told["requests"]) for told in evidence["candidate"]["paths"]] == [
            ("GET /wait?ms=20", evidence["candidate"]["planned"])
        ]
        assert evidence["live"]["planned"] == evidence["candidate"]["planned"]
        assert evidence["memory"]["pss_mib"] > 0
        self.nothing_left(served)

    def test_a_slow_one_is_put_away(self, scenario: Scenario, served: Machine) -> None:
        live, master = served.live(), served.master()
        slow = {"environment": {"SHOP_RELEASE": "slow", "SHOP_FAULTS": "slow:500"}}
        load = {**self.HERE["load"], "paths": ["/wait?ms=20", "/cpu?ms=1"]}
        play = roll_out(scenario, "served", {"load": load, **slow})
        assert play.code == 2
        cause = scenario.report()["failed"]["served"]
        assert re.search(r"p95 .*(limit|slower|live)", cause)
        assert re.search(r"; GET /(wait\?ms=20|cpu\?ms=1): p95 \S+ ms of \d+ requests", cause), cause
        assert (served.live(), served.master()) == (live, master)
        assert served.get("/version").json["release"] == "third"
        self.nothing_left(served)

    def nothing_left(self, served: Machine) -> None:
        assert self.open_ports(served) == {22, 8000}
        assert served.out("ls /run/headcount/shop").split() == [f"{served.live()}.sock"]
        left = served.out("systemctl list-units --all --plain --no-legend 'headcount-sampler*' 'headcount-deadline*'")
        assert left.strip() == ""


USERS_COME = """\
- name: The release turns bad, and users ask it
  ansible.builtin.shell: |
    touch /etc/shop.broken
    systemd-run --unit users --collect sh -c 'while sleep 0.05; do curl -s -o /dev/null 127.0.0.1:8000/version; done'
  changed_when: true
"""


def test_a_rollout_stops_where_the_guard_of_a_promoted_host_went_back(
    scenario: Scenario, served: Machine, tmp_path: Path
) -> None:
    """Its trial is well, and the host before the last is promoted; then users get errors. The last host is let be."""
    bare, before = scenario.machines["bare"], served.live()
    last, told = bare.live(), bare.ledger()
    tasks = tmp_path / "users.yml"
    tasks.write_text(USERS_COME, encoding="utf-8")
    turning = {"environment": {"SHOP_RELEASE": "turning", "SHOP_FAULTS": "turns:errors"}, "guard": {"minutes": 5}}
    try:
        play = scenario.play(
            "site.yml",
            headcount_canary="served",
            headcount_rollout_batches=[1, 1],
            headcount_rollout_wait_seconds=60,
            headcount_undrain_tasks=str(tasks),
            headcount_app_overrides={"shop": turning},
        )
    finally:
        served.out("systemctl stop users; rm -f /etc/shop.broken")
    assert play.code == 2
    went = rf"the guard took generation \d+ back, generation {before} is live again: users were served worse after the"
    assert re.search(rf"batch 2 of 2 is not begun: shop failed on 1 host \(served\).*; served: {went}", play.words)
    failed = scenario.report()["failed"]
    assert re.match(rf"shop: guard: {went} promote: \d+ of (all|the last) \d+ requests failed", failed["served"])
    assert list(failed) == ["served"]
    assert served.live() == before
    assert served.get("/version").json["release"] == "third"
    assert (bare.live(), bare.ledger()) == (last, told), "the last host was not touched"
