# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The guard's loop: it goes back once it is sure, writes down why, and ends when there is nothing more to guard."""

from __future__ import annotations

import errno
import math
import os
import signal
from collections.abc import Callable
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import (
    generations,
    goingback,
    ledger,
    store,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.beginnable import Beside
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.failures import StepFailed
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.hoarding import Hoard
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.lock import Busy
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.run import Run
from ansible_collections.headcount.gunicorn.plugins.module_utils._host import guard as guarded
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import (
    ABSENT,
    Completed,
    Systemd,
    SystemdError,
    UnitState,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._recorder.counts import Counts, Tally
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import guarding
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.app import AppOnHost
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.guarding import Before
from ansible_collections.headcount.gunicorn.plugins.module_utils._watch.view import AppView, InstanceView

BEGAN = 1_800_000_000.0


def view(tally: Tally | None, generation: int = 2, waiting: int = 0) -> AppView:
    """What is seen of the live instance; None: nothing of it runs."""
    counts = Counts(tally, (), BEGAN, 7, {}, 1, 0, 0, 0.0, 0.0) if tally is not None else None
    one = InstanceView(
        generation, "r", True, "u", "active", counts, "", (), 8, 2, 200.0, Limits(error_rate=0.01), None, None, 0.0
    )
    return AppView("shop", generation, "0.0.0.0:8000", True, waiting, (one,) if tally is not None else (), 0.0)


def tally(good: int, errors: int) -> Tally:
    return Tally(begun=good + errors, outcomes={**Tally().outcomes, "2xx": good, "5xx": errors})


@dataclass
class Host:
    """A host with two generations, the second live, on a clock of its own."""

    app: AppOnHost
    now: list[float]
    went: list[int] = field(default_factory=list)
    asked: list[list[str]] = field(default_factory=list)
    asked_at: float = math.inf
    hoards: list[str] = field(default_factory=list)

    def run(self, views: Callable[[int], AppView]) -> str:
        looks = iter(range(1, 10_000))

        def sleep(seconds: float) -> bool:
            self.now[0] += seconds
            return self.now[0] >= self.asked_at

        return guarded.guard(self.app, sleep, lambda: views(next(looks)), lambda: self.now[0])

    @property
    def events(self) -> list[tuple[Any, Any]]:
        return [
            (entry["event"], entry.get("cause") or entry.get("evidence"))
            for entry in ledger.read(self.app.layout.ledger)
        ]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    now = [BEGAN]
    asked: list[list[str]] = []

    def runner(command: Any, timeout_seconds: float) -> Completed:
        asked.append(list(command))
        return Completed(0, "", "")

    app = AppOnHost("shop", Run("r1", "root", "host", "now"), str(tmp_path), Systemd(runner), lambda: now[0])
    os.makedirs(app.layout.state)
    for number in (1, 2):
        store.begin(app.layout, number, "0" * 16)
        whence = {"release": f"r{number}", "source_id": f"path:{number}", "digest": f"declared:{number}"}
        store.write(app.layout, number, {}, {"app": {}, "plan": {}, **whence})
        store.finish(app.layout, number)
        store.set_outcome(app.layout, number, "good")
    store.activate(app.layout, 2)
    made = Host(app, now, asked=asked)

    def back(_: AppOnHost, wanted: int, event: str, hoards: str) -> dict[str, Any]:
        assert event == "reverted"
        made.hoards.append(hoards)
        made.went.append(wanted)
        store.activate(app.layout, wanted)
        return {"from": 2, "to": wanted, "told": []}

    monkeypatch.setattr(guarded, "rollback", back)
    monkeypatch.setattr(guarding, "boot_seconds", lambda: now[0])
    utime = os.utime
    monkeypatch.setattr(os, "utime", lambda path: utime(path, (now[0], now[0])))
    guarding.Orders(2, 1, BEGAN + 600, 10.0, Before(tally(30_000, 10), 3600.0), "", BEGAN).write(app.layout)
    guarding.looked(app.layout)
    return made


def test_a_release_that_turns_bad_is_taken_back_and_the_ledger_says_why(host: Host) -> None:
    told = host.run(lambda look: view(tally(50 * min(look, 12), 25 * max(0, look - 12))))
    assert host.went == [1]
    assert told.startswith("generation 1 is live again: users were served worse after the promote: ")
    ((event, cause),) = host.events
    assert event == "failed"
    assert "requests failed" in str(cause)
    assert generations.describe(host.app.layout, 2).status == "bad"
    assert host.now[0] - BEGAN < 120
    (entry,) = ledger.taken_back(ledger.read(host.app.layout.ledger))
    assert [entry[key] for key in ("generation", "release", "source_id", "digest")] == [2, "r2", "path:2", "declared:2"]


def test_a_release_that_hangs_is_taken_back(host: Host) -> None:
    def views(look: int) -> AppView:
        served = tally(50 * min(look, 12), 0)
        hangs = look > 12
        return view(replace(served, begun=served.begun + 8 * hangs), waiting=30 * max(0, look - 12))

    told = host.run(views)
    assert "it hangs: 8 of 8 slots busy and 210 connections wait, none of its requests ended within 30 s" in told
    assert host.went == [1]


def test_a_release_whose_master_the_oom_killer_ends_is_taken_back(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def runner(command: Any, timeout_seconds: float) -> Completed:
        if any(word.startswith("MESSAGE_ID=") for word in command):
            asked.append(list(command))
            return Completed(0, "A process of this unit has been killed by the OOM killer.\n" * len(asked), "")
        return Completed(0, "", "")

    monkeypatch.setattr(host.app.systemd, "runner", runner)

    def views(look: int) -> AppView:
        seen = view(tally(50 * look, 0))
        return replace(seen, instances=(replace(seen.instances[0], unit="shop@2.service", restarts=look // 4),))

    told = host.run(views)
    assert "the OOM killer ended 2 of its processes within 40 s, as it took all of the 200 MiB that it may have" in told
    assert host.went == [1]
    assert len(asked) == 2, "only after it was started again"
    assert {"UNIT=shop@2.service", "_PID=1", f"--since=@{int(BEGAN)}"} <= set(asked[0])


@pytest.mark.parametrize("state", ["failed", "activating"])
def test_a_release_that_dies_and_does_not_come_up_is_taken_back(
    host: Host, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    dead = UnitState("loaded", state, "dead", "", 0, 0, 0, "", "", "")
    well = UnitState("loaded", "active", "running", "", 0, 0, 0, "", "", "")
    monkeypatch.setattr(host.app.systemd, "state", lambda unit: dead if host.now[0] - BEGAN > 60 else well)
    told = host.run(lambda look: view(tally(50 * look, 0) if look <= 12 else None))
    assert f"worse after the promote: shop@2.service is {state}, and has not run for 95 s" in told
    assert host.went == [1]


def test_starts_that_fail_do_not_count_as_running(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two starts it is on its way down, and for a moment of each systemd calls it active."""
    states = ["activating", "active", "deactivating"]

    def state(unit: str) -> UnitState:
        looks = round(host.now[0] - BEGAN - 60) // 5
        now = "active" if looks < 0 else states[looks % 3]
        return UnitState("loaded", now, "", "", 0, 0, looks // 3, "", f"start {looks // 3}", "")

    monkeypatch.setattr(host.app.systemd, "state", state)
    told = host.run(lambda look: view(tally(50 * min(look, 12), 0)))
    assert "shop@2.service is deactivating, and has not run for 100 s" in told
    assert host.went == [1]


def test_a_start_that_answers_is_up(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its master is started anew once a minute, and serves in between: how often that may be is another question."""

    def state(unit: str) -> UnitState:
        looks = round(host.now[0] - BEGAN) // 5
        now = "activating" if looks % 12 == 6 else "active"
        return UnitState("loaded", now, "", "", 0, 0, looks // 12, "", f"start {looks // 12}", "")

    monkeypatch.setattr(host.app.systemd, "state", state)
    assert "no breach" in host.run(lambda look: view(tally(40 * look, 0)))
    assert host.went == []


def test_what_somebody_stopped_is_let_be_and_what_died_at_the_end_is_not_called_well(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = {"now": "inactive"}
    monkeypatch.setattr(
        host.app.systemd, "state", lambda unit: UnitState("loaded", states["now"], "dead", "", 0, 0, 0, "", "", "")
    )

    def views(look: int) -> AppView:
        states["now"] = "failed" if look > 115 else "inactive"
        return view(tally(500 * look, 0) if look <= 12 else None)

    assert host.run(views).startswith("generation 2: it cannot tell: shop@2.service is failed, and has not run for")
    assert host.went == []


def test_a_good_one_is_left_and_the_ledger_says_so(host: Host) -> None:
    assert host.run(lambda look: view(tally(40 * look, look // 60))) == "generation 2: 4802 requests, no breach"
    assert host.events == [("guarded", "4802 requests, no breach")]
    assert host.went == []


@pytest.mark.parametrize("seen", [view(tally(3, 0)), view(None)])
def test_without_traffic_it_goes_nowhere(host: Host, seen: AppView) -> None:
    assert "not enough traffic to tell" in host.run(lambda look: seen)
    assert host.went == []


def test_it_ends_when_another_generation_is_live(host: Host) -> None:
    def views(look: int) -> AppView:
        if look == 3:
            store.activate(host.app.layout, 1)
        return view(tally(10 * look, 10 * look))

    assert host.run(views) == "generation 2 is not live any more; its guard ends"
    assert host.went == []


def test_what_another_run_holds_is_taken_back_as_soon_as_it_may(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    real, tries = guarded.rollback, []

    def busy(*arguments: Any, **named: Any) -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise Busy("held")
        return real(*arguments, **named)

    monkeypatch.setattr(guarded, "rollback", busy)
    host.run(lambda look: view(tally(10 * look, 20 * look)))
    assert (len(tries), host.went) == (3, [1])


@pytest.mark.parametrize(
    "error",
    [
        StepFailed("rollback", "generation 1 was not kept, 2 stays live: it is broken"),
        SystemdError("it is broken"),
        OSError(errno.EIO, "it is broken"),
    ],
)
def test_a_way_back_that_fails_is_told_once_and_tried_again(
    host: Host, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    real, tries = guarded.rollback, []

    def fails(*arguments: Any, **named: Any) -> Any:
        tries.append(host.now[0])
        if len(tries) < 3:
            raise error
        return real(*arguments, **named)

    monkeypatch.setattr(guarded, "rollback", fails)
    told = host.run(lambda look: view(tally(10 * look, 20 * look)))
    assert told.startswith("generation 1 is live again: ")
    assert host.went == [1]
    assert tries[1] - tries[0] >= guarded.AGAIN_S
    first, last = host.events
    assert (first[0], last[0]) == ("failed", "failed")
    assert first[1].endswith("it is broken")
    assert len(ledger.taken_back(ledger.read(host.app.layout.ledger))) == 1


def test_a_way_back_that_fails_until_the_end_is_the_last_word(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise StepFailed("rollback", "generation 1 was not kept, 2 stays live: it is broken")

    monkeypatch.setattr(guarded, "rollback", fails)
    told = host.run(lambda look: view(tally(10 * look, 20 * look)))
    assert told.endswith("generation 1 was not kept, 2 stays live: it is broken")
    assert [event for event, _ in host.events] == ["failed", "guarded"]
    assert "no breach" not in str(host.events)
    assert goingback.GoingBack.read(host.app.layout) is None


def _unwritable(*_: Any, **__: Any) -> Any:
    raise OSError(errno.EROFS, "Read-only file system", "outcome.json")


def test_what_cannot_be_marked_as_bad_is_in_the_ledger_all_the_same(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "set_outcome", _unwritable)
    assert host.run(lambda look: view(tally(10 * look, 20 * look))).startswith("generation 1 is live again: ")
    assert [entry["generation"] for entry in ledger.taken_back(ledger.read(host.app.layout.ledger))] == [2]


def test_a_ledger_that_cannot_be_written_is_made_up_for_by_the_next_heal(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, log = host.app, host.app.log
    monkeypatch.setattr(app, "log", _unwritable)
    told = host.run(lambda look: view(tally(10 * look, 20 * look)))
    assert told.startswith("generation 1 is live again: ")
    assert told.endswith("; the ledger does not say so yet: Read-only file system: outcome.json")
    (entry,) = goingback.taken_back(app.layout, 1)
    assert (entry["generation"], entry["source_id"], entry["phase"]) == (2, "path:2", "guard")
    monkeypatch.setattr(app, "log", log)
    (did,) = guarding.conclude(app)
    assert did.startswith("wrote down why the guard went back from generation 2: users were served worse")
    assert goingback.taken_back(app.layout, 1) == ledger.taken_back(ledger.read(app.layout.ledger)) != []
    assert generations.describe(app.layout, 2).status == "bad"
    assert guarding.conclude(app) == []


def test_a_guard_that_is_killed_once_it_went_back_goes_on_and_says_why(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = guarded.rollback

    def killed(*arguments: Any, **named: Any) -> Any:
        real(*arguments, **named)
        raise Killed

    monkeypatch.setattr(guarded, "rollback", killed)
    with pytest.raises(Killed):
        host.run(lambda look: view(tally(10 * look, 20 * look)))
    assert host.events == []
    assert [entry["generation"] for entry in goingback.taken_back(host.app.layout, 1)] == [2], "the probe knows it"
    monkeypatch.setattr(guarded, "heal", lambda app: [])
    assert host.run(lambda look: view(None)) == "generation 2 is not live any more; its guard ends"
    ((event, cause),) = host.events
    assert event == "failed"
    assert "requests failed" in cause


def test_what_users_got_is_told_with_the_breach_and_asked_once(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    real, tries, asked = guarded.rollback, [], []

    def busy(*arguments: Any, **named: Any) -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise Busy("held")
        return real(*arguments, **named)

    def words(app: AppOnHost, number: int, tally: Tally, since: float, slow: bool) -> str:
        asked.append((number, tally.ended, since, slow))
        return "the last exception in its log (/checkout): KeyError"

    monkeypatch.setattr(guarded, "rollback", busy)
    monkeypatch.setattr(guarded.got, "words", words)
    told = host.run(lambda look: view(tally(10 * look, 20 * look)))
    assert told.endswith("at most 1 % may; the last exception in its log (/checkout): KeyError")
    assert asked == [(2, 30 * 4, BEGAN, False)]
    assert host.events[-1][1].endswith("(/checkout): KeyError")


@pytest.mark.parametrize(("promoted", "users"), [(tally(93, 0), (7, 80)), (tally(500, 0), (100, 80))])
def test_what_the_promote_itself_asked_is_not_what_users_got(
    host: Host, monkeypatch: pytest.MonkeyPatch, promoted: Tally, users: tuple[int, int]
) -> None:
    """Of a server that was started anew since, everything is users'."""
    orders, seen = guarding.Orders.read(host.app.layout), []
    assert orders is not None
    replace(orders, counted=promoted).write(host.app.layout)
    assert guarding.Orders.read(host.app.layout) == replace(orders, counted=promoted)

    def words(app: AppOnHost, number: int, told: Tally, since: float, slow: bool) -> str:
        seen.append((told.outcomes["2xx"], told.outcomes["5xx"]))
        return ""

    monkeypatch.setattr(guarded.got, "words", words)
    host.run(lambda look: view(tally(100, 20 * look)))
    assert seen == [users]


def test_the_status_says_of_a_way_back_until_the_next_promote(host: Host) -> None:
    layout = host.app.layout
    assert guarding.went_back(layout, 2) == ""
    host.run(lambda look: view(tally(10 * look, 20 * look)))
    told = guarding.went_back(layout, 1)
    assert told.startswith("the guard went back from generation 2 to 1 at 20")
    assert ": users were served worse after the promote: " in told
    host.app.log("rolled_back", **{"from": 1}, to=1)
    assert guarding.went_back(layout, 1) == told
    host.app.log("promoted", **{"from": 1}, to=3)
    assert guarding.went_back(layout, 3) == ""
    goingback.GoingBack(3, 1, "then", "it hangs").write(layout)
    assert guarding.went_back(layout, 3) == "", "it is about to go back"
    assert guarding.went_back(layout, 1) == "the guard went back from generation 3 to 1 at then: it hangs"


class Killed(BaseException):
    """SIGKILL, as a test can have it."""


@pytest.mark.parametrize("late", [5.0, 400.0, 4000.0])
def test_one_that_was_sure_and_was_killed_before_it_went_back_goes_back_by_what_is_counted(
    host: Host, monkeypatch: pytest.MonkeyPatch, late: float
) -> None:
    """Also where its time is over meanwhile, and where nobody asks any more."""
    real = guarded.rollback

    def killed(*arguments: Any, **named: Any) -> Any:
        raise Killed

    monkeypatch.setattr(guarded, "rollback", killed)
    with pytest.raises(Killed):
        host.run(lambda look: view(tally(10 * look, 20 * look)))
    monkeypatch.setattr(guarded, "rollback", real)
    host.now[0] += late
    assert "80 of all 120 requests failed" in host.run(lambda look: view(tally(40, 80)))
    assert host.went == [1]
    assert host.now[0] - BEGAN <= late + 30


def test_one_that_was_sure_does_not_go_back_from_what_is_well_by_now(host: Host) -> None:
    goingback.GoingBack(2, 1, "now", "it was bad").write(host.app.layout)
    host.now[0] += 700
    assert "no breach" in host.run(lambda look: view(tally(40_000 + 50 * look, 80)))
    assert host.went == []
    assert goingback.GoingBack.read(host.app.layout) is None, "a way back by hand would be told as this one's"


@pytest.mark.parametrize("asked_on", [True, False])
def test_one_that_is_begun_again_after_its_time_tells_what_is_counted(host: Host, asked_on: bool) -> None:
    """Where users ask on it is sure after some looks, and goes back; where they do not, it does not call that well."""
    host.now[0] += 700
    told = host.run(lambda look: view(tally(40, 80 + 10 * look * asked_on)))
    if asked_on:
        assert (host.went, "requests failed" in told) == ([1], True)
    else:
        assert told == (
            "generation 2: it cannot tell (120 requests): 80 of all 120 requests failed, 66.7 %, where at most 1 % "
            "may; so it was at 1 of the 4 looks in a row that it takes to be sure"
        )
        assert host.went == []


def test_one_that_is_begun_again_after_its_time_sees_what_hangs(host: Host) -> None:
    host.now[0] += 700
    told = host.run(lambda look: view(replace(tally(50, 0), begun=58), waiting=30 * look))
    assert "it hangs: " in told
    assert host.went == [1]


def test_what_a_guard_did_not_go_back_from_is_not_said(host: Host) -> None:
    """It was killed before the switch: what it found is live, and it goes on watching, or is said to have ended."""
    goingback.GoingBack(2, 1, "now", "it hangs").write(host.app.layout)
    assert goingback.taken_back(host.app.layout, 2) == []
    with pytest.MonkeyPatch.context() as patch:
        runs = UnitState("loaded", "activating", "auto-restart", "", 0, 0, 0, "", "", "")
        patch.setattr(host.app.systemd, "state", lambda unit: runs)
        assert guarding.conclude(host.app) == []
    (did,) = guarding.conclude(host.app)
    assert did.endswith("then headcount-guard-shop-2.service was ended; it had found: it hangs")
    assert goingback.taken_back(host.app.layout, 2) == []


def test_a_clock_that_is_set_neither_ends_nor_prolongs_the_watch(host: Host) -> None:
    host.app.clock = lambda: host.now[0] + 86_400.0
    assert host.run(lambda look: view(tally(40 * look, 0))) == "generation 2: 4800 requests, no breach"


def test_nobody_guards_after_a_restart_of_the_host(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "boot_id", lambda root: "another")
    assert host.run(lambda look: view(tally(10 * look, 20 * look))) == "there is nothing to guard"
    assert host.went == []


def test_the_status_says_who_guards_and_who_does_not_any_more(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    app, runs = host.app, UnitState("loaded", "active", "running", "", 0, 0, 0, "", "", "")
    monkeypatch.setattr(app.systemd, "state", lambda unit: runs)

    def now() -> float:
        return host.now[0]

    assert guarding.words(app, 2, now).startswith("guarded until ")
    assert guarding.words(app, 1, now) == ""
    monkeypatch.setattr(app.systemd, "state", lambda unit: ABSENT)
    host.now[0] += 90
    guarding.looked(app.layout)
    watched = "not guarded any more: it did not watch to the end: from 08:00:00Z to 08:01:30Z, 1.5 of 10 minutes, then"
    gone = f"{watched} headcount-guard-shop-2.service was ended"
    assert guarding.words(app, 2, now) == gone
    goingback.GoingBack(2, 1, "now", "it hangs").write(app.layout)
    assert guarding.words(app, 2, now) == f"{gone}; it had found: it hangs"
    goingback.forget(app.layout)
    assert guarding.words(app, 2, lambda: BEGAN + 601) == ""
    monkeypatch.setattr(guarding, "boot_id", lambda root: "another")
    assert guarding.words(app, 2, now) == f"{watched} the host was started again"


@pytest.mark.parametrize(
    ("state", "why"),
    [("running", "headcount-guard-shop-2.service was stopped"), ("stopping", "the host was shut down")],
)
def test_one_that_is_asked_to_end_says_from_when_to_when_it_watched(host: Host, state: str, why: str) -> None:
    host.app.systemd = Systemd(lambda command, seconds: Completed(0, f"{state}\n", ""))
    host.asked_at = BEGAN + 120
    told = host.run(lambda look: view(tally(40 * look, 0)))
    early = f"it did not watch to the end: from 08:00:00Z to 08:02:00Z, 2.0 of 10 minutes, then {why}"
    assert told.startswith(f"generation 2: {early}; ")
    assert told.endswith("requests, no breach")
    ((event, evidence),) = host.events
    assert (event, f"generation 2: {evidence}") == ("guarded", told)
    assert guarding.words(host.app, 2) == f"not guarded any more: {evidence}"
    assert guarding.conclude(host.app) == [], "it is in the ledger"
    assert host.run(lambda look: view(None)) == "there is nothing to guard"


def test_one_that_went_with_the_power_is_told_of_after_the_boot(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.now[0] += 65
    guarding.looked(host.app.layout)
    monkeypatch.setattr(guarding, "boot_id", lambda root: "another")
    early = "from 08:00:00Z to 08:01:05Z, 1.1 of 10 minutes, then the host was started again"
    (did,) = guarding.conclude(host.app)
    assert did.endswith(early)
    assert host.events == [("guarded", f"it did not watch to the end: {early}")]
    assert guarding.words(host.app, 2).endswith(early)
    assert guarding.conclude(host.app) == []
    store.activate(host.app.layout, 1)
    assert guarding.words(host.app, 1) == "", "of what is not live any more nobody needs to know"


def test_one_that_watched_to_the_end_is_told_of_no_more(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.run(lambda look: view(tally(40 * look, 0)))
    monkeypatch.setattr(guarding, "boot_id", lambda root: "another")
    assert guarding.words(host.app, 2) == ""
    assert guarding.conclude(host.app) == []


def test_its_last_word_is_never_written_over_the_orders_of_the_next(host: Host) -> None:
    orders = guarding.Orders.read(host.app.layout)
    assert orders is not None
    new = replace(orders, generation=3)
    new.write(host.app.layout)
    guarding.over(host.app, orders, guarding.WHOLE)
    assert guarding.Orders.read(host.app.layout) == new


def test_it_hears_at_once_that_it_is_asked_to_end() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        sleep = guarded._until_asked()
        assert not sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        assert sleep(60.0)
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("stuck", [{3, 4, 5, 6}, {3, 4, 5, 7, 8, 9}])
def test_one_that_has_taken_the_last_process_is_gone_back_from(
    host: Host, monkeypatch: pytest.MonkeyPatch, stuck: set[int]
) -> None:
    """Nobody can ask systemd then; four looks in a row have to find so."""
    looks = [0]
    found = Hoard(Beside("shop@2.service", 19, 100, 0), (40, 41), 40)
    monkeypatch.setattr(guarded.hoarding, "hoard", lambda layout, number: found if number == 2 else None)
    monkeypatch.setattr(guarded.hoarding, "nothing_begins", lambda systemd: looks[0] in stuck)

    def views(look: int) -> AppView:
        looks[0] = look
        if look in stuck:
            raise SystemdError("this host could not begin systemctl")
        return view(tally(50 * look, 0))

    told = host.run(views)
    assert (host.went == [1]) is (6 in stuck)
    assert ("could begin no process any more, not even systemctl: shop@2.service had 100" in told) is (6 in stuck)


def test_what_users_get_is_judged_where_systemd_cannot_be_asked(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as where it can: by what the recorder has counted and the kernel tells."""
    looks = [0]

    def kernel(name: str, root: str) -> AppView:
        assert (name, root) == ("shop", host.app.root)
        return view(tally(50 * looks[0], 25 * max(0, looks[0] - 3)))

    def views(look: int) -> AppView:
        looks[0] = look
        if look > 3:
            raise SystemdError("this host could not begin systemctl")
        return view(tally(50 * look, 0))

    monkeypatch.setattr(guarded, "kernel_view", kernel)
    told = host.run(views)
    assert host.went == [1]
    assert "requests failed" in told
    assert host.now[0] - BEGAN == 5.0 * (3 + guarded.AGREE)


def test_a_healthy_one_on_a_host_that_another_one_filled_is_none(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [0]

    def views(look: int) -> AppView:
        looks[0] = look
        raise SystemdError("this host could not begin systemctl")

    monkeypatch.setattr(guarded, "kernel_view", lambda *_: view(tally(50 * looks[0], 0)))
    monkeypatch.setattr(guarded.hoarding, "hoard", lambda layout, number: None)
    monkeypatch.setattr(guarded.hoarding, "nothing_begins", lambda systemd: True)
    assert host.run(views).endswith("requests, no breach")


@pytest.mark.parametrize(
    ("crowded", "leaves"),
    [
        ({13, 14}, "at 2 looks of the guard shop@2.service had 99"),
        ({12, 13, 14, 15, 16}, "at 5 looks of the guard shop@2.service had 99"),
        ({15}, ""),
        ({3, 4, 5, 6}, ""),
    ],
)
def test_one_that_took_the_room_of_the_other_leaves_first(
    host: Host, monkeypatch: pytest.MonkeyPatch, crowded: set[int], leaves: str
) -> None:
    """Whether there is room when it goes back or not; what was seen once, or long ago, is nothing to go by."""
    looks = [0]

    def crowds(_: object, number: int, target: int) -> str:
        assert (number, target) == (2, 1)
        return "shop@2.service had 99" if looks[0] in crowded else ""

    def views(look: int) -> AppView:
        looks[0] = look
        return view(tally(50 * min(look, 12), 25 * max(0, look - 12)))

    monkeypatch.setattr(guarded.hoarding, "crowds_out", crowds)
    host.run(views)
    assert host.hoards == [leaves]


class TestSaid:
    """What a rollout that still runs is told of a guard."""

    def test_while_it_watches_and_when_it_found_nothing(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        runs = UnitState("loaded", "active", "running", "", 0, 0, 0, "", "", "")
        monkeypatch.setattr(host.app.systemd, "state", lambda unit: runs)
        assert guarding.said(host.app, 2) == guarding.Said("", None, True)
        monkeypatch.setattr(host.app.systemd, "state", lambda unit: ABSENT)
        host.run(lambda look: view(tally(10 * look, 0)))
        assert guarding.said(host.app, 2) == guarding.Said("", None, False)

    def test_what_it_took_back(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(host.app.systemd, "state", lambda unit: ABSENT)
        host.run(lambda look: view(tally(10 * look, 20 * look)))
        told = guarding.said(host.app, 2)
        assert told.cause.startswith("users were served worse after the promote: ")
        assert (told.back_to, told.watches) == (1, False)
        assert guarding.said(host.app, 1).cause == "", "of no other generation"

    def test_what_it_took_back_and_could_not_write_down(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(host.app, "log", _unwritable)
        host.run(lambda look: view(tally(10 * look, 20 * look)))
        assert guarding.said(host.app, 2).back_to == 1

    def test_what_it_is_about_to_take_back(self, host: Host) -> None:
        goingback.GoingBack(2, 1, "now", "it hangs").write(host.app.layout)
        assert guarding.said(host.app, 2).cause == "it hangs"
        assert guarding.said(host.app, 2).back_to is None

    def test_what_it_could_not_take_back_until_it_could(self, host: Host) -> None:
        host.app.log("failed", generation=2, phase="guard", cause="it hangs; generation 1 is not intact")
        assert astuple(guarding.said(host.app, 2))[:2] == ("it hangs; generation 1 is not intact", None)
        host.app.log("failed", **goingback.GoingBack(2, 1, "now", "it hangs").event())
        assert astuple(guarding.said(host.app, 2))[:2] == ("it hangs", 1)

    def test_a_service_manager_that_does_not_answer(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        def silent(unit: str) -> UnitState:
            raise SystemdError("no answer")

        monkeypatch.setattr(host.app.systemd, "state", silent)
        assert guarding.said(host.app, 2).watches, "it is asked again"


def test_nothing_of_a_guard_stays_when_the_app_leaves(host: Host) -> None:
    goingback.GoingBack(2, 1, "now", "it hangs").write(host.app.layout)
    guarding.forget(host.app.layout)
    assert not [name for name in os.listdir(host.app.layout.state) if name.startswith("guard")]


def test_a_service_manager_that_does_not_answer_is_no_breach(host: Host) -> None:
    def views(look: int) -> AppView:
        if look < 60:
            raise SystemdError("no answer")
        return view(tally(10 * look, 0))

    assert host.run(views).endswith("requests, no breach")


def test_a_guard_is_set_where_it_is_declared_and_there_is_a_way_back(host: Host) -> None:
    layout, was = host.app.layout, Before(tally(100, 0), 50.0)
    assert guarding.begin(host.app, 3, 2, {"guard": {"minutes": 5}}, was) == ""
    assert guarding.Orders.read(layout) == guarding.Orders(3, 2, BEGAN + 300, 5.0, was, "", BEGAN)
    assert host.asked[-1][0] == "systemd-run"
    assert "--unit=headcount-guard-shop-3.service" in host.asked[-1]
    assert "--property=KillMode=mixed" in host.asked[-1], "its systemctl is left to end what it does"
    assert "--property=TimeoutStopSec=300" in host.asked[-1]
    assert {"--property=Restart=on-abort", "--property=OOMPolicy=continue"} <= set(host.asked[-1]), "killed, it goes on"
    assert host.asked[-1][-3:] == ["/usr/local/sbin/headcount", "guard", "shop"]
    count = len(host.asked)
    alone = guarding.begin(host.app, 1, None, {"guard": {"minutes": 5}}, was)
    assert alone == "generation 1 is not guarded: there is none before it to go back to"
    for old, declared in (
        (None, {}),
        (2, {}),
        (2, {"guard": {"minutes": 5}, "recorder": False}),
    ):
        assert guarding.begin(host.app, 4, old, declared, was) == ""
    assert len(host.asked) == count


def test_a_guard_that_cannot_be_set_is_told_and_costs_no_promote(host: Host) -> None:
    host.app.systemd = Systemd(lambda command, seconds: Completed(1, "", "no such thing"))
    told = guarding.begin(host.app, 3, 2, {"guard": {"minutes": 5}}, Before())
    assert told.startswith("generation 3 is not guarded: ")


def test_orders_that_cannot_be_read_are_none(host: Host) -> None:
    Path(host.app.layout.state, "guard.json").write_text('{"generation": 2, "tally": {"nonsense": 1}}')
    assert guarding.Orders.read(host.app.layout) is None
    assert host.run(lambda look: view(None)) == "there is nothing to guard"
