# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What ends a step of this process: its time, whoever asks for it, and the memory that it may take.

A step runs in a process that nobody may be waiting for any more: its controller was killed, or its connection is gone.
So the process itself sees to it that it ends. At the deadline of the step, or when it is asked to (SIGTERM, and SIGHUP
of a connection that breaks), an exception in the main thread lets the step give up in the orderly way that every
failure takes: the candidate is stopped, the ledger says why, the lock is given back. Should even that not end within a
minute, a thread ends the process; the kernel gives the lock back, and the next run heals what is left.

What switches users is not given up because somebody asks. Where a person runs it, who may press ^C, that is noted, and
ends the command after the step; by a module, a SIGTERM ends the process as ever.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from .._declaration.app import App, Load, Plain
from .._declaration.patience import answer_seconds
from .._generation.failures import StepFailed
from .._generation.lock import STOPPABLE
from .._generation.processes import AS_THE_SERVER
from .._generation.record import GenerationRecord
from .._load.trialload import longest_seconds as longest_load
from .._os.background import begin_thread
from .._os.procfs import read_meminfo
from .compare import arrangement
from .measure import longest_seconds as longest_weigh

SLACK_SECONDS = 120.0
"""For what is not counted one by one: calls of systemctl on a busy host, links, files."""

GIVE_UP_SECONDS = 60.0
"""A step that is to end has so long for that; then its process is ended."""

INSTALL_SECONDS = 2700.0
"""What laying down a release may take: its commands have limits of their own (_releases)."""

EXIT_STATUS = 75

MEASURING_MIB = 512
LEAST_MEASURING_MIB = 160
"""What a process may take while it weighs or loads: half of what is free, between these two."""


class Ended(StepFailed):
    """A step that did not end by itself, or that was asked to end."""


def _of(record: GenerationRecord | None) -> tuple[float, float, float]:
    """(seconds to boot, to verify, to drain) of a generation; generous where it has no record."""
    app = record.app if record is not None else {}
    settings = (record.plan.get("settings") if record is not None else None) or {}
    boot = float((app.get("health") or {}).get("boot_seconds") or 60.0)
    processes = App.from_dict({"name": "", **app}).processes.values()
    drain = float((settings.get("graceful_timeout") or {}).get("value") or 60.0)
    # The processes end after the server does, by themselves if they run by a schedule, else when they are asked to.
    drain += 2 * max((process.stop_seconds for process in processes), default=0.0)
    verify = float(app.get("verify_seconds") or 10.0)
    if processes:
        verify += max(verify, AS_THE_SERVER * boot)  # they are watched after the server was
    return boot, verify, drain + 10.0


FORMER_SECONDS = 300.0
"""What the end of a former service may take beside all that, or its start where it has its address again."""


def step_seconds(phase: str, new: GenerationRecord | None, live: GenerationRecord | None) -> float:
    """How long a step may take at most. `new` and `live`: the records of the generation at work and of the live one."""
    boots, verifies, drains = zip(_of(new), _of(live))
    boot, verify, drain = max(boots), max(verifies), max(drains)
    app = new.app if new is not None else {}
    answer = answer_seconds(app)
    heal = boot + 2 * drain
    load = longest_load(Load.from_dict(app["load"]), answer, in_turn=_in_turn(new)) if app.get("load") else 600.0
    counted = {
        "stage": INSTALL_SECONDS + heal,
        "prepare": _prepare_seconds(app),
        "weigh": boot + longest_weigh(answer),
        "trial": boot + 2 * load,
        "abandon": drain,
        "remove": 2 * drain,
    }
    # Whatever may have to bring an instance up and go back again; each path of the load is asked.
    asked = answer * max(1, len((app.get("load") or {}).get("paths") or []))
    former = FORMER_SECONDS if app.get("former") else 0.0
    switch = heal + 2 * (boot + verify + asked + drain) + former
    counted["rollback"] = switch + boot  # it starts its target without users first
    return SLACK_SECONDS + counted.get(phase, switch)


def _in_turn(new: GenerationRecord | None) -> bool:
    """Whether the trial of a generation would load it and the live one in turn, which takes longer."""
    return new is not None and bool(new.measured) and arrangement(new.app, new.measured, new.cores).in_turn


def _prepare_seconds(app: Plain) -> float:
    """What the commands that prepare an app may take, after one that another run left."""
    each = [one.seconds + GIVE_UP_SECONDS for one in App.from_dict({"name": "", **app}).prepare]
    return sum(each) + max(each, default=0.0)


@contextlib.contextmanager
def watched(
    phase: str, seconds: float, last_words: Callable[[str], None], note: Callable[[int, str], None] | None = None
) -> Iterator[Watch]:
    """Let the step `phase` end after `seconds`, or when it is asked to, by raising Ended in the main thread.

    `last_words` writes down why, should the process have to be ended. Outside of a main thread only that is left.
    `note`: of a step that a person runs; is told of a signal that is to end the command, and what comes of it.
    """
    watch = Watch(phase, seconds, last_words, note)
    watch.begin()
    try:
        yield watch
    finally:
        watch.end()


class Watch:
    """Watches one step of this process."""

    def __init__(
        self,
        phase: str,
        seconds: float,
        last_words: Callable[[str], None],
        note: Callable[[int, str], None] | None = None,
    ) -> None:
        self.phase, self.seconds, self._last_words, self._note = phase, seconds, last_words, note
        self._armed = False
        self._before: dict[int, Any] = {}
        self._over = threading.Event()

    def begin(self) -> None:
        """Set the deadline, and listen to those who ask."""
        with contextlib.suppress(OSError):  # a host without room for a thread: the alarm alone ends the step
            begin_thread(threading.Thread(target=self._end_process, daemon=True))
        if threading.current_thread() is not threading.main_thread():
            return
        asked = [signal.SIGALRM, signal.SIGHUP]
        asked += [signal.SIGTERM] if self.phase in STOPPABLE or self._note else []
        asked += [signal.SIGINT] if self._note else []
        for number in asked:
            self._before[number] = signal.signal(number, self._heard)
        self._armed = True
        signal.setitimer(signal.ITIMER_REAL, self.seconds)

    def give_up(self) -> None:
        """From now on the step only clears up: nothing interrupts that but the end of the process."""
        self._armed = False

    def end(self) -> None:
        """The step is over."""
        self._armed = False
        self._over.set()
        if self._before:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _heard(self, number: int, _frame: Any) -> None:
        stops = self._armed and (number == signal.SIGALRM or self.phase in STOPPABLE)
        if self._note and number in (signal.SIGINT, signal.SIGTERM):
            self._note(number, "it is given up" if stops else f"it is ended first, within {self.seconds:.0f} s")
        if not stops:
            return  # what switches users is not broken off because a connection is gone, or somebody presses ^C
        self._armed = False
        causes = {
            signal.SIGALRM: f"it did not end within {self.seconds:.0f} s, the longest that it may take, and was ended",
            signal.SIGTERM: "another run on this host asked it to end (see the ledger)",
            signal.SIGHUP: "the connection to the host was lost",
            signal.SIGINT: "it was broken off by hand (^C)",
        }
        raise Ended(self.phase, causes[signal.Signals(number)])

    def _end_process(self) -> None:
        if self._over.wait(self.seconds + GIVE_UP_SECONDS):
            return
        with contextlib.suppress(Exception):  # whatever is wrong here: the process has to end
            self._last_words(
                f"it did not end within {self.seconds:.0f} s, nor within {GIVE_UP_SECONDS:.0f} s after it was told to; "
                "its process was ended, and the next run heals what it left"
            )
        os._exit(EXIT_STATUS)


def measuring_mib(available_mib: float | None) -> float:
    """MiB that a process may take while it measures: half of what is free, within bounds."""
    half = MEASURING_MIB if available_mib is None else available_mib / 2
    return min(MEASURING_MIB, max(LEAST_MEASURING_MIB, half))


@contextlib.contextmanager
def memory_bounded(phase: str) -> Iterator[None]:
    """While it measures, this process and each that it starts (h2load) may have no more than measuring_mib() of data.

    RLIMIT_DATA, because the kernel keeps it with nothing but this process (no control group, no unit), it is handed on
    to h2load, and counts what is written to, not what is merely mapped. Beside it the kernel's OOM killer is pointed at
    this process rather than at an app, should the host run out of memory all the same. StepFailed when it is not
    enough.
    """
    limit_mib = measuring_mib(read_meminfo("/").get("MemAvailable"))
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = int(limit_mib * 2**20)
    if soft == resource.RLIM_INFINITY or soft > wanted:
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    adjusted = _oom_score_adj("500")
    try:
        yield
    except MemoryError as error:
        raise StepFailed(phase, f"measuring takes more than the {limit_mib:.0f} MiB that it may have here") from error
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        if adjusted is not None:
            _oom_score_adj(adjusted)


def _oom_score_adj(value: str) -> str | None:
    """Set how readily the kernel's OOM killer ends this process; what it was before, None where that cannot be set."""
    try:
        with open("/proc/self/oom_score_adj", "r+", encoding="ascii") as stream:
            before = stream.read().strip()
            stream.seek(0)
            stream.write(value)
    except OSError:
        return None
    return before
