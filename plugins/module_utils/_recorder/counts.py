# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the recorder of an instance has counted, read from outside: whole, typed, and checked, since an app can write to
its own runtime directory."""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from dataclasses import dataclass, field, replace
from typing import Callable, Mapping, Sequence

from .._os.files import read_regular
from . import instance as words

MOST_BYTES = 4 << 20
TRIES = 20
"""So many workers would have to end while the file is copied before a copy is used that may miss one."""

MOST, MOST_US = 1 << 42, 1 << 58
"""No instance counts more, nor do its requests take more microseconds together: what says so was not counted."""

BOUNDS_S = tuple(bound / 1e6 for bound in words.BOUNDS_US)
"""Upper bounds of the histogram in seconds; one more bucket follows, without a bound."""

ERRORS = ("5xx", "broken")
"""The outcomes that the app is to be blamed for."""


class Unreadable(ValueError):
    """A recorder's file that this version cannot read; the message says why."""


class Damaged(Unreadable):
    """One that something else wrote to: a new one is begun when the instance is started anew."""


@dataclass(frozen=True)
class Tally:
    """What was counted of some requests. `seconds`: what those that ended took together, `over`: how many of them took
    longer than the declared limit of a quantile ("p95"), `lost`: begun by a worker that was killed before it answered.
    `answering`: in flight, and nobody waits for it as for an answer (see `instance`); None where that is not counted.
    `own_cut`: what Headcount's own load left unanswered when a trial ended; none of the `outcomes`: no user did so.
    """

    begun: int = 0
    lost: int = 0
    seconds: float = 0.0
    outcomes: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(words.OUTCOMES, 0))
    over: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(words.LIMITS, 0))
    ends: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(words.ENDS, 0))
    buckets: Sequence[int] = (0,) * (len(words.BOUNDS_US) + 1)
    answering: int | None = 0
    own_cut: int = 0

    @property
    def ended(self) -> int:
        """Requests that ended, well or not."""
        return sum(self.outcomes.values()) + self.own_cut

    @property
    def in_flight(self) -> int:
        return max(0, self.begun - self.ended - self.lost)

    @property
    def unanswered(self) -> int:
        """Of those in flight, which wait for their answer; all of them where that is not counted."""
        return max(0, self.in_flight - (self.answering or 0))

    @property
    def errors(self) -> int:
        """Requests that failed by the app's fault; those that a killed worker lost are among them."""
        return sum(self.outcomes[name] for name in ERRORS) + self.lost

    def since(self, before: Tally) -> Tally:
        """What came to it after `before`, an earlier reading of the same instance."""
        return Tally(
            begun=self.begun - before.begun,
            lost=self.lost - before.lost,
            seconds=self.seconds - before.seconds,
            outcomes=_less(self.outcomes, before.outcomes),
            over=_less(self.over, before.over),
            ends=_less(self.ends, before.ends),
            buckets=tuple(now - then for now, then in zip(self.buckets, before.buckets)),
            answering=_change(self.answering, before.answering),
            own_cut=self.own_cut - before.own_cut,
        )

    def after(self, before: Tally) -> Tally:
        """since(), of a reading that may be of a server which was started anew since: then all of it came after."""
        change = self.since(before)
        return self if min(change.lost, *change.outcomes.values()) < 0 else change

    def quantile_s(self, q: float) -> float | None:
        """The q-quantile of the seconds that requests took, interpolated within its bucket; None without any. What is
        beyond the last bound is told as that bound."""
        total = sum(self.buckets)
        rank, seen, lower = q * total, 0, 0.0
        for count, upper in zip(self.buckets, BOUNDS_S):
            if count and seen + count >= rank:
                return lower + (upper - lower) * (rank - seen) / count
            seen, lower = seen + count, upper
        return BOUNDS_S[-1] if total else None

    def to_dict(self) -> dict[str, object]:
        """Plain data that JSON can hold."""
        return {
            "begun": self.begun,
            "in_flight": self.in_flight,
            "answering": self.answering,
            "lost": self.lost,
            "seconds": round(self.seconds, 6),
            "outcomes": dict(self.outcomes),
            "own_cut": self.own_cut,
            "over_limit": dict(self.over),
            "worker_ends": dict(self.ends),
            "buckets": [[*pair] for pair in zip([*BOUNDS_S, None], self.buckets)],
        }


def _change(now: int | None, before: int | None) -> int | None:
    return None if now is None or before is None else now - before


def _less(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {key: value - before.get(key, 0) for key, value in now.items()}


@dataclass(frozen=True)
class Worker:
    """A worker that runs: its process id (0 before it has begun), its number in the order of their starts, since when
    (seconds of the monotonic clock), and the requests that it is serving, has answered, and of those failed."""

    pid: int
    age: int
    since: float
    begun: int
    in_flight: int
    ended: int = 0
    errors: int = 0


@dataclass(frozen=True)
class Counts:
    """All that a recorder has counted since `started` (epoch seconds).

    `limits_ms`: the declared limits of latency; `masters`: how often Gunicorn's master was started anew; `uncounted`:
    workers that found no row; `trouble`: errors of the recorder's own; `ended_cpu_s` and `ended_rss_mib`: CPU seconds
    and the highest peak of memory of workers that have ended.
    """

    tally: Tally
    workers: tuple[Worker, ...]
    started: float
    master: int
    limits_ms: Mapping[str, float]
    masters: int
    uncounted: int
    trouble: int
    ended_cpu_s: float
    ended_rss_mib: float


def read(directory: str, master: int = 0, root: str = "/") -> Counts | None:
    """What the recorder of the instance with that runtime directory has counted; None where there is none.

    A file that somebody removed, or put another one in the place of, is counted in all the same: it is read from
    Gunicorn's `master` (its process), who holds it. Raises Unreadable where there is something else in its place.
    """
    path = os.path.join(directory, words.FILE)
    try:
        found = _read(path)
    except Unreadable:
        held = _held(master, root)
        if not held:
            raise
        return _read(held, _through)
    held = "" if found is not None else _held(master, root)
    return _read(held, _through) if held else found


def _held(master: int, root: str) -> str:
    """Where a removed recorder's file is that a process has open; "" where it has none."""
    folder, names = os.path.join(root, "proc", str(master), "fd"), []
    with contextlib.suppress(OSError):
        names = os.listdir(folder) if master else []
    for path in (os.path.join(folder, name) for name in names):
        with contextlib.suppress(OSError):  # closed since
            if os.readlink(path).endswith(f"/{words.FILE} (deleted)"):
                return path
    return ""


def _read(path: str, fetch: Callable[[str, int], bytes | None] = read_regular) -> Counts | None:
    for _ in range(TRIES):
        data = fetch(path, MOST_BYTES)
        if data is None:
            return None
        found = parse(data)
        again = fetch(path, words.HEADER * words.WORD) or b""
        if again[_CURRENT] == data[_CURRENT]:
            break
    return found


def _through(path: str, most: int) -> bytes | None:
    """As read_regular(), through a descriptor of a process, which is a link."""
    with contextlib.suppress(OSError):
        if stat.S_ISREG(os.stat(path).st_mode):
            with open(path, "rb") as stream:
                return stream.read(most)
    return None


_CURRENT = slice(words.H_CURRENT * words.WORD, (words.H_CURRENT + 1) * words.WORD)


def parse(data: bytes) -> Counts:
    """The counts in the bytes of a recorder's file. Raises Unreadable."""
    count = len(data) // words.WORD
    values = struct.unpack_from(f"={count}q", data)
    if count < words.HEADER or values[words.H_MAGIC] != words.MAGIC:
        raise Damaged("it was emptied or written over" if count < words.HEADER else "it is no recorder's file")
    shape = (values[words.H_HEADER], values[words.H_ROW], values[words.H_BOUNDS])
    bounds = values[words.H_BOUND : words.H_BOUND + len(words.BOUNDS_US)]
    if shape != (words.HEADER, words.ROW, len(words.BOUNDS_US)) or bounds != words.BOUNDS_US:
        raise Unreadable("it is that of another version of Headcount; the next generation has this one's")
    rows = values[words.H_ROWS]
    if rows < words.TOTALS or count != words.HEADER + rows * words.ROW:
        raise Damaged(f"it is cut off: {count} words, where its header tells of {rows} rows")
    _fail_if_absurd(values, rows)
    return _counts(values, rows)


def _fail_if_absurd(values: tuple[int, ...], rows: int) -> None:
    """Damaged where there is a number that nothing can have counted: the app can write to the file by its name."""
    told = [(values[place], MOST_US if place in _US else MOST) for place in _TOLD]
    for row in range(rows):
        begin = words.HEADER + words.ROW * row
        told += [(values[begin + place], MOST_US if place in _ROW_US else MOST) for place in range(_ROW_WORDS)]
    wrong = next((value for value, most in told if not 0 <= value <= most), None)
    if wrong is not None:
        raise Damaged(f"it holds {wrong}, which nothing can have counted: something else wrote to it")


_TOLD = (words.H_MASTER, words.H_STARTED, *range(words.H_MASTERS, words.H_LIMITS + len(words.LIMITS)))
_US = (words.H_STARTED, words.H_CPU_US)
_ROW_US = (words.R_SINCE, words.R_SUM_US)
_ROW_WORDS = words.R_OWN_CUT + 1


def _counts(values: tuple[int, ...], rows: int) -> Counts:
    sequence, counted = values[words.H_CURRENT] >> 16, values[words.H_CURRENT] & 0xFFFF

    def row(place: int) -> tuple[int, ...]:
        return values[words.HEADER + words.ROW * place : words.HEADER + words.ROW * (place + 1)]

    running = [row(place) for place in range(words.TOTALS, rows) if place != counted]
    running = [one for one in running if one[words.R_AGE]]
    limits = values[words.H_LIMITS : words.H_LIMITS + len(words.LIMITS)]
    tally = _tally([sum(column) for column in zip(row(sequence & 1), *running)])
    answering = sum(max(0, one[words.R_ANSWERED] - _tally(one).ended) for one in running)
    return Counts(
        tally=replace(tally, answering=answering if values[words.H_ANSWERS] == 1 else None),
        workers=tuple(sorted((_worker(one) for one in running), key=lambda worker: worker.age)),
        started=values[words.H_STARTED] / 1e6,
        master=values[words.H_MASTER],
        limits_ms={name: limit / 1000 for name, limit in zip(words.LIMITS, limits) if limit > 0},
        masters=values[words.H_MASTERS] + 1,
        uncounted=values[words.H_UNCOUNTED],
        trouble=values[words.H_TROUBLE],
        ended_cpu_s=values[words.H_CPU_US] / 1e6,
        ended_rss_mib=values[words.H_RSS_KIB] / 1024,
    )


def _tally(row: Sequence[int]) -> Tally:
    def named(names: Sequence[str], place: int) -> dict[str, int]:
        return dict(zip(names, row[place : place + len(names)]))

    outcomes, own_cut = named(words.OUTCOMES, words.R_OUTCOME), row[words.R_OWN_CUT]
    # A reader may come between the two words of one that was just counted.
    outcomes["cut"] = max(0, outcomes["cut"] - own_cut)
    return Tally(
        begun=row[words.R_BEGUN],
        lost=row[words.R_LOST],
        seconds=row[words.R_SUM_US] / 1e6,
        outcomes=outcomes,
        over=named(words.LIMITS, words.R_OVER),
        ends=named(words.ENDS, words.R_END),
        buckets=tuple(row[words.R_BUCKET : words.R_BUCKET + len(words.BOUNDS_US) + 1]),
        own_cut=own_cut,
    )


def _worker(row: Sequence[int]) -> Worker:
    tally = _tally(row)
    since = row[words.R_SINCE] / 1e6
    return Worker(row[words.R_PID], row[words.R_AGE], since, tally.begun, tally.in_flight, tally.ended, tally.errors)
