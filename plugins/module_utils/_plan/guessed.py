# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a worker is taken to need where nobody knows: before its first weigh.

docs/planner.md has where each number comes from.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from .inputs import ASSUMED_WORKER_MIB, BARE_SLOT_MIB, BARE_WORKER_MIB, Inputs
from .sharing import CPU_RATIO, sharing_want, unweighed_slots
from .size import ASYNC, HEAVY_SLOT_MIB, WorkerMemory, want_of
from .types import Number, number

LEAN_FACTOR: Final = 1.3
"""What a worker is at least assumed to take so that two fit, over a bare one. Pages of 5 ms among 5 % of 300 ms took
twelve times their time alone in one process of 49 threads, seven times in two (one core, 256 MiB)."""


def accounts(inputs: Inputs, worker_class: str, master: Number, usable: float, maximum_mib: int) -> list[WorkerMemory]:
    """The usual guess first, then those that replace it where it turns away requests that have to be held to keep
    up. `usable`, `maximum_mib`: MiB of the generation."""
    slot = inputs.slot_mib
    usual = Number(ASSUMED_WORKER_MIB[worker_class], "assumed", f"assumed for a {worker_class} worker")
    bare = Number(BARE_WORKER_MIB[worker_class], "assumed", f"assumed: a bare {worker_class} worker")
    need = _held(inputs, worker_class)
    requests = f"{need} requests in flight do" if need != 1 else "one request does"
    warning = (
        f"{inputs.app}: a worker is assumed to need {number(bare.value)} MiB, as little as a bare Flask app, because"
        f" {requests} not fit in {number(usable)} MiB with the usual guess of {number(usual.value)} MiB;"
        " declare memory.worker_mib, or go by the weigh"
    )
    found = [
        WorkerMemory(usual, slot, master, usable, maximum_mib),
        WorkerMemory(bare, slot, master, usable, maximum_mib, warning, need),
    ]
    if slot.origin == "assumed":
        slot = Number(BARE_SLOT_MIB, "assumed", "assumed: a bare request in flight")
        found.append(WorkerMemory(bare, slot, master, usable, maximum_mib, warning, need))
    return found


def _held(inputs: Inputs, worker_class: str) -> int:
    """Requests that have to be held, also if a worker takes the least that it may.

    Those that keep up with the load. Where nobody knows how long requests wait, an event loop is to have room for as
    many as threads have: eight connections, which 111 requests a second of 25 ms ask for, are soon taken where one in
    twenty waits for a second, and the others then took 100 times their time alone (49: 1.1 times; one core).
    """
    if worker_class == "sync":
        return 1
    need = want_of(inputs, worker_class).need
    light = worker_class in ASYNC and inputs.slot_mib.value < HEAVY_SLOT_MIB
    if not light or inputs.times_known or inputs.wait_ratio.value < CPU_RATIO:
        return need
    return max(need, unweighed_slots(inputs))


def for_two(inputs: Inputs, usual: WorkerMemory) -> WorkerMemory | None:
    """The account of a worker of threads by which two fit, where by the usual guess only one does; None where that is
    no guess, where one is enough, or where two would be left with hardly more than a bare app needs.

    Requests that compute and are not alike take far longer in one interpreter than in two.
    """
    guessed = inputs.worker_mib is None and inputs.wait_ratio.value < CPU_RATIO and inputs.mix.mixed
    if not guessed or inputs.slot_mib.value >= HEAVY_SLOT_MIB:
        return None
    want = sharing_want(inputs)
    each = math.floor((usual.usable - usual.master.value - (want.first + 1) * usual.slot.value) / 2)
    if want.most_workers < 2 or not LEAN_FACTOR * BARE_WORKER_MIB["gthread"] <= each < usual.base.value:
        return None
    words = f"assumed: as much as two workers have of {number(usual.usable)} MiB, as one alone would be slow"
    warning = (
        f"{inputs.app}: a worker is assumed to need {each} MiB and not {number(usual.base.value)}, so that two share"
        f" the work in {number(usual.usable)} MiB; declare memory.worker_mib, or go by the weigh"
    )
    return replace(usual, base=Number(float(each), "assumed", words), warning=warning)
