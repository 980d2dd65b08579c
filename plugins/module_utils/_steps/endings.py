# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Workers that end while they are weighed or loaded: how often, how, and while which requests were under way.

A request that meets the end of a worker gets no answer, and the next one waits until another worker has begun: both say
nothing of what their paths take. Nor do the first answers of that one, to each path, as it loads then what it needs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from .._facts.workerends import Deaths, WorkerEnd, last_serial
from .._os.http import Answer
from .._verdict.failed import failures_by_path
from .._verdict.types import Samples

MOST_PATHS: Final = 3
"""So many paths are told."""

ALIVE: Final = ("answered ", "timed out")
"""In these ways fail requests whose worker goes on."""

ENDED: Final = "the worker ended "
NOT_COUNTED: Final = ": what waited for the next one does not count in the weigh"


def broke(answer: Answer) -> bool:
    """Whether the connection of a request went away before its answer was whole."""
    return not answer.status and not answer.timed_out and not answer.endless


def listed(names: Iterable[str]) -> str:
    """Names of paths as a part of a sentence, the first ones of many."""
    known = list(names)
    more = len(known) - MOST_PATHS
    others = f"{more} other paths" if more > 1 else "1 other path"
    shown = [*known[:MOST_PATHS], *([others] if more > 0 else [])]
    return " and ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))


@dataclass
class Endings:
    """Notices the ends of workers while requests are made. `read`: all ends that are written down so far."""

    read: Callable[[], Sequence[WorkerEnd]] = lambda: ()
    under_way: Counter[str] = field(default_factory=Counter)
    """How many ends were while a request of this name was under way."""

    def __post_init__(self) -> None:
        self._first = self._seen = last_serial(self.read())
        self._warm: set[str] | None = None  # what was asked since the last end; None: there was none
        self._cut = ""

    def _newer(self) -> int:
        newest = last_serial(self.read())
        newer, self._seen = abs(newest - self._seen), newest
        return newer

    def met(self, name: str, answer: Answer) -> bool:
        """Whether a request, after which this is called, says nothing of what it takes: a worker ended meanwhile, or
        it is the first of its name since one did.

        A worker's end may be written down a moment after its connections are gone: then it is the request before, which
        got no answer, that was under way.
        """
        newer = self._newer()
        cold = self._warm is not None and name not in self._warm
        if newer:
            self.under_way[name if broke(answer) else self._cut or name] += newer
            self._warm = set()
        elif self._warm is not None and not broke(answer):
            self._warm.add(name)
        self._cut = "" if newer or not broke(answer) else name
        return bool(newer) or cold

    def among(self, names: Mapping[str, int]) -> bool:
        """Whether a worker ended since, while several requests were made. `names`: of those that broke off, which were
        under way then; where one of them has ended a worker before, the others were its company."""
        newer = self._newer()
        if newer:
            guilty = set(names) & set(self.under_way) or set(names)
            self.under_way.update([name for name in names if name in guilty])
        return bool(newer)

    def sentence(self) -> str:
        """How often the worker died, how, and while what was under way; empty where it did not."""
        ends = [end for end in self.read() if end.serial > self._first and not end.recycled]
        if not ends:
            return ""
        times = "once" if len(ends) == 1 else f"{len(ends)} times"
        how = Deaths(died=tuple(end.how for end in ends)).ways()
        names = [name for name, _ in self.under_way.most_common()]
        behind = f", while {listed(names)} {'was' if len(names) == 1 else 'were'} under way" if names else ""
        return f"{ENDED}{times} while it was weighed ({how}){behind}"


def told_of_ends(uncounted: Iterable[str]) -> str:
    """What a weigh told of its worker's ends, among what it told of its paths; empty where it told nothing."""
    return next((said.partition(NOT_COUNTED)[0] for said in uncounted if said.startswith(ENDED)), "")


def lost_with(samples: Samples, names: Sequence[str]) -> list[tuple[str, int]]:
    """The paths whose requests got no answer from a candidate of which a worker died, and how many each: those that
    broke off, and, of a load that was ended then, those that still waited. The ones with most first."""
    lost: Counter[str] = Counter()
    for one in failures_by_path(samples, names):
        lost[one.name] += sum(
            count for way, count in one.kinds.items() if not way.startswith(("answered ", "timed out"))
        )
    for path, latency, status in zip(samples.path, samples.latency_ms, samples.status):
        if not status and math.isfinite(latency) and path < len(names):
            lost[names[path]] += 1
    return [(name, count) for name, count in lost.most_common() if count]


def words_of_the_dead(samples: Samples, names: Sequence[str], uncounted: Iterable[str]) -> str:
    """Which requests a worker that died under load may have died of, in a sentence; empty where nothing is known.
    `uncounted`: what the weigh told."""
    each = listed(f"{count} of {name}" for name, count in lost_with(samples, names))
    under_load = f"requests that got no answer then: {each}" if each else ""
    return "; ".join(filter(None, (under_load, told_of_ends(uncounted))))
