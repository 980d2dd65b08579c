# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""When the live generation counts as suffering, and what is read of the kernel's accept queues."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits
from ansible_collections.headcount.gunicorn.plugins.module_utils._load import h2load as h2
from ansible_collections.headcount.gunicorn.plugins.module_utils._load import livewatch as lw
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.judge import Samples

CALM = lw.Calm(12, 0, 8.0, 14.0, 12.5, 0)
LIMITS = Limits(p95_ms=250, error_rate=0.01)
BOUNDS = lw.Bounds.of(LIMITS, CALM)


def look(
    due: int = 50, failed: int = 0, overdue: int = 0, latency: tuple[float, ...] = (), queue: int | None = 0
) -> lw.Look:
    return lw.Look(due, failed, overdue, latency or (8.0,) * (due - failed), queue)


@pytest.mark.parametrize(
    ("calm", "limits", "expected"),
    [
        (CALM, LIMITS, lw.Bounds(0.02, 250.0, 108.0, 2.0, 10)),
        (CALM, Limits(p95_ms=3000, error_rate=0.2), lw.Bounds(0.2, 3000.0, 108.0, 3.0, 10)),
        # a slow path among fast ones: its time alone does not count
        (lw.Calm(12, 0, 8.0, 900.0, 12.5, 0), LIMITS, lw.Bounds(0.02, None, 1800.0, 4.5, 10)),
        (lw.Calm(12, 0, 100.0, 120.0, 12.5, 9), LIMITS, lw.Bounds(0.02, 250.0, 500.0, 2.0, 23)),
        (lw.Calm(), Limits(), lw.Bounds(0.02, None, 100.0, 2.0, 10)),
    ],
)
def test_from_where_on_it_suffers(calm: lw.Calm, limits: Limits, expected: lw.Bounds) -> None:
    assert lw.Bounds.of(limits, calm) == expected


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (look(), ""),
        (look(failed=1), ""),
        (look(failed=3), ""),  # may be chance
        (look(failed=10), "of its latest 50 requests 10 failed"),
        (look(overdue=30), "of its latest 50 requests 30 had no answer after 2 s"),
        (look(failed=5, overdue=5), "of its latest 50 requests 5 failed and 5 had no answer after 2 s"),
        (look(due=4, failed=4), ""),
    ],
)
def test_failures(seen: lw.Look, words: str) -> None:
    assert lw.failing(seen, BOUNDS) == words


@pytest.mark.parametrize(
    ("latency", "words"),
    [
        ((8.0,) * 50, ""),
        ((90.0,) * 50, ""),
        ((8.0,) * 48 + (400.0,) * 2, ""),
        ((8.0,) * 35 + (400.0,) * 15, "15 of its latest 50 requests took longer than limits.p95_ms of 250 ms"),
        ((150.0,) * 50, "half of its latest 50 requests took 150 ms or more"),
        ((900.0,) * 4, ""),  # too few to say
    ],
)
def test_slowness(latency: tuple[float, ...], words: str) -> None:
    assert lw.slow(look(latency=latency), BOUNDS) == words


def test_waiting_users() -> None:
    assert lw.crowded(look(queue=9), BOUNDS) == ""
    assert lw.crowded(look(queue=None), BOUNDS) == ""
    assert lw.crowded(look(queue=12), BOUNDS) == "12 connections of users waited to be accepted"


class Load:
    """h2load's log of the live generation as it grows: 20 requests a second for a minute, due from second 1000 on."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.rows: list[tuple[float, int, float]] = []
        self.queue = 0
        self.ahead = 0.0
        lane = h2.Lane(0, 1200, 50, 0.0)
        self.watch = lw.LiveWatch(
            [h2.Launch(["h2load"], 0.0, "live.log", 99.0)], [lane], BOUNDS, queue=lambda: self.queue,
            clock=lambda: self.now, read=lambda path: self.text(), monotonic=lambda: self.now - self.ahead,
            exists=lambda path: True,
        )  # fmt: skip

    def text(self) -> str:
        return "".join(
            f"{int(start * 1e6)}\t{status}\t{int(ms * 1000)}\n"
            for start, status, ms in self.rows
            if start + ms / 1000 <= self.now
        )

    def run(self, seconds: float, ms: float = 8.0, status: int = 200, lost: bool = False) -> str:
        """Let time pass in the steps of the runner; each request that is due is answered so."""
        for _ in range(round(seconds * 20)):
            if not lost:
                self.rows.append((self.now, status, ms))
            why = self.watch()
            if why:
                return why
            self.now += 0.05
        return ""


def test_a_calm_minute_is_no_suffering() -> None:
    load = Load()
    assert load.run(60) == ""


@pytest.mark.parametrize(("seconds", "words"), [(3600.0, "+3600.0"), (-2.0, "-2.0"), (0.05, "")])
def test_a_clock_that_is_set_is_not_taken_for_suffering(seconds: float, words: str) -> None:
    load = Load()
    assert load.run(10) == ""
    load.now += seconds
    load.ahead += seconds
    assert load.run(10) == (f"the host's clock was set by {words} s" if words else "")
    assert bool(load.watch.clock_set) is bool(words)


@pytest.mark.parametrize(
    ("trouble", "seconds", "words"),
    [
        ({"status": 503}, 2.0, "failed"),
        ({"lost": True}, 4.0, "had no answer after 2 s"),
        ({"ms": 300.0}, 4.5, "took longer than limits.p95_ms of 250 ms"),
        ({"ms": 160.0}, 4.5, "took 1"),
        ({"ms": 60_000.0}, 4.0, "had no answer"),
    ],
)
def test_it_is_stopped_within_seconds(trouble: dict[str, Any], seconds: float, words: str) -> None:
    load = Load()
    assert load.run(10) == ""
    begin = load.now
    assert words in load.run(10, **trouble)
    assert load.now - begin <= seconds


def test_a_queue_of_users_stops_it() -> None:
    load = Load()
    assert load.run(5) == ""
    load.queue = 30
    assert load.run(3) == "30 connections of users waited to be accepted"
    assert load.now <= 1007.0


@pytest.mark.parametrize("seconds", [0.3, 0.6, 1.0])
def test_a_moment_in_which_the_machine_stands_still_is_no_suffering(seconds: float) -> None:
    load = Load()
    assert load.run(10) == ""
    end = load.now + seconds
    for _ in range(round(seconds * 20)):  # what comes in meanwhile is answered at its end, in one go
        load.rows.append((load.now, 200, 1000 * (end - load.now) + 8))
        assert load.watch() == ""
        load.now += 0.05
    assert load.run(10) == ""


def test_a_generator_that_is_held_up_for_a_moment_is_no_failure() -> None:
    load = Load()
    assert load.run(5) == ""
    load.rows = [(start + 0.04, status, ms) for start, status, ms in load.rows]
    assert load.run(10) == ""


@pytest.mark.parametrize("late", [0.4, 1.5, 4.0])
@pytest.mark.parametrize("lost", [False, True])
def test_a_generator_that_begins_late_is_no_failure_of_what_it_asks(late: float, lost: bool) -> None:
    """On a busy machine a process takes its time to begin: what it did not ask yet is not unanswered."""
    load = Load()
    load.watch.exists = lambda _: load.now >= 1000.0 + late
    assert load.run(late, lost=True) == ""
    assert bool(load.run(10, lost=lost)) is lost


def test_processes_that_each_begin_late_are_no_failure() -> None:
    """Trains of five requests, one after another, each of which begins 0.7 s late."""
    now, late = [1000.0], 0.7
    launches = [h2.Launch(["h2load"], 0.25 * place, str(place), 99.0) for place in range(160)]
    lanes = [h2.Lane(0, 5, 50, 0.0)] * len(launches)

    def text(name: str) -> str:
        starts = [1000.0 + 0.25 * int(name) + late + 0.05 * number for number in range(5)]
        return "".join(f"{int(start * 1e6)}\t200\t8000\n" for start in starts if start + 0.008 <= now[0])

    watch = lw.LiveWatch(
        launches, lanes, BOUNDS, clock=lambda: now[0], read=text, monotonic=lambda: now[0],
        exists=lambda name: now[0] >= 1000.0 + 0.25 * int(name) + late,
    )  # fmt: skip
    while now[0] < 1038.0:
        assert watch() == ""
        now[0] += 0.05


def test_alone() -> None:
    good = Samples(
        [0.0, 0.1, 0.2, 0.3], [5.0, 9.0, 7.0, math.inf], [200, 200, 200, 500], 4, 0.1, 1, 10.0, planned_rate=10.0
    )
    calm = lw.Calm.of(good, 3)
    assert calm == lw.Calm(4, 1, 7.0, 9.0, 10.0, 3)
    assert not calm.sick(LIMITS)
    assert calm.sentence() == "alone it answered 3 of 4 requests at 10 a second, half of them within 7 ms"
    dead = lw.Calm.of(Samples([0.0], [math.inf], [0], 1, 0.1, 1, 10.0, planned_rate=10.0))
    assert dead.sick(LIMITS)
    slow = replace(calm, failures=0, p50_ms=4037.0)  # a release that cures it must be able to go live
    assert slow.sick(LIMITS)
    assert not slow.sick(replace(LIMITS, p95_ms=5000))
    assert not slow.sick(replace(LIMITS, p95_ms=None))
    assert dead.to_dict()["p50_ms"] is None
    assert dead.sentence() == "alone it answered 0 of 1 requests at 10 a second"


def test_what_fails_alone_may_go_on_failing() -> None:
    some = lw.Bounds.of(LIMITS, lw.Calm(15, 4, 20.0, 30.0, 10.0, 0))
    assert 4 / 15 < some.error_rate < 0.8
    assert lw.Bounds.of(LIMITS, lw.Calm(15, 0, 20.0, 30.0, 10.0, 0)).error_rate == 0.02
