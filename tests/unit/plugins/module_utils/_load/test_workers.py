# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which worker of an instance stood still, by the signs of life that it gives: what is seen, and how often that is
wrong, by simulation with fixed seeds."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._load import workers as w
from ansible_collections.headcount.gunicorn.plugins.module_utils._recorder.counts import Counts, Tally, Worker
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.workerchecks import STILL_S

SECONDS = 30.0
Beats = Callable[[int, float], int]
"""When the worker with that process id last gave a sign of life, at a second: any number that changes with it."""


def steady(pid: int, second: float) -> int:
    return int(second + 0.1 * pid)


def counted(*rows: Worker) -> Callable[[str], Counts]:
    return lambda _: Counts(Tally(), rows, 0.0, 1, {}, 1, 0, 0, 0.0, 0.0)


class Instance:
    """Workers 11, 12, ... that are looked at from second 0 on."""

    def __init__(
        self, signs: Beats, workers: int = 2, stopped: Callable[[int, float], bool] | None = None, **more: Any
    ):
        self.now = 0.0
        self.pids = range(11, 11 + workers)
        self.log = w.WorkerLog(
            clock=lambda: self.now,
            beat=lambda pid: signs(pid, self.now),
            stopped=lambda pid: bool(stopped and stopped(pid, self.now)),
            **{"beats": True, **more},
        )

    def run(self, seconds: float = SECONDS, step: Callable[[], float] = lambda: 0.5) -> Instance:
        end = self.now + seconds
        while self.now < end:
            self.log.look([(pid, 1) for pid in self.pids])
            self.now += step()
        return self

    def stills(self, pid: int = 11) -> list[list[object]]:
        return list(self.log.told()[pid, 1]["still"])


def stops(at: float, seconds: float, only: int | None = 11) -> Beats:
    """Beats of workers, of which one (or all) stand still from a second on."""

    def beats(pid: int, second: float) -> int:
        held = only in (None, pid) and at <= second
        return steady(pid, at) if held and second < at + seconds else steady(pid, second)

    return beats


def test_one_that_stands_still_while_the_other_goes_on_is_seen() -> None:
    instance = Instance(stops(10.0, 4.0)).run()
    ((begin, seconds, alone),) = instance.stills()
    assert begin == pytest.approx(10.0, abs=1.1)
    assert seconds == pytest.approx(4.0, abs=1.1)
    assert alone is True
    assert instance.stills(12) == []


def test_one_that_never_goes_on_again_is_seen_at_the_end() -> None:
    ((begin, seconds, alone),) = Instance(stops(20.0, 60.0)).run().stills()
    assert begin == pytest.approx(20.0, abs=1.1)
    assert seconds == pytest.approx(9.0, abs=1.2)
    assert alone is True


def test_where_all_stand_still_none_does_alone() -> None:
    stills = Instance(stops(10.0, 4.0, only=None)).run().stills()
    assert [alone for _, _, alone in stills] == [False]


def test_a_host_that_stands_still_is_nobodys_fault() -> None:
    instance = Instance(lambda pid, second: steady(pid, min(second, 10.0) if second < 14.2 else second))
    instance.run(10.0)
    instance.now += 4.0  # nobody looks meanwhile
    assert instance.run(10.0).stills() == []


def test_a_worker_that_imports_its_app_has_not_begun() -> None:
    """Its file is made before it begins: until it is touched again, nothing is expected of it."""
    assert Instance(lambda pid, second: 1 if pid == 11 and second < 12.0 else steady(pid, second)).run().stills() == []


def test_one_that_is_replaced_does_not_stand_still_at_its_end() -> None:
    instance = Instance(stops(10.0, 60.0)).run(14.0)
    instance.pids = range(12, 14)
    assert instance.run(10.0).stills() == []


@pytest.mark.parametrize(
    ("in_flight", "stopped", "seen"), [(0, False, False), (1, False, True), (0, True, True), (None, False, False)]
)
def test_a_sync_worker_that_waits_for_a_request_stands_not_still(
    in_flight: int | None, stopped: bool, seen: bool
) -> None:
    """It gives a sign of life between two requests alone."""
    rows = [] if in_flight is None else [Worker(11, 1, 0.0, 9, in_flight, 9 - in_flight, 0)]
    held = stops(10.0, 6.0)
    instance = Instance(
        held,
        beats=False,
        directory="/run/x",
        read=counted(*rows),
        stopped=lambda pid, second: stopped and pid == 11 and 10.0 <= second < 16.0,
    ).run()
    assert bool(instance.stills()) is seen


def test_what_the_recorder_counts_of_a_worker_is_kept() -> None:
    rows = (Worker(11, 1, 0.0, 50, 0, 50, 45), Worker(12, 2, 0.0, 60, 1, 59, 0))
    told = Instance(steady, directory="/run/x", read=counted(*rows)).run(3.0).log.told()
    assert [(told[pid, 1]["requests"], told[pid, 1]["errors"]) for pid in (11, 12)] == [(50, 45), (59, 0)]
    assert "requests" not in Instance(steady).run(3.0).log.told()[11, 1]


def test_the_seconds_are_told_from_the_end_of_the_warm_up() -> None:
    assert w.moved([{"pid": 1, "still": [[12.0, 3.5, True]]}, {"pid": 2}], 10.0) == [
        {"pid": 1, "still": [[2.0, 3.5, True]]},
        {"pid": 2},
    ]


@pytest.mark.parametrize("worst_s", [0.3, 0.8, 1.5])
def test_a_thousand_healthy_instances_on_hosts_of_all_kinds_of_calm_have_none(worst_s: float) -> None:
    """Beats that come late, a sampler that looks late, pauses of the whole host: three workers, 30 s each."""
    longest = 0.0
    for seed in range(1000):
        source = random.Random(f"{seed} {worst_s}")
        at = {pid: [0.0] for pid in (11, 12, 13)}
        for times in at.values():
            while times[-1] < SECONDS + 5:
                times.append(times[-1] + 1.0 + min(worst_s, source.expovariate(4.0 / worst_s)))

        def beats(pid: int, second: float, at: dict[int, list[float]] = at) -> int:
            return sum(time <= second for time in at[pid])

        def late(source: random.Random = source) -> float:
            pause = source.uniform(1.0, 4.0) if source.random() < 0.005 else 0.0
            return 0.5 + source.expovariate(10.0) + pause

        told = Instance(beats, workers=3).run(step=late).log.told()
        longest = max([longest, *(float(still[1]) for one in told.values() for still in one["still"])])
    assert longest < STILL_S


def test_the_file_of_a_worker_is_found_by_its_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    beat = w.BeatFiles()
    assert beat(os.getpid()) is None
    with tempfile.NamedTemporaryFile(prefix="wgunicorn-") as file:
        first = beat(os.getpid())
        assert first is not None
        monkeypatch.setattr(os, "listdir", lambda _: pytest.fail("it is looked for once"))
        os.utime(file.fileno(), (1.0, 1.0))
        assert (beat(os.getpid()) or 0) >= first


def test_a_process_without_that_file_is_not_searched_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    beat, scans = w.BeatFiles(), []
    monkeypatch.setattr(os, "listdir", lambda folder: scans.append(folder) or [])
    assert [beat(2**22 + 1) for _ in range(50)] == [None] * 50
    assert len(scans) == w.MOST_SCANS


def test_a_process_that_is_stopped_is_told() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"])
    try:
        os.waitpid(child.pid, os.WUNTRACED)
        assert w.is_stopped(child.pid)
        assert not w.is_stopped(os.getpid())
        assert not w.is_stopped(2**22 + 1)
    finally:
        child.kill()
        child.wait(10)
