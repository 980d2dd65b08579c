# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How an app runs now: what its instances have counted, what waits for them, and what the kernel says of them.

Nothing here asks the app: one that is saturated, hangs or is dead is told of all the same.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import Callable, Mapping, Sequence

from .._declaration.app import Limits
from .._declaration.patience import ANSWER_SECONDS, flight_seconds
from .._facts.unitprocesses import unit_processes
from .._facts.unitusage import UnitMemory, unit_cpu_seconds, unit_memory
from .._generation import generations, truth
from .._generation.names import owned
from .._generation.processnames import process_units_on_disk, starters
from .._generation.record import GenerationRecord
from .._load.memory import read_process
from .._os.acceptqueue import accept_queue, held_connections
from .._os.paths import Layout, under
from .._os.procfs import read_text
from .._os.systemd import ABSENT, Systemd, UnitState
from .._recorder.counts import Counts, Damaged, Unreadable, Worker, read
from .._recorder.instance import PROGRAM

_TICKS = os.sysconf("SC_CLK_TCK")
NOT_DECLARED = "`recorder: false` is declared"
BEFORE_IT = "the generation is of a version without a recorder"
NOT_STARTED = "Gunicorn has not started"
BEGINS_ANEW = "`systemctl restart {unit}` begins a new one, while users wait in the socket; so does the next generation"
NOT_BEGUN = "its recorder could not begin (a full /run, most often): `journalctl -u {unit} | grep recorder` says why"


@dataclass(frozen=True)
class WorkerView:
    """A worker: how long it has run, requests in flight, CPU seconds and PSS; None: it is gone, or cannot be read."""

    pid: int
    age: int
    up_s: float
    begun: int
    in_flight: int
    cpu_s: float | None
    pss_mib: float | None

    def to_dict(self) -> dict[str, object]:
        """Plain data that JSON can hold."""
        return {
            "pid": self.pid,
            "up_seconds": round(self.up_s, 1),
            "requests": self.begun,
            "in_flight": self.in_flight,
            "cpu_seconds": self.cpu_s,
            "pss_mib": None if self.pss_mib is None else round(self.pss_mib, 1),
        }


@dataclass(frozen=True)
class InstanceView:
    """A running instance. `counts` is None where nothing is counted, and `uncounted` says why; `slots` and
    `memory_max_mib` are the plan's, `limits` the app's, None where its record cannot be read; `patience_s`: so long a
    request of it may be in flight; `restarts`: how often systemd has started it again since somebody started it."""

    generation: int
    release: str | None
    live: bool
    unit: str
    state: str
    counts: Counts | None
    uncounted: str
    workers: tuple[WorkerView, ...]
    slots: int | None
    planned_workers: int | None
    memory_max_mib: float | None
    limits: Limits
    memory: UnitMemory | None
    cpu_s: float | None
    at: float
    patience_s: float = ANSWER_SECONDS
    restarts: int = 0

    @property
    def oom_kills(self) -> int:
        """Processes of it that the kernel's OOM killer has ended."""
        return (self.memory.oom_kills or 0) if self.memory else 0

    def to_dict(self) -> dict[str, object]:
        """Plain data that JSON can hold."""
        counts = self.counts
        told: dict[str, object] = {
            "generation": self.generation,
            "live": self.live,
            "unit": self.unit,
            "state": self.state,
            "slots": self.slots,
            "workers": [worker.to_dict() for worker in self.workers],
            "cpu_seconds": self.cpu_s,
            "memory_mib": round(self.memory.current_mib, 1) if self.memory else None,
            "memory_peak_mib": round(self.memory.peak_mib, 1) if self.memory and self.memory.peak_mib else None,
            "memory_max_mib": self.memory_max_mib,
            "oom_kills": self.oom_kills,
            "uncounted": self.uncounted or None,
        }
        if counts is not None:
            told["requests"] = counts.tally.to_dict()
            told["started"] = round(counts.started, 3)
            told["masters"] = counts.masters
            told["recorder_errors"] = counts.trouble
        return told


@dataclass(frozen=True)
class ProcessView:
    """A further process of the live generation: `name` as its unit has it (worker:2). `timed`: it runs by a schedule,
    and `up` then means that its timer does; `runs`: whether it runs at this moment; `restarts` since it was started."""

    name: str
    timed: bool
    up: bool
    runs: bool
    restarts: int
    memory_mib: float | None

    def to_dict(self) -> dict[str, object]:
        """Plain data that JSON can hold."""
        return {
            "name": self.name,
            "by_schedule": self.timed,
            "up": self.up,
            "runs": self.runs,
            "restarts": self.restarts,
            "memory_mib": None if self.memory_mib is None else round(self.memory_mib, 1),
        }


@dataclass(frozen=True)
class AppView:
    """An app on this host. `live` is None where nothing is; `waiting`: connections in the accept queue of its public
    socket, None where nobody can tell; `instances`: the live one first, then those that drain or come; `processes` are
    those of the live generation; `connections`: those that it has accepted and has open, None where nobody can tell."""

    app: str
    live: int | None
    listen: str | None
    socket_up: bool
    waiting: int | None
    instances: tuple[InstanceView, ...]
    at: float
    processes: tuple[ProcessView, ...] = ()
    connections: int | None = None

    @property
    def unasked(self) -> int | None:
        """Open connections on which no request is in flight: their clients are slow, or keep them. None: not known."""
        counted = [one.counts.tally.in_flight for one in self.instances if one.counts is not None]
        if self.connections is None or len(counted) < len(self.instances):
            return None
        return max(0, self.connections - sum(counted))

    @property
    def current(self) -> InstanceView | None:
        """The live instance, where it runs."""
        return next((one for one in self.instances if one.live), None)

    def to_dict(self) -> dict[str, object]:
        """Plain data that JSON can hold."""
        return {
            "live": self.live,
            "listen": self.listen,
            "waiting": self.waiting,
            "connections": self.connections,
            "instances": [one.to_dict() for one in self.instances],
            "processes": [one.to_dict() for one in self.processes],
        }


def app_view(
    name: str, root: str = "/", systemd: Systemd | None = None, clock: Callable[[], float] = time.monotonic
) -> AppView:
    """How the app runs now. Raises SystemdError where systemd cannot be asked."""
    layout = Layout(name, root)
    everything = (systemd or Systemd()).matching(layout.public_socket_unit, layout.instance_glob)
    units = {unit: state for unit, state in owned(layout, everything).items() if not state.gone}
    found = truth.live(layout, layout.instances(units)) if os.path.isdir(layout.home) else None
    return _view(layout, units, found.number if found else None, clock)


def kernel_view(name: str, root: str = "/", clock: Callable[[], float] = time.monotonic) -> AppView:
    """How the live generation runs by the kernel and the recorder alone, where systemd cannot be asked, as no command
    can be begun; nothing is told of units beside its own. Raises OSError where /proc cannot be read."""
    layout = Layout(name, root)
    live = generations.live(layout)
    unit = layout.service_unit(live) if live is not None else ""
    runs = unit_processes(unit, root) if unit else None
    if runs is None:
        return _view(layout, {}, live, clock)
    state = replace(ABSENT, load="loaded", active="active", main_pid=runs.master, control_group=runs.group)
    return replace(_view(layout, {unit: state}, live, clock), processes=())


def _view(layout: Layout, units: Mapping[str, UnitState], live: int | None, clock: Callable[[], float]) -> AppView:
    running, root = layout.instances(units), layout.root
    record = _record(layout, live)
    listen = record.listen if record is not None and record.app.get("listen") else None
    instances = [_instance(layout, number, units[unit], live == number, clock()) for number, unit in running.items()]
    return AppView(
        app=layout.app,
        live=live,
        listen=listen,
        socket_up=layout.public_socket_unit in units,
        waiting=accept_queue(listen, root) if listen else None,
        instances=tuple(sorted(instances, key=lambda one: (not one.live, -one.generation))),
        at=clock(),
        processes=_processes(layout, live, units),
        connections=held_connections(listen, root) if listen else None,
    )


def _processes(layout: Layout, live: int | None, units: Mapping[str, UnitState]) -> tuple[ProcessView, ...]:
    """The processes of the live generation; `units` are those of the app that are up."""
    if live is None:
        return ()
    return tuple(_process(layout, unit, units) for unit in starters(process_units_on_disk(layout, live)))


def _process(layout: Layout, unit: str, units: Mapping[str, UnitState]) -> ProcessView:
    starter, service = units.get(unit, ABSENT), units.get(unit.replace(".timer", ".service"), ABSENT)
    taken = unit_memory(service.control_group, layout.root) if service.control_group else None
    return ProcessView(
        name=unit.partition("@")[2].partition("-")[2].rpartition(".")[0],
        timed=unit.endswith(".timer"),
        up=starter.running,
        runs=not service.gone,
        restarts=service.restarts,
        memory_mib=taken.current_mib if taken is not None else None,
    )


def _record(layout: Layout, number: int | None) -> GenerationRecord | None:
    found = generations.record(layout, number) if number is not None else {}
    return GenerationRecord.from_dict(found) if found.get("app") and found.get("plan") else None


def _instance(layout: Layout, number: int, state: UnitState, live: bool, now: float) -> InstanceView:
    record = _record(layout, number)
    app = record.app if record is not None else {}
    settings = record.settings if record is not None else {}
    counts, why = _counts(layout, number, app.get("recorder") is not False, state)
    group, root = state.control_group, layout.root
    workers = tuple(_worker(worker, now, root) for worker in counts.workers) if counts is not None else ()
    return InstanceView(
        generation=number,
        release=record.release if record is not None else None,
        live=live,
        unit=layout.service_unit(number),
        state=state.active,
        counts=counts,
        uncounted=why,
        workers=workers,
        slots=int(record.plan["slots"]) if record is not None and record.plan.get("slots") else None,
        planned_workers=int(settings["workers"]) if settings.get("workers") else None,
        memory_max_mib=float(settings["memory_max_mib"]) if settings.get("memory_max_mib") else None,
        limits=Limits.from_dict(app.get("limits") or {}),
        memory=unit_memory(group, root) if group else None,
        cpu_s=_cpu(group, counts, workers, root),
        at=now,
        patience_s=flight_seconds(app),
        restarts=state.restarts,
    )


def _counts(layout: Layout, number: int, wanted: bool, state: UnitState) -> tuple[Counts | None, str]:
    """What the recorder counted, and why there is nothing."""
    directory = layout.instance_files(number, trial=False)
    try:
        counts = read(directory, state.main_pid, layout.root)
    except Unreadable as error:
        fix = f"; {BEGINS_ANEW.format(unit=layout.service_unit(number))}" if isinstance(error, Damaged) else ""
        return None, f"{directory}/recorder cannot be read: {error}{fix}"
    if counts is not None:
        return counts, ""
    if not wanted:
        return None, NOT_DECLARED
    if not os.path.exists(os.path.join(layout.generation(number), PROGRAM)):
        return None, BEFORE_IT
    # A unit is active only after Gunicorn has read its configuration, which begins to count or says why not.
    return None, NOT_BEGUN.format(unit=layout.service_unit(number)) if state.active == "active" else NOT_STARTED


def _worker(worker: Worker, now: float, root: str) -> WorkerView:
    seen = read_process(worker.pid, under(root, "/proc")) if worker.pid else None
    return WorkerView(
        pid=worker.pid,
        age=worker.age,
        up_s=max(0.0, now - worker.since),
        begun=worker.begun,
        in_flight=worker.in_flight,
        cpu_s=cpu_seconds(worker.pid, root),
        pss_mib=seen.pss_mib if seen is not None else None,
    )


def _cpu(group: str, counts: Counts | None, workers: Sequence[WorkerView], root: str) -> float | None:
    """CPU seconds of an instance: those of its unit; where the kernel does not count these (version 1 of control
    groups), those of its master, of the workers that run, and of those that have ended."""
    used = unit_cpu_seconds(group, root) if group else None
    master = cpu_seconds(counts.master, root) if counts is not None else None
    if used is not None or counts is None or master is None:
        return used
    return master + counts.ended_cpu_s + sum(worker.cpu_s or 0.0 for worker in workers)


def cpu_seconds(pid: int, root: str = "/") -> float | None:
    """CPU seconds that a process has used: fields 14 and 15 of /proc/PID/stat (proc(5))."""
    fields = (read_text(root, f"/proc/{pid}/stat") or "").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS if len(fields) > 12 else None
