# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The guard's loop: it goes back once it is sure, writes down why, and ends when there is nothing more to guard."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import generations, ledger, store
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.failures import StepFailed
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.lock import Busy
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.run import Run
from ansible_collections.headcount.gunicorn.plugins.module_utils._host import guard as guarded
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Completed, Systemd, SystemdError
from ansible_collections.headcount.gunicorn.plugins.module_utils._recorder.counts import Counts, Tally
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import guarding
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.app import AppOnHost
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.guarding import Before
from ansible_collections.headcount.gunicorn.plugins.module_utils._watch.view import AppView, InstanceView

BEGAN = 1_800_000_000.0


def view(tally: Tally | None, generation: int = 2) -> AppView:
    """What is seen of the live instance; None: nothing of it runs."""
    counts = Counts(tally, (), BEGAN, 7, {}, 1, 0, 0, 0.0, 0.0) if tally is not None else None
    one = InstanceView(
        generation, "r", True, "u", "active", counts, "", (), 8, 2, 200.0, Limits(error_rate=0.01), None, None, 0.0
    )
    return AppView("shop", generation, "0.0.0.0:8000", True, 0, (one,) if tally is not None else (), 0.0)


def tally(good: int, errors: int) -> Tally:
    return Tally(begun=good + errors, outcomes={**Tally().outcomes, "2xx": good, "5xx": errors})


@dataclass
class Host:
    """A host with two generations, the second live, on a clock of its own."""

    app: AppOnHost
    now: list[float]
    went: list[int] = field(default_factory=list)
    asked: list[list[str]] = field(default_factory=list)

    def run(self, views: Callable[[int], AppView]) -> str:
        looks = iter(range(1, 10_000))

        def sleep(seconds: float) -> None:
            self.now[0] += seconds

        return guarded.guard(self.app, sleep, lambda: views(next(looks)))

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

    def back(_: AppOnHost, wanted: int, event: str) -> dict[str, Any]:
        assert event == "reverted"
        made.went.append(wanted)
        store.activate(app.layout, wanted)
        return {"from": 2, "to": wanted, "told": []}

    monkeypatch.setattr(guarded, "rollback", back)
    guarding.Orders(2, 1, BEGAN + 600, 10.0, Before(tally(30_000, 10), 3600.0)).write(app.layout)
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


def test_a_way_back_that_fails_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise StepFailed("rollback", "generation 1 was not kept, 2 stays live: it is broken")

    monkeypatch.setattr(guarded, "rollback", fails)
    told = host.run(lambda look: view(tally(10 * look, 20 * look)))
    assert told.endswith("generation 1 was not kept, 2 stays live: it is broken")
    assert [event for event, _ in host.events] == ["failed"]


def test_a_service_manager_that_does_not_answer_is_no_breach(host: Host) -> None:
    def views(look: int) -> AppView:
        if look < 60:
            raise SystemdError("no answer")
        return view(tally(10 * look, 0))

    assert host.run(views).endswith("requests, no breach")


def test_a_guard_is_set_where_it_is_declared_and_there_is_a_way_back(host: Host) -> None:
    layout, was = host.app.layout, Before(tally(100, 0), 50.0)
    assert guarding.begin(host.app, 3, 2, {"guard": {"minutes": 5}}, was) == ""
    assert guarding.Orders.read(layout) == guarding.Orders(3, 2, BEGAN + 300, 5.0, was)
    assert host.asked[-1][0] == "systemd-run"
    assert "--unit=headcount-guard-shop-3.service" in host.asked[-1]
    assert host.asked[-1][-3:] == ["/usr/local/sbin/headcount", "guard", "shop"]
    count = len(host.asked)
    for old, declared in (
        (None, {"guard": {"minutes": 5}}),
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
