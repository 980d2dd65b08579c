# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""When the requests of a load are due: at random, as users come, and so that clocks of equal ticks can send them.

Users do not come evenly: their number in a time has a variance as large as its mean (Poisson), and it is the bursts
that make requests wait. h2load only opens connections at equal ticks. So the random times are covered by *trains*: each
is a few requests at equal distances, every one of them near one of the random times, and each is a process of h2load.
Many trains of different distances run at once. What they send has the bursts and the gaps of the random times wherever
these are longer than the distance that a request may be moved by; the schedule of every request is known beforehand.
Seconds throughout, but for periods, which are whole milliseconds.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

STARTS_PER_SECOND = 2.0
MOST_OF_A_TRAIN = 40.0
"""So many trains begin in a second of one arm, on average, or as many as have so many requests each, whatever is more:
the start of h2load takes 6 ms of CPU, a request 0.2 ms."""

LEAST_PERIOD_MS = 4
LEAST_OF_A_PATH, RARE_SHARE = 2, 0.05
"""So many requests has a path of the smallest weight: where both fail, they prove that it fails more than 1 % of them.
Never more than this share of all requests is taken from others for that."""

_TRIES = 60
_WORK = 3000
_PIECE = 2000
_MOST_GAPS = 16.0
_FIRST_GAPS, _MORE_GAPS = 2.0, 12.0
"""The mean gaps that may lie between two requests of a train at the beginning of the run, and how many more a second
later: so that not all that are to run at once are started at once."""

_LEAST_TOLERANCE, _MOST_TOLERANCE = 0.75, 12.0
_LENGTH = 6.5
"""A train has so many requests when each may be moved by one mean gap; four times as far makes it twice as long."""


@dataclass(frozen=True)
class Train:
    """Requests at equal distances: the second of the first, milliseconds between two, and how many."""

    begin_s: float
    period_ms: int
    count: int

    def due(self) -> list[float]:
        """The second of each of its requests."""
        return [self.begin_s + number * self.period_ms / 1000.0 for number in range(self.count)]


def shared_out(count: int, weights: Sequence[float]) -> list[int]:
    """`count` requests shared out by weight: whole numbers, those with the largest remainders rounded up."""
    total = sum(weights)
    wanted = [count * weight / total for weight in weights]
    numbers = [int(part) for part in wanted]
    order = sorted(range(len(wanted)), key=lambda index: numbers[index] - wanted[index])
    for index in order[: count - sum(numbers)]:
        numbers[index] += 1
    return numbers


def with_the_rare(counts: Sequence[int]) -> list[int]:
    """The same number of requests, of which each path has LEAST_OF_A_PATH at least: those with the most give them.

    As they are where that would take more than a twentieth of all, which is not what the weights say.
    """
    numbers = list(counts)
    short = sum(max(0, LEAST_OF_A_PATH - count) for count in numbers)
    if short > RARE_SHARE * sum(numbers):
        return numbers
    numbers = [max(LEAST_OF_A_PATH, count) for count in numbers]
    for _ in range(short):
        numbers[max(range(len(numbers)), key=lambda index: numbers[index])] -= 1
    return numbers


def random_times(counts: Sequence[int], seconds: float, chance: random.Random) -> list[list[float]]:
    """Ascending seconds of each path's requests: Poisson arrivals given their number, the paths mixed at random."""
    labels = [path for path, count in enumerate(counts) for _ in range(count)]
    chance.shuffle(labels)
    times = sorted(chance.uniform(0.0, seconds) for _ in labels)
    found: list[list[float]] = [[] for _ in counts]
    for path, at in zip(labels, times):
        found[path].append(at)
    return found


def turned(trains: Sequence[Train], by_s: float, seconds: float) -> list[Train]:
    """The same requests, begun `by_s` seconds later and with their beginning at the end of the run: the same bursts and
    the same order of paths, at another moment. A train that lies across the new end becomes two."""
    found = []
    for train in trains:
        begin = (train.begin_s - by_s) % seconds
        period = train.period_ms / 1000.0
        before = min(train.count, int((seconds - begin) / period) + 1)
        found.append(Train(begin, train.period_ms, before))
        if before < train.count:
            found.append(Train(begin + before * period - seconds, train.period_ms, train.count - before))
    return found


def cover(times: Sequence[Sequence[float]], seconds: float, chance: random.Random) -> list[list[Train]]:
    """Trains for the ascending times of each path: as many requests, each near one of the times.

    How near, in mean gaps of its path, follows from how many trains may begin in a second.
    """
    count = sum(map(len, times))
    rate = count / seconds
    length = rate / max(STARTS_PER_SECOND, rate / MOST_OF_A_TRAIN)
    tolerance = min(_MOST_TOLERANCE, max(_LEAST_TOLERANCE, (length / _LENGTH) ** 2))
    tries = max(8, min(_TRIES, _TRIES * _WORK // max(1, count)))
    gaps = max(3.0, _MOST_GAPS / max(1, len(times)))
    most = max(6, round(1.5 * length))  # a longer one would be of small distances: the longest always are
    return [_cover_path(mine, seconds, (tolerance, gaps, tries, most), chance) for mine in times]


def _cover_path(
    times: Sequence[float], seconds: float, how: tuple[float, float, int, int], chance: random.Random
) -> list[Train]:
    tolerance, gaps, tries, most = how
    if not times:
        return []
    gap = seconds / len(times)
    trains: list[Train] = []
    for first in range(0, len(times), _PIECE):
        left = list(times[first : first + _PIECE])
        while left:
            best, period = [0], max(LEAST_PERIOD_MS, round(1000.0 * gap))
            widest = min(gaps, _FIRST_GAPS + _MORE_GAPS * left[0])
            for _ in range(tries if len(left) > 1 else 0):
                tried = max(LEAST_PERIOD_MS, round(1000.0 * gap * chance.uniform(1.0, widest)))
                reached = _follow(left, tried / 1000.0, tolerance * gap, seconds, most)
                if len(reached) > len(best):
                    best, period = reached, tried
                if len(best) == most:
                    break
            trains.append(_centred([left[index] for index in best], period, seconds))
            for index in reversed(best):
                del left[index]
    return trains


def _follow(times: Sequence[float], period_s: float, tolerance_s: float, end_s: float, most: int) -> list[int]:
    """Which of the times equal ticks from the first one on come near to, each once, until one comes near to none."""
    taken, last, count = [0], 0, len(times)
    tick = times[0] + period_s
    while tick <= end_s and len(taken) < most:
        place = bisect_left(times, tick, last + 1)
        if place > last + 1 and (place == count or tick - times[place - 1] < times[place] - tick):
            place -= 1
        if place == count or abs(times[place] - tick) > tolerance_s:
            break
        taken.append(place)
        last = place
        tick += period_s
    return taken


def _centred(times: Sequence[float], period_ms: int, seconds: float) -> Train:
    """The train of these times that lies as much before as behind them, within the run."""
    away = [at - times[0] - number * period_ms / 1000.0 for number, at in enumerate(times)]
    last = (len(times) - 1) * period_ms / 1000.0
    begin = min(times[0] + sum(away) / len(away), seconds - last)
    return Train(max(0.0, begin), period_ms, len(times))


def dispersion(times: Sequence[float], window: float, seconds: float) -> float:
    """The index of dispersion of counts: the variance of the number of requests in a window of so many seconds over its
    mean. 1 for Poisson arrivals, 0 for a metronome."""
    number = max(1, int(seconds / window))
    counts = [0] * number
    for at in times:
        place = int(at / window)
        if 0 <= place < number:
            counts[place] += 1
    mean = sum(counts) / number
    return sum((count - mean) ** 2 for count in counts) / number / mean if mean else 0.0
