# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether the live generation suffers while a trial loads the host, so that the load stops before its users do.

What is looked at, several times a second while h2load runs: the growing logs of the processes that ask the live
generation (failed requests leave no row, so that what is due and has none is seen too), and how many connections of
users wait in the accept queue of the public socket. It is held against the limits of the app and against the live
generation's own calm state, which the beginning of the load measures with it alone.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .._declaration.app import Limits
from .._os.http import well
from .._verdict.statistics import clopper_pearson
from .._verdict.types import Samples, milliseconds, short
from .h2load import Lane, Launch, Row, lanes_rate, parse_log
from .processes import Clock

LOOK_EVERY_S = 0.25
ERROR_LOOKS, SLOW_LOOKS = 2, 6
"""So many looks in a row must agree: a moment in which the whole machine stands still is no suffering."""

WINDOW_S, WINDOW_REQUESTS, LEAST_REQUESTS = 1.0, 20, 5
LEVEL = 0.001
LEAST_ERROR_RATE = 0.02
PATIENCE_S = 2.0
SLOWER, SLOWER_MS = 5.0, 100.0
LATE_SHARE = 0.05
LATE_S = 5.0
"""A generator's clock is not believed to be later than this."""

QUEUE_LEAST = 10
SICK_SHARE = 0.5


@dataclass(frozen=True)
class Calm:
    """The live generation by itself, before the candidate is loaded: requests, failures, milliseconds (infinite where
    nothing was answered), requests a second, and the most connections that waited for it (None: not known)."""

    requests: int = 0
    failures: int = 0
    p50_ms: float = math.inf
    most_ms: float = math.inf
    rate: float = 0.0
    queue: int | None = None

    @classmethod
    def of(cls, samples: Samples, queue: int | None = None) -> Calm:
        """From the samples of a short load of it alone."""
        good = sorted(value for value in samples.latency_ms if math.isfinite(value))
        return cls(
            requests=samples.planned,
            failures=samples.failures,
            p50_ms=good[len(good) // 2] if good else math.inf,
            most_ms=good[-1] if good else math.inf,
            rate=samples.planned_rate,
            queue=queue,
        )

    def sick(self, limits: Limits) -> bool:
        """Whether it fails its users as it is: then there is nothing to protect, and nothing to compare with.

        It does where half of its requests fail, or half take longer than one in twenty may by `limits`: a release that
        cures it would be kept from going live, because the slow one suffers under any load.
        """
        slow_by_itself = limits.p95_ms is not None and math.isfinite(self.p50_ms) and self.p50_ms > limits.p95_ms
        return self.requests > 0 and (self.failures >= SICK_SHARE * self.requests or slow_by_itself)

    def sentence(self) -> str:
        """What it did alone."""
        told = f"alone it answered {self.requests - self.failures} of {self.requests} requests"
        told += f" at {short(self.rate)} a second"
        return told + (f", half of them within {milliseconds(self.p50_ms)}" if math.isfinite(self.p50_ms) else "")

    def to_dict(self) -> dict[str, object]:
        """Plain data that JSON can hold."""
        finite = {name: None if math.isinf(value) else round(value, 3)
                  for name, value in (("p50_ms", self.p50_ms), ("most_ms", self.most_ms))}  # fmt: skip
        return {"requests": self.requests, "failures": self.failures, "rate": round(self.rate, 3), "queue": self.queue,
                **finite}  # fmt: skip


@dataclass(frozen=True)
class Bounds:
    """From where on the live generation suffers: a share of failed requests; milliseconds that at most LATE_SHARE of
    its requests may take longer than (None: no limit); milliseconds that half of them may; seconds after which a
    request without an answer counts as failed; connections that may wait."""

    error_rate: float
    late_ms: float | None
    slow_ms: float
    patience_s: float
    queue: int

    @classmethod
    def of(cls, limits: Limits, calm: Calm) -> Bounds:
        """From the limits of the app and the calm state of the live generation."""
        late = limits.p95_ms
        if late is not None and calm.most_ms > float(late):
            late = None  # it is beyond the limit by itself
        usual = calm.p50_ms if math.isfinite(calm.p50_ms) else 0.0
        slowest = calm.most_ms if math.isfinite(calm.most_ms) else 0.0
        # Of requests that are not alike half may be slow by nature: what it took alone at most does not count.
        slow = max(SLOWER * usual, usual + SLOWER_MS, 2 * slowest)
        # What it fails alone it may go on failing: a release that cures it would never get through its trial.
        failing_alone = clopper_pearson(calm.failures, calm.requests, LEVEL)[1] if calm.failures else 0.0
        return cls(
            error_rate=max(LEAST_ERROR_RATE, limits.error_rate, failing_alone),
            late_ms=None if late is None else float(late),
            slow_ms=slow,
            patience_s=max(PATIENCE_S, float(limits.p95_ms or 0.0) / 1000.0, 5 * slowest / 1000.0),
            queue=max(QUEUE_LEAST, 2 * (calm.queue or 0) + 5),
        )


@dataclass(frozen=True)
class Look:
    """One look: the live generation's latest requests, ascending by when they were due."""

    due: int
    failed: int
    overdue: int
    latency_ms: Sequence[float]
    queue: int | None = None


def failing(look: Look, bounds: Bounds) -> str:
    """What fails of the live generation's latest requests beyond chance; empty when nothing does."""
    bad = look.failed + look.overdue
    if look.due < LEAST_REQUESTS or not bad:
        return ""
    if clopper_pearson(bad, look.due, LEVEL)[0] <= bounds.error_rate:
        return ""
    parts = [f"{look.failed} failed"] if look.failed else []
    if look.overdue:
        parts.append(f"{look.overdue} had no answer after {short(bounds.patience_s)} s")
    return f"of its latest {look.due} requests {' and '.join(parts)}"


def slow(look: Look, bounds: Bounds) -> str:
    """How slow the live generation's latest requests are beyond what they may be; empty when they are not."""
    count = len(look.latency_ms)
    if count < LEAST_REQUESTS:
        return ""
    late = 0 if bounds.late_ms is None else sum(value > bounds.late_ms for value in look.latency_ms)
    if late and bounds.late_ms is not None and clopper_pearson(late, count, LEVEL)[0] > LATE_SHARE:
        return f"{late} of its latest {count} requests took longer than limits.p95_ms of {short(bounds.late_ms)} ms"
    middle = sorted(look.latency_ms)[count // 2]
    if middle > bounds.slow_ms:
        return f"half of its latest {count} requests took {milliseconds(middle)} or more"
    return ""


def crowded(look: Look, bounds: Bounds) -> str:
    """How many users' connections wait where too many do; empty when not, and where it is not known."""
    if look.queue is None or look.queue < bounds.queue:
        return ""
    return f"{look.queue} connections of users waited to be accepted"


def read_log(path: str) -> str:
    """A log of h2load as far as it has grown; empty where there is none yet."""
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


@dataclass
class LiveWatch:
    """Looks at the live generation while the load runs. Call it: it returns why the load must stop, or "".

    launches and lanes: the processes that ask the live generation, in the same order; queue: how many connections wait
    at the public socket, None where nobody can tell. Times in seconds; it looks every LOOK_EVERY_S at most.
    """

    launches: Sequence[Launch]
    lanes: Sequence[Lane]
    bounds: Bounds
    queue: Callable[[], int | None] = lambda: None
    clock: Callable[[], float] = time.time
    read: Callable[[str], str] = read_log
    monotonic: Callable[[], float] = time.monotonic
    exists: Callable[[str], bool] = os.path.exists
    clock_set: float = 0.0
    """By how much the host's clock was set: then nobody can tell any more what the live generation suffers."""
    _begin: float | None = None
    _set: Clock | None = None
    _next: float = 0.0
    _counts: dict[str, int] = field(default_factory=dict)
    _begun: dict[int, float] = field(default_factory=dict)
    _awaited: set[int] = field(default_factory=set)

    def __call__(self) -> str:
        now = self.clock()
        if self._begin is None or self._set is None:
            self._begin, self._set = now, Clock(self.clock, self.monotonic)
        self.clock_set = self._set.set_by()
        if self.clock_set:
            return f"the host's clock was set by {self.clock_set:+.1f} s"
        self._see_who_began(now)
        if now < self._next:
            return ""
        self._next = now + LOOK_EVERY_S
        look = self.look(now)
        for kind, seen, looks in (
            ("failing", failing(look, self.bounds), ERROR_LOOKS),
            ("slow", slow(look, self.bounds), SLOW_LOOKS),
            ("crowded", crowded(look, self.bounds), SLOW_LOOKS),
        ):
            self._counts[kind] = self._counts.get(kind, 0) + 1 if seen else 0
            if self._counts[kind] >= looks:
                return seen
        return ""

    def _see_who_began(self, now: float) -> None:
        """Note which processes have begun, and when: h2load makes its log first of all.

        On a busy machine one begins late, and so do its requests: they are not without an answer meanwhile.
        """
        begin = self._begin if self._begin is not None else now
        for place, launch in enumerate(self.launches):
            first = begin + launch.delay_s
            if place in self._begun or first > now:
                continue
            if self.exists(launch.log_file):
                self._begun[place] = now if place in self._awaited else first
            else:
                self._awaited.add(place)

    def look(self, now: float) -> Look:
        """What the logs and the queue say at second `now` since the epoch."""
        rate = lanes_rate(self.lanes)
        window = max(WINDOW_S, WINDOW_REQUESTS / rate if rate else WINDOW_S)
        patience = self.bounds.patience_s
        answered: list[tuple[float, bool, float]] = []
        due = missing = 0
        for place, (launch, lane) in enumerate(zip(self.launches, self.lanes)):
            first = self._begun.get(place, math.inf)
            last = first + lane.planned * lane.period_ms / 1000.0
            if first > now or last < now - window - patience - LATE_S:
                continue  # of the many short ones of a load only those that matter now are read
            rows = parse_log(self.read(launch.log_file))[0]
            answered += [(row.start_us / 1e6, well(row.status, lane.status), row.latency_us / 1000.0) for row in rows]
            due += _due(lane, first, now - window - patience, now - patience)
            missing += _missing(lane, rows, first, now - window - patience, now - patience)
        latest = [row for row in answered if row[0] > now - window - patience]
        ended = [row for row in latest if row[0] + row[2] / 1000.0 > now - window]
        return Look(
            due=max(due, len(ended)),
            failed=sum(not good for _, good, _ in ended),
            # A generator's clock may start late or fall behind: one request, or a tenth of a second's, is no failure.
            overdue=max(0, missing - max(1, math.ceil(0.1 * rate))),
            latency_ms=[latency for _, good, latency in ended if good],
            queue=self.queue(),
        )


def _due(lane: Lane, begin: float, after: float, until: float) -> int:
    """How many requests of a lane that begins at `begin` were due after one second, until another."""
    period = lane.period_ms / 1000.0

    def count(second: float) -> int:
        return min(lane.planned, max(0, math.floor((second - begin) / period) + 1))

    return max(0, count(until) - count(after))


def _missing(lane: Lane, rows: Sequence[Row], begin: float, after: float, until: float) -> int:
    """How many of those have no row: failed without an answer, or still unanswered. No more than have none at all: a
    generator that was held up asks later than it should have."""
    there = sum(after < row.start_us / 1e6 <= until for row in rows)
    return min(_due(lane, begin, after, until) - there, lane.planned - len(rows))
