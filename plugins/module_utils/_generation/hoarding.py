# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A live generation that has taken every process and thread that its host may begin: not even systemctl can be begun,
so that it is found, and asked to end, by what the kernel tells of it."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
from dataclasses import dataclass

from .._facts.tasks import tasks_of
from .._os.paths import Layout, under
from .._os.procfs import parent, read_text
from .._os.systemd import UNBEGUN, Systemd
from . import generations, store
from .beginnable import Beside, planned
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
    pids = _pids(unit, layout.root)
    masters = [pid for pid in pids if parent(pid, layout.root) not in pids]
    instance = Beside(unit, most, tasks_of(pids, layout.root), 0)
    return Hoard(instance, tuple(pids), min(masters)) if masters and instance.swollen else None


def _pids(unit: str, root: str) -> list[int]:
    """The processes of a unit, by /proc/PID/cgroup."""
    group = re.compile(rf"/{re.escape(unit)}(?:/|$)", re.MULTILINE)
    pids = sorted(int(name) for name in os.listdir(under(root, "/proc")) if name.isdigit())
    return [pid for pid in pids if group.search(read_text(root, f"/proc/{pid}/cgroup") or "")]


def end(instances: Instances, found: Hoard, old: int, target: int) -> str:
    """Have `old`, which is `found`, leave; in a sentence, what was done. StepFailed where it goes on to fill the host.

    It begins nothing more, ends the requests that it has, and is not started again. What comes while nobody serves
    wakes generation `target`, once systemd has read so: `live` leads there as long as that takes, and no longer.
    """
    for pid in found.pids:
        with contextlib.suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_NPROC, (0, 0))
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
