# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What takes an address over is killed, and then its host loses its power: what was verified serves after the boot."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .. import _engine
from .._scene import Scene, lost
from .row import Row
from .takeovers import ARMS, NAME, PORT, SHAPES, Shape, _ask, _gone, _make, _serving, _undo

BOOT_SECONDS = 120

PLACES = (
    ("_generation.store.activate", "before", "old", "joining"),
    ("_generation.takeover.Takeover.admit", "before", "old", "joining"),
    ("_generation.takeover.Takeover.settle", "before", "old", "joining"),
    ("_generation.takeover.cover", "before", "old", "retiring"),
    ("_generation.takeover.retire", "before", "", "retiring"),
)
"""Where it is killed, who is to serve after the boot ("": either, both were verified), and the phase by the status."""


def cut(shape: Shape) -> Callable[[Scene], None]:
    """Killed at each place, with a power cut after it; users ask from outside all the while."""

    def work(scene: Scene) -> None:
        seen = scene.seen
        address: Any = [scene.lab.addresses[scene.host], PORT]
        try:
            _make(scene, shape)
            for target, when, serves, phase in PLACES:
                _serving(scene, shape, "old", f"before {target}")
                with scene.engine.users(address, ARMS) as users:
                    time.sleep(0.5)
                    window = _cut_at(scene, shape, {"target": target, "when": when, "then": {"kill": True}}, phase)
                    answers = _answering(scene, shape)
                    window.append(time.time())
                    seen.window = [(seen.window or window)[0], window[1]]  # whoever else the host serves
                    scene.sh("headcount boot")  # as headcount-boot.service does, which a playbook installs
                    wanted = (serves,) if serves else ("old", "new")
                    seen.must(answers in wanted, f"{target}: after the boot {answers!r} answers, not {wanted}")
                _, bad = lost(users.rows, users.began, window)
                seen.must(not bad, f"{target}: {len(bad)} of {len(users.rows)} requests were not served: {bad[:3]}")
                seen.told.append(f"{target.rpartition('.')[2]}: {answers} served after {window[1] - window[0]:.0f} s")
                _ended(scene, shape, answers, target)
        finally:
            _undo(scene, shape)
        scene.clean()

    return work


def _cut_at(scene: Scene, shape: Shape, strike: dict[str, Any], phase: str) -> list[float]:
    """The takeover is killed there, which status tells, and the power is cut; when that was, as a list."""
    declared = _engine.shop(NAME, listen=shape.listen, former=shape.unit, environment={"SHOP_RELEASE": "new"})
    steps = ("stage", scene.engine.request(declared)), "finish", "promote"
    done = scene.engine.steps(NAME, *steps, at=strike, gone=_gone(scene))
    scene.seen.must(done[-1].get("killed"), f"{strike['target']}: it was not killed: {done[-1]}")
    said = scene.sh(f"headcount status {NAME}")
    told = f"(phase {phase})" in said and f"`headcount-rollback {NAME} --to-former`" in said
    scene.seen.must(told, f"{strike['target']}: the status says {said}")
    began = time.time()
    scene.power()
    return [began]


def _answering(scene: Scene, shape: Shape) -> str:
    """The release that answers once the host has booted, and has looked at its apps."""
    scene.sh(f"timeout {BOOT_SECONDS} systemctl is-system-running --wait", timeout=BOOT_SECONDS + 30)
    text, deadline = "", time.monotonic() + 30
    while not text.startswith("{") and time.monotonic() < deadline:
        text = scene.sh(_ask(shape))
    return next((one for one in ("old", "new") if f'"{one}"' in text), text)


def _ended(scene: Scene, shape: Shape, answers: str, target: str) -> None:
    """One of the two is left, by the units and by the status, and the other one can have the address again."""
    seen = scene.seen
    said = scene.sh(f"headcount status {NAME}")
    seen.must("has not ended" not in said, f"{target}: after the boot the status says {said}")
    wanted = ["active", "enabled"] if answers == "old" else ["inactive", "disabled"]
    state = scene.sh(f"systemctl is-active {shape.unit}; systemctl is-enabled {shape.unit}").split()
    seen.must(state == wanted, f"{target}: after the boot {shape.unit} is {' and '.join(state)}")
    units = scene.sh(f"systemctl list-units --no-legend --plain '{NAME}@*.service'").split()[:1]
    seen.must(bool(units) is (answers == "new"), f"{target}: {answers} serves, and there run {units}")
    if answers == "new":
        back = scene.sh(f"headcount-rollback {NAME} --to-former 2>&1; echo code $?")
        seen.must("code 0" in back, f"{target}: it was not given back: {back}")


CUTS = [
    Row(
        f"past/takeover-cut-{name}",
        f"{SHAPES[name][0]}: what takes it over is killed at five places, and the host loses its power after each",
        "a boot starts what was verified, and ends the takeover; status has told its phase and the way back",
        cut(SHAPES[name][1]),
    )
    for name in ("tcp", "own-name")
]
