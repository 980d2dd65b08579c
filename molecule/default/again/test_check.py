# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Step three: after the rollout `--check` finds nothing to do. Step four is Molecule's own idempotence."""

from __future__ import annotations

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
