# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Running instances of an app: start one and see it answer, switch the public socket from one to another, stop one."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping

from .._facts.unitgroups import unit_memory, unit_pids
from .._facts.workerends import WorkerEnd, deaths, last_serial, read_ends
from .._load.memory import count_restarts
from .._os.files import make_directory, read_json, remove_file, write_file, write_json
from .._os.http import address_taken, get, local_address, request, unhealthy
from .._os.ownership import owned, owns
from .._os.paths import TOOL, Layout
from .._os.procfs import children, listens
from .._os.systemd import Systemd, SystemdError, UnitState, first_cause
from . import generations
from .answers import HEALTH, WELL, Answers, Asker, look

POLL_SECONDS = 0.1
FREE_PORT = "free it, or declare another `load.port`"


class StepFailed(Exception):
    """A step of a rollout did not succeed. `cause` is one sentence for people; `phase` names the step."""

    def __init__(self, phase: str, cause: str, evidence: dict[str, Any] | None = None) -> None:
        super().__init__(cause)
        self.phase = phase
        self.cause = cause
        self.evidence = evidence or {}


class Untouched(StepFailed):
    """A step that was refused before it changed anything."""


LOOK_SECONDS = 5.0
"""A live generation that takes longer to answer hinders no switch: its answer is not waited for any longer."""


BESIDE_ROUNDS = 60
BESIDE_SECONDS = 2.0
"""So often and so long the live one is asked before a failure on the socket of both is said to be the new one's."""


class Looking:
    """A look at a generation that is under way beside something else."""

    def __init__(self, work: Callable[[], Answers]) -> None:
        self._found: list[Answers] = []
        self._thread = threading.Thread(target=lambda: self._found.append(work()), daemon=True)
        self._thread.start()

    def result(self) -> Answers:
        """What it found; waits for its end, which is bounded."""
        self._thread.join()
        return self._found[0] if self._found else Answers(HEALTH, (), "it could not be looked at")


@dataclass
class Instances:
    """The instances of one app on this host."""

    layout: Layout
    systemd: Systemd = field(default_factory=Systemd)
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    candidate_seconds: float = 0.0
    """systemd ends a candidate after so long, whatever became of the process that started it; 0: never."""

    def candidate_running(self) -> list[str]:
        """Candidate units in memory that are not stopped."""
        return self.layout.candidates(self._running(self.layout.candidate_glob))

    def put_away(self, *units: str) -> None:
        """Stop candidates at once. Sockets stop first: a request that waits in one would start its service again, and
        that would cancel the stop of the service."""
        sockets = [unit for unit in units if unit.endswith(".socket")]
        services = [unit for unit in units if unit not in sockets]
        for service in services:
            self.systemd.kill(service)  # its socket's stop waits for it, and it has no users to drain
        self.systemd.stop(*sockets)
        for service in services:
            self.systemd.kill(service)
        self.systemd.stop(*services)

    def forget_candidates(self) -> None:
        """Candidates that ended badly are failed units until systemd forgets them, also when their files are gone.

        What opened a port for one of them (its drop-in) and what watched it go with it.
        """
        self.end_watch()
        candidates = [
            unit
            for number in generations.numbers(self.layout)
            for unit in (self.layout.trial_service_unit(number), self.layout.trial_socket_unit(number))
        ]
        self._remove_drop_ins(*candidates)
        loaded = self.systemd.matching(self.layout.candidate_glob)
        self.systemd.reset_failed(*owned(self.layout, loaded), *(set(candidates) & set(loaded)))

    def _remove_drop_ins(self, *units: str) -> None:
        """Take away what opened a port for candidates, or gave them arguments of their own."""
        found = [path for path in map(self.layout.runtime_drop_in, units) if os.path.isdir(path)]
        for path in found:
            shutil.rmtree(path, ignore_errors=True)
        if found:
            self.systemd.reload()

    def running(self) -> dict[int, str]:
        """Instances that run or are starting, by generation, with their service unit."""
        return self.layout.instances(self._running(self.layout.instance_glob))

    def _running(self, pattern: str) -> list[str]:
        """The app's own units of this pattern that are not stopped; those of others that are called alike are not."""
        states = self.systemd.matching(pattern)
        return [unit for unit, state in states.items() if not state.gone and owns(self.layout, unit, state)]

    def public_loaded(self) -> bool:
        """Whether the app's own public socket is known to systemd; a unit of others with its name does not count."""
        state = self.systemd.state(self.layout.public_socket_unit)
        return state.load not in ("not-found", "") and owns(self.layout, self.layout.public_socket_unit, state)

    def start_candidate(
        self, number: int, health: dict[str, Any], arguments: str | None = None, listen: str | None = None
    ) -> float:
        """Start generation `number` beside the live one, without users; returns the seconds until it answered.

        `arguments` are given to Gunicorn through GUNICORN_CMD_ARGS, for a candidate that differs from its plan.
        `listen` ("address:port") is opened beside its private socket until stop_candidate(); StepFailed, naming who
        is in the way, when it is taken.
        """
        service, socket = self.layout.trial_service_unit(number), self.layout.trial_socket_unit(number)
        for unit in (service, socket):
            shutil.rmtree(self.layout.runtime_drop_in(unit), ignore_errors=True)
        if arguments:
            self._drop_in(service, "arguments.conf", f'[Service]\nEnvironment="GUNICORN_CMD_ARGS={arguments}"\n')
        if self.candidate_seconds:
            text = f"[Service]\nRuntimeMaxSec={self.candidate_seconds:.0f}\n"
            self._drop_in(service, "deadline.conf", text)
        if listen:
            taken = address_taken(listen)
            if taken:
                raise StepFailed("trial", f"{taken}; the candidate needs it while it is tried: {FREE_PORT}")
            self._drop_in(socket, "listen.conf", f"[Socket]\nListenStream={listen}\n")
        self.systemd.reload()
        self.systemd.reset_failed(service, socket)
        begin = self.clock()
        self.systemd.start(socket)
        self.systemd.begin_start(service)
        return self.wait_ready(service, self.layout.trial_socket(number), health, begin)

    def stop_candidate(self, number: int) -> None:
        """Stop the candidate at once (it has no users to drain) and forget that it may have failed."""
        service, socket = self.layout.trial_service_unit(number), self.layout.trial_socket_unit(number)
        states = self.systemd.states(socket, service)
        own = owned(self.layout, states)
        self.put_away(*own)
        self.systemd.reset_failed(*own)
        self.end_watch()
        self._remove_drop_ins(*own)

    def _drop_in(self, unit: str, name: str, text: str) -> None:
        directory = self.layout.runtime_drop_in(unit)
        make_directory(directory)
        write_file(os.path.join(directory, name), text)

    def begin_watch(self, number: int, request: dict[str, Any], python: str, seconds: float) -> None:
        """Sample memory until end_sampling(), and end candidate `number` after `seconds` whatever happens to the run.

        `request` is the sampler's (sampler.main). Both are systemd's: they outlive the module that begins them.
        """
        self._stop_watch()
        write_json(self.layout.sampler_request, request, 0o600)
        remove_file(self.layout.sampler_result)
        limit = f"RuntimeMaxSec={seconds:.0f}"
        stop = ["systemctl", "stop", self.layout.trial_socket_unit(number), self.layout.trial_service_unit(number)]
        self.systemd.run_transient(
            self.layout.deadline_unit.replace(".timer", ".service"), stop, [], f"--on-active={seconds:.0f}"
        )
        code = (
            f'import sys; sys.path.insert(0, "/{TOOL}/current"); '
            "from headcount._steps.sampler import main; sys.exit(main(sys.argv[1], sys.argv[2]))"
        )
        files = [self.layout.sampler_request, self.layout.sampler_result]
        self.systemd.run_transient(
            self.layout.sampler_unit,
            [python, "-I", "-c", code, *files],
            # mixed: a systemctl that it has just asked must not be ended with it, or its last look finds nothing
            ["Type=exec", "KillMode=mixed", "TimeoutStopSec=30", limit],
        )

    def end_sampling(self) -> dict[str, Any]:
        """End the sampler and return what it found; empty when it found nothing."""
        self._stop_watch()
        found = read_json(self.layout.sampler_result)
        return found if isinstance(found, dict) else {}

    def end_watch(self) -> None:
        """End what watched a candidate that was loaded remotely, and forget it. Where there is none: nothing."""
        files = (self.layout.sampler_request, self.layout.sampler_result, self.layout.trial_state)
        if not any(map(os.path.exists, files)):
            return
        self._stop_watch()
        for path in files:
            remove_file(path)

    def _stop_watch(self) -> None:
        states = self.systemd.states(self.layout.deadline_unit, self.layout.sampler_unit)
        for unit in (unit for unit, state in states.items() if not state.gone):
            self.systemd.stop(unit)

    def wait_ready(self, service: str, socket_path: str, health: dict[str, Any], begin: float) -> float:
        """Wait until the instance answers its health check; returns how many seconds that took.

        `begin` (epoch seconds) is where its log begins. Readiness is an HTTP answer: systemd's READY=1 is sent before
        the workers have imported the app. Time is taken from the monotonic clock: the host's may jump.
        """
        limit = float(health["boot_seconds"])
        started = self.monotonic()
        deadline = started + limit
        last = f"GET {health['path']} got no answer"
        invocation = ""
        while True:
            state = self.systemd.state(service)
            # A request that waits in its socket starts it again: then only the invocation tells that it had died.
            again = invocation and state.invocation not in ("", invocation)
            invocation = invocation or state.invocation
            if (state.gone and state.active == "failed") or state.restarts or again or state.load == "not-found":
                raise StepFailed("start", self.why_dead(service, begin))
            self._fail_if_killed(state)
            if state.running:
                answer = get(socket_path, health["path"], float(health["timeout_seconds"]))
                reason = unhealthy(answer, health)
                if reason is None:
                    return self.monotonic() - started
                last = reason
            elif state.active == "inactive" and self.monotonic() - started > 2.0:
                raise StepFailed("start", self.why_dead(service, begin))
            if self.monotonic() >= deadline:
                cause = first_cause(self.systemd.journal(service, begin))
                raise StepFailed(
                    "start",
                    f"never became ready: after {limit:.0f} s {last}" + (f"; its log says: {cause}" if cause else ""),
                )
            self.sleep(POLL_SECONDS)

    def _fail_if_killed(self, state: UnitState) -> None:
        """Gunicorn starts a worker that was killed again and again: the kernel's count tells what its log cannot."""
        counted = unit_memory(state.control_group, self.layout.root) if state.control_group else None
        if counted is not None and counted.oom_kills:
            limit = f" of {counted.max_mib:.0f} MiB" if counted.max_mib else ""
            raise StepFailed(
                "start",
                f"the kernel's OOM killer ended {counted.oom_kills} of its processes while it started: it needs more "
                f"memory than its plan's limit{limit}",
            )

    def why_dead(self, service: str, begin: float) -> str:
        """One sentence on why `service` is not running any more."""
        state = self.systemd.state(service)
        lines = self.systemd.journal(service, begin)
        cause = first_cause(lines)
        if state.result == "oom-kill":
            return "the kernel's OOM killer ended it: it needs more memory than its plan allows"
        words = {"exit-code": f"exited with status {state.exit_status}", "signal": "was killed by a signal"}
        how = words.get(state.result, f"ended ({state.result or state.active})")
        return f"died while starting: {cause or how}"

    def join(self, number: int, health: dict[str, Any]) -> float:
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

    def look(self, number: int, app: Mapping[str, Any] | None = None, socket: str | None = None) -> Answers:
        """What generation `number` answers on its private socket, or as the candidate whose `socket` is given.

        `app`: as its record has it; the default is its record.
        """
        declared = app or generations.record(self.layout, number).get("app")
        if not declared:
            return Answers(HEALTH, (), f"generation {number} has no record that can be read")
        return look(socket or self.layout.private_socket(number), declared, LOOK_SECONDS, request, self.monotonic)

    def verify(
        self,
        number: int,
        app: dict[str, Any],
        seconds: float,
        public: bool = False,
        beside: Callable[[], bool] | None = None,
        lenient: bool = False,
    ) -> dict[str, Any]:
        """Watch generation `number` with users on it for `seconds`; StepFailed on the first thing that is wrong.

        Asks its health and the GET paths of its load several times a second, and watches that its master process stays
        the same, that none of its workers dies, and that the kernel kills nothing of it. Everything is asked through
        its private socket, so that each answer is its own. `public`: the first path is asked on the public socket too;
        where another generation holds that as well, what fails there is this one's only when `beside()` tells that the
        other one answers everything. `lenient`: load paths that fail are returned (`wrong`) instead of refused.
        """
        service = self.layout.service_unit(number)
        first = self.systemd.state(service)
        begin = self.clock()
        started = self.monotonic()
        deadline = started + seconds
        own = Asker(self.layout.private_socket(number), app, None, request, self.monotonic)
        users = Asker(local_address(app["listen"]), app, None, request, self.monotonic) if public else None
        if users is not None:
            users.paths = users.paths[:1]
        asked, workers, suspicious = 0, self._workers(first), False
        since, lost = last_serial(self._ends(number)), frozenset[tuple[int, int]]()
        while True:
            state = self.systemd.state(service)
            if not state.running or state.main_pid != first.main_pid or state.restarts > first.restarts:
                raise StepFailed(
                    "verify", self.why_dead(service, begin).replace("while starting", "after it took traffic")
                )
            reason, _ = own.health()
            if reason is not None:
                raise StepFailed("verify", f"stopped being healthy after it took traffic: {reason}")
            self._fail_if_killed(state)
            now = self._workers(state)
            lost, workers = lost | (workers - now), now
            suspicious = self._fail_if_workers_died(number, begin, since, lost, suspicious)
            wrong = self._ask_paths(own, users, app["listen"], beside)
            if wrong and not lenient:
                raise StepFailed("verify", f"{wrong[0]} after it took traffic")
            asked += 1
            if self.monotonic() >= deadline and not suspicious:
                seen: dict[str, Any] = {"checks": asked, "seconds": round(self.monotonic() - started, 1)}
                return {**seen, "wrong": wrong} if wrong else seen
            self.sleep(0.25)

    def _ask_paths(self, own: Asker, users: Asker | None, listen: str, beside: Callable[[], bool] | None) -> list[str]:
        """One round of the load paths; what is wrong with them by all rounds so far."""
        own.round()
        wrong = own.wrong()
        if users is None or wrong:
            return wrong
        users.round()
        wrong = [f"{sentence}, asked on {listen}," for sentence in users.wrong()]
        if wrong and beside is not None and not beside():
            users.counts.clear()
            return []
        return wrong

    def answers_all(self, number: int, app: Mapping[str, Any]) -> bool:
        """Whether generation `number` answers everything it is asked on its private socket, without one exception."""
        asker = Asker(self.layout.private_socket(number), app, LOOK_SECONDS, request, self.monotonic)
        begin = self.monotonic()
        reason, _ = asker.health()
        for _ in range(BESIDE_ROUNDS if reason is None else 0):
            asker.round()
            if asker.failed or self.monotonic() - begin >= BESIDE_SECONDS:
                break
        return reason is None and not asker.failed

    def _workers(self, state: UnitState) -> frozenset[tuple[int, int]]:
        """Worker processes of an instance, each with its start time: Gunicorn replaces one that dies at once."""
        pids = unit_pids(state.control_group, self.layout.root) if state.control_group else []
        return children(state.main_pid, pids, self.layout.root)

    def _ends(self, number: int) -> list[WorkerEnd] | None:
        return read_ends(self.layout.instance_files(number, trial=False))

    def _fail_if_workers_died(
        self, number: int, begin: float, since: int, lost: frozenset[tuple[int, int]], seen_before: bool
    ) -> bool:
        """Whether workers ended since the end `since` that were not recycled; StepFailed when it is so twice in a row.

        Twice: what its master (or, of a generation that does not write that down, its log) says of a worker may come
        later than its end.
        """
        ends, service = self._ends(number), self.layout.service_unit(number)
        how = ""
        if ends is not None:
            found = deaths(ends, since, {pid for pid, _ in lost})
            died, how = found.count, f" ({found.ways()})"
        elif lost:
            counts = count_restarts(self.systemd.journal(service, begin))
            died = max(counts.died, len(lost) - counts.recycled)
        else:
            died = 0
        if died <= 0:
            return False
        if seen_before:
            cause = first_cause(self.systemd.journal(service, begin))
            who = "one of its workers" if died == 1 else f"{died} of its workers"
            raise StepFailed("verify", f"{who} died after it took traffic{how}" + (f": {cause}" if cause else ""))
        return True

    def same_address(self, one: int, other: int) -> bool:
        """Whether two generations listen on the same public address; one whose unit is gone is taken to be no other."""
        addresses = [self._address(one), self._address(other)]
        return addresses[0] == addresses[1] or not all(addresses)

    def _address(self, number: int) -> list[str]:
        path = os.path.join(self.layout.generation(number), self.layout.public_socket_unit)
        try:
            with open(path, encoding="utf-8") as stream:
                return [line.strip() for line in stream if line.startswith(("ListenStream=", "SocketMode="))]
        except OSError:
            return []

    def switch(
        self,
        old: int | None,
        new: int,
        app: dict[str, Any],
        verify_seconds: float,
        before: Mapping[str, Any] | None = None,
        lenient: bool = False,
    ) -> dict[str, Any]:
        """Give the public socket to generation `new`; `old` has it now (None: nothing does).

        Both hold the socket while `new` is verified; only then is `new` made live, by one rename, and only then does
        `old` drain. Whatever goes wrong, `old` is live and serving when StepFailed is raised, or, with no `old`,
        nothing is left running.

        An `old` that does not answer its users well (`before`: its app as its record has it) is in nobody's way: it
        leaves as soon as `new` answers, and is gone back to only where it is no worse than `new` by then. With
        `lenient` a `new` whose load paths fail is kept where `old` is not even healthy.
        """
        try:
            if old is not None and self.same_address(old, new):
                seen = self._switch_shared(old, new, app, verify_seconds, before or app, lenient)
            else:
                seen = self._switch_address(old, new, app, verify_seconds)
            with contextlib.suppress(SystemdError):  # what is left of others is the next heal's to stop
                for other in sorted(set(self.running()) - {new}):
                    self.leave(other)
            return seen
        except Untouched:
            raise
        except (StepFailed, SystemdError, OSError) as error:
            failure = error if isinstance(error, StepFailed) else StepFailed("promote", str(error))
            try:
                self.restore(old, new)
            except (StepFailed, SystemdError, OSError) as second:
                failure = StepFailed(
                    failure.phase, f"{failure.cause}; and the way back failed: {second}", failure.evidence
                )
            raise failure from error

    def _switch_shared(
        self, old: int, new: int, app: dict[str, Any], verify_seconds: float, before: Mapping[str, Any], lenient: bool
    ) -> dict[str, Any]:
        self._open_public(app["listen"])
        looking = Looking(lambda: self.look(old, before))
        boot = self.join(new, app["health"])
        was = looking.result()
        if was.well:
            seen = self.verify(new, app, verify_seconds, public=True, beside=lambda: self.answers_all(old, before))
            self._make_live(new)
            self.leave(old)
            self.verify(new, app, 0.0, public=True)
        else:
            # Each second that the old one stays costs users requests: the new one is watched while that one drains.
            lenient = lenient and was.rank >= HEALTH
            self.verify(new, app, 0.0, lenient=lenient)
            self._make_live(new)
            self.systemd.begin_stop(self.layout.service_unit(old))
            seen = {**self._verify_alone(old, new, app, verify_seconds, was, lenient), "before": was.detail}
        return {**seen, "boot_seconds": round(boot, 2)}

    def _verify_alone(
        self, old: int, new: int, app: dict[str, Any], seconds: float, was: Answers, lenient: bool
    ) -> dict[str, Any]:
        """Watch `new` while the broken `old` leaves, and after; StepFailed where `old` would serve no worse."""
        try:
            seen = self.verify(new, app, seconds, lenient=lenient)
            self.leave(old)
            return {**seen, **self.verify(new, app, 0.0, public=True, lenient=lenient)}
        except (StepFailed, SystemdError, OSError) as error:
            self.leave(old)
            now = look(local_address(app["listen"]), app, LOOK_SECONDS, request, self.monotonic)
            if now.rank >= was.rank:
                raise
            cause = error.cause if isinstance(error, StepFailed) else str(error)
            return {"despite": cause, **({"wrong": list(now.wrong)} if now.rank > WELL else {})}

    def _make_live(self, number: int) -> None:
        generations.activate(self.layout, number)
        generations.link_public(self.layout)
        self.systemd.reload()

    def public_open(self, listen: str) -> bool:
        """Whether the public socket is open, and systemd has it to give: its unit may stay active without. (`listen`
        may be empty, where no record tells it.)

        So it is after a daemon-reload while its unit file is gone: who inherited the socket serves it to the end, and
        who is started after that does not get it.
        """
        state = self.systemd.state(self.layout.public_socket_unit)
        return state.running and (not listen or listens(1, listen, self.layout.root) is not False)

    def _open_public(self, listen: str) -> None:
        """Open the public socket where it is not open: what joins a closed one would never be asked by users.

        It cannot be opened while an instance holds it: the one short gap that there is, because without the socket
        neither a switch nor a boot would find the app.
        """
        if self.public_open(listen):
            return
        public = self.layout.public_socket_unit
        self.systemd.stop(*self.running().values(), timeout_seconds=3600.0)
        self.systemd.stop(public)
        self.systemd.reset_failed(public)
        try:
            self.systemd.start(public)
        except SystemdError as error:
            raise StepFailed("promote", self._why_not_listening(listen, error)) from error

    def _switch_address(self, old: int | None, new: int, app: dict[str, Any], verify_seconds: float) -> dict[str, Any]:
        """The first deployment, and the rare one whose `listen` changed: the public socket itself is new.

        The old instance keeps the sockets it inherited, so it goes on serving the old address until the end.
        """
        if old is None or not self._port_is_ours(old, new):
            # Looked at before anything is touched: the old address would have to close for a moment on the way back.
            taken = address_taken(app["listen"])
            if taken:
                raise Untouched("promote", f"{taken}; free it, or declare another `listen`")
        self._make_live(new)
        public = self.layout.public_socket_unit
        self.systemd.stop(public)
        self.systemd.reset_failed(public, self.layout.service_unit(new))
        try:
            # Starting the socket starts the generation that it wants.
            self.systemd.start(public)
        except SystemdError as error:
            if old is None or not self._port_is_ours(old, new):
                raise StepFailed("promote", self._why_not_listening(app["listen"], error)) from error
            self.leave(old)
            self.systemd.start(public)
        boot = self.join(new, app["health"])
        # No other instance ever held this socket, so that it may be asked at once.
        seen = self.verify(new, app, verify_seconds, public=True)
        if old is not None:
            self.leave(old)
            self.verify(new, app, 0.0, public=True)
        return {**seen, "boot_seconds": round(boot, 2)}

    def _port_is_ours(self, old: int, new: int) -> bool:
        """Whether both addresses have the same port, so that the old instance itself is what is in the way."""
        ports = [[line.rpartition(":")[2] for line in self._address(number)][:1] for number in (old, new)]
        return ports[0] == ports[1]

    def _why_not_listening(self, listen: str, error: Exception) -> str:
        lines = self.systemd.journal(self.layout.public_socket_unit, self.clock() - 30)
        taken = any("Address already in use" in line for line in lines)
        if taken:
            return f"listen address {listen} is taken by another process; free it, or declare another `listen`"
        return f"cannot listen on {listen}: {first_cause(lines) or error}"

    def restore(self, old: int | None, new: int | None) -> None:
        """Make `old` live and serving again and take `new` down; with no `old`, leave nothing running."""
        if old is None:
            self.take_down()
            return
        self._make_live(old)
        public, service = self.layout.public_socket_unit, self.layout.service_unit(old)
        readdressed = new is not None and not self.same_address(old, new)
        if readdressed:
            # The old address's socket can only be opened again while no service holds the unit.
            if new is not None:
                self.leave(new)
            self.systemd.stop(public, service)
        self.systemd.reset_failed(public, service)
        if not readdressed:
            self._open_public(str((generations.record(self.layout, old).get("app") or {}).get("listen") or ""))
        try:
            self.systemd.start(public, self.layout.socket_unit(old), service)
        finally:
            # Also when the old one does not come up, as it did not before: the new one was not good enough.
            if new is not None and not readdressed:
                self.leave(new)

    def take_down(self) -> None:
        """Stop everything of the app and unlink what would start it at boot. Files stay for diagnosis.

        Units of others that are called alike run on.
        """
        units = [
            *self._running(self.layout.instance_glob),
            *self.candidate_running(),
            *self._running(self.layout.public_socket_unit),
        ]
        self.systemd.stop(*units)
        generations.unlink_public(self.layout)
        generations.deactivate(self.layout)
        self.systemd.reload()
        self.systemd.reset_failed(*units)
