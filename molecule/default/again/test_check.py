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


def test_an_interpreter_that_the_apps_units_would_hide_is_refused_by_its_name(scenario: Scenario) -> None:
    for machine in scenario.machines.values():
        machine.out("mkdir -p /root/py && cp $(readlink -f /usr/bin/python3) /root/py/python3")
        machine.out("ln -sf /root/py/python3 /usr/local/bin/python3.42")
    play = scenario.play("playbooks/plan.yml", headcount_python="/usr/local/bin/python3.42")
    for machine in scenario.machines.values():
        machine.out("rm -r /root/py /usr/local/bin/python3.42")
    told = (
        "which needs /root/py/python3: ProtectHome= of the app's units hides /root, so that no app could start; fix: "
    )
    assert f"large, small: headcount_python is /usr/local/bin/python3.42, {told}" in play.words


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
