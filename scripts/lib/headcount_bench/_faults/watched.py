# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Rows about what watches: the guard that is killed on its way back."""

from __future__ import annotations

import re

from .._scene import APP, Scene
from .broken import GUARD_SECONDS, SHAPES, broken
from .row import HOME, Row

KILLER = "bench-killer"
KILLED = (
    f"systemd-run --quiet --collect --unit={KILLER} sh -c '"
    f'while [ "$(readlink {HOME}/live)" = "generations/{{live}}" ]; do sleep 0.02; done; '
    f"systemctl kill --signal=KILL headcount-guard-{APP}-{{live}}.service; "
    f"systemctl is-active {APP}@{{live}}.service > /root/left'"
)
"""SIGKILL to the guard as soon as its rename is there; a file has whether the generation that it leaves runs still."""


def guard_killed(scene: Scene) -> None:
    """The guard is killed between its rename and the stop of what it leaves: it goes on, and ends what it began."""
    before, answering = scene.live(), scene.answering()
    with broken(scene, next(shape for shape in SHAPES if shape.name == "errors"), guard={"minutes": 5}) as live:
        unit = f"headcount-guard-{APP}-{live}.service"
        scene.sh("rm -f /root/left")
        scene.sh(KILLED.format(live=live))
        scene.awaited("the way back", lambda: scene.live() == before, GUARD_SECONDS)
        scene.awaited("SIGKILL to the guard", lambda: scene.sh("cat /root/left").strip())
        scene.awaited("the end of the guard", lambda: "inactive" in scene.sh(f"systemctl is-active {unit}"), 120)
        scene.sh(f"systemctl stop {KILLER}")
    left = scene.sh("cat /root/left").strip()
    scene.seen.must(left == "active", f"when it was killed, what it left was {left} already")
    begun = scene.sh(f"journalctl -o cat -u {unit} | grep -c 'Main process exited'").strip()
    scene.seen.must(begun == "1", f"it was killed {begun} times")
    scene.seen.must((scene.live(), scene.answering()) == (before, answering), f"live is {scene.live()}")
    found = [entry for entry in scene.engine.ledger(APP) if entry.get("phase") == "guard" and "from" in entry]
    cause = str(found[-1].get("cause")) if found else "nothing"
    scene.seen.told.append(cause[:400])
    scene.seen.must([entry["generation"] for entry in found[-1:]] == [live], f"the ledger has of the guard: {found}")
    scene.seen.must(re.search(r"requests failed.*users got .*\b5xx", cause), f"it does not say what users got: {cause}")
    status = scene.sh(f"headcount status {APP}")
    told = f"the guard went back from generation {live} to {before} at "
    scene.seen.must(told in status, f"the status does not say so: {status}")
    scene.clean()
    scene.deploy()
    scene.seen.must(
        "guard" not in scene.sh(f"headcount status {APP}"), "after the next promote the status tells it still"
    )
    scene.clean()


WATCHED = [
    Row(
        "broken/errors-guard-killed",
        "the live release answers 500; the guard is killed between its rename and the stop of what it leaves",
        "it goes on and ends what it began; ledger and status have what users got",
        guard_killed,
    ),
]
