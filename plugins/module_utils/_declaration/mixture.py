# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Kinds of requests and what a mixture of them comes to: how much they differ, and what that costs who comes behind.

A worker that takes one request after the other (sync; the CPU part under gevent) is first-come-first-served: who comes
finds the rest of the request that is being computed, in the mean E[S^2] / (2 E[S]) of CPU (the inspection paradox;
Pollaczek and Khinchine). Processes and threads that take turns share the processor: each request takes as many times
longer as the cores are busier, whatever the others need (Kleinrock). docs/planner.md has both curves. Times are in
milliseconds of one request.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Sequence

from .app import LoadPath

HARMLESS: Final = 0.05
"""First-come-first-served is also right where a request finds no more CPU before it than this share of what the
fastest path takes alone: with two cores 90 % busy it then takes a fifth longer."""

HARMLESS_MS: Final = 2.0
"""Nor does it matter whether a request finds less CPU than this before it: the kernel's own turns are longer."""

TIMELESS_MS: Final = 1e-3
"""Less than a microsecond is no time."""


@dataclass(frozen=True)
class Kind:
    """One kind of request: its name, its part of all requests (any unit), CPU time and wait, and the mean squares."""

    name: str
    weight: float
    cpu_ms: float
    wait_ms: float
    cpu_square: float
    wait_square: float

    @property
    def alone_ms(self) -> float:
        """What it takes when nothing else is asked."""
        return self.cpu_ms + self.wait_ms

    @classmethod
    def steady(cls, name: str, weight: float, cpu_ms: float, wait_ms: float) -> Kind:
        """A kind that takes the same each time, as a declaration says."""
        return cls(name, weight, cpu_ms, wait_ms, cpu_ms * cpu_ms, wait_ms * wait_ms)


@dataclass(frozen=True)
class Spread:
    """What a mixture of kinds comes to. `cpu_c2` and `wait_c2`: squared coefficients of variation (0: all alike).

    `ahead_ms`: CPU that a request finds before it where one is served after the other. `in_line` and `shared`:
    by how many times its own time the worst-off kind is delayed, first-come-first-served and sharing, for each request
    that there is too much (multiply by `crowding`). `fastest`, `longest`: the kind that takes least alone, and
    the one that computes longest.
    """

    cpu_ms: float
    wait_ms: float
    cpu_c2: float
    wait_c2: float
    ahead_ms: float
    in_line: float
    shared: float
    fastest: Kind
    longest: Kind
    kinds: tuple[Kind, ...]

    @property
    def mixed(self) -> bool:
        """Whether long requests hold up the others more than sharing the cores would."""
        return self.ahead_ms > HARMLESS_MS and self.in_line > max(self.shared, HARMLESS)


def spread_of(kinds: Sequence[Kind]) -> Spread:
    """The moments of a mixture. ValueError of no kinds."""
    if not kinds:
        raise ValueError("a mixture needs a kind of request")
    whole = sum(kind.weight for kind in kinds)

    def mean(values: Sequence[float]) -> float:
        return sum(kind.weight * value for kind, value in zip(kinds, values)) / whole

    cpu, square = mean([kind.cpu_ms for kind in kinds]), mean([kind.cpu_square for kind in kinds])
    wait, wait_square = mean([kind.wait_ms for kind in kinds]), mean([kind.wait_square for kind in kinds])
    ahead = square / (2 * cpu) if cpu > TIMELESS_MS else 0.0
    fastest = min(kinds, key=lambda kind: kind.alone_ms)
    least = max(fastest.alone_ms, TIMELESS_MS)
    return Spread(
        cpu_ms=cpu,
        wait_ms=wait,
        cpu_c2=max(0.0, square / (cpu * cpu) - 1) if cpu > TIMELESS_MS else 0.0,
        wait_c2=max(0.0, wait_square / (wait * wait) - 1) if wait > TIMELESS_MS else 0.0,
        ahead_ms=ahead,
        in_line=ahead / least,
        shared=max(kind.cpu_ms / max(kind.alone_ms, TIMELESS_MS) for kind in kinds),
        fastest=fastest,
        longest=max(kinds, key=lambda kind: kind.cpu_ms),
        kinds=tuple(kinds),
    )


def crowding(cores: int, load: float) -> float:
    """Mean requests that wait in M/M/n, per request in service: ErlangC(n, load) / (n (1 - load)).

    A request's mean delay is this times its own CPU time where the cores are shared, and this times E[S^2] / (2 E[S])
    where they are not (M/G/n by Lee and Longton; exact for one core). Infinite from a load of 1 on.
    """
    return math.inf if load >= 1 else waiting_chance(cores, load) / (cores * (1 - load))


def waiting_chance(cores: int, load: float) -> float:
    """ErlangC(n, load): the share of moments in which all cores are taken, M/M/n; 1 from a load of 1 on."""
    if load >= 1:
        return 1.0
    offered = cores * load
    blocked = 1.0
    for count in range(1, cores + 1):  # Erlang B by its recursion, then Erlang C
        blocked = offered * blocked / (count + offered * blocked)
    return blocked / (1 - load * (1 - blocked))


def declared_kinds(paths: Sequence[LoadPath]) -> list[Kind]:
    """The kinds that load.paths declares with cpu_ms, all or none of them."""
    kinds = [
        Kind.steady(path.path, float(path.weight), float(path.cpu_ms), float(path.wait_ms or 0.0))
        for path in paths
        if path.cpu_ms is not None
    ]
    return kinds if len(kinds) == len(paths) else []
