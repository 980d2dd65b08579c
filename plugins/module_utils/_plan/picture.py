# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The picture of the two curves: how much longer requests take in a line, and sharing the cores, by the load."""

from __future__ import annotations

import math
from typing import Final

from .._declaration.mixture import waiting_chance
from .types import number, share

P95_TAIL: Final = 0.05


def p95_in_line(cores: int, load: float, in_line: float) -> float:
    """p95 of the fastest kind as a multiple of what it takes alone, where one request computes after the other.

    `in_line`: see Spread. The wait is exponential but for its chance of being none (exact for M/M/n; for others the
    tail in heavy traffic, Kingman). Infinite from a load of 1 on.
    """
    if load >= 1:
        return math.inf
    chance = waiting_chance(cores, load)
    return 1.0 + max(0.0, math.log(chance / P95_TAIL)) * in_line / (cores * (1 - load))


def p95_shared(cores: int, load: float, shared: float) -> float:
    """The same where requests share the cores: of the kind that computes for most of its time, as many times its CPU
    time as there are requests for each core in one moment of twenty (M/M/n, whatever the sizes). Exact for short ones,
    during which the number stays; long ones see it change and fare better."""
    if load >= 1:
        return math.inf
    chance = waiting_chance(cores, load)
    if chance <= P95_TAIL:
        return 1.0
    queued = math.log(P95_TAIL / chance) / math.log(load)
    return 1.0 + shared * queued / cores


def picture(cores: float, in_line: float, shared: float, load: float | None = None) -> list[str]:
    """The two curves as lines of text: p95 of the kind of request that suffers most, as a multiple of what it takes
    alone, by the load of the cores. L: in a line, S: sharing, X: both. `load`: the app's own, which is marked."""
    whole = max(1, math.ceil(cores - 0.1))
    loads = [step / 20 for step in range(1, 20)]
    rows = {
        "L": [max(0, round(2 * math.log2(p95_in_line(whole, at, in_line)))) for at in loads],
        "S": [max(0, round(2 * math.log2(p95_shared(whole, at, shared)))) for at in loads],
    }
    lines = [
        "How much longer than alone a request takes (p95, of the kind that suffers most), by how busy the cores are:"
    ]
    for level in range(max(*rows["L"], *rows["S"]), -1, -1):
        cells = []
        for first, second in zip(rows["L"], rows["S"]):
            marks = ("L" if first == level else "") + ("S" if second == level else "")
            cells.append("X" if len(marks) == 2 else marks or " ")
        times = f"{2 ** (level // 2)} x" if level % 2 == 0 else ""
        lines.append(f"{times:>7} |{''.join(f' {cell} ' for cell in cells)}".rstrip())
    lines.append(f"{'':7} +{'-' * 3 * len(loads)}")
    scale = "".join(f"{at * 100:>2.0f} " if round(at * 20) % 2 == 0 else "   " for at in loads)
    lines.append(f"{'busy %':>7}  {scale}".rstrip())
    if load is not None:
        place = max(0, min(len(loads) - 1, round(load * 20) - 1))
        lines.append(f"{'':7}  {'   ' * place} ^ {_at(whole, load, in_line, shared)}")
    return [*lines, *LEGEND, *_so(whole, load, in_line, shared)]


LEGEND: Final = (
    "L: they stand in a line, one computes after the other (sync with a worker a core, gevent): a short request waits"
    " until the long one before it is done",
    "S: they share the cores, by turns (many processes, or threads): a short request is done soon, a long one takes"
    " longer; X: both alike",
    "A few processes more than cores are in between: who comes while all are taken stands in a line, which happens the"
    " less the more of them run",
)


def _so(cores: int, load: float | None, in_line: float, shared: float) -> list[str]:
    """What the picture says of a load, in a sentence."""
    if load is None or load >= 1:
        return []
    line, turns = round(p95_in_line(cores, load, in_line), 1), round(p95_shared(cores, load, shared), 1)
    better = "both are alike" if line == turns else f"{'turns' if turns < line else 'a line'} would be better"
    return [
        f"95 of 100 requests of the kind that suffers most take up to {number(line)} times as long as alone in a line,"
        f" up to {number(turns)} times by turns: {better}"
    ]


def _at(cores: int, load: float, in_line: float, shared: float) -> str:
    """What both curves say of a load."""
    if load >= 1:
        return f"here: {share(load)}, more than the cores can do"
    figures = [number(round(p95(cores, load, each), 1)) for p95, each in ((p95_in_line, in_line), (p95_shared, shared))]
    return f"here: {share(load)} busy, in a line {figures[0]} x, sharing {figures[1]} x"
