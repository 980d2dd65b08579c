# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether the worker that is weighed leaks memory so fast that no plan holds, and which path does. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from .endings import listed

LEAK_REQUESTS: Final = 1000
LEAK_MIB: Final = 8.0
"""A worker leaks when it keeps memory with every request so that MemoryMax would be full after fewer requests than
this, and grew by more than this while it was asked the same things one after another."""

FULL_SECONDS: Final = 3600.0
"""At the load's own rate, a worker whose memory is full within this long is told of."""
STILL: Final = 0.4
"""So much of the growth is in the second half of a path's requests where it goes on: a cache that fills, or what is
imported at a first request, has ended by then."""

MOST_OF_IT: Final = 0.8
"""The paths are named that kept so much of the growth together, the one that kept most first."""
ALIKE: Final = 0.5
"""Paths whose requests keep at least so much of what those keep that keep most, leak alike."""


def leaking(
    before_mib: float,
    after_mib: float,
    requests: int,
    memory_max_mib: float | None,
    grown: Mapping[str, Sequence[float]] | None = None,
) -> str | None:
    """What is wrong with a worker that took `before_mib` at rest, and `after_mib` at rest after so many requests, one
    after another; None where it does not leak, or not so fast that seconds of it tell. `grown`: by how many MiB the
    worker grew with each request, by the request's name."""
    more = after_mib - before_mib
    if memory_max_mib is None or requests <= 0 or more < LEAK_MIB:
        return None
    kept = more / requests
    full = int(max(0.0, memory_max_mib - before_mib) / kept)
    if full >= LEAK_REQUESTS:
        return None
    return (
        f"it leaks memory: {requests} requests, one after another, took its worker from {before_mib:.0f} to "
        f"{after_mib:.0f} MiB, so that each keeps {kept:.2g} MiB{whose(grown or {})}; its MemoryMax of "
        f"{memory_max_mib:.0f} MiB would be full after {full} requests"
    )


def filling(
    rest_mib: float,
    grown: Mapping[str, Sequence[float]],
    memory_max_mib: float | None,
    rate: float | None,
    replaced: int = 0,
) -> str | None:
    """That a worker keeps memory with its requests, and goes on to, so that MemoryMax is full within FULL_SECONDS of
    `rate` requests a second; None where that does not show. `grown`: as for leaking();
    `replaced`: after so many requests the worker is replaced at the latest (0: never)."""
    total = sum(sum(values) for values in grown.values())
    late = sum(sum(values[len(values) // 2 :]) for values in grown.values())
    requests = sum(map(len, grown.values()))
    if memory_max_mib is None or not rate or total < LEAK_MIB or late < STILL * total:
        return None
    kept = total / requests
    room = max(0.0, memory_max_mib - rest_mib)
    seconds = room / kept / rate
    if seconds > FULL_SECONDS or 0 < replaced * kept < room:
        return None
    return (
        f"its worker keeps {kept:.2g} MiB with each request{whose(grown)}: at {rate:g} requests a second its MemoryMax "
        f"of {memory_max_mib:.0f} MiB would be full after {max(1, round(seconds / 60))} min"
    )


def whose(grown: Mapping[str, Sequence[float]]) -> str:
    """Which requests kept the memory, in brackets at the end of a part of a sentence; empty where that is not known.

    What one request frees, another one may have taken: only what a path kept in all counts.
    """
    each = {name: sum(values) / len(values) for name, values in grown.items() if values}
    total = {name: sum(values) for name, values in grown.items() if values and sum(values) > 0}
    whole = sum(total.values())
    if whole < LEAK_MIB:
        return ""
    most = max(each.values())
    if len(each) > 1 and min(each.values()) >= ALIKE * most:
        return " (those of all its paths alike)"
    named: list[str] = []
    for name in sorted(total, key=lambda name: -total[name]):
        if sum(total[one] for one in named) >= MOST_OF_IT * whole:
            break
        named.append(name)
    if len(named) > 1:
        return f" ({listed(named)} kept most of it)"
    only = named[0]
    return f" ({only} kept {total[only]:.0f} MiB with {len(grown[only])} of them, {each[only]:.2g} MiB each)"
