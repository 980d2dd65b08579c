# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How many workers of which class with how many slots: the part of a plan that limits bind.

A slot is one request in flight: a sync worker, a thread of gthread, a connection of gevent or eventlet. docs/planner.md
has each formula with its source and what was measured for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Sequence

from .._declaration.app import App
from .inputs import ASSUMED_MASTER_MIB, Inputs
from .sharing import (
    BUSY_FACTOR,
    CPU_RATIO,
    GTHREAD_HEADROOM,
    PROCESSES_MAX,
    SHARING_QUEUE,
    THREADS_MAX,
    Want,
    sharing_slots,
    sharing_sync,
    sharing_want,
    unweighed_slots,
    whole_cores,
)
from .types import COUNTLESS, Limit, Number, down, fitting, number, up

ASYNC: Final = ("gevent", "eventlet")
SYNC_WAIT_HEADROOM: Final = 1.4
"""Goetz' N x (1 + W/C) for workers that wait, times this: 14 workers beat 10 by 3 to 10 % where the formula says 10."""

ASYNC_HEADROOM: Final = 2.0
ASYNC_SLOTS_MIN: Final = 64
"""Slots over the concurrency: a greenlet costs next to nothing, and accepts spread unevenly."""

CROWD_DEVIATIONS: Final = 3.0
"""So many standard deviations above the mean: a Poisson number is above that once in 500 moments, however large."""

ROUNDED_UP: Final = 1.25
"""More workers round the slots of fewer up until these are so many times what is wanted: else 48 have 960 for 316."""

HEAVY_SLOT_MIB: Final = 1.0
HEAVY_FACTOR: Final = 2.5
HEAVY_SLOTS_MIN: Final = 8
"""A request that holds this much is let in no earlier than a core can get to it, with at least so many in a worker: of
8 MiB each, 64 in flight served 7 % more than 256, with a p95 a third lower, and 32 a fifth less, on two cores."""

NOFILE_BASE: Final = 256
"""Descriptors of a worker beside its requests: listeners, pipes, logs, imported files, pools."""


@dataclass(frozen=True)
class WorkerMemory:
    """MiB of one generation: `base` per worker, `slot` per request in flight, and what it may use.

    `need`: no more slots than that rest on this account, which is the least that a worker may take.
    """

    base: Number
    slot: Number
    master: Number
    usable: float
    maximum: int
    warning: str | None = None
    need: int | None = None

    def total(self, workers: int, slots: int) -> float:
        """MiB that the plan counts on: master + workers x base + slots x slot."""
        return self.master.value + workers * self.base.value + slots * self.slot.value


@dataclass(frozen=True)
class Shape:
    """Workers and slots per worker, with the limits considered for both and the ones that won."""

    workers: int
    per_worker: int
    workers_winner: str
    workers_limits: tuple[Limit, ...]
    slots_winner: str
    slots_limits: tuple[Limit, ...]

    @property
    def slots(self) -> int:
        """Requests in flight that all workers together hold."""
        return self.workers * self.per_worker


@dataclass(frozen=True)
class Ceiling:
    """What nothing may exceed: memory, the database's connections and the file descriptors of a process."""

    memory: WorkerMemory
    database_slots: int | None
    database_reason: str
    nofile_slots: int
    nofile_max: int
    descriptors_per_slot: int

    def slots(self, workers: int) -> int:
        """The most slots that this many workers may have together; negative when the workers alone do not fit."""
        memory = self.memory
        left = memory.usable - memory.master.value - workers * memory.base.value
        most = min(fitting(left + 1e-9, memory.slot.value), workers * self.nofile_slots)
        if memory.need is not None:
            most = min(most, memory.need)
        return most if self.database_slots is None else min(most, self.database_slots)


def memories(inputs: Inputs, worker_class: str, maximum_mib: int) -> list[WorkerMemory]:
    """What a worker of this class takes: one account where that is declared or measured; else the usual guess first,
    then those that replace it where it turns away requests that have to be held to keep up."""
    usable = maximum_mib * inputs.allotment.usable_share
    master = inputs.master_mib or Number(
        ASSUMED_MASTER_MIB[worker_class], "assumed", "assumed: master of a bare Flask app"
    )
    slot = inputs.slot_mib
    if inputs.worker_mib is not None:
        return [WorkerMemory(inputs.worker_mib, slot, master, usable, maximum_mib)]
    from .guessed import accounts

    return accounts(inputs, worker_class, master, usable, maximum_mib)


def fits_once(memory: WorkerMemory) -> bool:
    """Whether one worker with one request fits."""
    return memory.total(1, 1) <= memory.usable + 1e-9


def ceiling_for(app: App, inputs: Inputs, memory: WorkerMemory, hosts: int, nofile_max: int) -> Ceiling:
    """The hard limits. Raises PlanError for the one that leaves no room for a single worker with a single request."""
    if not fits_once(memory):
        from .unfit import no_worker_fits

        raise no_worker_fits(inputs, memory)
    per_slot = app.database.connections_per_slot
    descriptors = 2 + max(1, up(per_slot))
    nofile_slots = (nofile_max - NOFILE_BASE) // descriptors
    if nofile_slots < 1:
        from .unfit import too_few_files

        raise too_few_files(inputs, nofile_max, descriptors)
    slots, reason = None, "no database is declared"
    most = app.database.max_connections
    if most is not None and per_slot > 0:
        reserved, generations = app.database.reserved, inputs.allotment.generations
        slots = fitting(max(0, most - reserved), hosts * generations * per_slot)
        reason = (
            f"({most} connections - {reserved} reserved) / {hosts} host{'s' if hosts != 1 else ''}"
            f" / {generations} generation{'s' if generations != 1 else ''} / {number(per_slot)} per request"
        )
        if slots < 1:
            from .unfit import too_few_connections

            raise too_few_connections(inputs, most, reason, up(hosts * generations * per_slot) + reserved)
    return Ceiling(memory, slots, reason, nofile_slots, nofile_max, descriptors)


def want_of(inputs: Inputs, worker_class: str) -> Want:
    """What the load asks of workers of this class, whatever the host has."""
    if worker_class == "sync":
        return _sync_want(inputs)
    if worker_class == "gthread" and inputs.mix.mixed and inputs.slot_mib.value < HEAVY_SLOT_MIB:
        return sharing_want(inputs)
    return _loop_want(inputs, worker_class)


def _in_flight(inputs: Inputs) -> int:
    return max(1, up(inputs.concurrency.value))


def _keeping_up(inputs: Inputs) -> int:
    """Slots that keep up with the load: the requests in flight, and where that is the mean that a rate makes (Little's
    law) CROWD_DEVIATIONS more, as their number is Poisson's where most of them wait."""
    flight = inputs.concurrency.value
    if inputs.rate is None or flight == inputs.peak:
        return _in_flight(inputs)
    return max(1, up(flight + CROWD_DEVIATIONS * math.sqrt(flight)))


def _least_workers(inputs: Inputs) -> int:
    return 2 if whole_cores(inputs.allotment.cores) > 1 else 1


def _sync_want(inputs: Inputs) -> Want:
    """Workers of sync, each of which has one request in flight."""
    by_cores, flight, why = _sync_by_cores(inputs), _in_flight(inputs), inputs.concurrency.source
    if not inputs.mix.known_alike:
        held = sharing_slots(inputs)
        flight, why = max((flight, why), (int(held.value), held.reason))
    in_flight = max(_least_workers(inputs), flight)
    workers = (
        by_cores,
        Limit("concurrency", in_flight, f"a request in flight each: {why}"),
        Limit("processes", PROCESSES_MAX, "more processes than this only switch: threads or greenlets hold requests"),
    )
    most = min(int(limit.value) for limit in workers)
    return Want(workers, (Limit("workers", most, "a sync worker serves one request at a time"),), most)


def _sync_by_cores(inputs: Inputs) -> Limit:
    """As many workers of sync as keep the cores busy."""
    cores, reason, ratio = inputs.allotment.cores, inputs.allotment.cores_reason, inputs.most_ratio
    whole = whole_cores(cores)
    if inputs.wait_ratio.value < CPU_RATIO:
        known = 0.0 if inputs.wait_ratio.origin == "assumed" else inputs.wait_ratio.value
        count = max(whole, down(cores * (1 + known) + 0.5))
        words = f"one for each core, as they compute: {reason}"
        if count > whole:
            words = f"cores x (1 + wait ratio {number(known)}), rounded: {reason}"
    elif math.isinf(ratio):
        count, words = COUNTLESS, "each request waits in a worker of its own"
    else:
        count = max(whole, up(cores * (1 + ratio) * SYNC_WAIT_HEADROOM))
        words = f"cores x (1 + wait ratio {number(ratio)}) x {number(SYNC_WAIT_HEADROOM)}: {reason}"
    shared = sharing_sync(inputs)
    if not inputs.mix.known_alike and count < int(shared.value):
        return shared
    return Limit("cores", count, words)


def _loop_want(inputs: Inputs, worker_class: str) -> Want:
    """Workers whose requests share one event loop or interpreter: one for each core, with slots that keep it busy."""
    cores, flight = inputs.allotment.cores, _in_flight(inputs)
    whole = whole_cores(cores)
    busy = max(_least_workers(inputs), up(1.5 * flight / (1 + inputs.least_ratio)))
    workers: tuple[Limit, ...] = (
        Limit("cores", whole, f"one event loop or interpreter per core: {inputs.allotment.cores_reason}"),
        Limit(
            "concurrency",
            busy,
            f"{flight} in flight keep at most {busy} workers computing: {inputs.concurrency.source}",
        ),
    )
    held = (inputs.peak or 0) if worker_class == "gthread" or not inputs.buffered else 0
    if worker_class == "gthread":
        workers, most = _for_threads(workers, min(whole, busy), held)
    else:
        most = min(whole, busy)
    spare = 0
    if worker_class == "gthread" and (_partly_weighed(inputs) or not inputs.buffered):
        spare = unweighed_slots(inputs)
    keep_busy = COUNTLESS
    if not math.isinf(inputs.most_ratio):
        keep_busy = max(2 * most, up(cores * (1 + inputs.most_ratio) * BUSY_FACTOR), held, spare)
        if not inputs.buffered:
            keep_busy = max(keep_busy, whole + SHARING_QUEUE)
    if worker_class in ASYNC:
        return Want(workers, _async_target(inputs, most, held), min(_keeping_up(inputs), keep_busy), held=held)
    target, threads = _threads_target(inputs, most, keep_busy, spare), THREADS_MAX * most
    need = min(_keeping_up(inputs), keep_busy, threads)
    first = min(spare, threads) if _partly_weighed(inputs) else 0
    return Want(workers, target, need, first, min(held, threads))


def _partly_weighed(inputs: Inputs) -> bool:
    """Whether requests are alike where they are known, and nobody says so of the whole app."""
    return not inputs.mix.mixed and not inputs.mix.known_alike


def _for_threads(workers: tuple[Limit, ...], most: int, held: int) -> tuple[tuple[Limit, ...], int]:
    """So many workers that their threads hold the declared concurrency, where one for each core does not."""
    least = min(PROCESSES_MAX, up(held / THREADS_MAX))
    if least <= most:
        return workers, most
    words = f"{held} requests in flight in workers of {THREADS_MAX} threads at most"
    return (Limit("threads", least, words),), least


def _async_target(inputs: Inputs, workers: int, held: int) -> tuple[Limit, ...]:
    """Slots of greenlets that are comfortable; of requests that hold much memory no more than keep the cores busy."""
    flight, slot, ratio = _in_flight(inputs), inputs.slot_mib.value, inputs.most_ratio
    comfortable = max(up(ASYNC_HEADROOM * flight), ASYNC_SLOTS_MIN * workers)
    words = (
        f"{number(ASYNC_HEADROOM)} x {flight} in flight, at least"
        f" {ASYNC_SLOTS_MIN} per worker: {inputs.concurrency.source}"
    )
    by_load = Limit("concurrency", comfortable, words)
    if slot < HEAVY_SLOT_MIB or math.isinf(ratio):
        return (by_load,)
    enough = max(up(inputs.allotment.cores * (1 + ratio) * HEAVY_FACTOR), HEAVY_SLOTS_MIN * workers, held)
    why = f"no more than that, as a request holds {number(slot)} MiB"
    return by_load, Limit("waiting", enough, f"{_busy_words(inputs, HEAVY_FACTOR)}; {why}")


def _threads_target(inputs: Inputs, workers: int, keep_busy: int, spare: int) -> tuple[Limit, ...]:
    """Threads that are comfortable, but no more than keep the cores busy or than share one interpreter. `spare`: so
    many at least, for requests that were not weighed and for slow clients."""
    flight = _in_flight(inputs)
    words = f"{number(GTHREAD_HEADROOM)} x {flight} in flight: {inputs.concurrency.source}"
    wanted = Limit("concurrency", max(up(GTHREAD_HEADROOM * flight), 2 * workers), words)
    if spare > int(wanted.value):
        whole, who = whole_cores(inputs.allotment.cores), "requests that nobody weighed"
        name, who = ("queue", who) if inputs.buffered else ("slow clients", "clients that are slow or idle")
        wanted = Limit(name, spare, f"{whole} that compute and up to {SHARING_QUEUE} more, for {who}")
    target = [
        wanted,
        Limit("threads", THREADS_MAX * workers, f"at most {THREADS_MAX} threads share one interpreter"),
    ]
    if keep_busy < COUNTLESS:
        words = _busy_words(inputs, BUSY_FACTOR)
        if not inputs.buffered:
            words += f", and no fewer than {SHARING_QUEUE} slow clients and the declared concurrency"
        elif spare:
            words += f", and no fewer than {spare}, for requests that nobody weighed"
        target.append(Limit("waiting", keep_busy, words))
    return tuple(target)


def _busy_words(inputs: Inputs, factor: float) -> str:
    return f"{number(factor)} x cores x (1 + wait ratio {number(inputs.most_ratio)}) keeps every core busy"


def size(
    inputs: Inputs,
    worker_class: str,
    ceiling: Ceiling,
    fixed_workers: int | None = None,
    fixed_per_worker: int | None = None,
) -> Shape:
    """Workers and slots within the ceiling. Raises PlanError when what is fixed by the user does not fit.

    Where memory is short, slots go before workers only as far as they keep these workers busy: two workers with six
    slots each serve more than one with fourteen. Workers are added as long as that costs no slot below this, so that
    more of any resource never gives fewer slots.
    """
    want = want_of(inputs, worker_class)
    if want.held and ceiling.slots(1) >= want.held:
        want = replace(want, first=max(want.first, want.held))
    step = 1 if worker_class == "sync" else fixed_per_worker
    if fixed_workers is None:
        most = want.most_workers
        candidates = _candidates(most, ceiling)
    else:
        most, candidates = fixed_workers, [fixed_workers]
    workers, per_worker = _fullest(inputs, want, ceiling, candidates, most, step)
    if workers < 1:
        tried = 1 if fixed_workers is None else fixed_workers
        from .unfit import does_not_fit

        raise does_not_fit(inputs, worker_class, ceiling, tried, step or 1, fixed_workers)
    if step is None and workers == most:
        room = ceiling.slots(workers) // workers
        per_worker = max(per_worker, min(room, up(want.target_slots / workers)))
    return _explained(want, ceiling, worker_class, Shape(workers, per_worker, "", (), "", ()), fixed_workers, step)


def _fullest(
    inputs: Inputs, want: Want, ceiling: Ceiling, candidates: Sequence[int], most: int, step: int | None
) -> tuple[int, int]:
    """(workers, slots of each) of the last of `candidates` that costs no slot below it; (0, 0) where none fits.

    `most`: workers of which more are not wanted. `step`: slots of a worker, where they are fixed.
    """
    best = (0, 0)
    total = COUNTLESS if step is not None else _rounded(inputs, want, most)
    for workers in candidates:
        room = ceiling.slots(workers) // workers
        wanted = max(_least_slots(inputs, want, workers, most), best[0] * best[1])
        per_worker = step if step is not None else min(room, up(wanted / workers), max(1, total // workers))
        if 1 <= per_worker <= room and workers * per_worker >= best[0] * best[1]:
            best = (workers, per_worker)
    return best


def _least_slots(inputs: Inputs, want: Want, workers: int, most: int) -> int:
    """Slots that so many workers have at least, where there is room."""
    busy = up(workers * (1 + inputs.wait_ratio.value) * BUSY_FACTOR) if workers < most else want.need
    return want.first or min(want.need, busy)


def _rounded(inputs: Inputs, want: Want, most: int) -> int:
    """The slots of `most` workers, and no fewer have more: as many as no number of workers up to there has less than
    the one before, but no more than ROUNDED_UP times what is wanted and what that is rounded up to."""
    bound, found = ROUNDED_UP * (want.first or want.need), 0
    for workers in range(1, most + 1):
        found = workers * up(max(_least_slots(inputs, want, workers, most), found) / workers)
        if found >= bound:
            break
    return most * up(min(found, bound) / most)


def _candidates(most: int, ceiling: Ceiling) -> list[int]:
    """1..most, as far as they fit at all: no loop over a million workers that memory rules out."""
    memory = ceiling.memory
    left = memory.usable - memory.master.value
    by_memory = fitting(left, memory.base.value)
    by_database = most if ceiling.database_slots is None else ceiling.database_slots
    return list(range(1, max(1, min(most, by_memory, by_database)) + 1))


def holds(ceiling: Ceiling, shape: Shape, tolerance: float) -> bool:
    """Whether a shape stays inside the ceiling, with this much more than the usable memory (but never above
    MemoryMax)."""
    memory = ceiling.memory
    allowed = min(float(memory.maximum), memory.usable * (1 + tolerance))
    fits_database = ceiling.database_slots is None or shape.slots <= ceiling.database_slots
    return (
        shape.workers >= 1
        and shape.per_worker >= 1
        and memory.total(shape.workers, shape.slots) <= allowed
        and fits_database
        and shape.per_worker <= ceiling.nofile_slots
    )


def memory_workers(ceiling: Ceiling, per_worker: int) -> int:
    """The most workers with so many slots each that the memory holds."""
    memory = ceiling.memory
    each = memory.base.value + per_worker * memory.slot.value
    return fitting(memory.usable - memory.master.value, each)


def _explained(
    want: Want, ceiling: Ceiling, worker_class: str, shape: Shape, fixed_workers: int | None, step: int | None
) -> Shape:
    """The same shape with all limits named and the winners found."""
    memory, per_worker = ceiling.memory, shape.per_worker
    need_each = max(1, min(per_worker, up(want.need / shape.workers)))
    by_memory = max(shape.workers, memory_workers(ceiling, need_each))
    words = (
        f"{number(memory.usable)} MiB - {number(memory.master.value)} MiB"
        f" master, {number(memory.base.value)} MiB a worker"
        f" ({memory.base.origin}), {number(memory.slot.value)} MiB a request ({memory.slot.origin})"
    )
    workers_limits = [*want.workers, Limit("memory", by_memory, words)]
    if ceiling.database_slots is not None:
        workers_limits.append(Limit("database", max(1, ceiling.database_slots), ceiling.database_reason))
    smallest = min(workers_limits, key=lambda limit: float(limit.value))
    winner = smallest.name if int(smallest.value) == shape.workers else "memory"
    if (
        ceiling.database_slots is not None
        and ceiling.database_slots // max(1, need_each) <= shape.workers < want.most_workers
    ):
        winner = "database"
    room = {
        "memory": fitting(memory.usable - memory.master.value - shape.workers * memory.base.value, memory.slot.value),
        "open files": shape.workers * ceiling.nofile_slots,
    }
    reasons = {
        "memory": words,
        "open files": f"({ceiling.nofile_max} - {NOFILE_BASE}) /"
        f" {ceiling.descriptors_per_slot} per request, per worker",
    }
    if ceiling.database_slots is not None:
        room["database"], reasons["database"] = ceiling.database_slots, ceiling.database_reason
    if memory.need is not None:
        room["guess"] = memory.need
        reasons["guess"] = f"{memory.need} keep up with the load; more would rest on the least that a worker may take"
    over = f"; over {shape.workers} workers" if shape.workers > 1 else ""
    slots_limits = [
        *(Limit(item.name, up(float(item.value) / shape.workers), item.reason + over) for item in want.target),
        *(Limit(name, value // shape.workers, reasons[name] + over) for name, value in room.items()),
    ]
    least = min(slots_limits, key=lambda limit: float(limit.value))
    slots_winner = least.name
    if shape.workers < want.most_workers and shape.per_worker < int(least.value):
        slots_limits.append(
            Limit(
                "need",
                shape.per_worker,
                "slots that keep up with the load; the rest of the memory is too little for a worker",
            )
        )
        slots_winner = "need"
    if fixed_workers is not None:
        winner = "override"
        workers_limits.insert(0, Limit("override", fixed_workers, "settings.workers"))
    if step is not None and worker_class != "sync":
        slots_winner = "override"
        slots_limits.insert(0, Limit("override", step, "settings"))
    return Shape(shape.workers, per_worker, winner, tuple(workers_limits), slots_winner, tuple(slots_limits))
