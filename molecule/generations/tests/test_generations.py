# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Rollouts and rollbacks lose no request; whatever is killed, one whole generation serves and the next run heals."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from headcount_scenarios import ROOT, Machine, Scenario

sys.path.insert(0, str(ROOT / "scripts" / "lib"))

from headcount_bench import _engine
from headcount_bench._common import Lab
from headcount_bench._scene import ARMS, Scene
from headcount_bench.faults import ROWS as CATALOGUE
from headcount_bench.faults import run_row
from headcount_scripts import labs

SECRET = hashlib.sha256(b"not-to-be-seen").hexdigest()
EXPOSURE = 1.1
CORE = (
    "kill/prepare-under-way",
    "kill/stage-files-laid",
    "kill/promote-before-rename",
    "kill/promote-after-rename",
    "power/promote-after-rename",
    "hand/unit-edited",
    "hand/release-edited",
    "hand/rollback-to-sick",
    "hand/rollback-to-dead",
    "hand/rollback-to-nothing",
    "hand/ledger-torn",
    "host/port-taken",
    "controller/two-at-once",
    "broken/errors-rollout",
    "broken/hanging-rollback",
    "broken/to-errors",
    "broken/live-deleted-and-reloaded-rollback",
    "data/kept",
    "data/outlives-the-app",
    "data/rollback-after-prepare",
    "release/prepare-fails",
    "release/worker-dies",
)
ROWS = {row.name: row for row in CATALOGUE}


@pytest.fixture(scope="session")
def one(scenario: Scenario) -> Machine:
    return scenario.machines["one"]


@pytest.fixture(scope="session")
def engine() -> _engine.Engine:
    """The collection's engine on the scenario's host, without Ansible: seconds instead of a minute for each fault."""
    made = _engine.Engine(Lab(labs.load("molecule-generations")), "one", _engine.wheel_cache())
    made.push()
    return made


@pytest.fixture(scope="session")
def scene(engine: _engine.Engine) -> Scene:
    return Scene(engine.lab, "one", engine)


def unserved(rows: Any) -> list[Any]:
    return [list(row) for row in _engine.failures(rows)]


def test_a_rollout_and_a_rollback_lose_no_request(scenario: Scenario, one: Machine, engine: _engine.Engine) -> None:
    before = one.live()
    with engine.users([one.address, 8000], ARMS) as users:
        play = scenario.play("site.yml", release="second")
        assert play.code == 0
        assert one.get("/version").json["release"] == "second"
        assert one.out("headcount-rollback shop").strip().startswith(f"shop: generation {before} is live again")
        assert one.get("/version").json["release"] == "first"
    assert unserved(users.rows) == []
    assert {row[4] for row in users.rows if row[0] == "kept"} == {"first", "second"}
    assert one.running() == [f"shop@{before}.service"]


def test_the_ledger_says_who_what_and_from_where_to_where(one: Machine) -> None:
    entries: list[Mapping[str, Any]] = one.ledger()
    moves = [(entry["event"], entry.get("from"), entry["to"]) for entry in entries if "to" in entry]
    assert moves[-3:] == [("promoted", None, 1), ("promoted", 1, 2), ("rolled_back", 2, 1)]
    for entry in entries:
        assert entry["user"]
        assert entry["controller"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", entry["time"])
    promoted = [entry for entry in entries if entry["event"] == "promoted"][-1]
    assert promoted["verdict"] == "pass"


def test_the_unit_is_locked_down(one: Machine) -> None:
    said = one.out(f"systemd-analyze security --no-pager shop@{one.live()}.service")
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert found is not None
    assert float(found[1]) == EXPOSURE
    assert one.out(f"stat -c %U /proc/{one.master()}") == "hc-shop"
    assert one.out("getent passwd hc-shop").split(":")[5:] == ["/nonexistent", "/usr/sbin/nologin"]


def test_the_secret_is_in_a_file_of_root_and_nowhere_else(one: Machine) -> None:
    # A pattern that does not match itself: sudo writes down what this test asks.
    needle = f"{SECRET[:-1]}[{SECRET[-1]}]"
    files = one.out(f"grep -rls '{needle}' /etc /opt /var /run /usr/local /tmp 2>/dev/null || true").split()
    assert files
    for file in files:
        assert re.fullmatch(r"/var/lib/headcount/shop/\d+\.env", file)
        assert one.out(f"stat -c '%a %U' {file}") == "600 root"
    assert one.out(f"cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c '{needle}' || true") == "0"
    assert one.out(f"journalctl --no-pager | grep -c '{needle}' || true") == "0"
    unit = f"shop@{one.live()}.service"
    shown = f"su -s /bin/sh nobody -c 'systemctl show {unit}; systemctl cat {unit} || true'"
    assert SECRET not in one.out(shown)


@pytest.mark.parametrize("name", CORE)
def test_fault(scene: Scene, name: str) -> None:
    """A row of the catalogue, as scripts/bench faults runs it."""
    value = run_row(scene, ROWS[name])
    assert value["broken"] == [], value
    assert value["lost_otherwise"] == 0
