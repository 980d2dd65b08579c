# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Is there room for the processes and threads of one more instance? It must not take a request that it has no thread
for, nor the last one that the live instance has yet to begin."""

from __future__ import annotations

from dataclasses import dataclass

from .._facts.tasks import task_limits, tasks_needed, tasks_of
from .._facts.unitgroups import unit_pids
from .._os.procfs import children, to_int
from . import generations
from .instances import Instances
from .record import GenerationRecord

SPARE = 10
"""So many are left for what an app begins by itself, and for the commands of the step."""

SWOLLEN = 2.0
"""An instance with so many times the tasks that it is planned to have is told of, where it is in the way."""


@dataclass(frozen=True)
class _Beside:
    """An instance that runs: the tasks that it is planned to have, those of its master and workers, and all others of
    its unit, which the app began by itself."""

    unit: str
    planned: int
    serving: int
    own: int

    @property
    def waiting(self) -> int:
        """Those that it has yet to begin."""
        return max(0, self.planned - self.serving)


def no_room(instances: Instances, number: int, service: str, workers: int | None = None, back: bool = False) -> str:
    """Why the tasks of generation `number`, run by `service`, have no room on this host, in a sentence; empty where
    they have. `workers`: another number of them than is planned.

    What the app of the live one has begun beside its server (processes of its own) is expected of this one too. Only on
    the way `back` from one that has far more than it is planned to have it is not: that is a fault, which it is for.
    """
    need = _planned(instances, number, workers)
    if need is None:
        return ""
    found = instances.systemd.properties(service, "Slice", "TasksMax")
    limits = task_limits(found.get("Slice") or "system.slice", to_int(found.get("TasksMax")), instances.layout.root)
    beside = _beside(instances, number)
    swollen = [one for one in beside if one.serving + one.own > SWOLLEN * one.planned + SPARE]
    need += max((one.own for one in beside if not (back and one in swollen)), default=0)
    for limit in sorted(limits, key=lambda limit: limit.left):
        # What others have yet to begin is no matter of a limit that is the service's own.
        waiting = sum(one.waiting for one in beside) if limit.there else 0
        if limit.left < need + waiting + SPARE:
            more = f", {waiting} that the live generation has yet to begin" if waiting else ""
            return (
                f"this host has no room for generation {number}: its {need} processes and threads{more} and {SPARE} to "
                f"spare are {need + waiting + SPARE}, but only {limit.left} more may be begun ({limit.source} is "
                f"{limit.most}, and {limit.there} are there). {_fix(swollen)}, and run this again"
            )
    return ""


def _fix(swollen: list[_Beside]) -> str:
    if not swollen:
        return "End some of them, or allow more"
    one = swollen[0]
    return (
        f"{one.serving + one.own} of them are those of {one.unit}, which is planned to have {one.planned}: "
        f"`systemctl restart {one.unit}` ends what it has left (requests wait meanwhile). Do that, or allow more"
    )


def _planned(instances: Instances, number: int, workers: int | None = None) -> int | None:
    """The tasks that generation `number` is planned to have; None where its record does not tell."""
    try:
        settings = GenerationRecord.from_dict(generations.record(instances.layout, number)).settings
        count = workers if workers is not None else int(settings["workers"])
        return tasks_needed(str(settings["worker_class"]), count, int(settings["threads"]))
    except (KeyError, TypeError, ValueError):
        return None


def _beside(instances: Instances, number: int) -> list[_Beside]:
    """The app's instances that run beside `number`, where their records tell what they are planned to have."""
    found = []
    for other, unit in instances.running().items():
        planned = _planned(instances, other) if other != number else None
        if planned is None:
            continue
        state, root = instances.systemd.state(unit), instances.layout.root
        pids = unit_pids(state.control_group, root) if state.control_group else []
        server = {state.main_pid, *(pid for pid, _ in children(state.main_pid, pids, root))}
        serving = tasks_of([pid for pid in pids if pid in server], root)
        found.append(_Beside(unit, planned, serving, tasks_of([pid for pid in pids if pid not in server], root)))
    return found
