# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What takes a port over stands still between two of its calls, as anything may on a busy host."""

from __future__ import annotations

import time

from .. import _engine
from .._scene import Scene
from .row import Row
from .takeovers import NAME, SHAPES, _serving, former, give_back, none_lost

STILL_SECONDS = 2
STILL = (
    ("_generation.beside.lead", "shop.nothing:create_app()", "old"),
    ("_generation.beside.keep_alone", "shop.wsgi:create_app()", "new"),
)
"""Where a takeover stands still, of which entry point, and who is to serve afterwards."""


def stands_still(scene: Scene) -> None:
    """What takes the port over stands still where both sockets are open, as it may on a busy host: nobody is lost, not
    even where the new server does not start."""
    shape, seen = SHAPES["tcp"][1], scene.seen
    moments: list[tuple[str, float, float]] = []
    with former(scene, shape), none_lost(scene, moments):
        for target, entry_point, serves in STILL:
            declared = _engine.shop(
                NAME,
                listen=shape.listen,
                former=shape.unit,
                environment={"SHOP_RELEASE": "new"},
                entry_point=entry_point,
            )
            strike = {"target": target, "then": {"shell": f"sleep {STILL_SECONDS}"}}
            begin = time.time()
            done = scene.engine.steps(NAME, ("stage", scene.engine.request(declared)), "finish", "promote", at=strike)
            moments.append((target.rpartition(".")[2], begin, time.time()))
            failed = str(done[-1].get("failed", ""))
            expected = "No module named 'shop.nothing'" if serves == "old" else ""
            seen.must(expected in failed and bool(expected) is bool(failed), f"{target}: it ended with {done[-1]}")
            _serving(scene, shape, serves, f"after {target}")
            if serves == "new":
                begin = time.time()
                give_back(scene, shape, target)
                moments.append(("given back", begin, time.time()))


STILLS = [
    Row(
        "past/takeover-still",
        "what takes a port over stands still for 2 s: before users are led, with a new server that does not start, and "
        "when the old server has ended",
        "gone back, and taken over; users lose nothing",
        stands_still,
    )
]
