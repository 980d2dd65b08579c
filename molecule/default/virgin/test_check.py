# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Step one: `site.yml --check --diff` on hosts that have never been touched prints the plan and changes nothing."""

from __future__ import annotations

import hashlib
import re

import pytest
from headcount_scenarios import Play, Scenario

SECRET = hashlib.sha256(b"not-to-be-seen").hexdigest()


@pytest.fixture(scope="module")
def checked(scenario: Scenario) -> tuple[dict[str, str], Play, dict[str, str]]:
    before = {name: machine.tree() for name, machine in scenario.machines.items()}
    play = scenario.play("site.yml", "--check", "--diff", "-vvv")
    return before, play, {name: machine.tree() for name, machine in scenario.machines.items()}


def test_ends_well(checked: tuple[dict[str, str], Play, dict[str, str]]) -> None:
    _, play, _ = checked
    assert play.code == 0
    assert set(play.recap) == {"small", "large"}


def test_says_what_would_be_done(checked: tuple[dict[str, str], Play, dict[str, str]]) -> None:
    _, play, _ = checked
    assert "2 hosts: 2 to be changed" in play.text
    assert play.text.count("shop: nothing is live: to be deployed") == 2


@pytest.mark.parametrize("setting", ["worker_class", "workers", "worker_connections", "memory_max_mib", "limit_nofile"])
def test_prints_the_plan_with_its_reasons(checked: tuple[dict[str, str], Play, dict[str, str]], setting: str) -> None:
    # The two hosts differ: each has its table. A row is setting, value, reason, and where its numbers are from.
    _, play, _ = checked
    rows = re.findall(rf"^ +{setting}(?: \(MiB\))? +(\S+) +(\S.*) \[(\w+)\]$", play.text, re.MULTILINE)
    assert len(rows) == 2
    assert {origin for _, _, origin in rows} <= {"declared", "derived", "assumed", "override"}


@pytest.mark.parametrize("name", ["small", "large"])
def test_changes_nothing(scenario: Scenario, checked: tuple[dict[str, str], Play, dict[str, str]], name: str) -> None:
    before, _, after = checked
    assert after[name].splitlines() == before[name].splitlines()
    machine = scenario.machines[name]
    assert machine.code("test -e /opt/headcount") != 0
    assert machine.code("test -e /var/lib/headcount") != 0
    assert machine.code("getent passwd hc-shop") == 2
    assert "shop" not in machine.out("systemctl list-unit-files --no-legend")
    assert machine.get().status == 0


def test_shows_no_secret(checked: tuple[dict[str, str], Play, dict[str, str]]) -> None:
    assert SECRET not in checked[1].text
