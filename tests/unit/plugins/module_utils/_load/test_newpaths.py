# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A release that brings a path: what the live generation does not know is no yardstick, and no sickness of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits, Load, LoadPath
from ansible_collections.headcount.gunicorn.plugins.module_utils._load import h2load as h2
from ansible_collections.headcount.gunicorn.plugins.module_utils._load import newpaths
from ansible_collections.headcount.gunicorn.plugins.module_utils._load.early import Early
from ansible_collections.headcount.gunicorn.plugins.module_utils._load.livewatch import LiveWatch
from ansible_collections.headcount.gunicorn.plugins.module_utils._load.phases import Protected, Running
from ansible_collections.headcount.gunicorn.plugins.module_utils._load.trialload import (
    TrialLoad,
    Turn,
    run_trial_load,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.http import Answer, Ask, Bounds
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.compare import Judging
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.early import Rule, failed_already
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.types import MemoryEvidence, Samples
from pretender import Pretender

NEW = h2.Target("unix:/run/new.sock", "app.example")
OLD = h2.Target("unix:/run/old.sock", "app.example")
LIMITS = Limits(error_rate=0.01, memory_percent=None)
LIVE = Protected(OLD, LIMITS)
PATHS = (LoadPath("/"), LoadPath("/new"))
LOAD = Load(paths=PATHS, rate=60, seconds=30)
NAMES = ["GET /", "GET /new"]
TOLD = "new path: live answers 404 to GET /new, so it was judged by the limits alone"
MEMORY = MemoryEvidence(peak_mib=100.0, source="cgroup v2 memory.peak", limit_mib=200.0)
Reply = tuple[int, float]
"""A status and milliseconds."""


class TwoReleases(Pretender):
    """The live generation knows what `live` says, the candidate all; each answers as said by path."""

    def __init__(self, candidate: Mapping[str, Reply] | None = None, live: Mapping[str, Reply] | None = None) -> None:
        super().__init__()
        self.candidate, self.live = dict(candidate or {}), dict(live or {})

    def end(self, launch: h2.Launch) -> h2.Finished:
        argv = list(launch.argv)
        path = "/" + argv[-1].partition("://")[2].partition("/")[2]
        if "unix:/run/new.sock" in argv:
            status, ms = self.candidate.get(path, (200, 20.0))
        else:
            status, ms = self.live.get(path, (200, 20.0))
        self.status = status
        end = super().end(launch)
        lines = [line.split("\t") for line in end.log.splitlines()]
        spread = [1000 * (ms + number % 7) for number in range(len(lines))]
        return replace(end, log="".join(f"{at}\t{s}\t{us:.0f}\n" for (at, s, _), us in zip(lines, spread)))

    def asked(self, call: int) -> dict[str, Counter[str]]:
        """{socket: {path: requests}} of a call."""
        found: dict[str, Counter[str]] = {}
        for launch in self.calls[call]:
            argv = list(launch.argv)
            socket = argv[argv.index("-B") + 1][len("unix:/run/") :]
            path = "/" + argv[-1].partition("://")[2].partition("/")[2]
            found.setdefault(socket, Counter())[path] += int(argv[argv.index("-n") + 1])
        return found


def loaded(runner: Pretender, load: Load = LOAD, **more: Any) -> TrialLoad:
    running = Running(runner=runner, rest=lambda _: None, **more)
    return run_trial_load(NEW, OLD, load, running=running, protected=LIVE)


def app(load: Load = LOAD) -> dict[str, Any]:
    paths = [{"path": one.path, "weight": one.weight} for one in load.paths]
    return {
        "load": {"paths": paths, "rate": load.rate, "seconds": load.seconds},
        "limits": {"error_rate": 0.01, "memory_percent": None},
        "on_inconclusive": "revert",
    }


def test_the_live_generation_is_not_asked_for_what_it_does_not_know() -> None:
    runner = TwoReleases(live={"/new": (404, 5.0)})
    found = loaded(runner)
    calm, ramp, warm, both, alone = (runner.asked(call) for call in range(5))
    assert set(calm["old.sock"]) == {"/", "/new"}
    assert [set(one["old.sock"]) for one in (ramp, warm, both)] == [{"/"}] * 3
    assert [set(one["new.sock"]) for one in (ramp, warm)] == [{"/", "/new"}] * 2
    assert both["new.sock"] == both["old.sock"] == {"/": 900}
    assert alone["new.sock"] == {"/": 900, "/new": 900}
    assert alone["old.sock"] == {"/": 900}
    assert (found.new, found.stopped, found.sick, found.few) == ({"GET /new": 404}, "", "", "")
    assert found.baseline is not None
    assert found.beside is not None
    assert found.meanwhile is not None
    planned = [arm.planned for arm in (found.candidate, found.beside, found.baseline, found.meanwhile)]
    assert planned == [1800, 900, 900, 900]
    assert found.rate.rate == 60
    assert TOLD in found.notes
    again = TrialLoad.unpack(found.pack())
    assert (again.beside, again.new) == (TrialLoad.unpack(again.pack()).beside, found.new)
    assert again.beside is not None
    assert again.meanwhile is not None
    assert again.meanwhile.to_dict() == found.meanwhile.to_dict()
    assert again.beside.to_dict() == found.beside.to_dict()


@pytest.mark.parametrize("status", [500, 403, 503])
def test_what_it_fails_otherwise_is_its_sickness(status: int) -> None:
    found = loaded(TwoReleases(live={"/new": (status, 5.0)}))
    assert (found.new, found.beside, found.baseline) == ({}, None, None)
    assert "sick itself" in found.sick


def test_where_it_knows_no_path_at_all_it_is_sick() -> None:
    found = loaded(TwoReleases(live={"/": (404, 5.0), "/new": (404, 5.0)}))
    assert (found.new, found.baseline) == ({}, None)
    assert "sick itself" in found.sick


def test_a_status_that_is_declared_is_no_new_path() -> None:
    paths = (LoadPath("/"), LoadPath("/new", status=(404,)))
    found = loaded(TwoReleases(live={"/new": (404, 20.0)}, candidate={"/new": (404, 20.0)}), replace(LOAD, paths=paths))
    assert (found.new, found.beside, found.candidate.failures) == ({}, None, 0)


@pytest.mark.parametrize(
    ("candidate", "outcome", "words"),
    [
        ({}, "pass", TOLD),
        ({"/": (200, 270.0)}, "fail", "p50 is 27[0-9] ms against 2[0-9] ms of the live generation"),
        ({"/new": (500, 5.0)}, "fail", r"GET /new: 900 of 900 answered 500"),
        ({"/new": (200, 700.0)}, "pass", TOLD),  # slower than anything else: no limit says that it may not be
    ],
)
def test_the_rest_is_held_against_it(candidate: Mapping[str, Reply], outcome: str, words: str) -> None:
    load = loaded(TwoReleases(candidate, live={"/new": (404, 5.0)}))
    verdict = Judging(app()).judged(load, MEMORY, None).verdict
    assert verdict.outcome == outcome
    assert TOLD in verdict.uncompared
    assert re.search(words, verdict.cause), verdict.cause
    assert not any("never asked" in told for told in verdict.uncompared)


def test_what_is_compared_says_of_which_requests_it_is() -> None:
    load = loaded(TwoReleases({"/new": (200, 700.0)}, live={"/new": (404, 5.0)}))
    verdict = Judging(app()).judged(load, MEMORY, None).verdict
    assert "), of the requests for what both know; " in verdict.cause
    assert verdict.cause.count("not compared:") == 1


def test_a_limit_holds_for_the_new_path_too() -> None:
    load = loaded(TwoReleases({"/new": (200, 700.0)}, live={"/new": (404, 5.0)}))
    declared = app()
    declared["limits"] = {"error_rate": 0.01, "p95_ms": 250, "memory_percent": None}
    verdict = Judging(declared).judged(load, MEMORY, None).verdict
    assert (verdict.outcome, verdict.cause.startswith("p95 is 70")) == ("fail", True)


def still(samples: Samples, begin: float, seconds: float) -> Samples:
    """The same, which answered nothing for some seconds."""
    end = begin + seconds
    took = [max(ms, 1000 * (end - at)) if begin <= at < end else ms
            for at, ms in zip(samples.start_s, samples.latency_ms)]  # fmt: skip
    return replace(samples, latency_ms=took)


@pytest.mark.parametrize(("host", "outcome"), [(False, "fail"), (True, "pass")])
def test_a_standstill_of_the_host_is_none_of_the_candidates(host: bool, outcome: str) -> None:
    load = loaded(TwoReleases(live={"/new": (404, 5.0)}))
    assert load.meanwhile is not None
    stood = replace(load, candidate=still(load.candidate, 12.0, 1.2))
    stood = replace(stood, meanwhile=still(load.meanwhile, 12.0, 1.2)) if host else stood
    verdict = Judging(app()).judged(stood, MEMORY, None).verdict
    assert verdict.outcome == outcome, verdict.cause
    assert host or verdict.cause.startswith("nothing was answered for")


def test_a_load_that_is_stopped_in_its_second_half_tells_of_that(monkeypatch: pytest.MonkeyPatch) -> None:
    class Suffers(TwoReleases):
        def __call__(self, launches: Sequence[h2.Launch], stop: Callable[[], str] | None = None) -> list[h2.Finished]:
            ended = super().__call__(launches)
            if len(self.calls) < 5:
                return ended
            assert stop is not None
            assert stop()
            at = min(end.started for end in ended) + 3.0
            unbegun = h2.Finished(None, "", "", "", 0.0, at, stopped=at)
            return [replace(end, stdout="", code=-9, stopped=at) if end.started < at else unbegun for end in ended]

    monkeypatch.setattr(LiveWatch, "__call__", lambda _: "30 connections of users waited to be accepted")
    found = loaded(Suffers(live={"/new": (404, 5.0)}))
    assert "at 60 requests a second to the candidate and to the live generation each: 30 conn" in found.stopped
    assert found.baseline is not None
    assert found.baseline.planned < 200
    verdict = Judging(app()).judged(found, MEMORY, None).verdict
    assert (verdict.outcome, verdict.stopped) == ("inconclusive", True)


def test_a_new_path_that_is_slow_ends_no_load() -> None:
    """While all paths are asked, the live generation is asked for others, and no yardstick."""
    found = loaded(TwoReleases({"/new": (200, 700.0)}, live={"/new": (404, 5.0)}))
    rule = Rule(LIMITS, Judging(app()).policy, NAMES)
    assert failed_already(found.candidate, found.meanwhile, rule, 0.1) != ""
    assert failed_already(found.candidate, found.meanwhile, Early(rule).by_limits_alone().rule, 0.1) == ""


def test_what_failed_in_the_first_half_is_a_fail() -> None:
    load = loaded(TwoReleases(live={"/new": (404, 5.0)}))
    assert load.beside is not None
    infinite = [float("inf") if place % 10 == 0 else ms for place, ms in enumerate(load.beside.latency_ms)]
    statuses = [500 if place % 10 == 0 else 200 for place in range(len(infinite))]
    worse = replace(load.beside, latency_ms=infinite, status=statuses, failures=90, path_kinds=[])
    verdict = Judging(app()).judged(replace(load, beside=worse), MEMORY, None).verdict
    assert (verdict.outcome, verdict.hard) == ("fail", True)
    assert "90 of 900 requests failed" in verdict.cause


def test_too_few_common_requests_are_not_compared() -> None:
    load = replace(LOAD, paths=(LoadPath("/", weight=1), LoadPath("/new", weight=30)))
    runner = TwoReleases(live={"/new": (404, 5.0)})
    found = loaded(runner, load)
    assert (found.baseline, found.beside) == (None, None)
    assert [set(runner.asked(call)["old.sock"]) for call in (1, 2, 3)] == [{"/"}] * 3, "watched by what it knows"
    verdict = Judging(app(load)).judged(found, MEMORY, None).verdict
    assert verdict.outcome == "pass"
    assert "latency and CPU (the live generation was not loaded beside the candidate: it answers 404" in verdict.cause


def test_in_turn_both_get_what_both_know() -> None:
    runner = TwoReleases(live={"/new": (404, 5.0)})
    running = Running(runner=runner, rest=lambda _: None)
    found = run_trial_load(NEW, OLD, LOAD, turn=Turn(in_turn=True), running=running, protected=LIVE)
    parts = [runner.asked(call) for call in range(3, 8)]
    assert parts[4]["new.sock"] == {"/": 900, "/new": 900}
    assert [part.get("new.sock", {}).get("/new") for part in parts[:4]] == [None] * 4
    assert found.beside is not None
    assert found.baseline is not None
    assert (found.candidate.planned, found.beside.planned, found.baseline.planned) == (1800, 900, 900)


def test_a_path_that_neither_knows_holds_up_nobody() -> None:
    """What was broken before, and is rare, is a warning, as for every path."""
    load = replace(LOAD, paths=(LoadPath("/", weight=400), LoadPath("/new", weight=1)))
    found = loaded(TwoReleases({"/new": (404, 5.0)}, live={"/new": (404, 5.0)}), load)
    assert found.new == {"GET /new": 404}
    verdict = Judging(app(load)).judged(found, MEMORY, None).verdict
    assert verdict.outcome == "pass"
    assert any("of the live generation" in warning for warning in verdict.warnings)
    broken = loaded(TwoReleases({"/new": (500, 5.0)}, live={"/new": (404, 5.0)}), load)
    verdict = Judging(app(load)).judged(broken, MEMORY, None).verdict
    assert verdict.outcome == "fail"
    assert "GET /new answered 500" in verdict.cause


def test_where_neither_knows_a_path_of_many_requests_the_cause_says_so() -> None:
    found = loaded(TwoReleases({"/new": (404, 5.0)}, live={"/new": (404, 5.0)}))
    verdict = Judging(app()).judged(found, MEMORY, None).verdict
    assert verdict.outcome == "fail"
    assert "GET /new: 900 of 900 answered 404" in verdict.cause
    assert verdict.cause.endswith("; the live generation answers 404 to GET /new, too")


def test_no_load_is_ended_for_a_path_that_neither_knows() -> None:
    rule = Rule(LIMITS, Judging(app()).policy, NAMES)
    found = loaded(TwoReleases(live={"/new": (404, 5.0)}), early=Early(rule))
    assert found.ended == {}
    both_404 = replace(
        found.candidate,
        latency_ms=[float("inf") if path else 20.0 for path in found.candidate.path],
        status=[404 if path else 200 for path in found.candidate.path],
    )
    # The error rate of all is a fail of its own; what is asked here is each path.
    rare = replace(rule, limits=Limits(error_rate=0.6, memory_percent=None), new={"GET /new": 404})
    assert failed_already(both_404, None, rare, 0.1) == ""
    assert "GET /new" in failed_already(both_404, None, replace(rare, new={}), 0.1)


@pytest.mark.parametrize(
    ("weights", "rate", "expected"),
    [
        ([1], 50, {}),
        ([50, 25, 12, 12, 0.25], 30, {2: 3, 3: 3, 4: 3}),
        ([1, 1, 1, 1, 1], 1, {0: 1, 1: 1}),
    ],
)
def test_each_path_is_asked_alone_first(weights: list[float], rate: float, expected: dict[int, int]) -> None:
    paths = [h2.PathLoad(f"/{number}", weight) for number, weight in enumerate(weights)]
    alone = max(0.25 * rate, min(rate, 4.0))
    seconds = min(3.0, max(1.0, 10 / alone))
    usual = h2.plan_lanes(paths, alone, seconds)
    rare = newpaths.rare_lanes(paths, usual, rate, seconds)
    assert {lane.path: lane.planned for lane in rare} == expected
    before = min((lane.offset_s for lane in rare), default=0.0)  # as long as nothing comes after the last one
    lasts = max([seconds, *(lane.offset_s + (lane.planned - 1) * lane.period_ms / 1000 + before for lane in rare)])
    assert lasts <= newpaths.LONGEST_S - newpaths.ONE_BY_ONE_S
    assert sum(lane.planned for lane in (*usual, *rare)) <= rate * lasts + 1


def test_a_path_that_is_there_now_and_then_is_not_new() -> None:
    samples = Samples(
        start_s=[0.0] * 4, latency_ms=[5.0, float("inf"), float("inf"), float("inf")], status=[200, 404, 404, 404],
        planned=4, period_s=0.1, failures=3, achieved_rate=10.0, path=[1, 1, 0, 2],
    )  # fmt: skip
    assert newpaths.unknown(newpaths.answers(samples)) == {0: 404, 2: 404}
    assert newpaths.unknown(newpaths.answers(replace(samples, status=[200, 404, 500, 0]))) == {}


USUAL_PATHS = [f"/old/{number}" for number in range(10)]
RARE_PATHS = [f"/rare/{number}" for number in range(20)]
MANY_NEW = [f"/newp/{number}" for number in range(40)]
MANY = Load(
    paths=tuple([LoadPath(path) for path in USUAL_PATHS] + [LoadPath(path, 0.2) for path in RARE_PATHS + MANY_NEW]),
    rate=4,
    seconds=70,
)


class Asked:
    """Answers single requests as the live generation does, and remembers them."""

    def __init__(self, there: Callable[[str], bool]) -> None:
        self.there = there
        self.paths: Counter[str] = Counter()
        self.hosts: set[tuple[object, str]] = set()

    def __call__(self, address: str | tuple[str, int], ask: Ask, bounds: Bounds) -> Answer:
        self.paths[ask.path] += 1
        self.hosts.add((address, ask.headers["Host"]))
        assert bounds.seconds == newpaths.WAIT_S
        return Answer(200 if self.there(ask.path) else 404, b"", 2.0)


def test_many_rare_new_paths_at_a_low_rate_are_no_suffering() -> None:
    runner, ask = TwoReleases(live=dict.fromkeys(MANY_NEW, (404, 2.0))), Asked(lambda path: path not in MANY_NEW)
    found = loaded(runner, MANY, ask=ask)
    assert found.new == {f"GET {path}": 404 for path in MANY_NEW}
    assert ask.hosts == {("/run/old.sock", "app.example")}
    asked = runner.asked(0)["old.sock"] + ask.paths
    assert [asked[path] for path in MANY_NEW] == [newpaths.ASKED] * 40
    assert min(asked[path] for path in RARE_PATHS) == 1
    for call in range(1, len(runner.calls)):
        assert not set(runner.asked(call)["old.sock"]) & set(MANY_NEW)
    assert (found.stopped, found.sick) == ("", "")
    assert found.baseline is not None
    assert found.baseline.failures == 0


def test_what_there_was_no_time_to_ask_for_is_left_out_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newpaths, "ONE_BY_ONE_S", newpaths.WAIT_S)
    runner, ask = TwoReleases(live=dict.fromkeys(MANY_NEW, (404, 2.0))), Asked(lambda path: path not in MANY_NEW)
    found = loaded(runner, MANY, ask=ask)
    left_out = [name for name, status in found.new.items() if status == newpaths.NOT_ASKED]
    assert not ask.paths
    assert left_out
    for call in range(1, len(runner.calls)):
        assert not {f"GET {path}" for path in runner.asked(call)["old.sock"]} & set(found.new)
        assert not set(runner.asked(call)["old.sock"]) & set(MANY_NEW)
    told = f"live could not be asked for {left_out[0]} in time before the load, so it was judged by the limits alone"
    assert told in found.notes
    assert told in found.uncompared()
    assert found.baseline is not None
    assert found.baseline.failures == 0


def test_one_by_one_has_an_end() -> None:
    paths, now, asked = [h2.PathLoad(f"/{number}", number) for number in range(1, 61)], [0.0], []

    def ask(place: int) -> int:
        now[0] += 0.4
        asked.append(place)
        return 404

    heard = newpaths.one_by_one({0: [0], 1: [404]}, paths, ask, lambda: now[0])
    assert now[0] <= newpaths.ONE_BY_ONE_S
    assert asked == [59, 58, 57, 56, 55], "the heaviest first"
    assert newpaths.unknown(heard) == {**dict.fromkeys(range(2, 55), 0), 1: 404, **dict.fromkeys(asked, 404)}


def test_one_404_makes_no_path_new() -> None:
    replies = iter([404, 0])
    paths = [h2.PathLoad("/"), h2.PathLoad("/now-and-then")]
    heard = newpaths.one_by_one({0: [0], 1: [404]}, paths, lambda _: next(replies), lambda: 0.0)
    assert (heard, newpaths.unknown(heard)) == ({0: [0], 1: [404, 404, 0]}, {})


def test_the_words_on_too_few_requests_tell_what_was_not_asked() -> None:
    told = newpaths.why_left_out({"GET /a": 404, "GET /b": newpaths.NOT_ASKED})
    assert told == "it answers 404, 405 to GET /a, it could not be asked for GET /b in time before the load"
