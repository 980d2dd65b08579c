# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Running instances of an app: start one and see it answer, ask one, let one leave."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import Callable

from .._declaration.app import Plain
from .._facts.neighbours import lacking_above
from .._facts.unitgroups import unit_pids
from .._facts.unitusage import unit_memory
from .._facts.workerends import read_ends
from .._os.addresses import local_address
from .._os.http import get, request, unhealthy
from .._os.lastwords import first_cause
from .._os.lines import UNREAD, says
from .._os.logged import Log
from .._os.paths import Layout
from .._os.procfs import children
from .._os.sockets import listens
from .._os.systemd import Systemd, UnitState
from . import access, generations, importing, unbegun
from .answers import HEALTH, Address, Answers, Asker, Why, look, unknown
from .booting import Booting, Waiting
from .failures import StepFailed
from .names import owns

POLL_SECONDS = 0.1
WATCH_SECONDS = 0.25
"""While a request waits, so often is looked whether there is still somebody to answer it."""

LOOK_SECONDS = 5.0
"""A live generation that takes longer to answer hinders no switch: its answer is not waited for any longer."""


@dataclass
class Instances:
    """The instances of one app on this host."""

    layout: Layout
    systemd: Systemd = field(default_factory=Systemd)
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def running(self) -> dict[int, str]:
        """Instances that run or are starting, by generation, with their service unit."""
        return self.layout.instances(self.own(self.layout.instance_glob))

    def own(self, pattern: str) -> list[str]:
        """The app's own units of this pattern that are not stopped; those of others that are called alike are not."""
        states = self.systemd.matching(pattern)
        return [unit for unit, state in states.items() if not state.gone and owns(self.layout, unit, state)]

    def public_loaded(self) -> bool:
        """Whether the app's own public socket is known to systemd; a unit of others with its name does not count."""
        state = self.systemd.state(self.layout.public_socket_unit)
        return state.load not in ("not-found", "") and owns(self.layout, self.layout.public_socket_unit, state)

    def wait_ready(self, service: str, socket_path: str, health: Plain, begin: float) -> float:
        """Wait until the instance answers its health check; returns how many seconds that took.

        `begin` (epoch seconds) is where its log begins. Readiness is an HTTP answer: systemd's READY=1 is sent before
        the workers have imported the app. Time is taken from the monotonic clock: the host's may jump. StepFailed as
        soon as the instance has ended, or its workers only die; a request that waits for it holds nobody up.
        """
        limit = float(health["boot_seconds"])
        booting = Booting(self.monotonic())
        last, asked = f"GET {health['path']} got no answer", begin
        waiting: Waiting | None = None
        while True:
            running = self._still_boots(booting, service, begin)
            if running or waiting:
                asked = asked if waiting else self.clock()
                waiting = waiting or Waiting(
                    lambda: get(socket_path, health["path"], float(health["timeout_seconds"]), health.get("headers"))
                )
                answer = waiting.answer(WATCH_SECONDS)
                if answer is None:
                    continue
                waiting, reason = None, unhealthy(answer, health)
                if reason is None:
                    return self.monotonic() - booting.began
                last = reason
            if self.monotonic() - booting.began >= limit:
                raise StepFailed("start", self._never_ready(service, health, begin, asked, last))
            self.sleep(POLL_SECONDS)

    def _never_ready(self, service: str, health: Plain, begin: float, asked: float, last: str) -> Callable[[], str]:
        """That it has not answered in time, and what its log says of that."""
        end, limit = self.clock(), float(health["boot_seconds"])
        number = re.search(r"@([0-9]+)\.", service)
        still = importing.words(
            self.layout, int(number[1]) if number else 0, self._workers(self.systemd.state(service))
        )

        def words() -> str:
            said = self.log_of(service)(health["path"], asked, end)
            log = f"; {said}" if said else self._log_says(service, begin, end)
            return f"never became ready: after {limit:.0f} s {last}{still}{log}"

        return words

    def _still_boots(self, booting: Booting, service: str, begin: float) -> bool:
        """Whether the instance runs, so that it can be asked. StepFailed when it has ended or will never come up."""
        state, now = self.systemd.state(service), self.monotonic()
        if booting.over(now, state):
            raise StepFailed("start", self.why_dead(service, begin))
        self.fail_if_killed(state)
        looping = booting.looping(now, self._workers(state), read_ends(self._files(service)))
        if looping:
            end = self.clock()
            raise StepFailed("start", lambda: f"does not start: {looping}{self._log_says(service, begin, end)}")
        return state.running

    def log_of(self, service: str) -> Log:
        """The log of `service`, which is asked why a request failed."""
        return Log(lambda since: self.systemd.said(service, since))

    def _log_says(self, service: str, begin: float, end: float) -> str:
        cause = first_cause(self.systemd.journal(service, begin, until_epoch=end))
        return f"; {says(cause)}" if cause else ""

    def _workers(self, state: UnitState) -> frozenset[tuple[int, int]]:
        """The processes that its master has started, each with its start time."""
        root = self.layout.root
        return children(state.main_pid, unit_pids(state.control_group, root), root) if state.main_pid else frozenset()

    def _files(self, service: str) -> str:
        """Where the instance of that unit writes down how its workers ended."""
        number = re.search(r"@([0-9]+)\.", service)
        return self.layout.instance_files(int(number[1]) if number else 0, service in self.layout.candidates([service]))

    def fail_if_killed(self, state: UnitState) -> None:
        """Gunicorn starts a worker that was killed again and again: the kernel's count tells what its log cannot."""
        counted = unit_memory(state.control_group, self.layout.root) if state.control_group else None
        if counted is not None and counted.oom_kills:
            limit = f" of {counted.max_mib:.0f} MiB" if counted.max_mib else ""
            why = (
                lacking_above(counted.peak_mib, counted.max_mib) or f"it needs more memory than its plan's limit{limit}"
            )
            raise StepFailed(
                "start", f"the kernel's OOM killer ended {counted.oom_kills} of its processes while it started: {why}"
            )

    def why_dead(self, service: str, begin: float) -> Callable[[], str]:
        """One sentence on why `service` is not running any more, once somebody wants it: it asks the log."""
        state, end = self.systemd.state(service), self.clock()
        return lambda: self._died(service, state, begin, end)

    def _died(self, service: str, state: UnitState, begin: float, end: float) -> str:
        if state.result == "oom-kill":
            return "the kernel's OOM killer ended it: it needs more memory than its plan allows"
        lines = self.systemd.journal(service, begin, until_epoch=end)
        cause = first_cause(lines)
        number = re.search(r"@([0-9]+)\.", service)
        gone = access.account_gone(self.layout, int(number[1])) if number else ""
        if gone:
            return f"died while starting: its account {gone} is not on this host any more"
        never = unbegun.words(state.exit_status, lines)
        if never:
            return f"died while starting: {never}"
        words = {"exit-code": f"exited with status {state.exit_status}", "signal": "was killed by a signal"}
        how = words.get(state.result, f"ended ({state.result or state.active})")
        blocked = access.impassable(self.layout) if "Permission denied" in (cause or "") else []
        told = [how, cause] if cause and cause.startswith(UNREAD) else [cause or how]
        return f"died while starting: {'; '.join([*told, *blocked])}"

    def join(self, number: int, health: Plain) -> float:
        """Start generation `number` on the public socket beside what already serves it; seconds until it answered."""
        service, socket = self.layout.service_unit(number), self.layout.socket_unit(number)
        self.systemd.reset_failed(service, socket)
        begin = self.clock()
        self.systemd.start(socket)
        self.systemd.begin_start(service)
        return self.wait_ready(service, self.layout.private_socket(number), health, begin)

    def leave(self, number: int, wait: bool = True) -> None:
        """Take generation `number` off the public socket: it finishes the requests it has, then ends."""
        units = (self.layout.service_unit(number), self.layout.socket_unit(number))
        if wait:
            # The service first: its private socket must not vanish under requests in flight.
            self.systemd.stop(units[0], timeout_seconds=3600.0)
            self.systemd.stop(units[1])
        else:
            self.systemd.begin_stop(*units)
        self.systemd.reset_failed(*units)

    def look(self, number: int, app: Plain | None = None, socket: str | None = None) -> Answers:
        """What generation `number` answers on its private socket, or as the candidate whose `socket` is given.

        `app`: as its record has it; the default is its record.
        """
        declared = app or generations.record(self.layout, number).get("app")
        if not declared:
            return Answers(HEALTH, (), f"generation {number} has no record that can be read")
        trial = socket is not None and socket == self.layout.trial_socket(number)
        log = self.log_of((self.layout.trial_service_unit if trial else self.layout.service_unit)(number))
        if socket is None and self.users_tell(number, str(declared["listen"])):
            return self.look_at(local_address(declared["listen"]), declared, log)
        return self.look_at(socket or self.layout.private_socket(number), declared, log)

    def private_open(self, number: int) -> bool:
        """Whether the private socket of generation `number` can be reached: its file may be gone, or be another's."""
        return listens(1, f"unix:{self.layout.private_socket(number)}", self.layout.root) is not False

    def users_tell(self, number: int, listen: str) -> bool:
        """Whether generation `number` is to be judged by what its users get: it runs, and cannot be asked by itself.

        Only while no other one holds the public socket, which may answer there as well.
        """
        return not self.private_open(number) and set(self.running()) == {number} and self.public_open(listen)

    def look_at(self, address: Address, app: Plain, log: Why = unknown) -> Answers:
        """What is answered to users of `app` at `address`; `log` says why a request failed."""
        return look(address, app, LOOK_SECONDS, request, self.monotonic, log)

    def asker(self, address: Address, app: Plain, seconds: float | None = None, log: Why = unknown) -> Asker:
        """Asks at `address` what users of `app` ask; no answer is waited for longer than `seconds` (see Asker)."""
        return Asker(address, app, seconds, request, self.monotonic, log)

    def public_open(self, listen: str) -> bool:
        """Whether the public socket is open, and systemd has it to give: its unit may stay active without. (`listen`
        may be empty, where no record tells it.)

        So it is after a daemon-reload while its unit file is gone: who inherited the socket serves it to the end, and
        who is started after that does not get it.
        """
        state = self.systemd.state(self.layout.public_socket_unit)
        return state.running and (not listen or listens(1, listen, self.layout.root) is not False)
