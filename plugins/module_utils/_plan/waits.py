# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Requests that wait: sync workers, each of which one holds meanwhile, and threads for more than anybody declared.

docs/planner.md has the formulas with their source; all times are in milliseconds.
"""

from __future__ import annotations

import math
from typing import Final, Sequence

from .._declaration.mixture import TIMELESS_MS, Kind, Spread, crowding, waiting_chance
from .inputs import CPU_MS_MIN, Inputs
from .sharing import SYNC_LINE, THREADS_MAX, WAITS_WORSE
from .types import Limit, number, up

SYNC_PATIENCE: Final = WAITS_WORSE
"""Where requests wait, each holds its sync worker meanwhile. There are workers for waits that are so many times as long
as measured: what an app waits for has worse days than that of the weigh, and threads cost less than an app that hangs.
"""

SYNC_LOAD_LEAST: Final = 0.6
"""Then the load counts as at least this: where so many wait, bursts take more workers than a mean tells. Requests of
3 to 250 ms of which 28 in 100 wait, on one core at a load of 0.3 in bursts of four: 28 times the time alone with 6
workers, 15 with 8, 9 with 12 (simulated)."""

SYNC_WORSE: Final = 1.0
"""Where the most workers are fewer than that asks for, requests that wait may make the wait for a free one longer by so
many times what the fastest kind takes anyway: threads take 1.1 to 1.4 times as long as processes on each day, and the
waits are three times as long on few."""

THREADS_PER_MIB: Final = 0.6
"""Threads for each MiB of an app's part of the host, where nobody says that so many requests are in flight: half of the
tasks that systemd lets a service have, which is 15 % (DefaultTasksMax=) of one for each 128 KiB (kernel.threads-max),
so that two generations are beside each other also where a limit holds for both."""


def undeclared(inputs: Inputs, asked: int, crowd: int, words: str) -> Limit:
    """Slots where `crowd` of them would keep the cores busy, by `words`, and nobody declares how many requests are in
    flight: `asked` or THREADS_MAX in any case, and no more than the host begins."""
    part = inputs.allotment.budget_mib * inputs.allotment.generations
    most = max(asked, THREADS_MAX, math.floor(THREADS_PER_MIB * part))
    if crowd <= most:
        return Limit("waiting", crowd, words)
    return Limit(
        "tasks",
        most,
        "half of the threads that systemd lets a service of the app's part of the host have, unless concurrency is"
        f" declared, as {crowd} in flight would keep the cores busy: {words}",
    )


def surplus(cores: int, load: float, in_line: float, shared: float) -> int:
    """Workers of one request each beyond one a core, so that the mean wait for a free one is at most SYNC_LINE of what
    the kind that suffers most takes while it shares the cores. `in_line`, `shared`: see Spread; 0 < load < 1."""
    crowd = crowding(cores, load)
    wait, enough = crowd * in_line, SYNC_LINE * (1.0 + crowd * shared)
    return 0 if wait <= enough else up(math.log(enough / wait) / math.log(load))


def with_waits(cores: int, load: float, spread: Spread, ratio: float, most: int) -> tuple[int, bool, str]:
    """How many sync workers are asked for (at most `most`), whether they do, and in which words. `load`: of the cores.
    `ratio`: the wait ratio that the plan goes by. Beside the requests that share the cores those count that wait."""
    load = max(SYNC_LOAD_LEAST, load)
    seen = spread.wait_ms / max(spread.cpu_ms, CPU_MS_MIN)
    patience = SYNC_PATIENCE * max(1.0, ratio / seen)
    waiting = cores * load * seen * patience
    words = (
        f"at a load of {number(round(load, 2))} (at least {number(SYNC_LOAD_LEAST)}, for bursts), also where the waits"
        f" are {number(round(patience, 1))} times as long"
    )
    if waiting + cores * load >= most:
        return most, False, words
    crowd = crowding(cores, load)
    bearable = SYNC_LINE * spread.fastest.alone_ms * (1.0 + crowd * spread.shared)
    by_cores, held = spread.ahead_ms / (cores * (1 - load)), held_ms(spread.kinds, patience)

    def delay(workers: int) -> float:
        """Mean ms that a request waits for a free worker: those ahead leave as the cores, or as the workers, let
        them."""
        spare = workers - waiting - cores * load
        if spare <= 0:
            return math.inf
        return taken_chance(cores, load, waiting, workers) * max(by_cores, held / spare)

    if delay(most) > bearable:
        anyway = by_cores * taken_chance(cores, load, 0.0, most)
        return most, delay(most) - anyway <= SYNC_WORSE / SYNC_LINE * bearable, words
    low, high = cores, most  # too few, enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if delay(middle) <= bearable else (middle, high)
    return high, True, words


def taken_chance(cores: int, load: float, waiting: float, workers: int) -> float:
    """The share of moments in which `workers` requests or more are there: those that share the cores (M/M/n, whatever
    the sizes), and beside them, independently, those that wait (Poisson, `waiting` in the mean; M/G/infinity). That is
    the product form of a network with a shared processor and a delay (Baskett, Chandy, Muntz and Palacios, 1975).
    """
    if load >= 1:
        return 1.0
    computing = _computing_tails(cores, load, workers)
    chance, passed, found = math.exp(-waiting), 0.0, 0.0
    for count in range(workers):
        found += chance * computing[workers - count]
        passed += chance
        chance *= waiting / (count + 1)
    return min(1.0, found + max(0.0, 1.0 - passed))


def _computing_tails(cores: int, load: float, most: int) -> list[float]:
    """For 0 to `most` requests the chance that so many or more compute or queue for a core in M/M/n, 0 < load < 1."""
    full = waiting_chance(cores, load)
    tails = [full * load ** (count - cores) for count in range(cores, most + 1)]
    chance = full * (1 - load)  # of just `cores`, and from there down
    below: list[float] = []
    for count in range(cores, 0, -1):
        chance *= count / (cores * load)
        below.append(chance)
    tail, few = full, []
    for chance in below:
        tail += chance
        few.append(tail)
    return [*reversed(few), *tails][: most + 1]


def held_ms(kinds: Sequence[Kind], patience: float) -> float:
    """What is left of a request that holds a worker, in the mean, at a moment at which one does: E[X^2] / (2 E[X]) of
    the time that a request takes alone, with waits `patience` times as long."""
    whole = sum(kind.weight for kind in kinds)
    mean = sum(kind.weight * (kind.cpu_ms + patience * kind.wait_ms) for kind in kinds) / whole
    square = sum(
        kind.weight
        * (kind.cpu_square + 2 * patience * kind.cpu_ms * kind.wait_ms + patience * patience * kind.wait_square)
        for kind in kinds
    )
    return square / whole / (2 * mean) if mean > TIMELESS_MS else 0.0
