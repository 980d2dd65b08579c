# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What an arm used while it was loaded, second by second, and what that comes to for each request. Pure.

CPU, bytes written, processes begun and requests (of whoever made them; one under way is a half) are counted from a
beginning of their own, so that only differences mean something; descriptors, threads and memory are what there was.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .types import Samples

COLUMNS: Final = ("second", "cpu_seconds", "written_mib", "descriptors", "threads", "pss_mib", "begun", "requests")
"""Of MemoryEvidence.use: seconds after the warm-up, and what was counted then (None: not known)."""

Column = Sequence["float | None"]


@dataclass(frozen=True)
class Use:
    """The columns of an arm, ascending by second."""

    columns: Mapping[str, Column]

    def points(self, name: str) -> list[tuple[float, float]]:
        """(second, value) wherever the value is known."""
        seconds, values = self.columns.get("second", ()), self.columns.get(name, ())
        return [(at, value) for at, value in zip(seconds, values) if at is not None and value is not None]

    def at(self, name: str, second: float) -> float | None:
        """The value at a second, between two that are known by a straight line; None outside of what was sampled."""
        points = self.points(name)
        place = bisect_left(points, (second,))
        if place == len(points) or (place == 0 and points[0][0] > second):
            return None
        (later, value), (earlier, before) = points[place], points[max(0, place - 1)]
        if later <= earlier:
            return value
        return before + (value - before) * (second - earlier) / (later - earlier)

    def between(self, name: str, begin: float, end: float) -> list[tuple[float, float]]:
        """The points of a time."""
        points = self.points(name)
        return points[bisect_left(points, (begin,)) : bisect_right(points, (end, float("inf")))]

    def grown(self, name: str, begin: float, end: float) -> float | None:
        """By how much a counter grew; None where that is not known, or where it fell (a process took its count with
        it)."""
        first, last = self.at(name, begin), self.at(name, end)
        return None if first is None or last is None or last < first else last - first


def parts_after(samples: Samples, count: int, settling: float) -> list[tuple[float, float]]:
    """The load of an arm in about `count` parts of equal time, (begin, end), each time that it was asked beginning only
    `settling` seconds after its beginning. Empty where that leaves less than half of it."""
    loaded = [(begin + settling, end) for begin, end in samples.loaded]
    whole = sum(end - begin for begin, end in samples.loaded)
    if not loaded or sum(max(0.0, end - begin) for begin, end in loaded) < 0.5 * whole:
        return []
    each = max(1, count // len(loaded))
    return [
        (begin + place * (end - begin) / each, begin + (place + 1) * (end - begin) / each)
        for begin, end in loaded
        if end > begin
        for place in range(each)
    ]


def blocks(samples: Samples, count: int) -> list[tuple[float, float, int]]:
    """The load of an arm in about `count` blocks of equal time: (begin, end, requests), in seconds after the warm-up.

    Empty where it is not known when it was loaded.
    """
    found: list[tuple[float, float, int]] = []
    due = sorted(samples.start_s)
    each = max(1, count // max(1, len(samples.loaded)))
    passed = 0.0
    for begin, end in samples.loaded:
        width = (end - begin) / each
        for place in range(each):
            low, high = passed + place * width, passed + (place + 1) * width
            requests = bisect_left(due, high) - bisect_left(due, low)
            found.append((begin + place * width, begin + (place + 1) * width, requests))
        passed += end - begin
    return found


def per_request(samples: Samples, use: Use, name: str, count: int, always: float = 0.0) -> list[float]:
    """What a counter grew by for each request, block by block; blocks without a request or a figure are left out.

    `always`: by how much it grows in a second without any request.
    """
    found = []
    for begin, end, requests in blocks(samples, count):
        grown = use.grown(name, begin, end)
        if requests and grown is not None:
            found.append(max(0.0, grown - always * (end - begin)) / requests)
    return found


def share(use: Use, name: str, begin: float, end: float) -> float | None:
    """How much a counter grew a second, from the first sample of a time to its last; None with fewer than two."""
    points = use.between(name, begin, end)
    if len(points) < 2 or points[-1][0] - points[0][0] < 0.5 * (end - begin) or points[-1][1] < points[0][1]:
        return None
    return (points[-1][1] - points[0][1]) / (points[-1][0] - points[0][0])
