# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Every setting of a plan for a shape that was decided, with its limits, the one that won and the reason.

docs/planner.md has each formula with its source and what was measured for it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any, Final, Sequence

from .._declaration.app import App
from .._declaration.gunicorn import PLANNED, too_new
from .._declaration.mixture import declared_kinds
from .classes import ClassChoice
from .inputs import MEMORY_HIGH_SHARE, Inputs
from .sharing import PATIENT_MS, TURN_HARD_MS, TURN_MS, WAITS_WORSE, turn_ms
from .size import ASYNC, HEAVY_SLOT_MIB, NOFILE_BASE, Ceiling, Shape
from .types import Limit, Setting, number, share, up

GUNICORN: Final = "27.0.1"
GUNICORN_EVENTLET: Final = ">=25.3,<26"
GUNICORN_PYTHON39: Final = "23.0.0"
EVENTLET: Final = "0.41.3"
EVENTLET_PYTHON39: Final = "0.40.3"
"""27.0.1 is the newest. eventlet's worker is gone from 26.0. 23.0.0 is the last for Python 3.9 (24.0.0 asks for 3.10),
and the oldest without CVE-2024-1135 and CVE-2024-6827. eventlet 0.40.3 is the last for Python 3.9."""

NOFILE_MIN: Final = 4096
BACKLOG_MIN: Final = 1024
TIMEOUT_MIN_SECONDS: Final = 30
TIMEOUT_MAX_SECONDS: Final = 86_400
SLOWEST_MOST_SECONDS: Final = 600
"""What one slow path adds to time-outs at most: a rollout waits for those of the generation that it takes out."""
MAX_REQUESTS_DEFAULT: Final = 50_000
MAX_REQUESTS_HOURS: Final = 6
MAX_REQUESTS_RANGE: Final = (10_000, 1_000_000)
JITTER_SHARE: Final = 0.2

KEPT_SLOTS: Final = 8
"""Requests' worth of freed memory that a worker keeps: with 6 of 8 MiB pages were still given back and faulted in
again (103 a request, 500 with glibc's own threshold), with 8 they were not (23)."""

PYTHON_SWITCH_INTERVAL_MS: Final = 5
"""sys.getswitchinterval(), in ms."""

SETTINGS: Final = (
    *PLANNED,
    "limit_nofile",
    "malloc_trim_threshold_mib",
    "switch_interval_ms",
    "memory_high_mib",
    "memory_max_mib",
    "gunicorn_version",
    "gunicorn_packages",
)

OVERRIDES: Final = tuple(name for name in SETTINGS if name not in ("worker_class", "gunicorn_packages"))


@dataclass(frozen=True)
class Draft:
    """One app's decisions before they are put into words. `gunicorn`: the version that the project itself pins."""

    app: App
    inputs: Inputs
    choice: ClassChoice
    ceiling: Ceiling
    shape: Shape
    gunicorn: str | None = None


def override(app: App, name: str) -> Any:
    return app.settings.get(name)


def all_settings(draft: Draft, memory_max: int) -> dict[str, Setting]:
    """Every setting for a shape. Overridden values keep the limits that were considered."""
    result = {item.name: item for item in _sized(draft)}
    forced_keepalive = override(draft.app, "keepalive")
    for item in (
        _preload(draft),
        _keepalive(draft),
        _backlog(draft),
        *_timeouts(draft),
        *_recycling(draft),
        _nofile(draft),
        _malloc(draft),
        _switch_interval(draft),
        *_memory_settings(draft, memory_max),
        *_gunicorn(draft),
    ):
        result[item.name] = item
    for name, value in draft.app.settings.items():
        if value is not None and name != "gunicorn_version":  # it is a part of the packages too
            item = result[name]
            own = Limit("override", value, f"settings.{name}")
            limits = item.limits if own in item.limits else (own, *item.limits)
            reason = f"overridden by settings.{name}; the plan's own: {item.value}"
            if item.winner == "override":
                reason = f"settings.{name}"
            result[name] = replace(
                item, value=value, winner="override", reason=reason, origin="override", limits=limits
            )
    if draft.choice.name == "gthread" and forced_keepalive and override(draft.app, "worker_connections") is None:
        item = result["worker_connections"]
        words = f"{item.reason}; as many again, as far as files go, for idle connections that settings.keepalive keeps"
        connections = min(2 * draft.shape.per_worker, draft.ceiling.nofile_slots)
        result["worker_connections"] = replace(item, value=connections, reason=words)
    return result


def origin_of(*origins: str) -> str:
    """The weakest of several origins."""
    order = ("assumed", "measured", "declared", "derived")
    return next((origin for origin in order if origin in origins), "derived")


def _sized(draft: Draft) -> list[Setting]:
    choice, shape, inputs = draft.choice, draft.shape, draft.inputs
    memory = draft.ceiling.memory
    origins = {
        "cores": "derived" if inputs.wait_ratio.value == 0 or choice.name != "sync" else inputs.wait_ratio.origin,
        "concurrency": inputs.concurrency.origin,
        "memory": origin_of(memory.base.origin, memory.slot.origin, memory.master.origin),
        "guess": "assumed",
        "database": "declared",
        "waiting": inputs.wait_ratio.origin,
        "queue": inputs.mix.origin,
        "mix": origin_of(inputs.mix.origin, *([] if inputs.rate is None else ["declared", inputs.cpu_ms.origin])),
        "slow clients": "derived",
        "threads": "derived",
        "need": origin_of(inputs.concurrency.origin, inputs.wait_ratio.origin),
        "override": "override",
    }
    won = next((limit for limit in shape.workers_limits if limit.name == shape.workers_winner), shape.workers_limits[0])
    workers = Setting(
        "workers",
        shape.workers,
        "processes",
        shape.workers_winner,
        f"{shape.workers_winner}: {won.reason}",
        origins.get(shape.workers_winner, "derived"),
        shape.workers_limits,
    )
    slot_won = next((limit for limit in shape.slots_limits if limit.name == shape.slots_winner), shape.slots_limits[0])
    words = f"{shape.slots_winner}: {slot_won.reason}"
    origin = origins.get(shape.slots_winner, "derived")

    def sized(name: str, unit: str) -> Setting:
        return Setting(name, shape.per_worker, unit, shape.slots_winner, words, origin, shape.slots_limits)

    if choice.name == "gthread":
        first = sized("threads", "threads")
        why = (
            "as many as threads: a busy worker leaves new connections in the shared queue, where an idle one finds them"
        )
        second = _simple("worker_connections", shape.per_worker, "connections", "class", why, "derived")
    elif choice.name in ASYNC:
        why = f"a {choice.name} worker has one thread; its connections are greenlets"
        first = _simple("threads", 1, "threads", "class", why, "derived")
        second = sized("worker_connections", "connections")
    else:
        why = "a sync worker serves one request at a time; more threads would make it gthread"
        first = _simple("threads", 1, "threads", "class", why, "derived")
        why = "a sync worker holds one connection, and Gunicorn does not read the setting"
        second = _simple("worker_connections", 1, "connections", "class", why, "derived")
    kind = Setting("worker_class", choice.name, "", choice.winner, choice.reason, choice.origin, choice.limits)
    return [kind, workers, first, second]


def _simple(
    name: str, value: Any, unit: str, winner: str, reason: str, origin: str, limits: Sequence[Limit] = ()
) -> Setting:
    return Setting(name, value, unit, winner, reason, origin, tuple(limits))


def _preload(draft: Draft) -> Setting:
    shared = 9.0 * max(0, draft.shape.workers - 1)
    return _simple(
        "preload_app",
        False,
        "",
        "fork safety",
        "what an app opens at import (connections, threads) does not survive the fork that preloading puts after it",
        "derived",
        (
            Limit(
                "fork safety", False, "each worker imports the app itself, so its connections and threads are its own"
            ),
            Limit(
                "copy on write",
                True,
                f"would save about {number(shared)} MiB at the start, for a bare Flask app; it decays as requests are"
                " served, so it is not counted on",
            ),
        ),
    )


def _keepalive(draft: Draft) -> Setting:
    reason = (
        "each request goes to the worker that is free: kept connections"
        " stick to the worker that accepted them, which cost"
        " up to 17 times the p95, and one that closes as the next request arrives loses that request"
    )
    if draft.choice.name == "sync":
        reason = "a sync worker closes each connection after its answer"
    return _simple(
        "keepalive",
        0,
        "seconds",
        "balance",
        reason,
        "derived",
        (
            Limit("balance", 0, "a new connection for each request is accepted by a worker that is free"),
            Limit(
                "connects saved", 2, "Gunicorn's default: up to 7 % more requests a second when they take 1 ms of CPU"
            ),
        ),
    )


def _backlog(draft: Draft) -> Setting:
    host, flight = draft.inputs.host, up(draft.inputs.concurrency.value)
    wanted = max(BACKLOG_MIN, 4 * flight)
    limits = (
        Limit(
            "burst",
            wanted,
            f"four times {flight} in flight, at least {BACKLOG_MIN}, while workers are busy or starting",
        ),
        Limit("somaxconn", host.somaxconn, "the kernel cuts a longer queue (net.core.somaxconn)"),
        Limit("systemd", 65535, "the longest queue that a socket takes"),
    )
    least = min(limits, key=lambda limit: float(limit.value))
    return _simple(
        "backlog",
        least.value,
        "connections",
        least.name,
        least.reason,
        origin_of(draft.inputs.concurrency.origin),
        limits,
    )


def _timeouts(draft: Draft) -> list[Setting]:
    wall, kind = draft.inputs.wall_ms, draft.choice.name
    mean = (10.0 * wall.value, f"ten times a request's {number(wall.value)} ms ({wall.origin})", wall.origin)
    slowest_ms, words, origin = max(mean, _slowest(draft, waits=kind == "sync"), key=lambda item: item[0])
    p99 = draft.app.limits.p99_ms
    if p99:
        slowest_ms, words = max(slowest_ms, 2.0 * p99), f"{words}, twice limits.p99_ms {number(float(p99))}"
    seconds = _in_steps(slowest_ms)
    limits = (
        Limit(
            "least", TIMEOUT_MIN_SECONDS, "Gunicorn's default; a paused host or a slow import must not look like a hang"
        ),
        Limit("slowest request", up(slowest_ms / 1000.0), f"{words}, in steps of 10 s"),
    )
    winner = "least" if seconds == TIMEOUT_MIN_SECONDS else "slowest request"
    beat = "the longest a request may take" if kind == "sync" else "a heartbeat, not a limit of requests"
    forced = override(draft.app, "timeout")
    base = seconds if forced is None else max(1, up(float(forced)))
    ends = [Limit("timeout", base, "what a request may take while the worker runs, it may take while it stops")]
    origin = "derived" if winner == "least" else origin
    longest_ms, words, of_kind = _slowest(draft, waits=True)
    longer = forced is None and _in_steps(longest_ms) > base
    if longer:
        ends.append(Limit("slowest request", _in_steps(longest_ms), f"{words}, in steps of 10 s"))
    return [
        _simple(
            "timeout",
            seconds,
            "seconds",
            winner,
            f"{beat}; {limits[0 if winner == 'least' else 1].reason}",
            origin,
            limits,
        ),
        _simple(
            "graceful_timeout",
            ends[-1].value,
            "seconds",
            ends[-1].name,
            f"a stopping worker may finish the longest request{f': {ends[1].reason}' if longer else ''}; the unit's"
            " TimeoutStopSec lies above it",
            of_kind if longer else origin,
            ends,
        ),
    ]


def _in_steps(milliseconds: float) -> int:
    return min(TIMEOUT_MAX_SECONDS, max(TIMEOUT_MIN_SECONDS, up(milliseconds / 10_000.0) * 10))


def _slowest(draft: Draft, waits: bool) -> tuple[float, str, str]:
    """The ms that the slowest kind of request may take, in which words, and their origin: ten times its CPU time, which
    it shares with others, and where that counts WAITS_WORSE times its waiting; at most SLOWEST_MOST_SECONDS.

    Of those that are declared or weighed: what ends requests does not shrink by a weigh that was refused a path.
    """
    spread, factor = draft.inputs.mix.spread, WAITS_WORSE if waits else 0.0
    known = [(kind, "declared") for kind in declared_kinds(draft.app.load.paths)]
    known += [(kind, draft.inputs.mix.origin) for kind in (spread.kinds if spread is not None else ())]
    if not known:
        return 0.0, "", "assumed"
    slowest, origin = max(known, key=lambda item: 10.0 * item[0].cpu_ms + factor * item[0].wait_ms)
    most = 10.0 * slowest.cpu_ms + factor * slowest.wait_ms
    words = f"ten times the {number(round(slowest.cpu_ms, 1))} ms of CPU of {slowest.name} ({origin})"
    if waits and slowest.wait_ms > 0:
        words += f" and {number(factor)} times its {number(round(slowest.wait_ms, 1))} ms of waiting"
    if most > 1000.0 * SLOWEST_MOST_SECONDS:
        return 1000.0 * SLOWEST_MOST_SECONDS, f"{words}, at most {SLOWEST_MOST_SECONDS} s", origin
    return most, words, origin


def _recycling(draft: Draft) -> list[Setting]:
    workers, inputs = draft.shape.workers, draft.inputs
    limits = [Limit("one worker", 0, "replacing the only worker would stop the app while it imports")]
    if workers == 1:
        value, winner, origin, reason = 0, "one worker", "derived", f"{limits[0].reason}; MemoryMax bounds a leak"
    else:
        value, winner, origin = MAX_REQUESTS_DEFAULT, "default", "assumed"
        reason = "replaces a worker now and then, which bounds a slow leak; no rate is declared to derive it from"
        if inputs.rate is not None:
            each = inputs.rate / workers * 3600 * MAX_REQUESTS_HOURS
            low, high = MAX_REQUESTS_RANGE
            value = int(min(high, max(low, up(each / 1000.0) * 1000)))
            winner, origin = "rate", "declared"
            reason = (
                f"a worker lives about {MAX_REQUESTS_HOURS} hours at {number(inputs.rate)}/s over {workers} workers"
                f" (from {low} to {high}), which bounds a slow leak"
            )
        limits = [Limit(winner, value, reason)]
    forced = override(draft.app, "max_requests")
    base = value if forced is None else int(forced)
    jitter = math.floor(base * JITTER_SHARE)
    return [
        _simple("max_requests", value, "requests", winner, reason, origin, limits),
        _simple(
            "max_requests_jitter",
            jitter,
            "requests",
            "max_requests",
            f"{share(JITTER_SHARE)} of max_requests, so that workers are not replaced together",
            "derived",
            (Limit("max_requests", base, "workers start together and get equal loads"),),
        ),
    ]


def _nofile(draft: Draft) -> Setting:
    ceiling, shape = draft.ceiling, draft.shape
    per_worker = shape.per_worker
    if draft.choice.name == "gthread" and override(draft.app, "keepalive"):
        per_worker = min(2 * per_worker, ceiling.nofile_slots)
    connections = override(draft.app, "worker_connections")
    if draft.choice.name == "gthread" and connections is not None:
        per_worker = max(per_worker, int(connections))
    need = NOFILE_BASE + per_worker * ceiling.descriptors_per_slot
    limits = (
        Limit(
            "connections",
            need,
            f"{NOFILE_BASE} of a worker's own + {per_worker} requests x"
            f" {ceiling.descriptors_per_slot} (client, upstream, file)",
        ),
        Limit(
            "least",
            NOFILE_MIN,
            "four times systemd's soft default: room for the app's own pools and files costs nothing",
        ),
        Limit("host", ceiling.nofile_max, "the hard limit of a service on this host"),
    )
    if need > ceiling.nofile_max:
        from .unfit import too_many_connections

        raise too_many_connections(draft.inputs, connections if connections is not None else per_worker, need, ceiling)
    value = min(ceiling.nofile_max, max(need, NOFILE_MIN))
    winner = "connections" if need >= NOFILE_MIN else "least" if value == NOFILE_MIN else "host"
    won = next(limit for limit in limits if limit.name == winner)
    return _simple("limit_nofile", value, "open files", winner, won.reason, "derived", limits)


def _malloc(draft: Draft) -> Setting:
    """Freed memory that a worker keeps for the next requests. The plan counts it already, as that of its slots."""
    slot, shape = draft.ceiling.memory.slot, draft.shape
    own = Limit("glibc", 0, "glibc decides: it gives back what is free at the end of the heap, and maps it anew")
    slots = min(KEPT_SLOTS, shape.per_worker)
    kept = up(slots * slot.value)
    words = f"{slots} requests of {number(slot.value)} MiB ({slot.origin})"
    requests = Limit("requests", kept, f"{words} find their memory mapped; above that it goes back to the system")
    if draft.choice.name not in ASYNC:
        why = f"a {draft.choice.name} worker's requests find their memory mapped without that"
        return _simple("malloc_trim_threshold_mib", 0, "MiB", "class", why, "derived", (own,))
    if slot.value < HEAVY_SLOT_MIB:
        why = f"a request takes {number(slot.value)} MiB, less than {number(HEAVY_SLOT_MIB)}: nothing to gain"
        return _simple("malloc_trim_threshold_mib", 0, "MiB", "glibc", why, slot.origin, (own, requests))
    return _simple("malloc_trim_threshold_mib", kept, "MiB", "requests", requests.reason, slot.origin, (own, requests))


def _switch_interval(draft: Draft) -> Setting:
    """How soon threads of one interpreter take turns; 0 leaves it to Python."""
    name, unit = "switch_interval_ms", "ms"
    own = Limit("python", 0, f"Python's own: {PYTHON_SWITCH_INTERVAL_MS} ms, so that threads switch rarely")
    mix = draft.inputs.mix
    if draft.choice.name != "gthread":
        why = f"a {draft.choice.name} worker has one thread that computes"
        return _simple(name, 0, unit, "class", why, "derived", (own,))
    turns = turn_ms(draft.inputs, draft.shape.workers)
    words = "threads that compute take turns so often that a short request hardly waits for them"
    if turns not in (TURN_MS, TURN_HARD_MS):
        words = (
            f"requests that take {number(PATIENT_MS)} ms and more alone bear turns of"
            f" {number(turns or PYTHON_SWITCH_INTERVAL_MS)} ms, which cost less CPU, where so many processes share the"
            f" work ({draft.shape.workers})"
        )
    limits = (own, Limit("mix", turns, words)) if turns else (own,)
    if not mix.mixed:
        why = f"requests are alike, and switching only costs: {mix.source}"
        return _simple(name, 0, unit, "python", why, mix.origin, limits)
    winner = "mix" if turns else "python"
    return _simple(name, turns, unit, winner, f"{words}; {mix.source}", mix.origin, limits)


def _memory_settings(draft: Draft, memory_max: int) -> list[Setting]:
    allotment, memory, shape = draft.inputs.allotment, draft.ceiling.memory, draft.shape
    total = memory.total(shape.workers, shape.slots)
    high = max(1, math.floor(memory_max * MEMORY_HIGH_SHARE))
    forced = override(draft.app, "memory_high_mib")
    if forced is not None and forced > memory_max:
        from .unfit import never_throttles

        raise never_throttles(draft.inputs, forced, memory_max)
    sum_words = (
        f"{number(memory.master.value)} master + {shape.workers} x {number(memory.base.value)} ({memory.base.origin})"
        f" + {shape.slots} x {number(memory.slot.value)} ({memory.slot.origin})"
    )
    expected = Limit("expected", up(total), f"what the plan counts on: {sum_words} MiB")
    budget = Limit("budget", math.floor(allotment.budget_mib), allotment.budget_reason)
    high_words = f"{share(MEMORY_HIGH_SHARE)} of MemoryMax: throttles and reclaims before anything is killed"
    return [
        _simple("memory_max_mib", memory_max, "MiB", "budget", allotment.budget_reason, "derived", (budget, expected)),
        _simple(
            "memory_high_mib",
            high,
            "MiB",
            "memory_max_mib",
            high_words,
            "derived",
            (Limit("memory_max_mib", memory_max, high_words), expected),
        ),
    ]


def _gunicorn(draft: Draft) -> list[Setting]:
    old = draft.inputs.host.python < (3, 10)
    kind = draft.choice.name
    version, winner = f"=={GUNICORN}", "newest"
    reason = f"the newest Gunicorn that was tested, for Python {'.'.join(map(str, draft.inputs.host.python))}"
    if old:
        version, winner = f"=={GUNICORN_PYTHON39}", "python"
        reason = "the last Gunicorn for Python 3.9, and the oldest without known holes (CVE-2024-6827)"
    elif kind == "eventlet":
        version, winner = GUNICORN_EVENTLET, "eventlet"
        reason = "Gunicorn 26.0 removed the eventlet worker; 25.3 is the last that has it"
    limits: list[Limit] = [
        Limit("newest", f"=={GUNICORN}", "needs Python 3.10 or later, and has no eventlet worker"),
        Limit("oldest", ">=23", "CVE-2024-1135 is fixed in 22.0, CVE-2024-6827 in 23.0"),
    ]
    if winner != "newest":
        limits.append(Limit(winner, version, reason))
    origin, forced = "derived", override(draft.app, "gunicorn_version")
    if forced is not None:
        _check_gunicorn(draft, str(forced), old)
        reason, origin = f"overridden by settings.gunicorn_version; the plan's own: {version}", "override"
        version, winner = f"=={forced}", "override"
        limits.insert(0, Limit("override", version, "settings.gunicorn_version"))
    elif draft.gunicorn is not None:
        unfit = gunicorn_unfit(draft.gunicorn, kind, old)
        limits.append(Limit("project", f"=={draft.gunicorn}", unfit or "the project pins it"))
        if unfit:
            reason += f"; the project pins =={draft.gunicorn}, which {unfit}"
        else:
            reason, origin = f"the project pins it; the plan's own: {version}", "declared"
            version, winner = f"=={draft.gunicorn}", "project"
    _check_own_settings(draft, version)
    packages = [f"gunicorn{version}"]
    if kind == "gevent":
        packages = [f"gunicorn[gevent]{version}"] + (["gevent>=24.10.1"] if old else [])
    elif kind == "eventlet":
        packages = [f"gunicorn{version}", f"eventlet=={EVENTLET_PYTHON39 if old else EVENTLET}"]
    return [
        _simple("gunicorn_version", version, "", winner, reason, origin, limits),
        _simple("gunicorn_packages", packages, "", "worker_class", f"what a {kind} worker needs: {reason}", "derived"),
    ]


def _check_own_settings(draft: Draft, version: str) -> None:
    """Raise PlanError where a setting is declared that the planned Gunicorn does not know yet."""
    for name, since in too_new(draft.app.gunicorn or {}, version).items():
        from .unfit import not_yet

        raise not_yet(draft.inputs, name, (draft.app.gunicorn or {})[name], since, version)


def gunicorn_unfit(version: str, worker_class: str, old: bool) -> str | None:
    """Why a version of Gunicorn cannot run workers of a class, as the end of a sentence; None when it can.

    `old`: the host's Python is 3.9.
    """
    release = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if release < (23,):
        return "has known holes (CVE-2024-1135 is fixed in 22.0, CVE-2024-6827 in 23.0)"
    if worker_class == "eventlet" and release >= (26,):
        return "has no eventlet worker: 26.0 removed it"
    if old and release >= (24,):
        return "needs Python 3.10 or later"
    return None


def _check_gunicorn(draft: Draft, version: str, old: bool) -> None:
    """Raise PlanError for a forced version that cannot be."""
    unfit = gunicorn_unfit(version, draft.choice.name, old)
    if unfit:
        known = GUNICORN_EVENTLET if draft.choice.name == "eventlet" else GUNICORN
        from .unfit import wrong_gunicorn

        raise wrong_gunicorn(draft.inputs, version, unfit, GUNICORN_PYTHON39 if old else known, draft.choice.name)
