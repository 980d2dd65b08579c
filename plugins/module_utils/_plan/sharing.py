# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the load asks for where requests are not alike and share the cores: processes, and slots that long requests do
not exhaust.

docs/planner.md has each number with what was measured for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from .._declaration.mixture import Spread
from .inputs import Inputs
from .types import COUNTLESS, Limit, number, up

CORE_TOLERANCE: Final = 0.1
"""A tenth of a core is no reason for another worker: 1.1 cores get one, 1.2 get two."""

GTHREAD_HEADROOM: Final = 1.25
"""Slots over the concurrency: a quarter, as more threads than the load needs only fight for the interpreter lock."""

BUSY_FACTOR: Final = 2.0
"""Slots that keep all cores busy: cores x (1 + W/C), times two as waiting times vary. More only hold requests."""

SHARING_PROCESSES: Final = ((4.0, 3), (2.0, 2), (0.0, 1))
"""Requests that are not alike share the cores: from so many ms of CPU of the mean request on, so many processes of
threads for each core. A connection wakes every idle process, so that each process more costs a request some 0.05 ms of
CPU: nothing of 5 ms; of 0.7 ms so much that three on one core served a third less than one."""

SHARING_UNKNOWN: Final = 2
"""The same where requests wait, are soon done, and nobody knows whether they are alike. Where they are, each process
costs: 32 connections of 5 + 20 ms on one core were served at 168/s by one of 40 threads, at 164/s by two and at 152/s
by three that take turns each ms. Where a person says that they are not, and not what they take: so many more than
cores, at most twice as many."""

SHARING_ONE_MORE: Final = 1
"""So many processes more than cores take shorter turns (HARD_IN_LINE), and are enough on a single core where requests
wait and may differ in nothing else: pages of 5 ms of which 5 % wait for a second took 2.8 times the least slowdown
found with six, 1.6 with two (on two cores six took 2.4, three 3.2)."""

CPU_RATIO: Final = 0.2
"""Below this wait ratio sync wins: at it the calibration had gevent at or above sync in both figures."""

SHARING_QUEUE: Final = 48
"""Beside the requests that wait and those that compute there is room for so many more. With the cores 90 % busy 28 and
more are there in one moment of twenty (M/M/n: 0.9^28 = 0.05), whatever the number of cores, most of them long ones."""

SYNC_LINE: Final = 0.1
SYNC_LOAD_MOST: Final = 0.9
SYNC_LOAD_UNKNOWN: Final = 0.75
SYNC_SURPLUS: Final = (4, 22)
SYNC_MOST: Final = 16
"""So many sync workers that waiting for a free one takes no more than the first share of what the fastest kind of
request takes while it shares the cores, in the mean, at the load that the declared rate makes (at most the second), or
at the third where nobody knows. At least and at most so many more than cores, and at most so many for each core.

All workers are taken in C(n, load) x load^(workers - n) of the moments (M/M/n with sharing, whatever the sizes), and
who comes then waits as in a line: the more requests differ, the more workers that is worth. Simulated with two cores at
a load of 0.6: with C2 = 0.8 (4, 12 and 40 ms) 6 workers are within 5 % of any number, with C2 = 10 (5 % of 300 ms among
5) 11, also where requests come in bursts. More gain nothing, take memory, and leave each process colder."""

PATIENT_MS: Final = 15.0
SHARING_PATIENT: Final = 6
"""Requests that take so long alone bear it that a connection wakes some processes more: with so many in all hardly ever
two compute in the same one, and they take no more CPU (docs/planner.md)."""

HARD_IN_LINE: Final = 10.0
TURN_HARD_MS: Final = 0.5
"""Where a request finds so many times as much work before it in a line as it takes alone, and nothing waits, one
process more than cores takes turns this often. Pages of 5 ms among 5 % of 300 ms took 6.9 and 7.6 times their time
alone on one core at a load of 0.6 (two processes, 16 and 64 threads in all), and 8.7 and 9.1 times with three that
take turns each ms; on two cores 6.6 with three, 8.3 with six. It costs 2 to 3 % of the rate that saturates them."""

TURN_MS: Final = 1.0
TURN_LONGER_MS: Final = 2.0
"""sys.setswitchinterval(): after so long a thread that computes lets another one of its interpreter compute. Python's
own 5 ms count anew at each of the eight times that a short request gives the lock away, so requests that differ take
turns each first number of ms. Each turn costs CPU: patient requests have the second number where there are three
processes for each core, and Python's own where there are SHARING_PATIENT in all."""

WAITS_WORSE: Final = 3.0
"""Where a rate is declared there are slots for waits so many times as long as known: what an app waits for has worse
days. More than keeps the cores busy is of no use."""

THREADS_MAX: Final = 256
"""Threads in a worker: one interpreter lock serves them all."""

PROCESSES_MAX: Final = 1024
"""Sync workers on a host, whatever they wait for."""


@dataclass(frozen=True)
class Want:
    """What the load asks for, before any hard limit: `need` slots keep up, `target` slots are comfortable, and
    `first` slots go before a second worker (0: as many as keep the workers busy). `held`: slots that are planned
    wherever one worker has room for them, as so many are declared to be in flight."""

    workers: tuple[Limit, ...]
    target: tuple[Limit, ...]
    need: int
    first: int = 0
    held: int = 0

    @property
    def most_workers(self) -> int:
        return min(int(limit.value) for limit in self.workers)

    @property
    def target_slots(self) -> int:
        return min(int(limit.value) for limit in self.target)


def whole_cores(cores: float) -> int:
    """Workers that a number of cores can keep busy: rounded up, but for less than a tenth of a core."""
    return max(1, up(cores - CORE_TOLERANCE))


def sharing_want(inputs: Inputs) -> Want:
    """Threads of several processes for requests that are not alike: first slots for all of them, then processes."""
    whole = whole_cores(inputs.allotment.cores)
    held = sharing_slots(inputs)
    slots = int(held.value)
    count, why = _processes(inputs)
    enough = min(PROCESSES_MAX, max(count, up(slots / THREADS_MAX)))
    workers = (
        Limit("cores", enough, f"{why}; {inputs.allotment.cores_reason}"),
        Limit("concurrency", max(1, slots), f"no more than requests in flight: {held.reason}"),
    )
    most = min(int(limit.value) for limit in workers)
    target = (held, Limit("threads", THREADS_MAX * most, f"at most {THREADS_MAX} threads share one interpreter"))
    first = min(slots, THREADS_MAX * most)
    busy = COUNTLESS if math.isinf(inputs.most_ratio) else up(whole * (1 + inputs.most_ratio) * BUSY_FACTOR)
    return Want(workers, target, min(first, max(1, up(inputs.concurrency.value)), busy), first)


def _processes(inputs: Inputs) -> tuple[int, str]:
    """Processes of threads, and why."""
    whole = whole_cores(inputs.allotment.cores)
    each = next(count for least_ms, count in SHARING_PROCESSES if inputs.cpu_ms.value >= least_ms)
    unknown = inputs.mix.origin == "assumed" and inputs.wait_ratio.value >= CPU_RATIO
    if each > 1 and (_hard(inputs) or (unknown and whole == 1)):
        why = "as requests wait and may be alike" if unknown else f"with turns of {number(TURN_HARD_MS)} ms"
        return whole + SHARING_ONE_MORE, f"{SHARING_ONE_MORE} more than cores, {why}"
    if unknown and not _patient(inputs):
        each = min(each, SHARING_UNKNOWN)
    least = _least_processes(inputs, whole, each == SHARING_PROCESSES[0][1])
    return max(each * whole, least), (
        f"{each} for each core{f', at least {least} in all' if least > 1 else ''}, as requests take"
        f" {number(inputs.cpu_ms.value)} ms of CPU ({inputs.cpu_ms.origin}): the kernel shares more"
        " evenly than an interpreter does, but each connection wakes every process"
    )


def _least_processes(inputs: Inputs, whole: int, many: bool) -> int:
    """Processes that are wanted in all; `many`: as many as may be for each core."""
    if many and _patient(inputs):
        return SHARING_PATIENT
    said = inputs.mix.origin == "declared" and not inputs.times_known
    return whole + min(whole, SHARING_UNKNOWN) if said else 1


def _hard(inputs: Inputs) -> bool:
    """Whether a short request finds very long ones before it, and nothing waits."""
    spread = inputs.mix.spread
    if spread is None or inputs.mix.waits is not False:
        return False
    return spread.in_line >= HARD_IN_LINE and not _patient(inputs)


def _patient(inputs: Inputs) -> bool:
    """Whether requests (the fastest kind, if known) take so long alone that some ms more hardly matter."""
    spread = inputs.mix.spread
    return (inputs.wall_ms.value if spread is None else spread.fastest.alone_ms) >= PATIENT_MS


def unweighed_slots(inputs: Inputs) -> int:
    """Threads that are wanted at least where requests are alike as far as they were weighed, and nobody says so of the
    whole app: as many as would be where they are not, so that others that take long leave some free."""
    crowd = whole_cores(inputs.allotment.cores) + SHARING_QUEUE
    return crowd if inputs.peak is None else min(crowd, up(GTHREAD_HEADROOM * inputs.peak))


def turn_ms(inputs: Inputs, workers: int) -> float:
    """How soon threads of one interpreter take turns, in ms; 0: Python's own."""
    few = workers < SHARING_PROCESSES[0][1] * whole_cores(inputs.allotment.cores)
    if few or not _patient(inputs):
        return TURN_HARD_MS if _hard(inputs) else TURN_MS
    return TURN_LONGER_MS if workers < SHARING_PATIENT else 0.0


@dataclass(frozen=True)
class SyncNeed:
    """Sync workers for requests that are not alike: `planned`, and in which words; `enough`: whether so many do, so
    that requests that wait do not take them all."""

    planned: int
    enough: bool
    words: str


def sharing_sync(inputs: Inputs) -> Limit:
    """Sync workers for requests that are not alike: as many as the differences between them ask for."""
    need = sync_need(inputs)
    return Limit("mix", need.planned, f"{need.words}; {inputs.allotment.cores_reason}")


def sync_need(inputs: Inputs) -> SyncNeed:
    """How many sync workers requests ask for that are not alike, or of which nobody says so."""
    cores = inputs.allotment.cores
    whole = whole_cores(cores)
    load = SYNC_LOAD_UNKNOWN
    why = f"at a load of {number(load)}, assumed, as the rate or the CPU time is not known"
    if inputs.rate is not None and inputs.times_known:
        made = inputs.rate * inputs.cpu_ms.value / 1000.0 / cores
        load, counted = min(SYNC_LOAD_MOST, made), f"{number(inputs.rate)}/s x {number(inputs.cpu_ms.value)} ms"
        why = f"at a load of {number(round(load, 2))}: {counted}"
        if made > load:
            why = f"at a load of {number(load)}, the most that is counted on ({counted} make {number(round(made, 2))})"
    in_line, shared = (delay.value for delay in inputs.mix.delays())
    least, most = whole + SYNC_SURPLUS[0], min(SYNC_MOST * whole, whole + SYNC_SURPLUS[1])
    spread = waiting_kinds(inputs)
    if spread is None:
        from .waits import surplus

        asked = whole + surplus(whole, load, in_line, shared)
        enough, short = True, asked > most
        tail = f"{why}, in a line {number(round(in_line, 1))} times as long as alone"
    else:
        from .waits import with_waits

        asked, enough, tail = with_waits(whole, load, spread, inputs.most_ratio, most)
        short = not enough
    count = min(PROCESSES_MAX, most, max(least, asked))
    words = (
        f"with {count} workers (from {min(least, most)} to {most}) a request waits for a free one no longer than for a"
        f" tenth of what it takes anyway, {tail}"
    )
    if short:
        words = (
            f"{most} workers at most, and with all of them a request may wait for a free one longer than for a tenth of"
            f" what it takes anyway, {tail}"
        )
    return SyncNeed(count, enough, words)


def waiting_kinds(inputs: Inputs) -> Spread | None:
    """The kinds of request where several are known, of which some wait; None else: then nobody knows how many are
    there at a time."""
    spread = inputs.mix.spread
    return spread if spread is not None and inputs.mix.waits and len(spread.kinds) > 1 else None


def sharing_slots(inputs: Inputs) -> Limit:
    """Slots that long requests do not exhaust: those that wait, those that compute, and a queue of long ones."""
    cores, flight = inputs.allotment.cores, inputs.concurrency
    whole = whole_cores(cores)
    asked = max(2 if whole > 1 else 1, up(GTHREAD_HEADROOM * max(1.0, flight.value)))
    by_load = Limit("concurrency", asked, f"{number(GTHREAD_HEADROOM)} x {up(flight.value)} in flight: {flight.source}")
    ratio = inputs.most_ratio
    if inputs.least_ratio != ratio:
        floor = whole + SHARING_QUEUE
        if inputs.peak is not None or asked >= floor:
            return by_load
        return Limit("queue", floor, f"{whole} that compute and {SHARING_QUEUE} that queue for a core")
    waiting, who = cores * ratio, f"cores x wait ratio {number(ratio)} wait"
    if inputs.rate is not None and inputs.times_known:
        wait_ms = max(inputs.wall_ms.value - inputs.cpu_ms.value, ratio * inputs.cpu_ms.value)
        declared = WAITS_WORSE * inputs.rate * wait_ms / 1000.0
        if declared < waiting:
            waiting = declared
            who = f"{number(WAITS_WORSE)} x {number(inputs.rate)}/s x {number(round(wait_ms, 1))} ms wait"
    crowd = up(waiting + 3 * math.sqrt(waiting)) + whole + SHARING_QUEUE
    if inputs.peak is not None and (asked < crowd or inputs.peak > crowd):
        return by_load
    words = f"{who} (and three standard deviations), {whole} compute, {SHARING_QUEUE} queue for a core"
    if inputs.peak is None and crowd > max(asked, THREADS_MAX):
        from .waits import undeclared

        return undeclared(inputs, asked, crowd, words)
    return Limit("waiting", crowd, words)
