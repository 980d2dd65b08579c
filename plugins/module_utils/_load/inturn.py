# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The parts of a load: both arms at once, or, where the host has no room for both, in turn (A B B A).

In turn each arm gets the same requests as the other, in two halves, one arm after the other and back: what changes on
the host meanwhile by the same amount every minute meets both arms alike.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from .._verdict.types import Samples
from . import h2load as h2


@dataclass(frozen=True)
class Part:
    """A part of a load: the lanes of each arm that it asks, and its seconds. `whole`: it asks the candidate for
    all paths, after those that asked both for what both know."""

    lanes: Mapping[str, Sequence[h2.Lane]]
    seconds: float
    whole: bool = False


def arms_lanes(
    paths: Sequence[h2.PathLoad], arms: Iterable[str], rate: float, seconds: float, swap: bool
) -> dict[str, list[h2.Lane]]:
    """The lanes of each arm: requests at random times, for each arm the same ones, half a run apart.

    The bursts of one arm meet ordinary traffic of the other, and neither always goes before the other. With `swap`
    (the retry) the times are others, and the arms change places.
    """
    order = list(reversed(list(arms))) if swap else list(arms)
    seed = "again" if swap else "first"
    return {
        name: h2.plan_arrivals(paths, rate, seconds, seed=seed, turned_s=place * seconds / 2.0)
        for place, name in enumerate(order)
    }


def in_turn(paths: Sequence[h2.PathLoad], arms: Sequence[str], rate: float, seconds: float, swap: bool) -> list[Part]:
    """The first half of the load for one arm, then for the other, and the second half the other way round."""
    seed = "again" if swap else "first"
    order = list(reversed(arms)) if swap else list(arms)
    halves = [h2.plan_arrivals(paths, rate, seconds / 2.0, seed=f"{seed} {half}") for half in (1, 2)]
    return [
        Part({name: halves[half]}, seconds / 2.0)
        for half, names in enumerate((order, list(reversed(order))))
        for name in names
    ]


def one_after_another(parts: Sequence[Samples], seconds: Sequence[float]) -> Samples:
    """The samples of an arm's parts as if they had followed one another at once, each after so many seconds."""
    whole = parts[0]
    passed = seconds[0]
    for part, took in zip(parts[1:], seconds[1:]):
        whole = _joined(whole, part, passed, took)
        passed += took
    return whole


def _joined(first: Samples, second: Samples, after_s: float, took_s: float) -> Samples:
    """Two parts, of which the second begins so many seconds after the first and takes so long."""

    def mean(name: str) -> float:
        return float(getattr(first, name) * after_s + getattr(second, name) * took_s) / (after_s + took_s)

    nothing: Mapping[str, int] = {}
    places = itertools.zip_longest(first.path_kinds, second.path_kinds, fillvalue=nothing)
    return replace(
        first,
        start_s=[*first.start_s, *(after_s + start for start in second.start_s)],
        latency_ms=[*first.latency_ms, *second.latency_ms],
        status=[*first.status, *second.status],
        path=[*first.path, *second.path],
        planned=first.planned + second.planned,
        failures=first.failures + second.failures,
        achieved_rate=mean("achieved_rate"),
        planned_rate=mean("planned_rate"),
        lag_ms=max(first.lag_ms, second.lag_ms),
        drift_ms=max(first.drift_ms, second.drift_ms),
        complete=first.complete and second.complete,
        why="; ".join(dict.fromkeys(filter(None, (first.why, second.why)))),
        cpu_seconds=first.cpu_seconds + second.cpu_seconds,
        notes=[*first.notes, *second.notes],
        kinds=dict(Counter(first.kinds) + Counter(second.kinds)),
        path_kinds=[dict(Counter(one) + Counter(other)) for one, other in places],
        sizes=[*first.sizes, *second.sizes],
        origin_s=0.0,  # the parts did not follow one another at once
    )
