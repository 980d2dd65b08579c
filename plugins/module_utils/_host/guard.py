# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The guard: after a promote the host watches what users get, and goes back by itself, with no controller.

It runs as a transient unit of its own. It ends when its time is over, when another generation is made live, and with
the host: after a restart nobody guards.
"""

from __future__ import annotations

import time
from typing import Callable

from .._generation import generations, store
from .._generation.failures import StepFailed
from .._generation.lock import Busy
from .._os.systemd import SystemdError
from .._steps.app import AppOnHost
from .._steps.guarding import Orders
from .._steps.rollback import rollback
from .._verdict.guarding import LOOK_EVERY_S, Reading, Watch
from .._watch.view import AppView, InstanceView, app_view

View = Callable[[], AppView]


def guard(app: AppOnHost, sleep: Callable[[float], None] = time.sleep, view: View | None = None) -> str:
    """Watch until the time is over; what came of it, in a sentence."""
    orders = Orders.read(app.layout)
    if orders is None:
        return "there is nothing to guard"
    look = view or (lambda: app_view(app.name, app.root, app.systemd))
    watch: Watch | None = None
    number, began = orders.generation, orders.until - 60 * orders.minutes
    while app.clock() < orders.until:
        sleep(LOOK_EVERY_S)
        if generations.live(app.layout) != number:
            return f"generation {number} is not live any more; its guard ends"
        current = _current(look)
        if current is None or current.generation != number or current.counts is None:
            continue
        watch = watch or Watch(current.limits, orders.before, current.memory_max_mib)
        breach = watch.look(_reading(current, app.clock() - began))
        done = _go_back(app, orders, breach) if breach else ""
        if done:
            return done
    told = watch.conclusion() if watch is not None else "not enough traffic to tell (nothing was counted)"
    app.log("guarded", generation=number, evidence=told)
    return f"generation {number}: {told}"


def _current(look: View) -> InstanceView | None:
    """The live instance; None while it does not run, or systemd does not answer."""
    try:
        return look().current
    except SystemdError:
        return None


def _reading(current: InstanceView, at: float) -> Reading:
    assert current.counts is not None
    return Reading(at, current.counts.tally, current.memory.anon_mib if current.memory else None, current.oom_kills)


def _go_back(app: AppOnHost, orders: Orders, breach: str) -> str:
    """Go back, and write down why; empty while another run is at work on the app."""
    number = orders.generation
    cause = f"users were served worse after the promote: {breach}"
    try:
        done = rollback(app, orders.back_to, event="reverted")
    except Busy:
        return ""
    except StepFailed as failure:
        app.log("failed", generation=number, phase="guard", cause=f"{cause}; {failure.cause}")
        return f"generation {number}: {cause}; {failure.cause}"
    store.set_outcome(app.layout, number, "bad", cause)
    record = app.known(number)
    app.log(
        "failed",
        **{"from": done["to"]},
        generation=number,
        release=record.release if record is not None else None,
        source_id=record.source_id if record is not None else None,
        digest=record.digest if record is not None else None,
        phase="guard",
        cause=cause,
    )
    return f"generation {done['to']} is live again: {cause}"
