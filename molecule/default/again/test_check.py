# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Step three: after the rollout `--check` finds nothing to do. Step four is Molecule's own idempotence."""

from __future__ import annotations

import re

from headcount_scenarios import Scenario


def test_check_finds_nothing_to_do(scenario: Scenario) -> None:
    machines = scenario.machines
    before = {name: machine.tree() for name, machine in machines.items()}
    masters = {name: machine.master() for name, machine in machines.items()}
    play = scenario.play("site.yml", "--check", "--diff")
    assert play.code == 0
    assert play.changed == 0
    for name, machine in machines.items():
        assert machine.tree().splitlines() == before[name].splitlines()
        assert machine.master() == masters[name]


def test_check_shows_current_against_recommended(scenario: Scenario) -> None:
    machines = scenario.machines
    before = {name: machine.tree() for name, machine in machines.items()}
    overrides = {"shop": {"settings": {"timeout": 47}}}
    play = scenario.play("site.yml", "--check", "--diff", headcount_app_overrides=overrides)
    assert play.code == 0
    assert len(re.findall(r"^ +setting +current +recommended +why$", play.text, re.MULTILINE)) == 2
    assert len(re.findall(r"^ +\* +timeout \(seconds\) +30 +47 .*\[override\]$", play.text, re.MULTILINE)) == 2
    for name, machine in machines.items():
        assert machine.tree().splitlines() == before[name].splitlines()
