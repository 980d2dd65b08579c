# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Drift and retune, as a machine shrinks and grows while its app serves; a release there and back on each Debian."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest
from headcount_scenarios import SBIN, Machine, Scenario, wait_for

SYSTEMD = {"old": ("bullseye", "systemd 247", "Python 3.9"), "next": ("forky", "systemd 26", "Python 3.1")}
"""Of the hosts with the oldest and the newest Debian: its name, and how the versions of what matters begin."""

SET_CLOCK = "/usr/bin/python3 -c 'import time; time.clock_settime(time.CLOCK_REALTIME, time.time())'"


@pytest.fixture
def large(scenario: Scenario) -> Machine:
    return scenario.machines["large"]


@pytest.fixture(scope="module")
def first(scenario: Scenario) -> dict[str, Any]:
    return scenario.machines["large"].settings()


def no_drift(scenario: Scenario) -> None:
    play = scenario.play("playbooks/drift.yml")
    assert play.code == 0
    assert play.changed == 0


def test_nothing_drifts_at_first(scenario: Scenario, first: dict[str, Any]) -> None:
    assert first["workers"] == 2
    no_drift(scenario)


def resized(scenario: Scenario, large: Machine, cores: str, memory: str) -> None:
    """The host is resized; drift names it, and only it; retune promotes a generation that is fit for it."""
    before, master, others = large.live(), large.master(), scenario.machines["other"].master()
    scenario.lab("resize", "large", "--cores", cores, "--memory", memory)
    drift = scenario.play("playbooks/drift.yml")
    assert drift.code == 2
    assert "drift: large" in drift.words
    assert "core" in drift.words
    assert "drift: other" not in drift.words
    assert large.master() == master
    retune = scenario.play("playbooks/retune.yml")
    assert retune.code == 0
    assert large.live() > before
    assert large.running() == [f"shop@{large.live()}.service"]
    assert large.get("/").status == 200
    promoted = next(event for event in reversed(large.ledger()) if event["event"] == "promoted")
    assert (promoted["from"], promoted["to"], promoted["verdict"]) == (before, large.live(), "pass")
    assert "workers" in promoted["plan_changes"]
    assert scenario.machines["other"].master() == others
    assert len(large.workers()) == large.settings()["workers"]
    assert large.memory_limit(large.master()) == large.settings()["memory_max_mib"] * 2**20


def test_it_shrinks(scenario: Scenario, large: Machine, first: dict[str, Any]) -> None:
    resized(scenario, large, "1", "512m")
    now = large.settings()
    assert now["workers"] == 1
    assert now["memory_max_mib"] < first["memory_max_mib"]


def test_a_second_retune_changes_nothing(scenario: Scenario, large: Machine) -> None:
    live, master = large.live(), large.master()
    play = scenario.play("playbooks/retune.yml")
    assert play.code == 0
    assert play.changed == 0
    assert (large.live(), large.master()) == (live, master)
    no_drift(scenario)


def test_it_grows_back(scenario: Scenario, large: Machine, first: dict[str, Any]) -> None:
    resized(scenario, large, "2", "1g")
    now = large.settings()
    assert (now["workers"], now["memory_max_mib"]) == (first["workers"], first["memory_max_mib"])
    no_drift(scenario)


def test_an_edited_file_is_drift(scenario: Scenario, large: Machine) -> None:
    file = f"/opt/headcount/shop/generations/{large.live()}/gunicorn.conf.py"
    kept = large.out(f"sha256sum {file}")
    large.out(f"cp -p {file} /root/kept && sed -i 's/^backlog = .*/backlog = 7/' {file}")
    play = scenario.play("playbooks/drift.yml")
    large.out(f"cp -p /root/kept {file} && rm /root/kept")
    assert large.out(f"sha256sum {file}") == kept
    assert play.code == 2
    assert "gunicorn.conf.py" in play.words
    no_drift(scenario)


def test_the_oldest_and_the_newest_debian_take_a_release_and_give_it_back(scenario: Scenario) -> None:
    machines = {name: scenario.machines[name] for name in SYSTEMD}
    for name, machine in machines.items():
        codename, systemd, python = SYSTEMD[name]
        assert f"VERSION_CODENAME={codename}" in machine.out("cat /etc/os-release").splitlines()
        assert machine.out("systemctl --version").startswith(systemd)
        assert machine.out("/usr/bin/python3 --version").startswith(python)
        assert "Operation not permitted" in machine.infra.run(SET_CLOCK).stderr
    second = {"shop": {"environment": {"SHOP_RELEASE": "second"}}}
    play = scenario.play("site.yml", "--limit", ",".join(machines), headcount_app_overrides=second)
    assert play.code == 0
    for machine in machines.values():
        assert machine.get("/version").json["release"] == "second"
        promoted = next(event for event in reversed(machine.ledger()) if event["event"] == "promoted")
        assert (promoted["from"], promoted["to"], promoted["verdict"]) == (1, 2, "pass")
        assert machine.out(f"{SBIN}/headcount-rollback shop").strip().startswith("shop: generation 1 is live again")
        assert machine.get("/version").json["release"] == "first"
        assert machine.running() == ["shop@1.service"]
        assert (machine.status()["intact"], machine.status()["leftovers"]) == (True, [])
    no_drift(scenario)


def test_silent_clients_do_not_end_a_gunicorn_of_the_oldest(scenario: Scenario) -> None:
    """Its gthread looks at no connection any more once it has as many as it may that have sent nothing yet."""
    old = scenario.machines["old"]
    settings = old.settings()
    assert settings["worker_class"] == "gthread"
    taken, beyond = settings["workers"] * settings["worker_connections"], 8
    with contextlib.ExitStack() as clients:
        for _ in range(taken + beyond):
            clients.enter_context(socket.create_connection((old.address, 8000), timeout=10))
        queue = "ss --no-header --listening --numeric --tcp 'sport = :8000' | awk '{print $2}'"
        wait_for("all slots are taken", lambda: old.out(queue) == str(beyond))
    wait_for("an answer when they have left", lambda: old.get("/", timeout=3).status == 200)
    assert old.running() == [f"shop@{old.live()}.service"]
