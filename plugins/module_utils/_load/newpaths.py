# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Paths of a load that the live generation does not have yet, because the release that declares them brings them.

It answers them with 404 or 405 before anything else is loaded. That is neither a fault of it nor a yardstick: it is
not asked for them again. What there was no time to ask it for alone is left out in the same way: its answers to that
could be either. The load then has two halves: first both generations are asked what both know, then the
candidate for everything, as declared, and the live generation once more for what it knows. So what is compared had the
same requests at the same time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from .._declaration.shortfall import MIN_REQUESTS
from .._verdict.types import Samples
from . import h2load as h2
from .inturn import Part

NOT_THERE = (404, 405)

ASKED = 3
"""So often each path is asked before it counts as one that is not there."""

NOT_ASKED = 0
"""In place of a status: there was no time to ask for the path."""

LONGEST_S = 10.0
"""So long that may take beside a load of few requests a second."""

ONE_BY_ONE_S, WAIT_S = 3.0, 1.0
"""So long of that paths are asked one after another, and so long is each answer waited for: that there is no such path
is said sooner."""


def rare_lanes(paths: Sequence[h2.PathLoad], usual: Sequence[h2.Lane], rate: float, seconds: float) -> list[h2.Lane]:
    """The processes that ask each path which `usual`, of so many seconds, asks less than ASKED times.

    Never more than `rate` together: where that leaves no room, each is asked less often, and the lightest not at all.
    one_by_one() asks for what is left.
    """
    asked = [sum(lane.planned for lane in usual if lane.path == place) for place in range(len(paths))]
    rare = sorted((place for place, count in enumerate(asked) if count < ASKED), key=lambda place: -paths[place].weight)
    if not rare:
        return []
    lasts = min(LONGEST_S - ONE_BY_ONE_S, max(seconds, (sum(asked) + ASKED * len(rare)) / rate))
    room = math.floor(lasts * rate) - sum(asked)
    each = max(1, min(ASKED, room // len(rare)))
    rare = rare[: max(1, room)]
    period = max(1, math.floor(1000.0 * lasts / each))
    return [
        h2.Lane(path, each, period, period / 1000.0 * (place + 0.5) / len(rare), paths[path].status)
        for place, path in enumerate(rare)
    ]


def answers(samples: Samples) -> dict[int, list[int]]:
    """{place of a path: what its requests were answered with, each}: the status where it does not mean well, else 0."""
    found: dict[int, list[int]] = {}
    for path, status, latency in zip(samples.path, samples.status, samples.latency_ms):
        found.setdefault(path, []).append(status if math.isinf(latency) else 0)
    return found


def one_by_one(
    heard: Mapping[int, Sequence[int]],
    paths: Sequence[h2.PathLoad],
    ask: Callable[[int], int],
    monotonic: Callable[[], float] = time.monotonic,
) -> dict[int, list[int]]:
    """As answers() has it, after those paths were asked that were not yet, and ASKED in all which are not there so far.

    One request at a time, the heaviest paths first: that is less than any load. `ask`: what the path at a place is
    answered with, after WAIT_S at most. What is not asked after ONE_BY_ONE_S has no answers.
    """
    found = {place: list(heard.get(place, ())) for place in range(len(paths))}
    order = sorted(found, key=lambda place: -paths[place].weight)
    until = monotonic() + ONE_BY_ONE_S - WAIT_S
    for often in range(ASKED):
        for place in order:
            if len(found[place]) <= often and set(found[place]) <= set(NOT_THERE) and monotonic() < until:
                found[place].append(ask(place))
    return found


def unknown(heard: Mapping[int, Collection[int]]) -> dict[int, int]:
    """{place of a path: status} of the paths whose every request was answered with a status that says that there is no
    such path, or that were NOT_ASKED. None where that is so of all paths: then the live generation has nothing that
    could be compared."""
    found = {path: min(told, default=NOT_ASKED) for path, told in heard.items() if set(told) <= set(NOT_THERE)}
    return found if len(found) < len(heard) else {}


def without(samples: Samples, left_out: Collection[int]) -> Samples:
    """The samples without the requests for some paths."""
    kept = [place for place, path in enumerate(samples.path) if path not in left_out]
    latencies = [samples.latency_ms[place] for place in kept]
    return replace(
        samples,
        start_s=[samples.start_s[place] for place in kept],
        latency_ms=latencies,
        status=[samples.status[place] for place in kept],
        path=[samples.path[place] for place in kept],
        planned=len(kept),
        failures=sum(map(math.isinf, latencies)),
        planned_rate=samples.planned_rate * len(kept) / samples.planned if samples.planned else 0.0,
    )


def in_two_halves(
    parts: Sequence[Part], paths: Sequence[h2.PathLoad], rate: float, seconds: float, new: Collection[int]
) -> list[Part]:
    """The parts of a load, for both arms without the new paths, and one more that asks the candidate for everything:
    beside the live generation, unless they are loaded in turn, because there is no room for both.

    Empty where both would get too few requests to be a measurement.
    """

    def known_of(part: Part) -> Part:
        lanes = {arm: [lane for lane in mine if lane.path not in new] for arm, mine in part.lanes.items()}
        return replace(part, lanes=lanes)

    known = [known_of(part) for part in parts]
    if sum(lane.planned for part in known for lane in part.lanes.get("candidate", ())) < MIN_REQUESTS:
        return []
    if len(parts) == 1:
        lanes = {**known[0].lanes, "candidate": parts[0].lanes["candidate"]}
    else:
        lanes = {"candidate": h2.plan_arrivals(paths, rate, seconds, seed="new paths")}
    return [*known, Part(lanes, seconds, whole=True)]


def words(new: Mapping[str, int]) -> list[str]:
    """What is told of new paths, by their names ("GET /x") with the status that the live generation answered."""
    return [
        f"new path: live answers {status} to {name}, so it was judged by the limits alone"
        if status != NOT_ASKED
        else f"live could not be asked for {name} in time before the load, so it was judged by the limits alone"
        for name, status in new.items()
    ]


def why_left_out(new: Mapping[str, int]) -> str:
    """Why the live generation is not asked for such paths, as part of a sentence on it."""
    there_not = ", ".join(name for name, status in new.items() if status != NOT_ASKED)
    not_asked = ", ".join(name for name, status in new.items() if status == NOT_ASKED)
    told = [f"it answers {', '.join(map(str, NOT_THERE))} to {there_not}"] if there_not else []
    told += [f"it could not be asked for {not_asked} in time before the load"] if not_asked else []
    return ", ".join(told)
