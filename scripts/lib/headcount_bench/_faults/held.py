# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Rows of the fault catalogue: load paths that never end, steps that nobody waits for, and who ends them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .. import _engine
from .._scene import APP, Scene
from .hand import next_run
from .row import STATE, Row, refused

HELD: dict[str, dict[str, Any]] = {
    "weigh": {"target": "_steps.measure.weigh", "then": {"hold": True}},
    "trial": {"target": "_steps.trial.try_candidate", "then": {"hold": True}},
}
LONGEST_REFUSAL = 90.0
"""Seconds in which a path that does not end is told: staging and a boot, and two time-outs of a request."""


def path_refused(path: str, why: str) -> Callable[[Scene], None]:
    """A release whose load has this path is refused in the weigh, soon, with the path's name."""

    def work(scene: Scene) -> None:
        before, begin = scene.live(), time.monotonic()
        done = scene.whole(load={"paths": ["/wait?ms=20", path], "rate": 20, "seconds": 7})
        took = time.monotonic() - begin
        refused(scene, done, why, "weigh")
        scene.seen.must(path.partition("?")[0] in str(done[-1].get("failed")), "the path is not named")
        scene.seen.must(took < LONGEST_REFUSAL, f"it took {took:.0f} s")
        scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
        next_run(scene)

    return work


def _held(scene: Scene, step: str, run: dict[str, str]) -> _engine.Steps:
    """A run that stands still within `step`, holding the app."""
    ops: list[Any] = [("stage", scene.request()), "weigh", *(["trial"] if step == "trial" else [])]
    process = scene.engine.begin(APP, *ops, run=run, at=HELD[step])
    scene.seen.must(process.wait_held(120.0), f"{step} was not reached: {process.lines}")
    return process


def next_run_at_once(step: str) -> Callable[[Scene], None]:
    """The controller is gone, its module lives on within `step`: the next run, at once, ends it and goes on."""

    def work(scene: Scene) -> None:
        first, begin = _engine.this_run(), time.monotonic()
        with _held(scene, step, first) as process:
            begin = time.monotonic()
            next_run(scene)
            scene.seen.must(time.monotonic() - begin < 60.0, "the next run waited long")
            said = str(process.wait(30.0)[-1].get("failed"))
        scene.seen.must("asked it to end" in said, f"the step that was ended said {said}")
        told = [str(entry.get("did")) for entry in scene.engine.ledger(APP) if entry["event"] == "healed"][-3:]
        scene.seen.told.append("; ".join(told)[:200])
        scene.seen.must(any(f"({step} of run {first['id']}) to end" in one for one in told), f"the ledger says {told}")

    return work


def rollback_in(step: str) -> Callable[[Scene], None]:
    """`headcount-rollback` while another run weighs or tries its candidate."""

    def work(scene: Scene) -> None:
        before, first = scene.live(), _engine.this_run()
        with _held(scene, step, first) as process:
            begin = time.monotonic()
            said = scene.sh(f"headcount-rollback {APP} 2>&1; echo code $?")
            took = time.monotonic() - begin
            ended = process.wait(30.0)[-1]
        scene.seen.told.append(said.strip()[:300])
        scene.seen.must("code 0" in said and "asked process" in said, f"it said {said}")
        scene.seen.must(took < 60.0, f"it took {took:.0f} s")
        scene.seen.must("asked it to end" in str(ended.get("failed")), f"the run that was ended said {ended}")
        scene.seen.must(scene.live() != before, "nothing was rolled back")
        again = scene.engine.steps(APP, "promote", number=ended.get("number"), run=first)[-1]
        scene.seen.must("was ended on this host" in str(again.get("failed")), f"its next step said {again}")
        scene.clean()
        next_run(scene)

    return work


def rollback_between(scene: Scene) -> None:
    """`headcount-rollback` between two steps of a run whose candidate users have not reached."""
    before, first = scene.live(), _engine.this_run()
    number = scene.engine.steps(APP, ("stage", scene.request()), run=first)[-1]["number"]
    said = scene.sh(f"headcount-rollback {APP} 2>&1; echo code $?")
    scene.seen.told.append(said.strip()[:300])
    scene.seen.must("code 0" in said and "took over from run" in said, f"it said {said}")
    scene.seen.must(scene.live() != before, "nothing was rolled back")
    again = scene.engine.steps(APP, "weigh", number=number, run=first)[-1]
    scene.seen.must("was ended on this host" in str(again.get("failed")), f"its next step said {again}")
    next_run(scene)


def stopped_module(scene: Scene) -> None:
    """A module that stands still (SIGSTOP) hears nothing: the next run kills it and goes on."""
    first = _engine.this_run()
    with _held(scene, "weigh", first) as process:
        scene.sh(f"kill -STOP $(head -1 {STATE}/lock | cut -d' ' -f1)")
        begin = time.monotonic()
        done = scene.engine.steps(APP, ("stage", scene.request()), "finish", "promote", gone=[first["id"]])
        scene.seen.must("failed" not in done[-1], f"the next run failed: {done[-1].get('failed')}")
        scene.seen.must(time.monotonic() - begin < 120.0, "the next run waited long")
        scene.seen.must(process.wait(30.0)[-1].get("killed"), "the module that stood still lives on")
    told = [str(entry.get("did")) for entry in scene.engine.ledger(APP) if entry["event"] == "healed"]
    scene.seen.must(any("killed process" in one for one in told), f"the ledger says {told[-3:]}")
    scene.clean()


REFUSED = "refused in the weigh with its name and what it did; what is live serves on"
STEPS_HELD = [
    Row(
        "held/endless-path",
        "a load path sends two bytes every 50 ms for ever",
        REFUSED,
        path_refused(
            "/stream?bytes=2&every_ms=50", "still sends after 10.* bytes so far.*never ends.*other load.paths"
        ),
        quick=True,
    ),
    Row(
        "held/flooding-path",
        "a load path streams blocks of 1 MiB without end",
        REFUSED,
        path_refused("/stream?bytes=1048576&every_ms=0", "sent more than 256 MiB in|still sends after 10"),
    ),
    *(
        Row(
            f"held/next-run-ends-a-{step}",
            f"the next run comes at once while the module of a run that is gone still is in its {step}",
            "it asks that one to end, says so, and goes on",
            next_run_at_once(step),
            quick=step == "weigh",
        )
        for step in HELD
    ),
    *(
        Row(
            f"held/rollback-in-a-{step}",
            f"headcount-rollback while another run is in its {step}",
            "it ends that, says so, and goes back at once; the other run does not go on",
            rollback_in(step),
            quick=step == "trial",
        )
        for step in HELD
    ),
    Row(
        "held/rollback-between-steps",
        "headcount-rollback between two steps of another run, before its promote",
        "it takes over and says so; the other run does not go on",
        rollback_between,
    ),
    Row(
        "held/module-stopped",
        "the module of a run that is gone stands still (SIGSTOP) in its weigh",
        "it is killed, which is told, and the next run goes on",
        stopped_module,
    ),
]
