# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a trial leaves: the report, the ledger's sentence and the paths tell numbers of the same requests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.record import GenerationRecord
from ansible_collections.headcount.gunicorn.plugins.module_utils._load.trialload import Attempt, DerivedRate, TrialLoad
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import UnitState
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import compare
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.compare import (
    Judging,
    arrangement,
    conclude,
    lowered,
    weighed_more,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.why import Failed, Why
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.pooling import Pool
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.types import MemoryEvidence, Samples
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._output.report import evidence_of

APP: dict[str, Any] = {
    "load": {"paths": [{"path": "/"}, {"path": "/report"}], "rate": 50, "seconds": 30},
    "limits": {"error_rate": 0.01, "p95_ms": 120},
    "on_inconclusive": "revert",
    "entry_point": "shop:app",
}

RATE = DerivedRate(50.0, "declared", "")
CALM = MemoryEvidence(peak_mib=100.0, source="cgroup v2 memory.peak", limit_mib=200.0)


def arm(cold_ms: float, usual_ms: float) -> Samples:
    """1,500 requests, those of the first four seconds slow, in turn of two paths."""
    latencies = [cold_ms if index < 200 else usual_ms + index % 20 for index in range(1500)]
    return Samples(
        start_s=[index / 50 for index in range(1500)],
        latency_ms=latencies,
        status=[200] * 1500,
        planned=1500,
        period_s=0.02,
        failures=0,
        achieved_rate=50.0,
        planned_rate=50.0,
        path=[index % 2 for index in range(1500)],
    )


def trial_of(candidate: Samples) -> tuple[str, dict[str, Any]]:
    load = TrialLoad(candidate, None, DerivedRate(50.0, "declared", ""), 0.1, 0.01, False)
    attempt: Attempt = Judging(APP).judged(load, CALM, None)
    verdict, evidence = conclude(APP, attempt.verdict, attempt, [], [])
    return verdict.cause, evidence


def test_the_report_and_the_ledger_tell_the_same_p95() -> None:
    cause, evidence = trial_of(arm(400.0, 50.0))
    row = evidence_of(evidence)
    assert cause.startswith(f"p95 is {row['p95_ms']:.0f} ms, limit 120")
    assert [path["p95_ms"] < 70 for path in evidence["candidate"]["paths"]] == [True, True]


def test_the_path_that_was_slow_is_told_without_the_cold_start() -> None:
    cause, evidence = trial_of(arm(400.0, 150.0))
    row = evidence_of(evidence)
    assert cause.startswith(f"p95 is {row['p95_ms']:.0f} ms, limit 120")
    assert "p95 168 ms" in cause or "p95 169 ms" in cause


def plan(cores: float, mib: float, workers: int, slots: int) -> dict[str, Any]:
    return {
        "inputs": {"cores": {"value": cores}, "budget_mib": {"value": mib}},
        "settings": {"workers": {"value": workers}},
        "slots": slots,
    }


@pytest.mark.parametrize(
    ("mine", "live", "names"),
    [
        (plan(1, 400, 1, 16), plan(2, 800, 2, 32), ["cores 2 -> 1", "MiB 800 -> 400"]),  # it got a neighbour
        (plan(2, 400, 2, 10), plan(2, 800, 2, 32), ["MiB 800 -> 400"]),  # too little memory for all slots
        (plan(1, 400, 2, 32), plan(2, 800, 2, 32), []),  # a smaller part, the same plan
        (plan(2, 800, 1, 16), plan(2, 800, 2, 32), []),  # fewer by declaration
        (plan(2, 800, 4, 64), plan(1, 400, 2, 32), []),
        ({"settings": {"workers": {"value": 1}}}, plan(2, 800, 2, 32), []),  # of an older version
    ],
)
def test_what_need_not_be_as_fast_as_the_live_generation(
    mine: dict[str, Any], live: dict[str, Any], names: list[str]
) -> None:
    said = lowered(mine, live, Limits(p95_ms=100.0))
    assert bool(said) is bool(names)
    assert [name for name in names if name not in said] == []
    assert not said or said.endswith("; not judged, for want of a limit: p50")


@pytest.mark.parametrize(("compared", "outcome"), [(True, "fail"), (False, "pass")])
def test_a_lowered_plan_is_not_held_against_the_live_generation(compared: bool, outcome: str) -> None:
    slow = [600.0 if index % 20 == 0 else 200.0 for index in range(1500)]
    candidate = replace(arm(50.0, 50.0), latency_ms=slow)
    load = TrialLoad(candidate, arm(50.0, 50.0), DerivedRate(50.0, "declared", ""), 0.1, 0.01, False)
    app = {**APP, "limits": {"error_rate": 0.01}}
    assert Judging(app, smaller="" if compared else "it is smaller").judged(load, CALM, None).verdict.outcome == outcome


def test_a_lowered_plan_is_held_against_its_own_limits() -> None:
    load = TrialLoad(arm(150.0, 150.0), arm(50.0, 50.0), DerivedRate(50.0, "declared", ""), 0.1, 0.01, False)
    assert Judging(APP, smaller="it is smaller").judged(load, CALM, None).verdict.outcome == "fail"


def ended(candidate: Samples, **more: Any) -> TrialLoad:
    told = {
        "why": "18 of 100 requests failed",
        "at_s": 5.0,
        "of_s": 30.0,
        "share": 0.003,
        "dead": False,
        "saved_s": 25.0,
    }
    return TrialLoad(candidate, None, DerivedRate(50.0, "declared", ""), 0.1, 0.01, False, ended=told, looks=4, **more)


def test_a_load_that_was_ended_says_so_and_never_passes() -> None:
    failing = replace(arm(50.0, 50.0), status=[500] * 1500, latency_ms=[float("inf")] * 1500, failures=1500)
    verdict = Judging(APP).judged(ended(failing), CALM, None).verdict
    assert (verdict.outcome, verdict.hard) == ("fail", True)
    assert verdict.cause.endswith("; the load was ended after 5.0 of 30 s")
    assert verdict.uncompared == ("idle CPU, and what piles up over a whole load (it was ended)",)
    good = Judging(APP).judged(ended(arm(50.0, 50.0)), CALM, None).verdict
    assert good.outcome == "inconclusive"
    assert good.cause.startswith("the load was ended after 5.0 of 30 s: 18 of 100 requests failed; p95 is ")


NEVER = [
    'GET /report answered 500 (text/html "no price") each time (3 requests), so the path does not count in the weigh: x'
]


@pytest.mark.parametrize(
    ("asked", "status", "first"),
    [
        (0, 500, 'weighed alone, GET /report answered 500 (text/html "no price") each time (3 requests); '),
        (1, 500, 'weighed alone, GET /report answered 500 (text/html "no price") each time (3 requests); '),
        (1, 200, ""),
    ],
)
def test_a_page_that_was_never_answered_well_is_told_first_though_the_load_says_nothing_of_it(
    asked: int, status: int, first: str
) -> None:
    count = 20 + asked
    short = replace(
        arm(50.0, 50.0),
        start_s=[index / 50 for index in range(count)],
        latency_ms=[50.0] * 20 + [50.0 if status == 200 else float("inf")] * asked,
        status=[200] * 20 + [status] * asked,
        planned=count,
        failures=asked * (status != 200),
        path=[0] * 20 + [1] * asked,
    )
    load = TrialLoad(short, None, RATE, 0.1, 0.01, False, stopped="the live generation suffered")
    attempt = Judging(APP).judged(load, CALM, None)
    verdict, _ = conclude(APP, attempt.verdict, attempt, [], [], measured={"uncounted": NEVER})
    assert verdict.outcome == "inconclusive"
    assert verdict.cause.startswith(f"{first}the live generation suffered")


DEAD = replace(CALM, restarts=1, deaths="exited with status 3")
LEFT = ["prices: the licence has expired", "[2026-11-25 23:40:01 +0000] [8] [ERROR] Worker (pid:9) exited with code 3"]


def test_what_a_worker_said_before_it_died_and_what_its_requests_got_stand_in_the_cause_and_the_evidence() -> None:
    attempt = Judging(APP).judged(TrialLoad(arm(50.0, 50.0), None, RATE, 0.1, 0.01, False), DEAD, None)
    asked = Failed("GET /", 'GET / answered 500 (text/plain "no")', "its log says nothing of it", ["a line"])
    verdict, evidence = conclude(APP, attempt.verdict, attempt, LEFT, [], why=Why("asked again, GET / ...", [asked]))
    assert verdict.cause == (
        "1 worker of the candidate died under load (exited with status 3); 0 of 1500 requests failed; "
        "its log says: prices: the licence has expired; asked again, GET / ..."
    )
    assert evidence["failed"] == [asked.to_dict()]
    assert evidence_of(evidence)["failed_requests"] == [asked.to_dict()]


ENDED = "the worker ended 3 times while it was weighed (exited with status 1), while GET /exit was under way"


@pytest.mark.parametrize(
    ("latency", "kinds", "said"),
    [
        (float("inf"), {"reset, refused or cut short": 2}, "requests that got no answer then: 2 of GET /report"),
        (float("inf"), {"timed out": 2}, ""),  # of those it did not die
        (1500.0, {}, "requests that got no answer then: 2 of GET /report"),  # the load was ended while they waited
    ],
)
def test_a_worker_that_died_is_told_with_the_requests_that_it_may_have_died_of(
    latency: float, kinds: dict[str, int], said: str
) -> None:
    short = replace(
        arm(50.0, 50.0),
        latency_ms=[50.0] * 1498 + [latency] * 2,
        status=[200] * 1498 + [0, 0],
        failures=sum(kinds.values()),
        path=[0] * 1498 + [1] * 2,
        path_kinds=[{}, kinds],
    )
    attempt = Judging(APP).judged(TrialLoad(short, None, RATE, 0.1, 0.01, False), DEAD, None)
    weighed = {"uncounted": [f"{ENDED}: what waited for the next one does not count in the weigh"]}
    verdict, _ = conclude(APP, attempt.verdict, attempt, [], [], measured=weighed)
    first, _, cause = verdict.cause.partition("; ")
    assert first == "1 worker of the candidate died under load (exited with status 3)"
    assert (said in cause, ENDED in cause) == (True, True)
    assert ("got no answer then" in cause) is bool(said)


WEIGHED = {"cpu_ms": 5.0, "wall_ms": 30.0}


@pytest.mark.parametrize(
    ("rate", "cpu_ms", "how", "words"),
    [
        (50, 5.0, (False, False), ""),
        (50, 12.0, (True, False), "in turn (A B B A): 50 requests a second to both at once would take 120 % of the"),
        (50, 20.0, (False, True), "50 requests a second to one alone would take 100 % of the host's 1 cores"),
        (None, 20.0, (False, False), ""),
    ],
)
def test_how_the_live_generation_is_loaded_beside(
    rate: float | None, cpu_ms: float, how: tuple[bool, bool], words: str
) -> None:
    found = arrangement({"load": {"rate": rate}}, {**WEIGHED, "cpu_ms": cpu_ms}, 1.0)
    assert (found.in_turn, found.alone) == how
    assert words in found.why


@pytest.mark.parametrize(
    ("new", "old", "said"),
    [
        (19.0, 5.0, "weighed alone, a request takes 19 ms of CPU against 5 of the live generation (+280 %); declare l"),
        (7.0, 5.0, ""),
        (0.9, 0.3, ""),
        (19.0, 0.0, ""),
    ],
)
def test_what_was_weighed_decides_where_nothing_can_be_compared(new: float, old: float, said: str) -> None:
    candidate = GenerationRecord(APP, {}, {}, measured={"cpu_ms": new})
    live = GenerationRecord(APP, {}, {}, measured={"cpu_ms": old})
    more = weighed_more(candidate, live)
    assert more.startswith(said)
    assert bool(more) == bool(said)
    assert weighed_more(candidate, replace(live, app={"load": {"paths": []}})) == ""
    load = TrialLoad(arm(50.0, 50.0), None, DerivedRate(50.0, "declared", ""), 0.1, 0.01, False)
    verdict = Judging(APP, alone="it would take 100 % of the cores", weighed=more).judged(load, CALM, None).verdict
    assert verdict.outcome == ("inconclusive" if said else "pass")
    assert verdict.uncompared == ("latency and CPU under load (it would take 100 % of the cores)",)
    assert verdict.cause.startswith(said)
    sick = replace(load, sick="the live generation is sick itself")
    assert Judging(APP, weighed=more).judged(sick, CALM, None).verdict.outcome == "pass"


class Loads:
    """Stands in for the load: what each run was to be, and how much slower its candidate is."""

    def __init__(self, *slower: float) -> None:
        self.slower = list(slower)
        self.turns: list[tuple[bool, float]] = []

    def __call__(self, *_: Any, turn: Any, on_warm: Any, **__: Any) -> TrialLoad:
        on_warm()
        self.turns.append((turn.swap, turn.factor))
        usual = scattered(round(1500 * turn.factor))
        slower = self.slower.pop(0)
        worse = replace(usual, latency_ms=[slower * value for value in usual.latency_ms])
        return TrialLoad(worse, usual, RATE, 0.1, 0.01, turn.swap)


def scattered(requests: int) -> Samples:
    """Latencies of 20 to 39.9 ms."""
    latencies = [20.0 + (index * 37 % 200) / 10 for index in range(requests)]
    plain = {"failures": 0, "achieved_rate": 50.0, "planned_rate": 50.0, "path": [0] * requests}
    return Samples([index / 50 for index in range(requests)], latencies, [200] * requests, requests, 0.02, **plain)


class Side(compare.Arm):
    """An arm whose memory is known."""

    def sampler(self) -> Any:
        found = MagicMock()
        found.evidence.return_value = CALM
        found.__exit__.return_value = None
        return found


POOL = Pool(3, 4500, 2)


@pytest.mark.parametrize(
    ("pool", "slower", "cpu_ms", "turns", "outcome"),
    [
        (None, (1.0,), 5.0, [(False, 1.0)], "pass"),
        (POOL, (1.0,), 5.0, [(False, 0.5)], "pass"),
        (POOL, (1.5, 1.5), 5.0, [(False, 0.5), (True, 2.0)], "fail"),
        (POOL, (1.5, 1.0), 5.0, [(False, 0.5), (True, 2.0)], "pass"),
        (POOL, (1.0,), 12.0, [(False, 1.0)], "pass"),  # loaded in turn
    ],
)
def test_the_first_load_of_a_later_host_is_shorter_and_nothing_else_is(
    monkeypatch: pytest.MonkeyPatch, pool: Pool | None, slower: Any, cpu_ms: float, turns: Any, outcome: str
) -> None:
    loads = Loads(*slower)
    monkeypatch.setattr(compare, "run_trial_load", loads)
    app = {**APP, "load": {"paths": [{"path": "/"}], "rate": 50, "seconds": 30}, "settings": {}}
    side = Side("/run/a.sock", lambda: UnitState(*[""] * 4, 0, 0, 0, *[""] * 3), list, 200.0)
    plan = {"settings": {"workers": {"value": 2}}, "slots": 16}
    weighed = {**WEIGHED, "cpu_ms": cpu_ms}
    verdict, evidence = compare.try_candidate(app, plan, side, side, weighed, 1.0, pool=pool)
    assert (loads.turns, verdict.outcome) == (turns, outcome)
    short = turns[0] == (False, 0.5)
    assert ("pooled" in evidence) == short
    words = "the rest of its load (it lasted 15 of 30 s, after 3 hosts of its class"
    assert (words in " ".join(verdict.uncompared)) == (short and len(turns) == 1)


def test_a_candidate_that_is_as_fast_only_in_its_second_run_was_cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow in all of the first run, it may have been slow by itself: the second one, which asks the same processes,
    tells."""
    monkeypatch.setattr(compare, "run_trial_load", Loads(4.0, 1.0))
    app = {**APP, "load": {"paths": [{"path": "/"}], "rate": 50, "seconds": 30}, "settings": {}}
    side = Side("/run/a.sock", lambda: UnitState(*[""] * 4, 0, 0, 0, *[""] * 3), list, 200.0)
    plan = {"settings": {"workers": {"value": 2}}, "slots": 16}
    verdict, _ = compare.try_candidate(app, plan, side, side, WEIGHED, 1.0)
    assert (verdict.outcome, verdict.attempts) == ("pass", 2)
    assert "; cold start: the candidate's first 1500 requests took " in verdict.cause
    assert verdict.cause.count("cold start") == 1
