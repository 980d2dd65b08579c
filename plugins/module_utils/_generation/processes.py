# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""An app's further processes on this host: those of the live generation run, and never those of two at once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial

from .._declaration.app import App
from .._os.files import make_directory
from .._os.lastwords import last_words
from .._os.systemd import UnitState
from . import generations, unbegun
from .failures import StepFailed
from .instances import Instances
from .processnames import name_of, number_of, process_units_on_disk, starters
from .processunits import ACCURACY_SECONDS

PHASE = "processes"
WATCH_SECONDS = 3.0
"""A process that was just started is watched for so long at least."""
AS_THE_SERVER = 2.0
"""... and for so many times as long as the server took to come up on the same host: it imports the same code."""
POLL_SECONDS = 0.25
STOP_SLACK_SECONDS = 30.0


@dataclass
class Processes:
    """The processes of one app; what they said is looked for from the moment on when this was made."""

    instances: Instances

    def __post_init__(self) -> None:
        self.layout = self.instances.layout
        self.systemd = self.instances.systemd
        self._since: dict[str, float] = {}
        self._began = self.instances.clock()

    def units(self, number: int) -> list[str]:
        """Units of generation `number`'s processes, by what is on disk of it."""
        return process_units_on_disk(self.layout, number)

    def running(self) -> dict[str, int]:
        """Units of processes that run or are on their way, of any generation: {unit: generation}."""
        found = {unit: number_of(self.layout, unit) for unit in self.instances.own(self.layout.instance_glob)}
        return {unit: number for unit, number in found.items() if number is not None}

    def hand_over(self, number: int, seconds: float) -> None:
        """Stop all other generations' processes, then start those of generation `number` that do not run yet (the
        public socket may have started them), and watch them all for `seconds`.

        StepFailed where one does not stay up; what was stopped is to be started again by whoever goes back.
        """
        self.stop_others(number)
        self.start(number)
        if self.units(number):
            self.watch(number, seconds)

    def start(self, number: int) -> list[str]:
        """Start the processes of generation `number` that do not run. Returns their units."""
        running = self.running()
        wanted = [unit for unit in starters(self.units(number)) if unit not in running]
        self.systemd.reset_failed(*wanted)
        self.set_clocks(number)
        if wanted:
            self.systemd.begin_start(*wanted)
        return wanted

    def stop_others(self, number: int | None) -> list[str]:
        """Stop the processes of all generations but `number`: those that run by a schedule end by themselves first,
        if they do so soon. Returns their units."""
        others = [unit for unit, at in self.running().items() if at != number]
        if not others:
            return []
        limit = max(self._stop_seconds(at) for at in {number_of(self.layout, unit) for unit in others})
        timers = [unit for unit in others if unit.endswith(".timer")]
        before = self.instances.clock()
        self.systemd.stop(*timers)
        for timer in timers:
            # What was due up to here has run: a moment earlier what it last ran for, or may run for late.
            last = self._last_fired(timer)
            self._since[name_of(timer)] = max(before - ACCURACY_SECONDS, last)
        self._let_end({unit.replace(".timer", ".service") for unit in timers}, limit)
        left = [unit for unit, at in self.running().items() if at != number]
        self.systemd.stop(*left, timeout_seconds=limit + STOP_SLACK_SECONDS)
        self.systemd.reset_failed(*others)
        return others

    def set_clocks(self, number: int) -> None:
        """Have the timers of generation `number` count from where those that were stopped ended, or from now: nothing
        that was due before is run again, and what was due between them is run once. Before they are started."""
        running = self.running()
        for timer in self.units(number):
            if timer.endswith(".timer") and timer not in running:
                moment = self._since.get(name_of(timer), self.instances.clock())
                path = self.layout.timer_stamp(timer)
                make_directory(os.path.dirname(path))
                with open(path, "a", encoding="utf-8"):
                    os.utime(path, (moment, moment))

    def _last_fired(self, timer: str) -> float:
        try:
            return os.stat(self.layout.timer_stamp(timer)).st_mtime
        except OSError:
            return 0.0

    def _let_end(self, services: set[str], seconds: float) -> None:
        deadline = self.instances.monotonic() + seconds
        while services & set(self.running()) and self.instances.monotonic() < deadline:
            self.instances.sleep(POLL_SECONDS)

    def _stop_seconds(self, number: int | None) -> float:
        app = generations.record(self.layout, number).get("app") if number is not None else None
        processes = App.from_dict({"name": self.layout.app, **(app or {})}).processes
        return max((process.stop_seconds for process in processes.values()), default=60.0)

    def watch(self, number: int, seconds: float) -> None:
        """See to it that the processes of generation `number` stay up for `seconds`; StepFailed where one does not."""
        units = starters(self.units(number))
        deadline = self.instances.monotonic() + max(seconds, WATCH_SECONDS)
        while True:
            for unit, state in self.systemd.states(*units).items():
                # One that is still on its way up is not judged before its time is over.
                over = self.instances.monotonic() >= deadline
                if state.restarts or state.gone or "auto-restart" in state.sub or (over and not state.running):
                    raise StepFailed(PHASE, partial(self.why_down, unit, state, self._began))
            if self.instances.monotonic() >= deadline:
                return
            self.instances.sleep(POLL_SECONDS)

    def why_down(self, unit: str, state: UnitState, begin: float) -> str:
        """Why a process does not stay up, in one sentence with its last words."""
        how = {
            "oom-kill": "was killed by the kernel for memory: declare more `memory_mib` for it",
            "signal": f"was killed (signal {state.exit_status})",
        }.get(state.result, f"ended with status {state.exit_status}")
        if state.running and not state.restarts:
            how = f"is {state.active}"
        lines = [line.text for line in self.systemd.said(unit, begin - 1)]
        never, last = unbegun.words(state.exit_status, lines), last_words(lines)
        if never:
            return f"process {name_of(unit)} does not stay up: {never}"
        return f"process {name_of(unit)} does not stay up: it {how}" + (f": {last}" if last else "")
