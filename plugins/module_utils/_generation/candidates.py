# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Candidates: generations that run beside the live one, without users, to be weighed and tried."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Mapping

from .._declaration.app import Plain
from .._declaration.origin import FREE_PORT
from .._os.files import make_directory, read_json, remove_file, write_file, write_json
from .._os.paths import TOOL
from .._os.removal import try_to_remove_tree
from .._os.taken import address_taken
from . import generations
from .beginnable import no_room
from .failures import StepFailed
from .instances import Instances
from .names import owned
from .reloads import reload_for, try_reload


@dataclass
class Candidates:
    """The candidates of one app on this host."""

    instances: Instances
    seconds: float = 0.0
    """systemd ends a candidate after so long, whatever became of the process that started it; 0: never."""

    def __post_init__(self) -> None:
        self.layout = self.instances.layout

    def running(self) -> list[str]:
        """Candidate units in memory that are not stopped."""
        return self.layout.candidates(self.instances.own(self.layout.candidate_glob))

    def put_away(self, *units: str) -> None:
        """Stop candidates at once. Sockets stop first: a request that waits in one would start its service again, and
        that would cancel the stop of the service."""
        sockets = [unit for unit in units if unit.endswith(".socket")]
        services = [unit for unit in units if unit not in sockets]
        for service in services:
            self.instances.systemd.kill(service)  # its socket's stop waits for it, and it has no users to drain
        self.instances.systemd.stop(*sockets)
        for service in services:
            self.instances.systemd.kill(service)
        self.instances.systemd.stop(*services)

    def forget(self) -> None:
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
        loaded = self.instances.systemd.matching(self.layout.candidate_glob)
        self.instances.systemd.reset_failed(*owned(self.layout, loaded), *(set(candidates) & set(loaded)))

    def _remove_drop_ins(self, *units: str) -> None:
        """Take away what opened a port for candidates, or gave them arguments of their own."""
        found = [path for path in map(self.layout.runtime_drop_in, units) if os.path.isdir(path)]
        for path in found:
            try_to_remove_tree(path)
        if found:
            try_reload(self.instances.systemd)

    def start(
        self,
        number: int,
        health: Plain,
        arguments: str | None = None,
        listen: str | None = None,
        back: bool = False,
    ) -> float:
        """Start generation `number` beside the live one, without users; returns the seconds until it answered.

        `arguments` are given to Gunicorn through GUNICORN_CMD_ARGS, for a candidate that is weighed: it differs from
        its plan, and HEADCOUNT_ROLE says so.
        `listen` ("address:port") is opened beside its private socket until stop(); StepFailed, naming who
        is in the way, when it is taken. StepFailed too where the host has no room for its processes and threads: it
        would take the last ones from the live generation; `back`: it is gone back to (see no_room()).
        """
        service, socket = self.layout.trial_service_unit(number), self.layout.trial_socket_unit(number)
        full = no_room(self.instances, number, service, 1 if arguments else None, back)
        if full:
            raise StepFailed("start", full)
        for unit in (service, socket):
            try_to_remove_tree(self.layout.runtime_drop_in(unit))
        if arguments:
            self._drop_in(
                service,
                "arguments.conf",
                f'[Service]\nEnvironment="GUNICORN_CMD_ARGS={arguments}" HEADCOUNT_ROLE=weigh\n',
            )
        if self.seconds:
            text = f"[Service]\nRuntimeMaxSec={self.seconds:.0f}\n"
            self._drop_in(service, "deadline.conf", text)
        if listen:
            taken = address_taken(listen)
            if taken:
                raise StepFailed("trial", f"{taken}; the candidate needs it while it is tried: {FREE_PORT}")
            self._drop_in(socket, "listen.conf", f"[Socket]\nListenStream={listen}\n")
        reload_for(self.instances.systemd, service, socket)
        self.instances.systemd.reset_failed(service, socket)
        begin = self.instances.clock()
        self.instances.systemd.start(socket)
        self.instances.systemd.begin_start(service)
        return self.instances.wait_ready(service, self.layout.trial_socket(number), health, begin)

    def stop(self, number: int) -> None:
        """Stop the candidate at once (it has no users to drain) and forget that it may have failed."""
        service, socket = self.layout.trial_service_unit(number), self.layout.trial_socket_unit(number)
        states = self.instances.systemd.states(socket, service)
        own = owned(self.layout, states)
        self.put_away(*own)
        self.instances.systemd.reset_failed(*own)
        self.end_watch()
        self._remove_drop_ins(*own)

    def _drop_in(self, unit: str, name: str, text: str) -> None:
        directory = self.layout.runtime_drop_in(unit)
        make_directory(directory)
        write_file(os.path.join(directory, name), text)

    def begin_watch(self, number: int, request: Mapping[str, object], python: str, seconds: float) -> None:
        """Sample memory until end_sampling(), and end candidate `number` after `seconds` whatever happens to the run.

        `request` is the sampler's (sampler.main). Both are systemd's: they outlive the module that begins them.
        """
        self._stop_watch()
        write_json(self.layout.sampler_request, request, 0o600)
        remove_file(self.layout.sampler_result)
        limit = f"RuntimeMaxSec={seconds:.0f}"
        stop = ["systemctl", "stop", self.layout.trial_socket_unit(number), self.layout.trial_service_unit(number)]
        self.instances.systemd.run_transient(
            self.layout.deadline_unit.replace(".timer", ".service"), stop, [], f"--on-active={seconds:.0f}"
        )
        code = (
            f'import sys; sys.path.insert(0, "/{TOOL}/current"); '
            "from headcount._steps.sampler import main; sys.exit(main(sys.argv[1], sys.argv[2]))"
        )
        files = [self.layout.sampler_request, self.layout.sampler_result]
        self.instances.systemd.run_transient(
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
        states = self.instances.systemd.states(self.layout.deadline_unit, self.layout.sampler_unit)
        for unit in (unit for unit, state in states.items() if not state.gone):
            self.instances.systemd.stop(unit)
