# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Processes of a load side by side: started when they are due, ended at their time limit or when the load must stop."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

GENERATOR_NICE = -10
"""The generator's clock must not wait for the CPU; it takes about 5 % of a core at 100 requests a second."""

CLOCK_SET_S = 0.1
"""A clock that NTP slews by 500 ppm is off by less after three minutes."""


POLL_SECONDS = 0.05
"""So often the processes are looked at, and `stop` is asked."""


@dataclass(frozen=True)
class Launch:
    """One process to start: its command, when (seconds after the first), the log it writes, and its hard time limit."""

    argv: Sequence[str]
    delay_s: float
    log_file: str
    limit_s: float


@dataclass(frozen=True)
class Finished:
    """What came of a process. `started` is in seconds since the epoch; `error` says why it could not be started;
    `stopped` is the second since the epoch at which it was ended before its time, because the load was to stop;
    `clock_set`: by how many seconds the host's clock was set while it ran."""

    code: int | None
    stdout: str
    stderr: str
    log: str
    cpu_seconds: float
    started: float
    timed_out: bool = False
    error: str = ""
    stopped: float | None = None
    clock_set: float = 0.0


class Clock:
    """Tells by how much the host's clock was set since this was made: a load's logs count from the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Two clocks in seconds, of which nobody sets the second."""
        self._clock, self._monotonic = clock, monotonic
        self._apart = clock() - monotonic()

    def set_by(self) -> float:
        """Seconds, negative when it went back; 0 where it was only slewed (NTP does that all the time)."""
        apart = self._clock() - self._monotonic() - self._apart
        return apart if abs(apart) > CLOCK_SET_S else 0.0


class Runner(Protocol):
    """Runs processes side by side and returns their ends in the order of the launches.

    `stop` is called many times a second; as soon as it gives a reason, all processes are ended.
    """

    def __call__(self, launches: Sequence[Launch], stop: Callable[[], str] | None = None) -> list[Finished]: ...


def raise_nofile(needed: int) -> str:
    """Raises this process's soft limit of open files (which h2load inherits); says what is wrong when it cannot, else
    ""."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return ""
    if hard != resource.RLIM_INFINITY and hard < needed:
        return (
            f"the load needs {needed} open files and the hard limit (ulimit -Hn) is {hard}: "
            "raise it, or lower load.rate or the request time-out"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return ""


def run_processes(launches: Sequence[Launch], stop: Callable[[], str] | None = None) -> list[Finished]:
    """Runs the launches side by side, each in its own process group, which is killed when its time limit is over, or
    when `stop` says that the load must not go on; those that had not begun then are never started."""
    batch = _Batch(launches)
    try:
        while not batch.over:
            batch.start_due()
            batch.reap()
            if stop is not None and stop():
                batch.end_early()
            else:
                batch.rest()
    finally:
        batch.kill()
    return batch.ends()


class _Process:
    def __init__(self, launch: Launch, popen: subprocess.Popen[bytes], started: float) -> None:
        self.launch = launch
        self.popen = popen
        self.started = started
        self.clock = Clock()
        self.deadline = time.monotonic() + launch.limit_s
        self.killed = False

    @classmethod
    def start(cls, launch: Launch) -> _Process | Finished:
        started = time.time()
        try:
            with open(launch.log_file + ".out", "wb") as out, open(launch.log_file + ".err", "wb") as err:
                popen = subprocess.Popen(
                    list(launch.argv),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                    env={**os.environ, "LC_ALL": "C"},
                )
        except OSError as problem:
            return Finished(None, "", "", "", 0.0, started, error=f"{launch.argv[0]}: {problem.strerror or problem}")
        with contextlib.suppress(OSError):  # without the right to: an ordinary process, which a busy host delays
            os.setpriority(os.PRIO_PROCESS, popen.pid, GENERATOR_NICE)
        return cls(launch, popen, started)

    def poll(self) -> Finished | None:
        pid, status, usage = os.wait4(self.popen.pid, os.WNOHANG)
        if pid == 0:
            if time.monotonic() < self.deadline:
                return None
            status, usage = self.kill()
        return self._finished(status, usage)

    def end_early(self, at: float) -> Finished:
        """End it because the load is to stop, at second `at` since the epoch."""
        pid, status, usage = os.wait4(self.popen.pid, os.WNOHANG)
        if pid:
            return self._finished(status, usage)
        return replace(self._finished(*self.kill()), timed_out=False, stopped=at)

    def _finished(self, status: int, usage: resource.struct_rusage) -> Finished:
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
        self.popen.returncode = code
        log = self.launch.log_file
        return Finished(
            code,
            _read(log + ".out"),
            _read(log + ".err"),
            _read(log),
            usage.ru_utime + usage.ru_stime,
            self.started,
            self.killed,
            clock_set=self.clock.set_by(),
        )

    def kill(self) -> tuple[int, resource.struct_rusage]:
        self.killed = True
        self.popen.returncode = -signal.SIGKILL
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self.popen.pid, 0)
        return status, usage


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


class _Batch:
    """Launches side by side, by their places: those to come in the order of their start, those that run, and the ends
    of the others."""

    def __init__(self, launches: Sequence[Launch]) -> None:
        self._launches = launches
        self._begin = time.monotonic()
        self._to_come = sorted(range(len(launches)), key=lambda place: launches[place].delay_s)
        self._running: dict[int, _Process] = {}
        self._ended: dict[int, Finished] = {}

    @property
    def over(self) -> bool:
        return len(self._ended) == len(self._launches)

    def ends(self) -> list[Finished]:
        """The ends in the order of the launches, once it is over."""
        return [self._ended[place] for place in range(len(self._launches))]

    def _seconds(self) -> float:
        return time.monotonic() - self._begin

    def start_due(self) -> None:
        """Start what is due; what cannot be started has ended."""
        now = self._seconds()
        while self._to_come and self._launches[self._to_come[0]].delay_s <= now:
            place = self._to_come.pop(0)
            started = _Process.start(self._launches[place])
            if isinstance(started, Finished):
                self._ended[place] = started
            else:
                self._running[place] = started

    def reap(self) -> None:
        """Take in what has ended, or is over its time limit."""
        for place, process in list(self._running.items()):
            result = process.poll()
            if result is not None:
                self._ended[place] = result
                del self._running[place]

    def end_early(self) -> None:
        """End what runs and start no more, because the load is to stop."""
        at = time.time()
        self._ended.update({place: process.end_early(at) for place, process in self._running.items()})
        self._ended.update({place: Finished(None, "", "", "", 0.0, at, stopped=at) for place in self._to_come})
        self._running.clear()
        self._to_come.clear()

    def rest(self) -> None:
        """Wait a moment, but not beyond the next start."""
        if not self._running and not self._to_come:
            return
        wait = POLL_SECONDS
        if self._to_come:
            wait = min(wait, max(0.0, self._launches[self._to_come[0]].delay_s - self._seconds()))
        time.sleep(wait)

    def kill(self) -> None:
        """Leave no process behind, whatever happened."""
        for process in self._running.values():
            process.kill()
