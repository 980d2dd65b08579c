# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A module that is killed, and a host whose power is cut, at every step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .._scene import APP, Scene
from .hand import next_run
from .row import Row


@dataclass(frozen=True)
class Place:
    """A place within a step. `new`: whether the new generation is live when it is struck there."""

    name: str
    words: str
    ops: tuple[str, ...]
    at: Mapping[str, Any]
    new: bool = False
    variant: bool = False
    quick: bool = False
    faults: str = ""
    changes: tuple[tuple[str, Any], ...] = ()


SHORT = ("stage", "finish", "promote")
WHOLE = ("stage", "weigh", "trial", "promote")
PLACES = [
    Place(
        "stage-release-building",
        "while the wheels are installed",
        SHORT,
        {"target": "_release.releases._run", "match": "installing"},
        variant=True,
        quick=True,
    ),
    Place(
        "stage-release-finishing",
        "before the release is finished",
        SHORT,
        {"target": "_release.releases.sync_tree"},
        variant=True,
    ),
    Place(
        "stage-generation-begun",
        "when the generation's directory was made",
        SHORT,
        {"target": "_generation.store.begin", "when": "after"},
    ),
    Place(
        "stage-files-laid",
        "when its files were laid down",
        SHORT,
        {"target": "_generation.store.write", "when": "after"},
    ),
    Place(
        "stage-units-linked",
        "when its units were linked",
        SHORT,
        {"target": "_generation.store.link_units", "when": "after"},
    ),
    Place(
        "weigh-booting",
        "while the candidate boots for the weigh",
        WHOLE,
        {"target": "_generation.instances.Instances.wait_ready"},
    ),
    Place(
        "weigh-under-way",
        "while the candidate is weighed",
        WHOLE,
        {"target": "_steps.measure.weigh", "then": {"later": 2.0}},
    ),
    Place(
        "weigh-finishing",
        "between the manifest and the end of the marker",
        WHOLE,
        {"target": "_generation.store.remove_file", "match": "unfinished"},
    ),
    Place(
        "trial-booting",
        "while the candidate boots for the trial",
        WHOLE,
        {"target": "_generation.instances.Instances.wait_ready", "nth": 2},
    ),
    Place(
        "trial-under-load",
        "while both are under load",
        WHOLE,
        {"target": "_steps.trial.try_candidate", "then": {"later": 3.0}},
        quick=True,
    ),
    Place(
        "trial-judged",
        "when the evidence was written",
        WHOLE,
        {"target": "_generation.store.set_evidence", "when": "after"},
    ),
    Place(
        "abandon",
        "while a refused candidate is put away",
        WHOLE,
        {"target": "_steps.app.AppOnHost.set_aside"},
        faults="crash_import",
    ),
    Place(
        "promote-joining",
        "while the new one boots on the public socket",
        SHORT,
        {"target": "_generation.instances.Instances.wait_ready", "match": r"shop@\d+\.service"},
    ),
    Place(
        "promote-verifying",
        "while both serve and the new one is verified",
        SHORT,
        {"target": "_generation.switch.verify", "then": {"later": 1.0}},
    ),
    Place(
        "promote-before-rename",
        "right before the rename",
        SHORT,
        {"target": "_generation.store.activate"},
        quick=True,
    ),
    Place(
        "promote-after-rename",
        "right after the rename",
        SHORT,
        {"target": "_generation.store.activate", "when": "after"},
        new=True,
        quick=True,
    ),
    Place(
        "promote-draining",
        "while the old one drains",
        SHORT,
        {"target": "_generation.instances.Instances.leave", "then": {"later": 0.3}},
        new=True,
    ),
    Place(
        "promote-drained",
        "when the old one has ended",
        SHORT,
        {"target": "_generation.instances.Instances.leave", "when": "after"},
        new=True,
    ),
    Place(
        "promote-logged",
        "when the ledger was written",
        SHORT,
        {"target": "_steps.app.AppOnHost.log", "match": "promoted", "when": "after"},
        new=True,
    ),
    Place(
        "prune",
        "while an old generation is removed",
        SHORT,
        {"target": "_generation.store.try_to_remove_tree", "match": r"generations/\d+"},
        new=True,
        changes=(("retain", {"good": 2}),),
    ),
    Place(
        "rollback-before-rename",
        "right before the rename of a rollback",
        ("rollback",),
        {"target": "_generation.store.activate"},
    ),
    Place(
        "rollback-after-rename",
        "right after the rename of a rollback",
        ("rollback",),
        {"target": "_generation.store.activate", "when": "after"},
        new=True,
    ),
]


def _ops(scene: Scene, place: Place) -> list[Any]:
    if place.ops == ("rollback",):
        return ["rollback"]
    changes = dict(place.changes)
    if place.variant:
        changes["source"] = scene.variant()
    if place.name == "prune":
        # More generations than are kept, so that there is something to remove.
        scene.deploy()
        scene.deploy()
    request = scene.request(place.faults, **changes)
    return [("stage", request), *place.ops[1:]]


def _struck(place: Place, then: Mapping[str, Any]) -> dict[str, Any]:
    return {"when": "before", **place.at, "then": {**place.at.get("then", {}), **then}}


def _aftermath(scene: Scene, place: Place, before: int | None, number: int | None) -> None:
    """One whole generation is live and answers: the old one before the rename, the new one after it."""
    live = scene.live()
    if place.new:
        scene.seen.must(live not in (before, None), f"live is {live}: the rename had been done")
    else:
        scene.seen.must(live == before, f"live is {live}, not {before}")
    state = scene.engine.status(APP)
    scene.seen.must(state.get("healthy"), f"at once the live generation is not healthy: {state.get('health_detail')}")
    scene.seen.must(state.get("intact"), f"at once it is not intact: {state.get('problems')}")
    scene.seen.told.append("left: " + ("; ".join(state.get("leftovers", [])) or "nothing"))


def killed(place: Place) -> Callable[[Scene], None]:
    """SIGKILL to the module at the place; the next run heals."""

    def work(scene: Scene) -> None:
        ops = _ops(scene, place)
        before = scene.live()
        done = scene.engine.steps(APP, *ops, at=_struck(place, {"kill": True}))
        scene.seen.must(done[-1].get("killed"), f"it was not killed there: {done[-1]}")
        number = next((one["number"] for one in done if one.get("number")), None)
        _aftermath(scene, place, before, number)
        next_run(scene)
        if place.new:
            live_once = [
                entry for entry in scene.engine.ledger(APP) if entry.get("event") in ("promoted", "rolled_back")
            ]
            scene.seen.must(
                len(live_once) > 1 and live_once[-1].get("from") == live_once[-2].get("to"),
                "the ledger's chain of from and to is broken",
            )

    return work


def powered(place: Place) -> Callable[[Scene], None]:
    """A power cut at the place; after boot one whole generation serves, and the next run heals."""

    def work(scene: Scene) -> None:
        ops = _ops(scene, place)
        before = scene.live()
        with scene.engine.begin(APP, *ops, at=_struck(place, {"hold": True})) as process:
            scene.seen.must(process.wait_held(120.0), f"the place was not reached: {process.lines}")
            cut = time.time()
            scene.seen.window = [cut - 0.1, time.time() + 120.0]
            scene.power()
            back = scene.wait_served()
            scene.seen.window = [cut - 0.1, time.time()]
        scene.seen.must(back is not None, "after the boot nothing answers")
        scene.seen.told.append(f"answers {time.time() - cut:.1f} s after the cut")
        _aftermath(scene, place, before, None)
        next_run(scene)

    return work


KILLS = [
    Row(
        f"kill/{place.name}",
        f"SIGKILL {place.words}",
        ("the new one" if place.new else "the old one") + " serves on; the next run heals the rest",
        killed(place),
        place.quick,
    )
    for place in PLACES
]
POWER_PLACES = (
    "stage-release-building",
    "stage-files-laid",
    "weigh-under-way",
    "weigh-finishing",
    "trial-under-load",
    "promote-joining",
    "promote-verifying",
    "promote-before-rename",
    "promote-after-rename",
    "promote-draining",
    "promote-drained",
    "prune",
    "rollback-after-rename",
)
POWERS = [
    Row(
        f"power/{place.name}",
        f"power cut {place.words}",
        ("the new one" if place.new else "the old one") + " serves after the boot; the next run heals the rest",
        powered(place),
        place.name == "promote-after-rename",
    )
    for place in PLACES
    if place.name in POWER_PLACES
]
