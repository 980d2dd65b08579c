# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What somebody else has on a host stops the rollout that would need its names, and is not touched by it."""

from __future__ import annotations

import re
import sys

import pytest
from headcount_scenarios import ROOT, Scenario

sys.path.insert(0, str(ROOT / "scripts" / "lib"))

from headcount_bench import _engine, _foreign

ANSWER = f"curl -s --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:{_foreign.PORT}/"


@pytest.mark.parametrize("name", ["socket-file", "template"])
def test_units_of_somebody_else(scenario: Scenario, name: str) -> None:
    machine, shape = scenario.machines["small"], _foreign.SHAPES[name][1]
    machine.out(_foreign.file(f"{_foreign.OLD}/server.py", _foreign.SERVER) + shape.make)
    try:
        answer, tree = machine.out(ANSWER), machine.tree()
        assert answer.startswith("the old till, ")
        apps = [_engine.shop(_foreign.NAME, listen="127.0.0.1:8300")]
        play = scenario.play("site.yml", "--limit", "small", headcount_apps=apps)
        assert play.code != 0
        assert re.search(shape.told, play.words)
        assert "nothing was changed" in play.words
        assert machine.out(ANSWER) == answer  # by the same process
        assert machine.tree().splitlines() == tree.splitlines()
    finally:
        machine.out(f"{shape.undo}; rm -rf {_foreign.OLD}")
