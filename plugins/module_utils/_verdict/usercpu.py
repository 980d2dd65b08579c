# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What CPU a request of the load takes of a live generation that serves users meanwhile. Pure.

The recorder counts what both ask, the load is known, so the others' are too: in each second of the load, and
after it, when they alone ask. What one of either takes is what fits all of those seconds best (least squares). Users'
requests need not be like the load's, and what they take may differ from one to the next: how well it is known is told.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Tuple

from .types import Samples
from .use import Use

LEAST_WINDOW_S: Final = 0.9
LEAST_WINDOWS: Final = 8
LEAST_SEEN, LEAST_SEEN_SHARE = 5.0, 0.01
LEAST_HEAVY, LEAST_HEAVY_SHARE = 1.5, 0.1
"""Others were seen: so many requests and this part of the load's, or fewer that took this part of the CPU. What is
below that may be a request under way at a look."""
LATE_S: Final = tuple(step / 50.0 for step in range(26))
"""So much later than its schedule a load may have begun: its processes have to be started."""
SURE: Final = 3.0
"""So many standard errors a mean is off once in hundreds of times."""
OTHERWISE, OTHERWISE_MS = 0.15, 0.4
"""By this part of itself, or so many ms, a user's request may take more, or less, beside the load than in the rest: a
server that is woken for each of them takes more."""
LEAST_AT_REST: Final = 8.0
"""So many requests of others in the rest tell what one takes."""


@dataclass(frozen=True)
class Window:
    """Some time between two looks: the requests of the load and of others, and CPU seconds."""

    seconds: float
    load: float
    others: float
    cpu: float


@dataclass(frozen=True)
class Apart:
    """Milliseconds of CPU of a request of the load, its standard error, and of one of the others', which were so many
    beside so many of the load."""

    each_ms: float
    error_ms: float
    others_ms: float
    others: float = 0.0
    load: float = 0.0

    @property
    def unsure_ms(self) -> float:
        """By how much what a request of the load takes may be something else."""
        otherwise = max(OTHERWISE * self.others_ms, OTHERWISE_MS) * max(0.0, self.others) / max(1.0, self.load)
        return SURE * self.error_ms + otherwise

    @property
    def most_ms(self) -> float:
        """What a request of the load takes at most."""
        return self.each_ms + self.unsure_ms

    def known_within(self, part: float) -> bool:
        """Whether it is surely known up to that part of itself."""
        return self.each_ms > 0 and self.unsure_ms <= part * self.each_ms

    @property
    def seen(self) -> bool:
        """Whether others asked at all."""
        took = self.others * self.others_ms
        heavy = took >= LEAST_HEAVY_SHARE * (took + self.load * self.each_ms)
        return self.others >= max(LEAST_SEEN, LEAST_SEEN_SHARE * self.load) or (self.others >= LEAST_HEAVY and heavy)


def counted(samples: Samples, use: Use) -> bool:
    """Whether the requests of an arm were counted, whoever made them."""
    return bool(samples.loaded) and all(use.grown("requests", begin, end) is not None for begin, end in samples.loaded)


def apart(samples: Samples, use: Use) -> Apart | None:
    """What a request of the load and one of the others' took; None where that cannot be told apart, or nobody else
    asked."""
    asked = _asked(_windows(samples, use))
    if len(asked) < LEAST_WINDOWS:
        return None
    loaded, rest = [one for one in asked if one.load], [one for one in asked if not one.load]
    by_the_rest = sum(one.others for one in rest) >= LEAST_AT_REST
    found = _by_the_rest(loaded, rest) if by_the_rest else _fitted(asked)
    return found and replace(found, others=sum(one.others for one in loaded), load=sum(one.load for one in loaded))


def _asked(windows: Sequence[Window]) -> list[Window]:
    """Those in which anybody asked, without what is used while nobody does."""
    silent = [window for window in windows if not window.load and window.others < 0.75]
    idle = sum(window.cpu for window in silent) / sum(window.seconds for window in silent) if silent else 0.0
    return [replace(one, cpu=one.cpu - idle * one.seconds) for one in windows if one not in silent]


def _windows(samples: Samples, use: Use) -> list[Window]:
    """The load of an arm and the rest after it, from look to look: what was counted is known at a look alone."""
    moments: list[float] = []
    passed = 0.0
    for begin, end in samples.loaded:
        for due, latency in zip(samples.start_s, samples.latency_ms):
            if passed <= due < passed + end - begin:
                # As the recorder's are counted: half of it when it begins, half when it ends.
                at = begin + due - passed
                moments += [at, at + (latency / 1000.0 if math.isfinite(latency) else 0.0)]
        passed += end - begin
    moments.sort()
    looks = [one for begin, end in samples.loaded for one in _looks(use, begin, end)]
    loaded = min((_beside(looks, moments, late) for late in LATE_S), key=_scattered)
    rest = _looks(use, *samples.quiet) if len(samples.quiet) == 2 else []
    return [*loaded, *_beside(rest, (), 0.0)]


def _scattered(windows: Sequence[Window]) -> float:
    """How much the others' requests differ from one window to the next: most where the load's are taken for those of
    another time."""
    mean = sum(window.others for window in windows) / max(1, len(windows))
    return sum((window.others - mean) ** 2 for window in windows)


Look = Tuple[float, float, float, float]
"""From a second to another: requests of whomever, and CPU seconds."""


def _beside(looks: Sequence[Look], moments: Sequence[float], late: float) -> list[Window]:
    """The requests of the load apart from the others', where it began so much later than it should."""
    found = []
    for begin, end, asked, cpu in looks:
        load = 0.5 * (bisect_left(moments, end - late) - bisect_left(moments, begin - late))
        found.append(Window(end - begin, load, asked - load, cpu))
    return found


def _looks(use: Use, begin: float, end: float) -> list[Look]:
    counts = dict(use.between("requests", begin, end))
    known = [
        (second, counts[second], cpu) for second, cpu in use.between("cpu_seconds", begin, end) if second in counts
    ]
    found: list[Look] = []
    first = 0
    for place, (second, asked, cpu) in enumerate(known):
        since, before, used = known[first]
        if second - since >= LEAST_WINDOW_S:
            if asked >= before and cpu >= used:
                found.append((since, second, asked - before, cpu - used))
            first = place
    return found


def _by_the_rest(loaded: Sequence[Window], rest: Sequence[Window]) -> Apart | None:
    """What is left for the load's requests where the others' take what they took in the rest. Whole sums, so that it
    does not matter in which second a request is counted; the errors are those of ratios of sums."""
    load, more = sum(one.load for one in loaded), sum(one.others for one in loaded)
    if len(loaded) < LEAST_WINDOWS or len(rest) < 3 or load <= 0:
        return None
    other = sum(one.cpu for one in rest) / sum(one.others for one in rest)
    each = (sum(one.cpu for one in loaded) - other * more) / load
    others_error = _scatter([one.cpu - other * one.others for one in rest]) / sum(one.others for one in rest)
    own_error = _scatter([one.cpu - each * one.load - other * one.others for one in loaded]) / load
    error = math.hypot(own_error, others_error * more / load)
    return Apart(1000.0 * max(0.0, each), 1000.0 * error, 1000.0 * other)


def _scatter(residuals: Sequence[float]) -> float:
    """The standard error of a sum of so many, whose mean is nought."""
    count = len(residuals)
    return math.sqrt(sum(one * one for one in residuals) * count / (count - 1))


def _fitted(windows: Sequence[Window]) -> Apart | None:
    """cpu = a load + b others, by least squares in which seconds of many others count less, as they differ more; the
    error of a holds whatever the seconds' own errors are (HC3). No request takes less than nothing."""
    rows = [(one.load, one.others, one.cpu) for one in windows]
    weights = [1.0 / (1.0 + max(0.0, more)) for _, more, _ in rows]
    aa = sum(w * load * load for w, (load, _, _) in zip(weights, rows))
    ab = sum(w * load * more for w, (load, more, _) in zip(weights, rows))
    bb = sum(w * more * more for w, (_, more, _) in zip(weights, rows))
    ac = sum(w * load * cpu for w, (load, _, cpu) in zip(weights, rows))
    bc = sum(w * more * cpu for w, (_, more, cpu) in zip(weights, rows))
    whole = aa * bb - ab * ab
    if whole <= 1e-9 * aa * bb:
        return None
    each, other = (bb * ac - ab * bc) / whole, (aa * bc - ab * ac) / whole
    error = 0.0
    for w, (load, more, cpu) in zip(weights, rows):
        pull = w * (bb * load - ab * more) / whole
        lever = w * (load * (bb * load - ab * more) + more * (aa * more - ab * load)) / whole
        error += (pull * (cpu - each * load - other * more) / max(1e-6, 1.0 - lever)) ** 2
    if other < 0.0:
        each, other = ac / aa, 0.0
    return Apart(1000.0 * max(0.0, each), 1000.0 * math.sqrt(error), 1000.0 * other)
