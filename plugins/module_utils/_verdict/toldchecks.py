# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a verdict tells and does not decide: answers that have become many times as large or as small as those of the
live generation, and a candidate whose first requests take longer than its later ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final

from . import statistics as st
from .run import Answer, Run
from .types import PASS, Check, Samples, milliseconds, short

SIZE_TIMES: Final = 3.0
"""Answers that have so many times the bytes of the live generation's, or so many times fewer, are told."""
LARGER_BYTES: Final = 50_000.0
"""Larger by less is not told."""
SMALL_BYTES: Final = 100.0
"""Smaller is not told of answers that have fewer in the live generation."""
MANY_ANSWERS: Final = 1000
"""The mean of so many answers is no chance, also where one process asked for all of them."""

STEADY_ANSWERS: Final = 10
STEADY: Final = 1.05
"""Where the means of an arm's processes differ by no more than so many times, its answers are about equally large, and
STEADY_ANSWERS of them tell what a path's size is."""

FEWER_BYTES: Final = "fewer_bytes"
SLIGHTLY, FEWER_LEVEL = 0.97, 0.05
"""A path is asked again whose answers are below this share of the live generation's, where that would be chance less
often than this. What is told is what it answers then."""

FIRST: Final = 10
"""So many requests are a candidate's first ones."""
FIRST_SLOW: Final = 9
"""So many of them must take longer than the later ones of their paths."""
COLD_SHARE, COLD_MS = 0.5, 20.0
"""They do above both: this share of what a request usually takes, and so many milliseconds."""
LIVE_TIMES: Final = 3.0
"""So many times as much longer as as many first ones of the live generation, which is warm, they must take."""
LATE_SHARE: Final = 0.25
"""The later requests are those of the last part of the load."""


def answer_sizes(run: Run) -> Answer:
    """Whether answers of a path are many times as large, or as small, as those of the live generation.

    The most that a path's answers grew by in all is told with its name, and that others grew too with their number.
    """
    if run.baseline is None or run.yardstick.outcome != PASS:
        return Answer()
    sizes = [_size(run.candidate, run.baseline, path, name) for path, name in enumerate(run.names)]
    changed = [size for size in sizes if size is not None and size.told(run.policy.level / len(run.names))]
    if not changed:
        return Answer()
    most = max(changed, key=lambda size: abs(size.mean - size.usual) * size.answers)
    more = len(changed) - 1
    others = f"; those of {more} other path{'s' if more > 1 else ''} changed as well" if more else ""
    said = f"{most.words()}{others}"
    check = Check(f"answer_size:{most.name}", PASS, most.mean, most.usual, (None, None), said)
    return Answer([check], [said])


@dataclass(frozen=True)
class _Size:
    """Bytes of a path's answers, those of the live generation as `usual`: their mean, and the mean of each process."""

    name: str
    answers: int
    mean: float
    usual: float
    means: Sequence[float]
    usual_means: Sequence[float]
    least_answers: int

    @property
    def enough(self) -> bool:
        """Whether the means are no chance, whatever the sizes of single answers are."""
        return self.least_answers >= MANY_ANSWERS

    @property
    def steady(self) -> bool:
        """Whether answers of both arms are about equally large among themselves."""
        return self.least_answers >= STEADY_ANSWERS and _alike(self.usual_means) and _alike(self.means)

    def words(self) -> str:
        """For people."""
        return f"answers of {self.name} have {in_bytes(self.mean)}, of the live generation {in_bytes(self.usual)}"

    def fewer(self) -> bool:
        """Whether the processes of the candidate got less than any of the live generation's, beyond FEWER_LEVEL."""
        least = SLIGHTLY * min(self.usual_means)
        below = sum(mean < least for mean in self.means)
        count = len(self.usual_means)
        return st.exceedance_sf(below, count, count, len(self.means)) < FEWER_LEVEL

    def told(self, level: float) -> bool:
        """Whether they are many times as large or as small, and that is no chance at this level."""
        if self.mean > SIZE_TIMES * self.usual and self.mean - self.usual > LARGER_BYTES:
            return self.enough or self.steady or _chance(self.means, self.usual_means) < level
        if SIZE_TIMES * self.mean < self.usual and self.usual > SMALL_BYTES:
            return self.enough or self.steady or _chance(self.usual_means, self.means) < level
        return False


def _size(new: Samples, old: Samples, path: int, name: str) -> _Size | None:
    mine, live = ([one for one in arm.sizes if one[0] == path] for arm in (new, old))
    counts = [sum(answers for _, answers, _ in some) for some in (mine, live)]
    if not all(counts):
        return None
    mean, usual = (sum(size for _, _, size in some) / count for some, count in zip((mine, live), counts))
    means, usual_means = ([size / answers for _, answers, size in some] for some in (mine, live))
    return _Size(name, counts[0], mean, usual, means, usual_means, min(counts))


def _alike(means: Sequence[float]) -> bool:
    """Whether the means of several processes hardly differ."""
    return len(means) > 1 and max(means) <= STEADY * min(means)


def _chance(larger: Sequence[float], smaller: Sequence[float]) -> float:
    """The chance that so many means lie so far above the middle, or the largest, of the others, if all were alike."""
    ordered = sorted(smaller)
    ranks = (st.quantile_rank(len(ordered), 0.5), len(ordered))
    above = [sum(one > SIZE_TIMES * ordered[rank - 1] for one in larger) for rank in ranks]
    return 2.0 * min(st.exceedance_sf(k, len(ordered), rank, len(larger)) for k, rank in zip(above, ranks))


def in_bytes(count: float) -> str:
    """A size as a person reads it."""
    if count >= 1e6:
        return f"{short(count / 1e6)} MB"
    return f"{short(count / 1000)} kB" if count >= 1000 else f"{count:.0f} bytes"


def fewer_bytes(run: Run) -> Answer:
    """Which paths' answers seem to have fewer bytes than those of the live generation, by the processes that asked.

    It is not told: an empty answer of two is only half a page by these sums. Such a path is asked again (likeness)."""
    if run.baseline is None or run.yardstick.outcome != PASS:
        return Answer()
    sizes = [_size(run.candidate, run.baseline, path, name) for path, name in enumerate(run.names)]
    found = [size for size in sizes if size is not None and size.fewer()]
    return Answer(
        [Check(f"{FEWER_BYTES}:{one.name}", PASS, one.mean, one.usual, (None, None), one.words()) for one in found]
    )


def fewer_bytes_of(checks: Sequence[Check]) -> Sequence[str]:
    """The paths that fewer_bytes() found."""
    return [check.name.partition(":")[2] for check in checks if check.question == FEWER_BYTES]


def cold_requests(run: Run) -> Answer:
    """Whether the candidate's first requests took longer than its later ones of the same paths, those of the warm-up,
    which nothing else judges, too.

    The load that follows may be slow at first by itself: the live generation, which is warm, shows by how much.
    """
    mine = _first(run.candidate)
    other = _first(run.baseline) if run.baseline is not None else None
    if mine is None or other is None or mine.slow < FIRST_SLOW:
        return Answer()
    count = mine.cold()
    more, usual = st.median(mine.excess[:count]), max(0.0, st.median(other.excess[:count]))
    if more <= LIVE_TIMES * usual:
        return Answer()
    said = (
        f"cold start: the candidate's first {count} requests took {milliseconds(more)} longer than its later ones (as "
        f"many of the live generation {milliseconds(usual)}): see what its workers load or fill then"
    )
    return Answer([Check("cold_requests", PASS, float(count), None, (None, None), said)], [said])


@dataclass(frozen=True)
class _Series:
    """By how many ms requests took longer than later ones of their paths, in their order from the very first on, and
    from how many ms on that counts."""

    excess: Sequence[float]
    least_ms: float

    @property
    def slow(self) -> int:
        """How many of the first ones took longer."""
        return sum(more > self.least_ms for more in self.excess[:FIRST])

    def cold(self) -> int:
        """How many requests took longer, from the first ones on, one FIRST after the other."""
        count = FIRST
        while count < len(self.excess) and st.median(self.excess[count : count + FIRST]) > self.least_ms:
            count += FIRST
        return min(count, len(self.excess))


def _first(samples: Samples) -> _Series | None:
    """How much longer an arm's requests took than its last ones. None where it had no warm-up, or nothing to hold it
    against."""
    usual = _usual(samples)
    asked = [*samples.before, *zip(samples.latency_ms, samples.path)]
    answered = [(latency, usual[path]) for latency, path in asked if path in usual and isfinite(latency)]
    if len(samples.before) < FIRST or len(answered) < FIRST:
        return None
    excess = [latency - known for latency, known in answered]
    return _Series(excess, max(COLD_MS, COLD_SHARE * st.median([known for _, known in answered])))


def _usual(samples: Samples) -> Mapping[int, float]:
    """The median ms of the last requests of each path that has some."""
    begin = (1.0 - LATE_SHARE) * max(samples.start_s, default=0.0)
    found: dict[int, list[float]] = {}
    for start, latency, path in zip(samples.start_s, samples.latency_ms, samples.path):
        if start >= begin and isfinite(latency):
            found.setdefault(path, []).append(latency)
    return {path: st.median(some) for path, some in found.items()}
