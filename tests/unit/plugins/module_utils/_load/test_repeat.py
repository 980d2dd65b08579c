# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The load of a trial on the live generation alone, with a runner that only pretends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits, Load, LoadPath
from ansible_collections.headcount.gunicorn.plugins.module_utils._load import h2load as h2
from ansible_collections.headcount.gunicorn.plugins.module_utils._load.phases import Protected, Running
from ansible_collections.headcount.gunicorn.plugins.module_utils._load.repeat import repeat_load
from pretender import Pretender
from test_trialload import count_of, targets


class Asking(Pretender):
    """Asks several times whether it is to stop."""

    def __call__(self, launches: Sequence[h2.Launch], stop: Callable[[], str] | None = None) -> list[h2.Finished]:
        if stop is not None:
            any(stop() for _ in range(5))
        return super().__call__(launches, stop)


LIVE = Protected(h2.Target("unix:/run/live.sock"), Limits(p95_ms=500), lambda: 0)
LOAD = Load(paths=(LoadPath("/"), LoadPath("/slow")), rate=20, seconds=10)


def test_it_asks_the_live_generation_gently_first_and_then_at_the_rate() -> None:
    runner = Pretender()
    found = repeat_load(LIVE, LOAD, hurt=lambda: "", running=Running(runner=runner))
    calm, load = runner.calls
    assert set(targets(calm)) == set(targets(load)) == {"/run/live.sock"}
    assert sum(map(count_of, calm)) <= 0.25 * 20 * 3
    assert found.samples is not None
    assert (found.samples.planned, found.stopped) == (200, "")


def test_it_stops_when_users_are_hurt_and_tells_no_figures() -> None:
    told = iter(["", "", "2 of its workers died"])
    seconds = iter(range(100))
    found = repeat_load(
        LIVE, LOAD, hurt=lambda: next(told), running=Running(runner=Asking()), clock=lambda: next(seconds)
    )
    assert found.samples is None
    assert found.stopped.startswith("after 2.0 s: 2 of its workers died; alone it answered ")


def test_what_hurt_users_before_the_load_is_told_as_such() -> None:
    runner = Pretender()
    found = repeat_load(LIVE, LOAD, hurt=lambda: "it uses 90 of the 100 MiB", running=Running(runner=runner))
    assert found.stopped.startswith("before its load began: it uses 90 of the 100 MiB; alone it ")
    assert len(runner.calls) == 1, "nobody was asked at the rate of the load"


def test_without_a_rate_there_is_no_load() -> None:
    with pytest.raises(h2.LoadError):
        repeat_load(LIVE, Load(), hurt=lambda: "", running=Running())
