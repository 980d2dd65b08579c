# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Is there room for the processes and threads of one more instance? It must not take a request that it has no thread
for, nor the last one that the live instance has yet to begin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .._facts.tasks import TaskLimit, task_limits, tasks_needed, tasks_of
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
class Beside:
    """An instance that runs: the tasks that it is planned to have, those of its master and workers, and all others of
    its unit, which the app began by itself."""

    unit: str
    planned: int
    serving: int
    own: int

    @property
    def tasks(self) -> int:
        return self.serving + self.own

    @property
    def swollen(self) -> bool:
        return self.tasks > SWOLLEN * self.planned + SPARE

    @property
    def waiting(self) -> int:
        """Those that it has yet to begin."""
        return max(0, self.planned - self.serving)


@dataclass(frozen=True)
class Lack:
    """A limit of the host that leaves no room for a generation: the tasks that it needs, those that `waiting` ones of
    the app have yet to begin, and what runs beside it. `limits`: all that hold for it."""

    number: int
    need: int
    waiting: int
    limit: TaskLimit
    limits: tuple[TaskLimit, ...]
    beside: tuple[Beside, ...]

    def words(self) -> str:
        """In a sentence, with the way out."""
        return f"{self.reason()}. {self._fix()}, and run this again"

    def reason(self) -> str:
        more = f", {self.waiting} that the live generation has yet to begin" if self.waiting else ""
        return (
            f"this host has no room for generation {self.number}: its {self.need} processes and threads{more} and "
            f"{SPARE} to spare are {self.need + self.waiting + SPARE}, but only {self.limit.left} more may be begun "
            f"({self.limit.source} is {self.limit.most}, and {self.limit.there} are there)"
        )

    def _fix(self) -> str:
        if self.need + SPARE > self.limit.most:
            return (
                "Its plan alone has more than that: declare `concurrency`, the requests in flight at peak, which its "
                "threads follow, or `settings` with fewer workers and threads; or allow more"
            )
        swollen = [one for one in self.beside if one.swollen]
        if not swollen:
            return "End some of them, or allow more"
        one = swollen[0]
        return (
            f"{one.tasks} of them are those of {one.unit}, which is planned to have {one.planned}: `systemctl restart "
            f"{one.unit}` ends what it has left (requests wait meanwhile). Do that, or allow more"
        )

    def gone_with(self, tasks: int) -> bool:
        """Whether there is room once so many others have ended."""
        theirs = ((limit, tasks if limit.there else 0) for limit in self.limits)
        return all(limit.most - limit.there + freed >= self.need + SPARE for limit, freed in theirs)


def no_room(instances: Instances, number: int, service: str, workers: int | None = None, back: bool = False) -> str:
    """Why the tasks of generation `number`, run by `service`, have no room on this host, in a sentence; empty where
    they have. As lack()."""
    found = lack(instances, number, service, workers, back)
    return found.words() if found is not None else ""


def lack(
    instances: Instances, number: int, service: str, workers: int | None = None, back: bool = False
) -> Lack | None:
    """What the tasks of generation `number`, run by `service`, have no room for on this host; None where they have.
    `workers`: another number of them than is planned.

    What the app of the live one has begun beside its server (processes of its own) is expected of this one too. Only on
    the way `back` from one that has far more than it is planned to have it is not: that is a fault, which it is for.
    """
    need = planned(generations.record(instances.layout, number), workers)
    if need is None:
        return None
    found = instances.systemd.properties(service, "Slice", "TasksMax")
    limits = task_limits(found.get("Slice") or "system.slice", to_int(found.get("TasksMax")), instances.layout.root)
    beside = tuple(_beside(instances, number))
    need += max((one.own for one in beside if not (back and one.swollen)), default=0)
    for limit in sorted(limits, key=lambda limit: limit.left):
        # What others have yet to begin is no matter of a limit that is the service's own.
        waiting = sum(one.waiting for one in beside) if limit.there else 0
        if limit.left < need + waiting + SPARE:
            return Lack(number, need, waiting, limit, tuple(limits), beside)
    return None


def leaves_first(instances: Instances, number: int, old: int, well: bool) -> str:
    """Why generation `old` has to leave before generation `number` is begun, on a way back, in a sentence; empty where
    it has not: both have room, what is missing is not missing for its sake, or its leaving would not make room.

    One that is `well` leaves first only where it has far more tasks than it is planned to have; one that is broken also
    where the other one could not even come up beside it.
    """
    found = lack(instances, number, instances.layout.service_unit(number), back=True)
    unit = instances.layout.service_unit(old)
    its = next((one for one in found.beside if one.unit == unit), None) if found is not None else None
    if found is None or its is None:
        return ""
    idle = planned(generations.record(instances.layout, number), idle=True) or 0
    comes_up = well or found.limit.left >= idle + SPARE
    if (comes_up and not its.swollen) or not found.gone_with(its.tasks):
        return ""
    taken = f"{unit} has {its.tasks} processes and threads (it is planned to have {its.planned})"
    return first_words(old, number, f"{taken}, and {found.reason()}")


def first_words(old: int, number: int, why: str) -> str:
    """That generation `old` leaves first, for a reason, in a sentence."""
    return f"generation {old} leaves before generation {number} is begun, and requests wait meanwhile: {why}"


def planned(record: Mapping[str, object], workers: int | None = None, idle: bool = False) -> int | None:
    """The tasks that a generation with that record is planned to have, `idle` before any request has come; None where
    it does not tell."""
    try:
        settings = GenerationRecord.from_dict(record).settings
        count = workers if workers is not None else int(settings["workers"])
        return tasks_needed("" if idle else str(settings["worker_class"]), count, int(settings["threads"]))
    except (KeyError, TypeError, ValueError):
        return None


def _beside(instances: Instances, number: int) -> list[Beside]:
    """The app's instances that run beside `number`, where their records tell what they are planned to have."""
    found = []
    for other, unit in instances.running().items():
        most = planned(generations.record(instances.layout, other)) if other != number else None
        if most is None:
            continue
        state, root = instances.systemd.state(unit), instances.layout.root
        pids = unit_pids(state.control_group, root) if state.control_group else []
        server = {state.main_pid, *(pid for pid, _ in children(state.main_pid, pids, root))}
        serving = tasks_of([pid for pid in pids if pid in server], root)
        found.append(Beside(unit, most, serving, tasks_of([pid for pid in pids if pid not in server], root)))
    return found
