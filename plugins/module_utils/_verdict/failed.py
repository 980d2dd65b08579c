# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How requests failed, by path, in words: "GET /e: 7 of 7 answered 500". Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .statistics import clopper_pearson
from .types import Samples

MOST_TOLD = 3
"""So many paths are told in a sentence."""

LEVEL = 0.01
"""Of the bounds between which a path's share of wrong answers lies, of each of two generations."""


@dataclass(frozen=True)
class PathFailures:
    """One path of one arm: how many of its requests failed, and in what ways, each with its number."""

    name: str
    requests: int
    failures: int
    kinds: Mapping[str, int] = field(default_factory=dict)

    def share(self) -> str:
        """ "18 of 300 requests", "all 7 requests", "the only request"."""
        if self.failures < self.requests:
            return f"{self.failures} of {self.requests} requests"
        return f"all {self.requests} requests" if self.requests > 1 else "the only request"

    def how(self) -> str:
        """In what ways: "answered 500", or, the most frequent first, "failed (6 answered 500, 1 timed out)"."""
        ways = sorted(self.kinds.items(), key=lambda item: (-item[1], item[0]))
        if len(ways) == 1:
            return ways[0][0]
        return "failed" + (f" ({', '.join(f'{count} {how}' for how, count in ways)})" if ways else "")

    def sentence(self) -> str:
        """For people: "GET /e: 7 of 7 answered 500"."""
        return f"{self.name}: {self.failures} of {self.requests} {self.how()}"

    @property
    def answered_wrongly(self) -> int:
        """How many got an answer, and a wrong one: a machine that is too busy gives none."""
        return sum(count for way, count in self.kinds.items() if way.startswith("answered "))


def failures_by_path(samples: Samples, names: Sequence[str]) -> list[PathFailures]:
    """Each path of the load, in its order, those without a request too; empty where it is not known which is which."""
    if len(samples.path) != len(samples.latency_ms):
        return []
    asked = Counter(samples.path)
    failed: dict[int, Counter[str]] = {}
    for path, latency, status in zip(samples.path, samples.latency_ms, samples.status):
        if not math.isfinite(latency):
            failed.setdefault(path, Counter())[f"answered {status}" if status > 0 else "got no answer"] += 1
    found = []
    for index, name in enumerate(names):
        ways = failed.get(index, Counter())
        found.append(PathFailures(name, asked[index], sum(ways.values()), _without_an_answer(samples, index, ways)))
    return found


def _without_an_answer(samples: Samples, index: int, ways: Mapping[str, int]) -> dict[str, int]:
    """The ways of a path, with what is known of its requests that got no answer: timed out, reset, refused."""
    known = dict(samples.path_kinds[index]) if index < len(samples.path_kinds) else {}
    return known if sum(known.values()) == sum(ways.values()) else dict(ways)


def told_failures(samples: Samples, names: Sequence[str]) -> str:
    """How requests failed, and of which paths, in brackets at the end of a sentence; empty when none did."""
    if not samples.failures:
        return ""
    told = sorted((one for one in failures_by_path(samples, names) if one.failures), key=lambda one: -one.failures)
    if not told:
        return f" ({samples.how_failed()})" if samples.kinds else ""
    words = [one.sentence() for one in told[:MOST_TOLD]]
    if len(told) > MOST_TOLD:
        others = told[MOST_TOLD:]
        paths = "1 other path" if len(others) == 1 else f"{len(others)} other paths"
        words.append(f"{paths}: {sum(one.failures for one in others)}")
    return f" ({'; '.join(words)})"


def wrong_answers(candidate: Samples, baseline: Samples | None, names: Sequence[str], most: float) -> str:
    """The paths that the candidate surely answers wrongly more often than the live generation, and than the share
    `most`, in a sentence; empty where there is none, and where the live one was asked for nothing. A
    path that it was not asked for, as it is new, is held against that share alone; so are all where there is none."""
    if baseline is not None and not baseline.planned:
        return ""
    others = {one.name: one for one in failures_by_path(baseline, names)} if baseline is not None else {}
    told = []
    for one in failures_by_path(candidate, names):
        if not one.answered_wrongly:
            continue
        other = others.get(one.name)
        asked = other is not None and other.requests > 0
        usual = clopper_pearson(other.answered_wrongly, other.requests, LEVEL)[1] if other and asked else 0.0
        if clopper_pearson(one.answered_wrongly, one.requests, LEVEL)[0] > max(most, usual):
            beside = (
                f", {other.answered_wrongly} of {other.requests} of the live generation's" if other and asked else ""
            )
            told.append(one.sentence() + beside)
    return "; ".join(told[:MOST_TOLD])
