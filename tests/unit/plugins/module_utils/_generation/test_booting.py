# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A start that leads nowhere is ended, a slow one is not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts.workerends import WorkerEnd
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.booting import Booting, Waiting
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.http import Answer
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import ABSENT, UnitState

RUNS = replace(ABSENT, load="loaded", active="active", invocation="a")


def ends(count: int, how: str = "exited at once with status 1", recycled: bool = False) -> list[WorkerEnd]:
    return [WorkerEnd(serial, 100 + serial, recycled, how) for serial in range(1, count + 1)]


def looks(died_at: list[float], alive_from: list[float], until: float = 60.0) -> Iterator[tuple[float, str]]:
    """What is said every quarter of a second of workers that died at those times, beside those that live from then on
    and one that replaces each that died."""
    booting = Booting(1000.0)
    for quarter in range(int(until * 4)):
        now = quarter / 4
        dead = [at for at in died_at if at <= now]
        born = [at for at in alive_from if at <= now] + ([dead[-1]] if dead and dead[-1] != died_at[-1] else [])
        workers = [(50 + index, round(at * 100)) for index, at in enumerate(born)]
        yield now, booting.looping(1000.0 + now, workers, ends(len(dead)))


def first(died_at: list[float], alive_from: list[float]) -> tuple[float, str] | None:
    return next(((now, said) for now, said in looks(died_at, alive_from) if said), None)


def every(seconds: float, until: float = 60.0, begin: float = 0.0) -> list[float]:
    return [begin + seconds * turn for turn in range(1, int((until - begin) / seconds))]


def test_workers_that_only_die_are_told_after_ten_seconds() -> None:
    found = first(every(1.0), [])
    assert found is not None
    now, said = found
    assert 10.0 <= now < 12.0
    assert said == f"{int(now)} of its workers died in the first {now:.0f} s (exited at once with status 1)"


def test_workers_that_die_late_are_given_three_turns() -> None:
    found = first(every(6.0), [])
    assert found is not None
    assert found[0] == 18.0


@pytest.mark.parametrize(
    ("died_at", "alive_from"),
    [
        ([], [0.0]),  # one that imports for a minute
        ([1.0, 2.0, 3.0], [3.0]),  # its database was not up yet
        ([0.5] * 7, [0.0, 0.5]),  # eight made the same table at once, one of them did
        (every(1.0), [0.0]),  # one boots slowly, while another dies again and again
        (every(1.0, 9.0), [9.0]),
    ],
)
def test_a_slow_start_is_none(died_at: list[float], alive_from: list[float]) -> None:
    assert first(died_at, alive_from) is None


def test_recycled_workers_and_those_that_nobody_counts() -> None:
    booting = Booting(0.0)
    assert booting.looping(20.0, [], ends(9, recycled=True)) == ""
    assert booting.looping(30.0, [], None) == ""


@pytest.mark.parametrize(
    ("now", "state", "over"),
    [
        (10.0, RUNS, False),
        (10.0, replace(RUNS, active="activating"), False),
        (10.0, replace(RUNS, active="failed"), True),
        (10.0, replace(RUNS, restarts=1), True),
        (10.0, replace(RUNS, invocation="b"), True),
        (10.0, replace(RUNS, active="inactive"), True),
        (1.0, replace(RUNS, active="inactive"), False),
        (10.0, replace(RUNS, load="not-found"), True),
    ],
)
def test_a_unit_that_has_ended(now: float, state: UnitState, over: bool) -> None:
    booting = Booting(0.0)
    assert not booting.over(0.1, RUNS)
    assert booting.over(now, state) is over


def test_a_request_that_waits_holds_nobody_up() -> None:
    release = threading.Event()

    def ask() -> Answer:
        release.wait(30.0)
        return Answer(200, b"ok", 1.0)

    waiting = Waiting(ask)
    assert waiting.answer(0.0) is None
    release.set()
    found = waiting.answer(30.0)
    assert found is not None
    assert found.status == 200


def test_what_asking_raises_is_raised_where_it_is_waited_for() -> None:
    def ask() -> Answer:
        raise OSError("no thread")

    with pytest.raises(OSError, match="no thread"):
        Waiting(ask).answer(30.0)
