# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The load test of what is live: what stands in its way, what stops it, and what is kept of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils import _hosttool
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import (
    loadtests,
    loadtestunits,
    lock,
    store,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.answers import PATH, WELL, Answers
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.failures import StepFailed
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.loadtests import Entry
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.run import Run
from ansible_collections.headcount.gunicorn.plugins.module_utils._host import loadtest
from ansible_collections.headcount.gunicorn.plugins.module_utils._load.command import LoadError
from ansible_collections.headcount.gunicorn.plugins.module_utils._load.repeat import Repeated
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Completed, Systemd
from ansible_collections.headcount.gunicorn.plugins.module_utils._recorder.counts import Tally
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import guarding
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.app import AppOnHost
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.guarding import Before, Reading
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.hurting import hurt
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.types import Samples

NOW = 1_795_000_000.0
APP: dict[str, Any] = {
    "name": "shop",
    "listen": "0.0.0.0:8000",
    "health": {"path": "/healthz", "timeout_seconds": 5},
    "load": {"paths": [{"path": "/"}], "rate": 50, "seconds": 30},
    "limits": {"error_rate": 0.01, "memory_percent": 80},
    "load_test": {"calendar": "Sun 04:00", "rate": 20, "seconds": 10},
}
LATENCIES = [*range(1, 98), 200.0, float("inf"), float("inf")]
SAMPLES = Samples([0.0] * 100, LATENCIES, [200] * 98 + [0, 0], 100, 0.1, 2, 10.0)


DONE = Repeated(SAMPLES)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppOnHost:
    made = AppOnHost("shop", Run("r1", "root", "host", "now"), str(tmp_path), Systemd(answer), lambda: NOW)
    os.makedirs(made.layout.state)
    for number in (1, 2):
        store.begin(made.layout, number, "0" * 16)
        record = {"app": APP, "plan": {"settings": {"memory_max_mib": {"value": 200}}}, "release": "r"}
        store.write(made.layout, number, {}, record)
        store.finish(made.layout, number)
    store.activate(made.layout, 2)
    monkeypatch.setattr(loadtest, "look", lambda *_: Answers(WELL, (), "well"))
    return made


def answer(command: Any, timeout_seconds: float) -> Completed:
    return Completed(0, "", "")


def repeated(done: Repeated, seen: list[Any] | None = None) -> Callable[..., Repeated]:
    def repeat(protected: Any, load: Any, hurt: Callable[[], str], running: Any) -> Repeated:
        if seen is not None:
            seen.extend([protected.target.address, load.rate, load.seconds, hurt()])
        return done

    return repeat


def run(app: AppOnHost, done: Repeated = DONE, seen: list[Any] | None = None) -> str:
    return loadtests.words([loadtest.load_test(app, repeated(done, seen), lambda: None)])


def test_the_load_of_the_trial_goes_to_what_is_live_at_the_declared_rate(app: AppOnHost) -> None:
    seen: list[Any] = []
    told = run(app, seen=seen)
    assert seen == [f"unix:{app.layout.private_socket(2)}", 20, 10, ""]
    assert told == (
        "load test of 2026-11-18 11:06Z at 20 requests a second: p50 50 ms, p95 95 ms, 2 of 100 requests failed"
    )
    (entry,) = loadtests.read(app.layout)
    assert entry == Entry(
        *("2026-11-18T11:06:40.000Z", 2, 20, 10, "done"), requests=100, failures=2, p50_ms=50, p95_ms=95, p99_ms=None
    )
    assert os.stat(os.path.join(app.layout.state, loadtests.FILE)).st_mode & 0o777 == 0o600


def test_what_hurts_users_stops_it_and_no_figure_is_kept(app: AppOnHost) -> None:
    assert "stopped, after 2.0 s: 3 died" in run(app, Repeated(None, "after 2.0 s: 3 died"))
    (entry,) = loadtests.read(app.layout)
    assert (entry.outcome, entry.requests, entry.p95_ms) == ("stopped", None, None)


def test_what_was_no_measurement_is_none(app: AppOnHost) -> None:
    assert "unmeasured, the generator was late" in run(
        app, Repeated(replace(SAMPLES, complete=False, why="the generator was late"))
    )

    def fails(*_: Any, **__: Any) -> Repeated:
        raise LoadError("too few open files")

    assert "unmeasured, too few open files" in loadtests.words([loadtest.load_test(app, fails, lambda: None)])


@pytest.mark.parametrize("way", ["lease", "guard", "sick", "tool"])
def test_it_gives_way(app: AppOnHost, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = app.layout
    why = "h2load is not on this host"
    if way == "lease":
        with app.lock.step(Run("r7", "root", "elsewhere", "now"), "stage"):
            assert "process" in app.lock.at_work()
        monkeypatch.setattr(lock, "start_ticks", lambda _: "")  # that process has ended, its run has not
        assert app.lock.at_work() == (why := "run r7 is at work on it")
    elif way == "guard":
        guarding.Orders(2, 1, NOW + 60, 1.0, Before(), "a boot").write(layout)
        monkeypatch.setattr(loadtest, "watches", lambda _, orders: orders.generation == 2)
        why = "generation 2 is watched by its guard"
    elif way == "sick":
        monkeypatch.setattr(loadtest, "look", lambda *_: Answers(PATH, ("/",), "GET / answered 500"))
        why = "the live generation is not well: GET / answered 500"
    tested = loadtest.load_test(app, repeated(Repeated(SAMPLES)), lambda: why if way == "tool" else None)
    assert f"skipped, {why}" in loadtests.words([tested])
    assert [one.outcome for one in loadtests.read(layout)] == ["skipped"]


def test_a_rollout_or_another_generation_ends_it(app: AppOnHost) -> None:
    test = loadtest._Test(app, 2, APP, 200.0)
    assert test.in_the_way() == ""
    store.activate(app.layout, 1)
    assert test.in_the_way() == "generation 2 is not live any more"


def test_nothing_declared_is_told(app: AppOnHost) -> None:
    store.begin(app.layout, 3, "0" * 16)
    store.write(app.layout, 3, {}, {"app": {**APP, "load_test": None}, "plan": {}, "release": "r"})
    store.finish(app.layout, 3)
    store.activate(app.layout, 3)
    with pytest.raises(StepFailed, match="generation 3, which is live, declares no load_test"):
        run(app)


def test_the_file_stays_small_and_what_is_torn_is_passed_over(app: AppOnHost) -> None:
    for hour in range(loadtests.MOST + 5):
        loadtests.append(app.layout, Entry(f"t{hour}", 1, 20, 10, "done", p95_ms=float(hour), requests=9, failures=0))
    path = Path(app.layout.state, loadtests.FILE)
    path.write_text(path.read_text() + '{"time": "torn', encoding="utf-8")
    found = loadtests.read(app.layout)
    assert (len(found), found[0].time, found[-1].time) == (loadtests.MOST, "t5", f"t{loadtests.MOST + 4}")


def test_the_trend_is_told_of_tests_at_the_same_rate() -> None:
    old = [Entry("2026-11-01T04:00:00Z", 1, 20, 10, "done", "", 200, 0, 10, value, 60) for value in (40.0, 55.0)]
    other = Entry("2026-11-08T04:00:00Z", 1, 90, 10, "done", "", 900, 0, 10, 900, 950)
    skipped = Entry("2026-11-09T04:00:00Z", 1, 20, 10, "skipped", "run r7 is at work on it")
    last = Entry("2026-11-15T04:00:00Z", 2, 20, 10, "done", "", 200, 1, 12, 70, 90)
    assert loadtests.words([*old, other, skipped, last]) == (
        "load test of 2026-11-15 04:00Z at 20 requests a second: p50 12 ms, p95 70 ms, 1 of 200 requests failed; "
        "p95 of the 2 before it 40 to 55 ms"
    )
    assert loadtests.words([old[0], last]).endswith("; p95 before 40 ms")
    assert loadtests.words([]) == ""


def test_its_units_come_with_the_generation(app: AppOnHost) -> None:
    made = loadtestunits.units(APP, 7, app.layout)
    assert list(made) == ["shop@7-load-test.service", "shop@7-load-test.timer"]
    service, timer = made.values()
    assert "ExecStart=/usr/local/sbin/headcount load-test shop\n" in service
    assert "TimeoutStartSec=310\n" in service
    assert "OnCalendar=Sun 04:00\n" in timer
    assert "Persistent=no\n" in timer
    assert "SuccessExitStatus=3 4 5\n" in service
    assert loadtestunits.units({**APP, "load_test": None}, 7, app.layout) == {}


def tally(good: int, bad: int = 0, **ends: int) -> Tally:
    return Tally(
        begun=good + bad, outcomes={**Tally().outcomes, "2xx": good, "5xx": bad}, ends={**Tally().ends, **ends}
    )


LIMITS = Limits(error_rate=0.01, memory_percent=80)


@pytest.mark.parametrize(
    ("first", "now", "told"),
    [
        (Reading(0, tally(1000)), Reading(5, tally(1200)), ""),
        (Reading(0, tally(1000)), Reading(5, tally(1100, 1)), ""),
        (Reading(0, tally(1000)), Reading(5, tally(1100, 20)), "20 of all 120 requests failed"),
        (Reading(0, tally(1000, 300)), Reading(5, tally(1080, 320)), ""),
        (Reading(0, tally(10, killed=4)), Reading(5, tally(20, killed=5)), "1 of its workers died"),
        (Reading(0, tally(10, recycled=1)), Reading(5, tally(20, recycled=9)), ""),
        (Reading(0, tally(10), oom_kills=1), Reading(5, tally(10), oom_kills=3), "2 of its workers died"),
        (Reading(0, tally(1), 90), Reading(5, tally(2), 161), "it uses 161 of the 200 MiB that it may have"),
        (Reading(0, tally(1), 170), Reading(5, tally(2), 169), ""),
        (Reading(0, tally(0)), Reading(5, tally(0)), ""),
    ],
)
def test_users_are_hurt_by_what_became_worse(first: Reading, now: Reading, told: str) -> None:
    assert hurt(first, now, LIMITS, 200.0).startswith(told)
    assert bool(hurt(first, now, LIMITS, 200.0)) is bool(told)


@pytest.mark.parametrize(
    ("outcome", "status"), [("done", 0), ("skipped", 3), ("stopped", 4), ("unmeasured", 5), ("", 1)]
)
def test_its_exit_status_says_whether_something_was_measured(
    app: AppOnHost, monkeypatch: pytest.MonkeyPatch, outcome: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def test(app: AppOnHost) -> Entry:
        if not outcome:
            raise StepFailed("load test", "nothing of shop is live on this host")
        return Entry("2026-11-15T04:00:00Z", 2, 20, 10, outcome, "why", 200, 0)

    monkeypatch.setattr(_hosttool, "load_test", test)
    monkeypatch.setattr(_hosttool.os, "geteuid", lambda: 0)
    assert _hosttool.main(["load-test", "shop"], app.root) == status
    said = capsys.readouterr()
    assert (f"{outcome}, why" in said.out) is (status in (3, 4, 5))


def test_an_entry_is_plain(app: AppOnHost) -> None:
    run(app)
    text = Path(app.layout.state, loadtests.FILE).read_text(encoding="utf-8")
    assert json.loads(text) == loadtests.read(app.layout)[0].to_dict()
