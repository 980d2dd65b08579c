# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A live generation that takes every process and thread that its host may begin: another one finds no room beside it,
and where not even systemctl can be begun, it is found, and asked to end, by what the kernel tells of it."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from dataclasses import dataclass

from .._facts.tasks import task_limits, tasks_of
from .._facts.unitprocesses import unit_processes
from .._os.paths import Layout
from .._os.systemd import UNBEGUN, Systemd
from . import generations, store
from .beginnable import SPARE, Beside, Lack, planned
from .failures import StepFailed
from .instances import POLL_SECONDS, Instances
from .reloads import NoRoom, no_room_to_reload

END_SECONDS = 30.0
"""It has so long beyond its graceful timeout."""


@dataclass(frozen=True)
class Hoard:
    """An instance, its processes and its master among them."""

    instance: Beside
    pids: tuple[int, ...]
    master: int

    def words(self) -> str:
        """In a sentence."""
        return (
            f"this host could begin no process any more, not even systemctl: {self.instance.unit} had "
            f"{self.instance.tasks} processes and threads, and is planned to have {self.instance.planned}"
        )


def nothing_begins(systemd: Systemd) -> bool:
    """Whether this host has no process left for a command."""
    return systemd.runner(["systemctl", "--version"], 5.0).status == UNBEGUN


def hoard(layout: Layout, number: int | None) -> Hoard | None:
    """The instance of generation `number`, where it has far more tasks than it is planned to have; else None."""
    most = planned(generations.record(layout, number)) if number is not None else None
    if number is None or most is None:
        return None
    unit = layout.service_unit(number)
    runs = unit_processes(unit, layout.root)
    if runs is None:
        return None
    instance = Beside(unit, most, tasks_of(runs.pids, layout.root), 0)
    return Hoard(instance, runs.pids, runs.master) if instance.swollen else None


def crowds_out(layout: Layout, number: int, target: int) -> str:
    """That generation `number` has taken the room that generation `target` needs, in a sentence; empty where it has
    not: there is room for both, it has not far more tasks than it is planned to have, or its end would not make room.
    Nobody is asked for it."""
    found, need = hoard(layout, number), planned(generations.record(layout, target))
    if found is None or need is None:
        return ""
    app = generations.record(layout, target).get("app") or {}
    limits = tuple(task_limits(str(app.get("slice") or "system.slice"), None, layout.root))
    limit = min(limits, key=lambda limit: limit.left, default=None)
    if limit is None or limit.left >= need + SPARE:
        return ""
    its, lack = found.instance, Lack(target, need, 0, limit, limits, (found.instance,))
    if not lack.gone_with(its.tasks):
        return ""
    return (
        f"{its.unit} had {its.tasks} processes and threads (it is planned to have {its.planned}), and {lack.reason()}"
    )


def forbid(layout: Layout, number: int) -> None:
    """Have generation `number` begin no further process or thread."""
    runs = unit_processes(layout.service_unit(number), layout.root)
    for pid in runs.pids if runs is not None else ():
        with contextlib.suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_NPROC, (0, 0))


def end(instances: Instances, found: Hoard, old: int, target: int) -> str:
    """Have `old`, which is `found`, leave; in a sentence, what was done. StepFailed where it goes on to fill the host.

    It begins nothing more, ends the requests that it has, and is not started again. What comes while nobody serves
    wakes generation `target`, once systemd has read so: `live` leads there as long as that takes, and no longer.
    """
    forbid(instances.layout, old)
    store.activate(instances.layout, target)
    try:
        os.kill(found.master, signal.SIGTERM)
        deadline = instances.monotonic() + graceful_seconds(instances.layout, old) + END_SECONDS
        while nothing_begins(instances.systemd):
            if instances.monotonic() >= deadline:
                raise StepFailed("rollback", f"{found.words()}; it was asked to end (SIGTERM), and did not")
            instances.sleep(POLL_SECONDS)
        instances.systemd.begin_stop(instances.layout.service_unit(old))  # else it is begun again as soon as it ended
        while no_room_to_reload(instances.layout.root) and instances.monotonic() < deadline:
            instances.sleep(POLL_SECONDS)
        with contextlib.suppress(NoRoom):
            instances.systemd.reload()
        instances.leave(old, wait=False)  # with its own socket: who looks at it would have it started again
    finally:
        store.activate(instances.layout, old)
    return f"{found.words()}; it was asked to end (SIGTERM), and requests waited meanwhile"


def graceful_seconds(layout: Layout, number: int) -> float:
    """What a generation has to end the requests that it has."""
    settings = (generations.record(layout, number).get("plan") or {}).get("settings") or {}
    return float((settings.get("graceful_timeout") or {}).get("value") or 60.0)
