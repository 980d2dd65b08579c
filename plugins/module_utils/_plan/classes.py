# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which class of Gunicorn worker suits an app, and why: by what its requests wait, by whether they are alike, and by
whether a proxy buffers slow clients. docs/planner.md has what was measured for each rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Mapping

from .._declaration.app import App
from .inputs import Inputs, wait_share
from .sharing import CPU_RATIO, SyncNeed, sync_need, waiting_kinds, whole_cores
from .size import Ceiling
from .types import Limit, fitting, number, share, up

SYNC_ENOUGH: Final = 0.75
"""Sync workers share the cores well from this part of those that are wanted on. With fewer, long requests can take them
all, and threads are better."""


@dataclass(frozen=True)
class ClassChoice:
    """The worker class and why, with each class that was considered."""

    name: str
    winner: str
    reason: str
    origin: str
    limits: tuple[Limit, ...]
    warnings: tuple[str, ...]

    def may_be(self, name: str) -> bool:
        """Whether a person may declare class `name` for the app, of this release or of another one."""
        return all(
            each.value != RULED_OUT or each.reason == not_built(name) for each in self.limits if each.name == name
        )


RULED_OUT = "ruled out"


def not_built(worker_class: str) -> str:
    """Why a built release rules a class out that its libraries are well with."""
    return f"the release was built without {worker_class}: only another release can have it"


@dataclass(frozen=True)
class Room:
    """What the host has room for: by class whether one worker with one request fits, how many sync workers do, and
    whether it is the database that has no connections for more of them."""

    fits: Mapping[str, bool]
    sync_workers: int
    by_database: bool = False


def room_for_sync(ceiling: Ceiling, forced: int | None) -> int:
    """The most sync workers that the ceiling allows, or that are `forced` by settings.workers."""
    memory = ceiling.memory
    most = fitting(memory.usable - memory.master.value + 1e-9, memory.base.value + memory.slot.value)
    if ceiling.database_slots is not None:
        most = min(most, ceiling.database_slots)
    return most if forced is None else min(most, forced)


def choose_class(app: App, inputs: Inputs, verdicts: Mapping[str, str], room: Room) -> ClassChoice:
    """The worker class. `verdicts` has a reason for each class that the release's libraries rule out.

    auto: gthread where settings.threads asks for threads. Else sync only behind a proxy that buffers, for what
    computes: one for each core where a person says that requests are alike, many where they are not and so little
    waits at a time that there are workers enough. Else gevent where nothing blocks it and requests are alike, also as
    far as they were weighed, else gthread.
    """
    blocked = _blocked(inputs, verdicts)
    if app.worker_class != "auto":
        return _asked(app, inputs, blocked)
    threads = app.settings.get("threads")
    if isinstance(threads, int) and threads > 1:
        reason = f"settings.threads is {threads}, and only gthread has threads"
        return _choice(app, inputs, blocked, "gthread", "declared", reason, "override")
    if inputs.mix.mixed:
        found = _of_mixed(app, inputs, room, blocked)
        if found is not None:
            return found
    ratio, waits = inputs.wait_ratio, _waits(inputs)
    computes = ratio.value < CPU_RATIO
    if computes and app.buffering_proxy:
        if not inputs.mix.known_alike:
            return _of_alike_so_far(app, inputs, room, blocked)
        return _choice(app, inputs, blocked, "sync", "waiting", f"it computes: {waits}", ratio.origin)
    if computes:
        reason = (
            "no buffering proxy is declared, so a slow or idle client would take a whole sync worker: threads hold such"
            f" clients beside each other ({waits})"
        )
        return _choice(app, inputs, blocked, "gthread", "slow clients", reason, "declared")
    best = f"gevent would serve it best ({waits}), but"
    if "gevent" in blocked:
        reason = f"{best} {blocked['gevent']}"
        return _choice(app, inputs, blocked, "gthread", "async compatibility", reason, "derived")
    if not room.fits["gevent"] and room.fits["gthread"]:
        reason = f"{best} one gevent worker does not fit in the memory and one gthread worker does"
        return _choice(app, inputs, blocked, "gthread", "memory", reason, "derived")
    return _choice(app, inputs, blocked, "gevent", "waiting", f"it waits: {waits}", ratio.origin)


def _blocked(inputs: Inputs, verdicts: Mapping[str, str]) -> dict[str, str]:
    """The classes that are ruled out, each with the reason."""
    blocked = {name: reason for name, reason in verdicts.items() if reason}
    if inputs.host.free_threaded:
        blocked.setdefault("gevent", "gevent does not support free-threaded Python")
        blocked.setdefault("eventlet", "eventlet does not support free-threaded Python")
    return blocked


def _asked(app: App, inputs: Inputs, blocked: Mapping[str, str]) -> ClassChoice:
    """The class that the app declares, with a warning where its libraries rule it out."""
    asked = app.worker_class
    warnings: tuple[str, ...] = ()
    if asked in blocked:
        warnings = (f"{inputs.app}: worker_class {asked} is declared, but {blocked[asked]}",)
    elif inputs.mix.mixed and inputs.mix.origin != "assumed" and _in_a_line(app, inputs):
        from .warned import in_a_line

        warnings = (in_a_line(inputs, asked),)
    reason = f"worker_class: {asked} is declared"
    return _choice(app, inputs, blocked, asked, "declared", reason, "override", warnings)


def _in_a_line(app: App, inputs: Inputs) -> bool:
    """Whether the declared class has requests compute one after the other."""
    workers = app.settings.get("workers")
    few = isinstance(workers, int) and 0 < workers <= whole_cores(inputs.allotment.cores)
    return app.worker_class in ("gevent", "eventlet") or (app.worker_class == "sync" and few)


def _of_mixed(app: App, inputs: Inputs, room: Room, blocked: Mapping[str, str]) -> ClassChoice | None:
    """The class for requests that are not alike; None where none that shares the cores fits."""
    line = f"a long request must not hold up those behind it, so requests share the cores: {inputs.mix.source}"
    if _processes_share(app, inputs):
        wanted = sync_need(inputs).planned
        held = "nothing waits" if nothing_waits(app, inputs) else "few wait at a time"
        reason = f"{line}; {held}, and the kernel shares more evenly between processes than threads do"
        if room.sync_workers >= up(SYNC_ENOUGH * wanted):
            return _choice(app, inputs, blocked, "sync", "mix", reason, inputs.mix.origin)
        if room.by_database and room.sync_workers > whole_cores(inputs.allotment.cores):
            from .warned import few_connections

            told = few_connections(inputs, room.sync_workers, wanted)
            return _choice(app, inputs, blocked, "sync", "mix", reason, inputs.mix.origin, (told,))
        if room.fits["gthread"]:
            reason = f"{line}; there is room for {max(0, room.sync_workers)} sync workers, and {wanted} are wanted"
            return _choice(app, inputs, blocked, "gthread", "memory", reason, inputs.mix.origin)
    if room.fits["gthread"] or not (room.fits["sync"] and app.buffering_proxy):
        return _choice(app, inputs, blocked, "gthread", "mix", line, inputs.mix.origin)
    return None


def _of_alike_so_far(app: App, inputs: Inputs, room: Room, blocked: Mapping[str, str]) -> ClassChoice:
    """The class for requests that compute and are alike where they are known, behind a proxy that buffers, where nobody
    says so of the whole app: what was not weighed (what users send) may wait for long."""
    origin = inputs.mix.origin
    line = (
        f"it computes ({_waits(inputs)}) and is alike as far as that is known ({inputs.mix.source}), but"
        " mix: uniform is not declared, so that requests which nobody weighed may take long"
    )
    against = blocked.get("gevent")
    if against is None and room.fits["gevent"]:
        reason = f"{line}: with gevent one that waits holds nobody up"
        return _choice(app, inputs, blocked, "gevent", "mix", reason, origin)
    best = f"{line}; gevent would serve it best, but {against or 'one gevent worker does not fit in the memory'}"
    wanted = sync_need(inputs).planned
    if not _processes_share(app, inputs):
        return _choice(app, inputs, blocked, "gthread", "mix", f"{best}: threads hold what waits", origin)
    if room.sync_workers >= up(SYNC_ENOUGH * wanted) or not room.fits["gthread"]:
        reason = f"{best}: more sync workers than cores leave some free meanwhile"
        return _choice(app, inputs, blocked, "sync", "mix", reason, origin)
    reason = f"{best}; there is room for {max(0, room.sync_workers)} sync workers, and {wanted} are wanted"
    return _choice(app, inputs, blocked, "gthread", "memory", reason, origin)


def _processes_share(app: App, inputs: Inputs) -> bool:
    """Whether sync workers may serve requests that are not alike: behind a proxy that buffers, where nothing waits, or
    where so little does at a time that there are workers enough for that, also on a bad day, and for what is declared
    to be in flight."""
    if not app.buffering_proxy:
        return False
    if nothing_waits(app, inputs):
        return True
    need = _need_of_waits(inputs)
    return need is not None and need.enough and (inputs.peak or 0) <= need.planned


def _need_of_waits(inputs: Inputs) -> SyncNeed | None:
    """The sync workers that requests ask for of which some wait; None where nobody knows how long which waits."""
    return None if waiting_kinds(inputs) is None else sync_need(inputs)


def nothing_waits(app: App, inputs: Inputs) -> bool:
    """Whether no request is known to wait for something else than a core: then it costs nothing to wait for a worker.

    One path that was weighed says nothing about others, so it takes several paths, or a declaration.
    """
    if inputs.wait_ratio.value >= CPU_RATIO or inputs.most_ratio > CPU_RATIO:
        return False
    if inputs.mix.waits is not None:
        return not inputs.mix.waits
    return app.profile == "cpu" or app.wait_ratio is not None or (app.cpu_ms is not None and app.wait_ms is not None)


def _waits(inputs: Inputs) -> str:
    ratio = inputs.wait_ratio
    part = share(wait_share(ratio.value))
    return f"{part} of a request is waiting (wait ratio {number(ratio.value)}, {ratio.origin})"


def _choice(
    app: App,
    inputs: Inputs,
    blocked: Mapping[str, str],
    name: str,
    winner: str,
    reason: str,
    origin: str,
    warnings: tuple[str, ...] = (),
) -> ClassChoice:
    """A class with what speaks for and against each."""
    verdicts = {each: blocked.get(each) for each in ("sync", "gevent", "gthread")}
    words = {"sync": _of_sync(app, inputs), "gevent": _of_gevent(inputs), "gthread": _of_gthread(app, inputs)}
    limits = []
    for each, against in verdicts.items():
        value = RULED_OUT if against else "best" if each == name else "poor" if each != "gthread" else "next best"
        limits.append(Limit(each, value, against or words[each]))
    return ClassChoice(name, winner, reason, origin, tuple(limits), warnings)


def _of_sync(app: App, inputs: Inputs) -> str:
    if not app.buffering_proxy:
        return "a slow or idle client takes a whole worker, and no buffering proxy is declared"
    if inputs.mix.mixed and nothing_waits(app, inputs):
        return "many processes share the cores most evenly, and nothing waits in them"
    need = _need_of_waits(inputs) if inputs.mix.mixed else None
    if need is not None and need.enough and (inputs.peak or 0) <= need.planned:
        return f"many processes share the cores most evenly: {need.words}"
    if need is not None and not need.enough:
        return f"requests that wait would take its workers: {need.words}"
    if inputs.mix.mixed:
        return f"few slots, which requests that wait would take, and {inputs.mix.source}"
    if not inputs.mix.known_alike:
        return "one request per worker: one for each core would leave none where what nobody weighed takes long"
    return f"one request per worker: right where little is waited; {_waits(inputs)}"


def _of_gevent(inputs: Inputs) -> str:
    if inputs.mix.mixed:
        return f"one request after the other computes, and {inputs.mix.source}"
    if inputs.wait_ratio.value < CPU_RATIO and not inputs.buffered:
        return f"it would hold slow clients too, but patches the libraries of an app that computes ({_waits(inputs)})"
    return _waits(inputs)


def _of_gthread(app: App, inputs: Inputs) -> str:
    if inputs.mix.mixed:
        return "threads of several interpreters take turns: long and short requests share the cores"
    if not app.buffering_proxy:
        return "threads of one interpreter: any library works, and a slow client holds a thread, not the app"
    return "threads of one interpreter: any library works, each waiting request holds a thread"
