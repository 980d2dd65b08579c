# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Looks at a load under way: logs that grow, and how the load ends once the candidate has failed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits, Load
from ansible_collections.headcount.gunicorn.plugins.module_utils._load import early, phases
from ansible_collections.headcount.gunicorn.plugins.module_utils._load import h2load as h2
from ansible_collections.headcount.gunicorn.plugins.module_utils._load import trialload as ld
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.early import Rule
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.types import Samples, Thresholds
from pretender import Pretender

EPOCH = 1_000_000.0
RULE = Rule(Limits(memory_percent=None), Thresholds(), ["GET /"])
LANE = h2.Lane(0, 1500, 20, 0.0, run_s=30.0)


@dataclass
class Server:
    """Answers each request of LANE in so many ms (infinite: never), as far as that is over at `now`."""

    latency_ms: float = 20.0
    status: int = 200
    now: float = EPOCH

    def read(self, _: str) -> str:
        rows = []
        for number in range(1500):
            start = EPOCH + number * 0.02
            if math.isfinite(self.latency_ms) and start + self.latency_ms / 1000 <= self.now:
                rows.append(f"{int(start * 1e6)}\t{self.status}\t{int(self.latency_ms * 1000)}\n")
        return "".join(rows)


def ended(server: Server, alarm: Callable[[], str] = lambda: "") -> early.EarlyWatch:
    """The watch after it was called ten times a second for the whole load, or until it said why it may end."""
    launch = h2.Launch(["h2load"], 0.0, "log", 60.0)
    watch = early.EarlyWatch(
        {"candidate": [(launch, LANE)]},
        30.0,
        10.0,
        early.Early(RULE, alarm),
        clock=lambda: server.now,
        read=server.read,
    )
    for tenth in range(301):
        server.now = EPOCH + tenth / 10
        if watch():
            break
    return watch


def test_a_good_load_is_looked_at_and_goes_on() -> None:
    watch = ended(Server())
    assert watch.ended is None
    assert 22 <= watch.looks <= 26


def test_a_load_that_fails_ends_with_its_reason_and_what_was_saved() -> None:
    watch = ended(Server(status=500))
    assert watch.ended is not None
    assert watch.ended.at_s == pytest.approx(3.0, abs=0.3)
    assert "100 %), limit 1 % (GET /: " in watch.ended.why
    assert " answered 500): with 99 % confidence above " in watch.ended.why
    told = watch.ended.to_dict()
    assert told["saved_s"] == pytest.approx(30.0 - watch.ended.at_s, abs=0.02)
    assert 0.0 < watch.ended.share < 0.01
    json.dumps(told)


def test_an_answer_that_may_still_come_is_no_failure() -> None:
    watch = ended(Server(latency_ms=3000.0))
    assert watch.ended is None


def test_a_load_without_any_answer_ends_as_a_hang() -> None:
    watch = ended(Server(latency_ms=math.inf))
    assert watch.ended is not None
    assert watch.ended.at_s < 12.0


def test_a_worker_that_died_ends_it_at_once() -> None:
    server = Server()
    watch = ended(server, lambda: "1 worker of the candidate died under load" if server.now > EPOCH + 4 else "")
    assert watch.ended is not None
    assert watch.ended.dead
    assert 4.0 < watch.ended.at_s < 5.2
    assert watch.ended.share == 0.0


def test_what_waits_took_as_long_as_it_has_waited() -> None:
    server = Server(latency_ms=math.inf, now=EPOCH + 12.0)
    run = h2.LaneRun(LANE, h2.Finished(None, "", "", "", 0.0, EPOCH, stopped=server.now))
    samples = h2.account_so_far([run], EPOCH, server.now, 10.0)
    assert samples.planned == 551  # until a second before
    assert samples.failures == pytest.approx(100, abs=2)  # those of the first two seconds are over their time
    assert samples.kinds == {"got no answer": samples.failures}
    assert min(value for value in samples.latency_ms) == pytest.approx(1000.0, abs=1.0)
    assert samples.planned_rate == pytest.approx(50.0, rel=0.02)
    assert samples.complete
    assert h2.account_so_far([], EPOCH, server.now, 10.0).planned == 0


class Ends(Pretender):
    """Every request fails, and the last call of all is ended as soon as `stop` says so, three seconds into the load."""

    def __init__(self) -> None:
        super().__init__()
        self.stops: list[bool] = []

    def __call__(self, launches: Sequence[h2.Launch], stop: Callable[[], str] | None = None) -> list[h2.Finished]:
        self.stops.append(stop is not None)
        return super().__call__(launches)


def test_only_the_load_itself_is_looked_at() -> None:
    runner = Ends()
    running = phases.Running(runner=runner, early=early.Early(RULE))
    found = ld.run_trial_load(h2.Target("unix:/run/new.sock"), None, Load(rate=50, seconds=10), running=running)
    assert runner.stops == [False, True]  # the warm-up is not
    assert (dict(found.ended), found.looks) == ({}, 0)
    again = ld.TrialLoad.unpack(found.pack())
    assert (again.ended, again.looks) == ({}, 0)


class Over:
    """Sees at once that the candidate has failed, three seconds into the load."""

    looks = 2
    seen: Mapping[str, Samples] = {}
    ended = early.Ended("it failed", 3.0, 10.0, 0.001)

    def __init__(self, *_: object) -> None: ...

    def __call__(self) -> str:
        return self.ended.why


class Stopped(Pretender):
    """Ends the load three seconds after its begin, when it is told to stop."""

    def __call__(self, launches: Sequence[h2.Launch], stop: Callable[[], str] | None = None) -> list[h2.Finished]:
        ended = super().__call__(launches)
        if stop is None:
            return ended
        at = min(end.started for end in ended) + 3.0
        unbegun = h2.Finished(None, "", "", "", 0.0, at, stopped=at)
        return [replace(end, stdout="", code=-9, stopped=at) if end.started < at else unbegun for end in ended]


def test_of_a_load_that_was_ended_the_time_counts_whose_requests_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "EarlyWatch", Over)
    running = phases.Running(runner=Stopped(), early=early.Early(RULE))
    found = ld.run_trial_load(h2.Target("unix:/run/new.sock"), None, Load(rate=50, seconds=10), running=running)
    (begin, end), samples = found.candidate.loaded[0], found.candidate
    assert end - begin == pytest.approx(2.0, abs=0.01)  # of the last second no request counts
    assert samples.planned == pytest.approx(100, abs=15)
    assert not samples.whole
    assert samples.origin_s > 0.0
    assert found.cost_core_share == pytest.approx(samples.cpu_seconds / 3.0, rel=0.01)
    again = ld.TrialLoad.unpack(found.pack()).candidate
    assert (again.whole, again.origin_s) == (False, samples.origin_s)


def test_the_verdict_is_made_from_what_the_look_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came in until the load had stopped could turn a fail that is sure into one that is not."""
    watch = ended(Server(latency_ms=math.inf))
    assert watch.ended is not None
    assert watch.seen["candidate"].planned > 0
    assert ended(Server()).seen == {}

    class Seen(Over):
        seen = watch.seen

    monkeypatch.setattr(phases, "EarlyWatch", Seen)
    running = phases.Running(runner=Stopped(), early=early.Early(RULE))
    found = ld.run_trial_load(h2.Target("unix:/run/new.sock"), None, Load(rate=50, seconds=10), running=running)
    assert found.candidate.latency_ms == watch.seen["candidate"].latency_ms
