# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Arms that are loaded one after another: the same requests, A B B A."""

from __future__ import annotations

import math

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits, Load
from ansible_collections.headcount.gunicorn.plugins.module_utils._load import h2load as h2
from ansible_collections.headcount.gunicorn.plugins.module_utils._load import inturn
from ansible_collections.headcount.gunicorn.plugins.module_utils._load import trialload as ld
from ansible_collections.headcount.gunicorn.plugins.module_utils._load.phases import Protected, Running
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.types import Samples
from pretender import Pretender

PATHS = [h2.PathLoad("/", 3), h2.PathLoad("/report")]


@pytest.mark.parametrize(("swap", "order"), [(False, "cbbc"), (True, "bccb")])
def test_each_arm_gets_the_same_halves(swap: bool, order: str) -> None:
    parts = inturn.in_turn(PATHS, ["candidate", "baseline"], 50, 30, swap)
    assert "".join(name[0] for part in parts for name in part.lanes) == order
    assert [part.seconds for part in parts] == [15.0] * 4
    halves = [lanes for part in parts for lanes in part.lanes.values()]
    assert halves[0] == halves[1]
    assert halves[2] == halves[3]
    assert halves[0] != halves[2]
    assert sum(lane.planned for lane in [*halves[0], *halves[3]]) == 1500


def part(latency: float, failures: int, **more: object) -> Samples:
    facts = {
        "start_s": [0.0, 1.0],
        "latency_ms": [math.inf if place < failures else latency for place in range(2)],
        "status": [200, 200],
        "planned": 2,
        "period_s": 1.0,
        "failures": failures,
        "achieved_rate": 1.0,
        "planned_rate": 1.0,
        "path": [0, 1],
    }
    return Samples(**{**facts, **more})


def test_two_halves_are_one_run() -> None:
    first = part(5.0, 1, kinds={"timed out": 1}, path_kinds=[{"timed out": 1}], lag_ms=7.0)
    second = part(9.0, 2, kinds={"timed out": 2}, path_kinds=[{}, {"timed out": 2}], complete=False, why="ill")
    whole = inturn.one_after_another([first, second], [15.0, 15.0])
    assert whole.start_s == [0.0, 1.0, 15.0, 16.0]
    assert (whole.planned, whole.failures, whole.achieved_rate, whole.lag_ms) == (4, 3, 1.0, 7.0)
    assert (whole.complete, whole.why) == (False, "ill")
    assert (whole.kinds, whole.path_kinds) == ({"timed out": 3}, [{"timed out": 1}, {"timed out": 2}])
    assert inturn.one_after_another([first], [15.0]) is first


def test_a_load_in_turn_tells_when_each_arm_was_asked_and_when_nobody_was() -> None:
    runner, rested = Pretender(), []
    found = ld.run_trial_load(
        h2.Target("unix:/run/new.sock"),
        h2.Target("unix:/run/old.sock"),
        Load(rate=50, seconds=10, warmup_requests=0),
        turn=ld.Turn(in_turn=True),
        running=Running(runner=runner, rest=rested.append),
        on_warm=lambda: None,
    )
    asked = [{word for launch in call for word in launch.argv if word.startswith("unix:")} for call in runner.calls]
    assert asked == [{"unix:/run/new.sock"}, {"unix:/run/old.sock"}, {"unix:/run/old.sock"}, {"unix:/run/new.sock"}]
    assert found.in_turn
    assert found.baseline is not None
    assert (found.candidate.planned, found.baseline.planned) == (500, 500)
    assert [round(end - begin, 3) for begin, end in [*found.candidate.loaded, *found.baseline.loaded]] == [5.0] * 4
    assert found.candidate.turned_s == found.baseline.turned_s == 0.0
    assert rested == [ld.REST_SECONDS]
    assert len(found.candidate.quiet) == 2
    assert ld.TrialLoad.unpack(found.pack()).in_turn
    assert found.to_dict()["in_turn"] is True


@pytest.mark.parametrize(("turned", "most"), [(True, 50.0), (False, 100.0)])
def test_the_warm_up_of_both_takes_no_more_of_the_host_than_the_load(turned: bool, most: float) -> None:
    runner = Pretender()
    live = h2.Target("unix:/run/old.sock")
    found = ld.run_trial_load(
        h2.Target("unix:/run/new.sock"),
        live,
        Load(rate=50, seconds=10, warmup_requests=400),
        turn=ld.Turn(in_turn=turned),
        running=Running(runner=runner),
        protected=Protected(live, Limits()),
    )
    warm = found.warmup
    assert (warm["requests"], warm["rate"]) == (400, 0.5 * most)
    asked = [sum(count_of(launch) for launch in call) for call in runner.calls[1:3]]
    assert asked[0] <= 0.5 * most * ld.RAMP_SECONDS + 2
    assert asked[1] <= most * warm["seconds"] + 4


def count_of(launch: h2.Launch) -> int:
    return int(launch.argv[launch.argv.index("-n") + 1])
