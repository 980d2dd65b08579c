# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What each worker of an instance does while it is loaded: whether it goes on, and what the recorder counts of it.

A worker of Gunicorn touches a file of its own (an unlinked one, which only its descriptor leads to) as often as it
comes round its loop: once a second and more often where it has an event loop or threads, and a sync worker between
two requests alone. One that stands still (stopped, a library that holds the interpreter, a deadlock of its main thread)
touches it no more, while its siblings do. Times in which the instance was not looked at, because the whole host stood
still, count for nobody; nor does what a worker does at its end, when it is replaced.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Tuple

from .._os.procfs import BEAT_FILE, descriptor_of
from .._recorder import counts

LEAST_S = 1.5
"""Shorter times without a sign of life are none."""
MOST_SCANS = 10
STOPPED = ("T", "t")
Key = Tuple[int, int]
"""Of a process: its id, and when it was started (clock ticks since boot)."""


@dataclass(frozen=True)
class Sign:
    """What is seen of a worker at a moment. `beat`: when it last touched its file, in ns of the epoch (None: not
    known); `stopped`: by a signal or a debugger; `in_flight`: requests that it serves, `ended` and `errors` of those
    that it has served (None: nobody counts them)."""

    beat: int | None
    stopped: bool = False
    in_flight: int | None = None
    ended: int | None = None
    errors: int | None = None


@dataclass(frozen=True)
class Still:
    """A time in which a worker gave no sign of life: from a second of the clock on, for so long. `alone`: others of the
    instance did meanwhile."""

    begin: float
    seconds: float
    alone: bool


@dataclass
class _Life:
    """A worker as it was seen so far. `since`: when it last gave a sign of life; None until it has begun to."""

    first: Sign
    last: Sign
    since: float | None = None
    stills: list[Still] = field(default_factory=list)


@dataclass
class BeatFiles:
    """Reads when workers last touched their files. Which descriptor leads to it is looked for once: a worker may have
    thousands of others. One that has none is asked for it no more than MOST_SCANS times."""

    proc: str = "/proc"
    _known: dict[int, str] = field(default_factory=dict)
    _scans: dict[int, int] = field(default_factory=dict)

    def __call__(self, pid: int) -> int | None:
        """In ns of the epoch; None where the process has no such file, or is gone."""
        found = self._touched(pid, self._known.get(pid, ""))
        if found is None and self._scans.get(pid, 0) < MOST_SCANS:
            self._scans[pid] = self._scans.get(pid, 0) + 1
            self._known[pid] = self._looked_for(pid)
            found = self._touched(pid, self._known[pid])
        return found

    def _touched(self, pid: int, name: str) -> int | None:
        file = Path(self.proc) / str(pid) / "fd" / name
        try:
            return os.stat(file).st_ctime_ns if name and BEAT_FILE in os.readlink(file) else None
        except OSError:
            return None

    def _looked_for(self, pid: int) -> str:
        """The descriptor's number, as text; empty where there is none."""
        return descriptor_of(pid, BEAT_FILE, self.proc)


def is_stopped(pid: int, proc: str = "/proc") -> bool:
    """Whether a process is stopped by a signal or a debugger."""
    try:
        stat = (Path(proc) / str(pid) / "stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[:1] in ([state] for state in STOPPED)


@dataclass
class WorkerLog:
    """Looks at the workers of an instance, again and again.

    directory: where its recorder counts (empty: nowhere); beats: whether its workers touch their file once a second,
    also while they serve (all classes but sync); every_s: how often it is looked, seconds.
    """

    directory: str = ""
    beats: bool = False
    every_s: float = 0.5
    clock: Callable[[], float] = time.monotonic
    beat: Callable[[int], int | None] = field(default_factory=BeatFiles)
    stopped: Callable[[int], bool] = is_stopped
    read: Callable[[str], counts.Counts | None] = counts.read
    lives: dict[Key, _Life] = field(default_factory=dict)
    _before: float | None = None
    _present: Sequence[Key] = ()

    def look(self, workers: Sequence[Key]) -> None:
        """Look at the workers: (process id, when it was started) of each."""
        now = self.clock()
        paused = max(0.0, now - self._before - 2 * self.every_s) if self._before is not None else 0.0
        self._before, self._present = now, workers
        counted = self._counted()
        for key in workers:
            self._see(key, self._sign(key[0], counted), now, paused)

    def _counted(self) -> Mapping[int, counts.Worker]:
        try:
            found = self.read(self.directory) if self.directory else None
        except (counts.Unreadable, OSError):
            return {}
        return {worker.pid: worker for worker in found.workers} if found is not None else {}

    def _sign(self, pid: int, counted: Mapping[int, counts.Worker]) -> Sign:
        one = counted.get(pid)
        if one is None:
            return Sign(self.beat(pid), self.stopped(pid))
        return Sign(self.beat(pid), self.stopped(pid), one.in_flight, one.ended, one.errors)

    def _see(self, key: Key, sign: Sign, now: float, paused: float) -> None:
        life = self.lives.get(key)
        if life is None:
            self.lives[key] = _Life(sign, sign)
            return
        moved = sign.beat != life.last.beat or (sign.ended is not None and sign.ended != life.last.ended)
        idle = not self.beats and not sign.in_flight and not sign.stopped
        if life.since is not None:
            life.since += paused
            if (moved or idle) and now - life.since - self.every_s >= LEAST_S:
                self._note(key, life, now)
        life.last = sign
        # Its file is made before it begins: only what touches it shows that it has.
        if moved or (idle and life.since is not None):
            life.since = now

    def _note(self, key: Key, life: _Life, now: float) -> None:
        """It goes on after it stood still, or is still at it as the window ends. It moved last up to `every_s` before
        it was seen, which is not counted."""
        if life.since is None:
            return
        seconds = now - life.since - self.every_s
        others = [other.since for place, other in self.lives.items() if place != key and other.since is not None]
        middle = life.since + seconds / 2
        life.stills.append(Still(life.since, seconds, any(since > middle for since in others)))

    def told(self) -> dict[Key, Told]:
        """What is kept of each worker, now that the window is over."""
        now = self._before
        for key in self._present:
            life = self.lives[key]
            waits = self.beats or bool(life.last.in_flight) or life.last.stopped
            if waits and now is not None and life.since is not None and now - life.since - self.every_s >= LEAST_S:
                self._note(key, life, now)
                life.since = None
        return {key: _told(life) for key, life in self.lives.items()}


Told = Dict[str, object]
"""What is kept of a worker: `still` ([begin, seconds, alone] of each time without a sign of life), and `requests` and
`errors` (those that it answered, and those of them that failed) where they are counted."""


def _told(life: _Life) -> Told:
    found: Told = {"still": [[round(still.begin, 3), round(still.seconds, 2), still.alone] for still in life.stills]}
    if life.last.ended is not None and life.last.errors is not None:
        found.update(requests=life.last.ended, errors=life.last.errors)
    return found


def moved(workers: Sequence[Mapping[str, object]], by: float) -> list[dict[str, object]]:
    """The same workers with their seconds counted from a moment that is `by` later."""
    return [_moved(one, by) for one in workers]


def _moved(worker: Mapping[str, object], by: float) -> dict[str, object]:
    stills = worker.get("still")
    if not isinstance(stills, list):
        return dict(worker)
    return {**worker, "still": [[round(begin - by, 3), seconds, alone] for begin, seconds, alone in stills]}
