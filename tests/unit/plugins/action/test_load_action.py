# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The actions load and trial: what goes between the host and the load host, and whose load failed and why."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.headcount.gunicorn.plugins.action import load as load_action
from ansible_collections.headcount.gunicorn.plugins.action import trial as trial_action
from ansible_collections.headcount.gunicorn.plugins.module_utils._load.rate import DerivedRate
from ansible_collections.headcount.gunicorn.plugins.module_utils._load.trialload import TrialLoad
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.compare import Judging, conclude
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.pooling import Pool, Shorter
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.types import MemoryEvidence, Samples
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.decision import AppDecision, HostDecision
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.outcome import Outcome
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.runs import Notes

REQUEST = {"from": "lg1", "candidate": "10.0.0.5:8001", "baseline": None, "factor": 1.0, "load": {"paths": ["body"]}}
VARIABLES = {"inventory_hostname": "web1"}


@pytest.fixture
def notes(tmp_path: Any) -> Notes:
    """The notes of a run in which the trial of shop on web1 wants a load."""
    found = Notes(tmp_path)
    found.write_load("web1", "shop", {"request": REQUEST})
    return found


def made(kind: Any, answer: dict[str, Any] | Exception, asked: list[dict[str, Any]]) -> Any:
    """An action whose module answers so; the arguments of the module go into `asked`."""

    def module_result(arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        asked.append(arguments)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    action = object.__new__(kind)
    action.module_result = module_result
    return action


class TestLoad:
    """On the load host."""

    def test_samples_go_into_the_notes_and_not_into_the_output(self, notes: Notes) -> None:
        asked: list[dict[str, Any]] = []
        answer = {"changed": False, "load": "packed", "since_warm_seconds": 31.0}
        action = made(load_action.ActionModule, answer, asked)
        assert action.on_host("shop", {}, [], notes, VARIABLES) == {"changed": False}
        assert json.loads(asked[0]["request"]) == REQUEST
        assert notes.load("web1", "shop")["made"] == {"load": "packed", "since_warm_seconds": 31.0}

    @pytest.mark.parametrize(
        ("answer", "cause"),
        [
            ({"failed": True, "cause": "h2load is not there"}, "h2load is not there"),
            (
                {"failed": True, "module_stdout": "", "module_stderr": "Killed", "rc": 137},
                "the step ended without an answer (exit status 137): Killed",
            ),
            (AnsibleConnectionFailure("Connection timed out"), "it was lost: Connection timed out"),
        ],
    )
    def test_whose_load_failed_and_why(self, notes: Notes, answer: Any, cause: str) -> None:
        found = made(load_action.ActionModule, answer, []).on_host("shop", {}, [], notes, VARIABLES)
        assert found["failed"]
        assert (found["phase"], found["cause"]) == ("trial", f"the load from load host lg1 failed: {cause}")
        # The app's host was not lost, and nobody has put its candidate away yet.
        assert not found.get("lost")
        assert not load_action.ActionModule.heals_itself
        assert trial_action.ActionModule.heals_itself


class TestTrial:
    """On the app's host, before and after."""

    def trial(self, arguments: dict[str, Any], answer: dict[str, Any], asked: list[dict[str, Any]]) -> Any:
        action = made(trial_action.ActionModule, answer, asked)
        action._task = type("Task", (), {"args": {"name": "shop", "generation": 2, **arguments}})()
        action._templar = type("Templar", (), {"template": lambda _, value: value})()
        return action

    def test_the_wanted_load_is_kept_and_shown_in_short(self, notes: Notes) -> None:
        asked: list[dict[str, Any]] = []
        action = self.trial({}, {"changed": True, "load": REQUEST}, asked)
        found = action.on_host("shop", {"id": "r1"}, [], notes, {**VARIABLES, "ansible_host": "10.0.0.5"})
        assert asked[0] == {"name": "shop", "generation": 2, "address": "10.0.0.5", "run": {"id": "r1"}, "gone": []}
        assert found["load"] == {"from": "lg1", "candidate": "10.0.0.5:8001", "baseline": None, "factor": 1.0}
        assert notes.load("web1", "shop") == {"request": REQUEST}

    def test_why_it_cannot_tell_is_said_of_what_is_promoted(
        self, notes: Notes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said: list[str] = []
        monkeypatch.setattr(trial_action, "display", said.append)
        cause = "all of 2 of POST /order failed (answered 500), limit 5 %: too few requests of this path to tell"
        for outcome, failed in (("pass", False), ("inconclusive", False), ("inconclusive", True)):
            answer = {"failed": failed, "verdict": {"outcome": outcome, "cause": cause}}
            self.trial({}, answer, []).on_host("shop", {}, [], notes, VARIABLES)
        assert said == [f"web1: shop: inconclusive, promoted as on_inconclusive says: {cause}"]

    def test_what_came_of_it_is_handed_over(self, notes: Notes) -> None:
        notes.write_load("web1", "shop", {"request": REQUEST, "made": {"load": "packed", "since_warm_seconds": 1.0}})
        asked: list[dict[str, Any]] = []
        verdict = {"verdict": {"outcome": "pass"}}
        assert self.trial({"loaded": True}, verdict, asked).on_host("shop", {}, [], notes, VARIABLES) == verdict
        assert json.loads(asked[0]["loaded"]) == {"load": "packed", "since_warm_seconds": 1.0}
        assert asked[0]["address"] == "web1"


PASSED = {"outcome": "pass", "attempts": 1}
PLAN = {"settings": {"worker_class": {"value": "gthread"}, "workers": {"value": 2}, "threads": {"value": 8}}}


def judged(notes: Notes, host: str, **changes: Any) -> None:
    """A host of the class that promoted the release after a whole load of 1500 requests, of which one failed."""
    arm = {"planned": 1500, "failures": 1, **changes.pop("arm", {})}
    hardware, declared = changes.pop("hardware", "2 cores, 1 GiB"), changes.pop("declared", "d1")
    plain: dict[str, Any] = {
        "outcome": "promoted", "release": "r1", "plan": PLAN, "verdict": PASSED, "evidence": {"candidate": arm},
    }  # fmt: skip
    app = AppDecision("shop", "deploy", digest=f"cores:2,declared:{declared}", plan=PLAN)
    notes.write_decision(HostDecision(host, hardware=hardware, apps={"shop": app}))
    notes.write_outcome(Outcome(host, "shop", **{**plain, **changes}))


class TestPool:
    """What hosts of one class share, where that is wanted."""

    def asked(self, notes: Notes, wanted: object = True) -> Any:
        asked: list[dict[str, Any]] = []
        variables = {**VARIABLES, "headcount_pool_evidence": wanted}
        TestTrial().trial({}, {"verdict": PASSED}, asked).on_host("shop", {}, [], notes, variables)
        return asked[0].get("pool")

    def test_hosts_that_passed_with_whole_loads_are_counted(self, notes: Notes) -> None:
        judged(notes, "web1", outcome="working", verdict=None, evidence=None)
        assert self.asked(notes) is None
        judged(notes, "web2")
        judged(notes, "web3", arm={"planned": 1400, "failures": 3})
        assert self.asked(notes) == {"hosts": 2, "requests": 2900, "failures": 4}
        assert [self.asked(notes, no) for no in (False, "false", None)] == [None] * 3

    @pytest.mark.parametrize(
        "changes",
        [
            {"hardware": "4 cores, 1 GiB"},
            {"release": "r2"},
            {"declared": "d2"},
            {"plan": {"settings": {"worker_class": {"value": "gthread"}, "workers": {"value": 4}}}},
            {"verdict": {"outcome": "pass", "attempts": 2}},
            {"verdict": {"outcome": "inconclusive", "attempts": 1}},
            {"outcome": "failed"},
            {"outcome": "reverted"},
            {"evidence": {"candidate": {"planned": 750, "failures": 0}, "pooled": {"hosts": 2}}},
        ],
    )
    def test_who_judged_something_else_or_otherwise_is_not(self, notes: Notes, changes: dict[str, Any]) -> None:
        judged(notes, "web1", outcome="working", verdict=None, evidence=None)
        judged(notes, "web2", **changes)
        assert self.asked(notes) is None

    def test_what_each_step_of_a_rollout_answers_is_what_a_later_host_gets(self, notes: Notes) -> None:
        """The evidence as a trial keeps it, after all steps of two hosts; a third, judged by theirs, is left out."""
        judged(notes, "web1", outcome="working", verdict=None, evidence=None)
        for host in ("web2", "web3"):
            judged(notes, host)
            notes.write_outcome(rolled_out(host, trial_of(requests=600, failures=1)))
        assert self.asked(notes) == {"hosts": 2, "requests": 1200, "failures": 2}
        judged(notes, "web4")
        shorter = trial_of(requests=300, failures=0)
        shorter["evidence"]["pooled"] = Shorter(Pool(2, 1200, 2), 15.0, 30.0).to_dict()
        notes.write_outcome(rolled_out("web4", shorter))
        assert self.asked(notes) == {"hosts": 2, "requests": 1200, "failures": 2}


def trial_of(requests: int, failures: int) -> dict[str, Any]:
    """What the trial of a host answers, as JSON brings it: the verdict and the evidence of one load."""
    latencies = [20.0 + place % 9 for place in range(requests - failures)] + [math.inf] * failures
    plain: dict[str, Any] = {"failures": failures, "achieved_rate": 20.0, "planned_rate": 20.0, "path": [0] * requests}
    seconds = [place / 20 for place in range(requests)]
    status = [200] * (requests - failures) + [500] * failures
    arm = Samples(seconds, latencies, status, requests, 0.05, **plain)
    app = {
        "load": {"paths": [{"path": "/"}]},
        "limits": {"error_rate": 0.05},
        "on_inconclusive": "revert",
        "entry_point": "shop:app",
    }
    load = TrialLoad(arm, arm, DerivedRate(20.0, "declared", ""), 0.1, 0.01, False)
    attempt = Judging(app).judged(load, MemoryEvidence(50.0, "cgroup", limit_mib=200.0), None)
    verdict, evidence = conclude(app, attempt.verdict, attempt, [], [])
    found: dict[str, Any] = json.loads(json.dumps({"verdict": verdict.to_dict(), "evidence": evidence}))
    return found


def rolled_out(host: str, trial: dict[str, Any]) -> Outcome:
    """What came of a host, step by step."""
    found = Outcome(host, "shop")
    steps: list[tuple[str, dict[str, Any]]] = [
        ("stage", {"generation": 2, "release": "r1"}),
        ("weigh", {"plan": PLAN}),
        ("trial", trial),
        ("promote", {"from": 1, "to": 2, "verified": {}}),
    ]
    for phase, result in steps:
        found = found.after(phase, result, 1.0)
    return found
