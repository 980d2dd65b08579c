# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Is there room for the processes and threads of one more instance? It must not take a request that it has no thread
for, nor the last one that the live instance has yet to begin."""

from __future__ import annotations

from .._facts.tasks import task_limits, tasks_needed
from .._os.procfs import to_int
from . import generations
from .instances import Instances
from .record import GenerationRecord

SPARE = 10
"""So many are left for what an app begins by itself, and for the commands of the step."""


def no_room(instances: Instances, number: int, service: str, workers: int | None = None) -> str:
    """Why the tasks of generation `number`, run by `service`, have no room on this host, in a sentence; empty where
    they have. `workers`: another number of them than is planned.
    """
    need = _planned(instances, number, workers)
    if need is None:
        return ""
    found = instances.systemd.properties(service, "Slice", "TasksMax")
    limits = task_limits(found.get("Slice") or "system.slice", to_int(found.get("TasksMax")), instances.layout.root)
    waiting = _yet_to_begin(instances, number)
    for limit in sorted(limits, key=lambda limit: limit.left):
        # What others have yet to begin is no matter of a limit that is the service's own.
        beside = waiting if limit.there else 0
        if limit.left < need + beside + SPARE:
            more = f", {beside} that the live generation has yet to begin" if beside else ""
            return (
                f"this host has no room for generation {number}: its {need} processes and threads{more} and {SPARE} to "
                f"spare are {need + beside + SPARE}, but only {limit.left} more may be begun ({limit.source} is "
                f"{limit.most}, and {limit.there} are there). End some of them, or allow more, and run this again"
            )
    return ""


def _planned(instances: Instances, number: int, workers: int | None = None) -> int | None:
    """The tasks that generation `number` is planned to have; None where its record does not tell."""
    try:
        settings = GenerationRecord.from_dict(generations.record(instances.layout, number)).settings
        count = workers if workers is not None else int(settings["workers"])
        return tasks_needed(str(settings["worker_class"]), count, int(settings["threads"]))
    except (KeyError, TypeError, ValueError):
        return None


def _yet_to_begin(instances: Instances, number: int) -> int:
    """The tasks that the app's instances beside `number` are planned to have and have not begun yet."""
    waiting = 0
    for other, unit in instances.running().items():
        planned = _planned(instances, other) if other != number else None
        there = to_int(instances.systemd.properties(unit, "TasksCurrent").get("TasksCurrent"))
        if planned is not None and there is not None:
            waiting += max(0, planned - there)
    return waiting
