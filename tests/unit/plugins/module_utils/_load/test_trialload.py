# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The arms of a trial: warm-up, half a run apart, swapped on a retry, with a runner that only pretends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits, Load, LoadPath
from ansible_collections.headcount.gunicorn.plugins.module_utils._load import h2load as h2
from ansible_collections.headcount.gunicorn.plugins.module_utils._load import rate as rate_of
from ansible_collections.headcount.gunicorn.plugins.module_utils._load import trialload as ld
from ansible_collections.headcount.gunicorn.plugins.module_utils._load.livewatch import LiveWatch
from ansible_collections.headcount.gunicorn.plugins.module_utils._load.phases import Protected, Running
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict import judge as j
from pretender import Pretender

LOAD = Load(rate=50, seconds=10)
NEW = h2.Target("unix:/run/new.sock", "app.example")
OLD = h2.Target("unix:/run/old.sock", "app.example")


def targets(launches: Sequence[h2.Launch]) -> list[str]:
    return [list(launch.argv)[list(launch.argv).index("-B") + 1][5:] for launch in launches]


def due(launches: Sequence[h2.Launch], address: str) -> list[float]:
    """The seconds at which the requests to one address are due."""
    return sorted(
        launch.delay_s + index * period_of(launch) / 1000.0
        for launch, target in zip(launches, targets(launches))
        for index in range(count_of(launch))
        if target == address
    )


def count_of(launch: h2.Launch) -> int:
    return int(launch.argv[list(launch.argv).index("-n") + 1])


def period_of(launch: h2.Launch) -> int:
    return next(int(part[14:-2]) for part in launch.argv if part.startswith("--rate-period="))


def test_both_arms_get_the_same_bursts_half_a_run_apart() -> None:
    runner = Pretender()
    warm_after: list[int] = []
    found = ld.run_trial_load(
        NEW,
        OLD,
        LOAD,
        capacity=ld.Capacity(3),
        running=Running(runner=runner),
        on_warm=lambda: warm_after.append(len(runner.calls)),
    )
    assert warm_after == [1]
    warm, measured = runner.calls
    assert targets(warm) == ["/run/new.sock", "/run/old.sock"]
    new, old = due(measured, "/run/new.sock"), due(measured, "/run/old.sock")
    assert len(new) == len(old) == 500

    def counts(seconds: Sequence[float], later: float) -> list[int]:
        return [sum(place <= (at + later) % 10.0 < place + 1 for at in seconds) for place in range(10)]

    assert max(abs(one - other) for one, other in zip(counts(new, 0.0), counts(old, 5.0))) <= 6
    assert max(abs(one - other) for one, other in zip(counts(new, 0.0), counts(old, 0.0))) > 6
    assert found.warmup == {
        "requests": 300,
        "rate": 50.0,
        "seconds": 6.0,
        "candidate_failures": 0,
        "baseline_failures": 0,
    }
    assert found.baseline is not None
    assert (found.candidate.planned, found.baseline.planned) == (500, 500)
    assert (found.candidate.before, found.baseline.before) == ([(20.0, 0)] * 300, [(10.0, 0)] * 300)
    assert (max(found.candidate.latency_ms), max(found.baseline.latency_ms)) == (20.0, 10.0)
    assert (found.rate.rate, found.rate.origin) == (50.0, "declared")
    assert found.cost_core_share == pytest.approx(0.1 * len(measured) / 10.0)
    assert found.to_dict()["swapped"] is False


def test_a_retry_swaps_the_arms_and_runs_longer() -> None:
    runner = Pretender()
    found = ld.run_trial_load(NEW, OLD, LOAD, turn=ld.Turn(True, 2.0), running=Running(runner=runner))
    assert found.candidate.planned == 1000
    first = Pretender()
    ld.run_trial_load(NEW, OLD, LOAD, turn=ld.Turn(factor=2.0), running=Running(runner=first))
    assert set(targets(runner.calls[1])) == {"/run/old.sock", "/run/new.sock"}
    assert due(runner.calls[1], "/run/new.sock") != due(first.calls[1], "/run/new.sock"), "other times"
    assert max(found.candidate.latency_ms) == 20.0
    assert found.swapped


def test_without_a_live_generation_there_is_one_arm() -> None:
    runner = Pretender()
    found = ld.run_trial_load(NEW, None, LOAD, running=Running(runner=runner))
    assert found.baseline is None
    assert set(targets(runner.calls[1])) == {"/run/new.sock"}


def test_a_warm_up_is_bounded_and_says_what_it_left_out() -> None:
    runner = Pretender(500)
    found = ld.run_trial_load(
        NEW,
        None,
        replace(LOAD, rate=5),
        capacity=ld.Capacity(30),
        running=Running(warmup_max_seconds=20, runner=runner),
    )
    assert found.warmup["requests"] == 400
    assert found.warmup["candidate_failures"] == 400
    assert found.notes == ["the warm-up was cut to 400 of 3000 requests: more would have taken longer than 20 s"]
    assert found.candidate.failures == found.candidate.planned == 50


def test_no_warm_up_where_none_is_wanted() -> None:
    runner = Pretender()
    found = ld.run_trial_load(NEW, None, replace(LOAD, warmup_requests=0), running=Running(runner=runner))
    assert len(runner.calls) == 1
    assert found.notes == ["no warm-up: load.warmup_requests is 0"]


@pytest.mark.parametrize(
    ("capacity", "arms", "rate", "reason"),
    [
        (100, 2, 25, "derived, not declared: 50 % of the weighed capacity of 100 a second, shared by 2 arms"),
        (100, 1, 50, "derived, not declared: 50 % of the weighed capacity of 100 a second"),
        (
            5000,
            2,
            200,
            "derived, not declared: 50 % of the weighed capacity of 5e+03 a second, shared by 2 arms, bounded to 200",
        ),
        (1, 2, 1, "derived, not declared: 50 % of the weighed capacity of 1 a second, shared by 2 arms, raised to 1"),
    ],
)
def test_a_derived_rate_is_told_as_such(capacity: float, arms: int, rate: float, reason: str) -> None:
    assert rate_of.derive_rate(capacity, arms=arms) == ld.DerivedRate(rate, "derived", reason)


def test_a_trial_without_a_declared_rate() -> None:
    found = ld.run_trial_load(
        NEW, OLD, replace(LOAD, rate=None), capacity=ld.Capacity(rps=80), running=Running(runner=Pretender())
    )
    assert (found.rate.rate, found.rate.origin) == (20.0, "derived")
    with pytest.raises(
        h2.LoadError, match=r"no load\.rate is declared and no capacity was weighed: declare load\.rate"
    ):
        ld.run_trial_load(NEW, OLD, replace(LOAD, rate=None), running=Running(runner=Pretender()))
    with pytest.raises(h2.LoadError, match=r"the weighed capacity is 0: declare load\.rate"):
        rate_of.derive_rate(0)


def test_too_many_open_files_are_refused_before_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h2, "raise_nofile", lambda needed: f"{needed} are too many")
    runner = Pretender()
    with pytest.raises(h2.LoadError, match="532 are too many"):
        ld.run_trial_load(NEW, OLD, LOAD, running=Running(runner=runner))
    assert not runner.calls


def attempt_of(verdict: j.Verdict) -> ld.Attempt:
    return ld.Attempt(
        ld.run_trial_load(NEW, None, replace(LOAD, seconds=1), running=Running(runner=Pretender())), None, verdict
    )


@pytest.mark.parametrize(
    ("first", "second", "asked", "outcome"),
    [
        (j.Verdict("pass", "good"), None, [(False, 1.0)], "pass"),
        (j.Verdict("fail", "bad", hard=True), None, [(False, 1.0)], "fail"),
        (j.Verdict("fail", "slow"), j.Verdict("fail", "slow"), [(False, 1.0), (True, 2.0)], "fail"),
        (j.Verdict("inconclusive", "wide"), j.Verdict("pass", "good"), [(False, 1.0), (True, 2.0)], "pass"),
    ],
)
def test_the_retry(first: j.Verdict, second: j.Verdict | None, asked: list[tuple[bool, float]], outcome: str) -> None:
    calls: list[tuple[bool, float]] = []

    def attempt(swap: bool, factor: float) -> ld.Attempt:
        calls.append((swap, factor))
        verdict = first if len(calls) == 1 else second
        assert verdict is not None
        return attempt_of(verdict)

    verdict, attempts = ld.with_retry(attempt)
    assert (verdict.outcome, calls, len(attempts)) == (outcome, asked, len(asked))


LIMITS = Limits(p95_ms=250, error_rate=0.01)
LIVE = Protected(OLD, LIMITS)


class Sufferer(Pretender):
    """A runner beside whom the live generation suffers in the call of number `at`: then the load is to stop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        super().__init__()
        self.at = at
        monkeypatch.setattr(LiveWatch, "__call__", lambda watch: "30 connections of users waited to be accepted")

    def __call__(self, launches: Sequence[h2.Launch], stop: Callable[[], str] | None = None) -> list[h2.Finished]:
        ended = super().__call__(launches)
        if len(self.calls) - 1 != self.at:
            return ended
        assert stop is not None
        assert stop()
        at = min(end.started for end in ended) + 3.0
        return [
            replace(end, stdout="", code=-9, stopped=at)
            if end.started < at
            else h2.Finished(None, "", "", "", 0.0, at, stopped=at)
            for end in ended
        ]


def test_beside_a_live_generation_the_load_begins_gently() -> None:
    runner = Pretender()
    found = ld.run_trial_load(NEW, OLD, LOAD, capacity=ld.Capacity(3), running=Running(runner=runner), protected=LIVE)
    calm, ramp, warm, measured = runner.calls
    assert targets(calm) == ["/run/old.sock"]
    assert targets(ramp) == targets(warm) == ["/run/new.sock", "/run/old.sock"]

    def rates(launches: Sequence[h2.Launch]) -> list[float]:
        parts = [next(part for part in launch.argv if part.startswith("--rate-period=")) for launch in launches]
        return [1000 / int(part[14:-2]) for part in parts]

    assert rates(calm) == [12.5]
    assert rates(ramp) == [25.0, 25.0]
    assert sum(rates(warm)) <= 100.0
    assert [len(due(measured, address)) for address in ("/run/new.sock", "/run/old.sock")] == [500, 500]
    assert (found.warmup["requests"], found.stopped) == (300, "")
    assert found.calm == {"requests": 12, "failures": 0, "rate": 12.5, "queue": None, "p50_ms": 10.0, "most_ms": 10.0}
    assert ld.TrialLoad.unpack(found.pack()).calm == found.calm


def test_where_the_generator_stood_still_too_the_host_is_not_said_to_be_too_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def account(runs: Sequence[h2.LaneRun], timeout_seconds: float = 0.0) -> j.Samples:
        return replace(whole(runs, timeout_seconds=timeout_seconds), notes=[PAUSED])

    whole = h2.account
    monkeypatch.setattr(h2, "account", account)
    load = replace(LOAD, warmup_requests=300)
    running = Running(runner=Sufferer(monkeypatch, 3))
    found = ld.run_trial_load(NEW, OLD, load, running=running, protected=LIVE)
    assert found.stopped.endswith(
        f"half of them within 10 ms. It may be the machine itself: {PAUSED}, so that nothing is said of how fast "
        "the candidate is: try again when it is calm, or lower load.rate"
    )
    assert "too small" not in found.stopped


PAUSED = "the generator stood still for 851 ms, as a machine that stops does"


@pytest.mark.parametrize(("at", "phase_rate"), [(1, "25"), (2, "50"), (3, "50")])
def test_the_load_stops_when_the_live_generation_suffers(
    monkeypatch: pytest.MonkeyPatch, at: int, phase_rate: str
) -> None:
    runner = Sufferer(monkeypatch, at)
    found = ld.run_trial_load(
        NEW, OLD, replace(LOAD, warmup_requests=300), running=Running(runner=runner), protected=LIVE
    )
    assert len(runner.calls) == at + 1
    assert (
        f"at {phase_rate} requests a second to the candidate and to the live generation each: 30 conn" in found.stopped
    )
    assert "alone it answered 12 of 12 requests at 12.5 a second, half of them within 10 ms" in found.stopped
    assert found.stopped.endswith("so that nothing is said of how fast the candidate is: lower load.rate")
    assert not found.candidate.complete
    assert found.baseline is not None
    # what was due two seconds after the first process began, as all were stopped after three
    until = min(launch.delay_s for launch in runner.calls[-1]) + 2.001
    assert 0 < found.baseline.planned <= len([at for at in due(runner.calls[-1], "/run/old.sock") if at <= until])
    verdict = j.judge_stopped(found.stopped, found.candidate, found.baseline, LIMITS)
    assert (verdict.outcome, j.needs_retry(verdict), j.decide(verdict, "promote")) == ("inconclusive", False, "revert")
    assert ld.TrialLoad.unpack(found.pack()).stopped == found.stopped


class Slow(Sufferer):
    """The live generation takes two seconds for each answer by the time the load is stopped."""

    def __call__(self, launches: Sequence[h2.Launch], stop: Callable[[], str] | None = None) -> list[h2.Finished]:
        ended = super().__call__(launches, stop)
        if len(self.calls) - 1 != self.at:
            return ended
        return [self._cut(launch, end) for launch, end in zip(launches, ended)]

    @staticmethod
    def _cut(launch: h2.Launch, end: h2.Finished) -> h2.Finished:
        if "unix:/run/old.sock" not in launch.argv or end.stopped is None:
            return end
        rows = [line for line in end.log.splitlines() if int(line.split("\t")[0]) / 1e6 + 2.0 <= end.stopped]
        return replace(end, log="".join(f"{line}\n" for line in rows))


def test_what_the_trial_cut_at_its_end_is_no_failure_of_the_live_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = Slow(monkeypatch, 3)
    found = ld.run_trial_load(NEW, OLD, replace(LOAD, warmup_requests=300), running=ld.Running(runner=runner),
                              protected=LIVE)  # fmt: skip
    assert found.baseline is not None
    waited = [value for value in found.baseline.latency_ms if value >= 1000.0]
    assert len(waited) > 20, "they were in flight for more than a second"
    assert (found.baseline.failures, found.baseline.kinds) == (0, {})
    impatient = ld.run_trial_load(
        NEW, OLD, replace(LOAD, warmup_requests=300), protected=LIVE,
        running=ld.Running(runner=Slow(monkeypatch, 3), timeout_seconds=1.5),
    )  # fmt: skip
    assert impatient.baseline is not None
    assert impatient.baseline.kinds == {"got no answer": impatient.baseline.failures}
    assert 0 < impatient.baseline.failures < len(waited), "for those its time was over"


def test_a_live_generation_that_is_not_loaded_is_watched_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = Pretender()
    found = ld.run_trial_load(NEW, None, LOAD, running=Running(runner=runner), protected=LIVE)
    assert [targets(call) for call in runner.calls][1:3] == [["/run/new.sock", "/run/old.sock"]] * 2
    assert found.baseline is None
    (pulse,) = (list(launch.argv) for launch in runner.calls[3] if "unix:/run/old.sock" in launch.argv)
    assert pulse[pulse.index("-n") + 1] == "40"  # four a second
    stopped = ld.run_trial_load(NEW, None, LOAD, running=Running(runner=Sufferer(monkeypatch, 3)), protected=LIVE)
    assert "at 50 requests a second to the candidate: 30" in stopped.stopped


class HalfSick(Pretender):
    """The live generation answers 503, whatever it is asked."""

    def end(self, launch: h2.Launch) -> h2.Finished:
        self.status = 503 if "unix:/run/old.sock" in launch.argv else 200
        return super().end(launch)


def test_a_live_generation_that_is_sick_alone_is_neither_loaded_nor_in_the_way() -> None:
    runner = HalfSick()
    found = ld.run_trial_load(NEW, OLD, LOAD, running=Running(runner=runner), protected=LIVE)
    assert [set(targets(call)) for call in runner.calls] == [{"/run/old.sock"}, {"/run/new.sock"}, {"/run/new.sock"}]
    assert (found.baseline, found.stopped) == (None, "")
    assert found.notes == [
        "the live generation is sick itself (alone it answered 0 of 12 requests at 12.5 a second): it is no yardstick "
        "and was not loaded"
    ]


@pytest.mark.parametrize(("rate", "paths"), [(0.5, 5), (1, 3), (2, 20), (200, 7)])
def test_any_load_has_a_gentle_beginning(rate: float, paths: int) -> None:
    load = replace(LOAD, rate=rate, seconds=100, paths=tuple(LoadPath(f"/{number}") for number in range(paths)))
    found = ld.run_trial_load(NEW, OLD, load, running=Running(runner=Pretender()), protected=LIVE)
    assert found.stopped == ""
    assert found.candidate.complete


def queued(lanes: dict[str, list[h2.Lane]], service_s: Sequence[float], workers: int, cores: int) -> list[j.Samples]:
    """What identical generations answer: workers that take one request after the other, and share the cores."""
    due = sorted(
        (lane.offset_s + number * lane.period_ms / 1000, arm, lane.path)
        for arm, mine in enumerate(lanes.values())
        for lane in mine
        for number in range(lane.planned)
    )
    waiting: list[list[tuple[float, int]]] = [[] for _ in lanes]
    active: list[list[Any]] = []
    done: list[list[tuple[float, float]]] = [[] for _ in lanes]
    now, following = 0.0, 0
    while following < len(due) or active:
        speed = min(1.0, cores / len(active)) if active else 1.0
        ends = min((left for left, *_ in active), default=float("inf")) / speed
        comes = due[following][0] - now if following < len(due) else float("inf")
        step = min(ends, comes)
        now += step
        for each in active:
            each[0] -= step * speed
        if comes <= ends:
            at, arm, path = due[following]
            following += 1
            waiting[arm].append((at, path))
        else:
            finished = min(active)
            active.remove(finished)
            arm, at = finished[1], finished[2]
            done[arm].append((at, 1000 * (now - at)))
        if waiting[arm] and sum(each[1] == arm for each in active) < workers:
            at, path = waiting[arm].pop(0)
            active.append([service_s[path], arm, at])
    run_s = next(iter(lanes.values()))[0].run_s
    found = []
    for place, rows in enumerate(done):
        count, rate = len(rows), len(rows) / run_s
        starts, latencies = [at for at, _ in sorted(rows)], [latency for _, latency in sorted(rows)]
        found.append(
            j.Samples(starts, latencies, [200] * count, count, 1 / rate, 0, rate, planned_rate=rate,
                      turned_s=place * run_s / 2, run_s=run_s)
        )  # fmt: skip
    return found


@pytest.mark.parametrize("share", [0.25, 0.45])
def test_identical_generations_of_unlike_requests_are_not_told_apart(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The judge's tests take latencies for independent, which those of a burst are not: the same bursts in both arms
    make up for it."""
    paths, service = [h2.PathLoad("/", 97), h2.PathLoad("/report", 3)], (0.005, 0.3)
    rate = share / (0.97 * service[0] + 0.03 * service[1])  # of two cores, for each of two arms
    outcomes = []
    plan = h2.plan_arrivals
    for number in range(12):
        monkeypatch.setattr(h2, "plan_arrivals", lambda *a, seed, n=number, **k: plan(*a, seed=f"{seed}{n}", **k))
        lanes = ld.arms_lanes(paths, ("candidate", "baseline"), rate, 800 / rate, swap=False)
        candidate, baseline = queued(lanes, service, workers=2, cores=2)
        outcomes.append(j.judge(candidate, baseline, Limits(error_rate=0.02, memory_percent=None)).outcome)
    assert "fail" not in outcomes
    assert outcomes.count("pass") >= 11
