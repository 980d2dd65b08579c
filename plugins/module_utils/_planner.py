# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The planner: host facts and declared (or weighed) apps in, every Gunicorn setting out, each with its limits and its
reason.

Pure functions: the same inputs give the same plan. docs/planner.md explains each formula, its source and what was
tried.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Callable, Final, Mapping, Sequence

from ._planinputs import (
    MEMORY_HIGH_SHARE,
    Allotment,
    Inputs,
    Mismatch,
    divide,
    gather,
    profile_mismatch,
    wait_share,
)
from ._plansize import (
    ASYNC,
    NOFILE_BASE,
    Ceiling,
    Choice,
    Shape,
    ceiling_for,
    choose_class,
    fits_once,
    holds,
    memory_for,
    size,
)
from ._plantext import explain, render_table
from ._plantypes import Host, Limit, Measured, Number, Plan, PlanError, Policy, Setting, number, share, up

__all__ = [
    "BAND",
    "SETTINGS",
    "Limit",
    "Measured",
    "Mismatch",
    "Number",
    "Plan",
    "PlanError",
    "Policy",
    "Setting",
    "explain",
    "plan_host",
    "profile_mismatch",
    "render_table",
    "wait_share",
]

BAND: Final = 0.15
"""A measurement that would have to be this much different to give the previous plan does not change it: the same app
weighed again varies by a few per cent in memory and by up to a tenth in its times."""

MEMORY_BAND: Final = 0.02
"""MemTotal moves by some pages with each kernel: a previous MemoryMax this little below the budget stays."""

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
MAX_REQUESTS_DEFAULT: Final = 50_000
MAX_REQUESTS_HOURS: Final = 6
MAX_REQUESTS_RANGE: Final = (10_000, 1_000_000)
JITTER_SHARE: Final = 0.2

SETTINGS: Final = (
    "worker_class",
    "workers",
    "threads",
    "worker_connections",
    "preload_app",
    "backlog",
    "keepalive",
    "timeout",
    "graceful_timeout",
    "max_requests",
    "max_requests_jitter",
    "limit_nofile",
    "memory_high_mib",
    "memory_max_mib",
    "gunicorn_version",
    "gunicorn_packages",
)

OVERRIDES: Final = tuple(
    name for name in SETTINGS if name not in ("worker_class", "gunicorn_version", "gunicorn_packages")
)


@dataclass(frozen=True)
class _Draft:
    """One app's decisions before they are put into words."""

    app: Mapping[str, Any]
    inputs: Inputs
    choice: Choice
    ceiling: Ceiling
    shape: Shape


def plan_host(
    facts: Mapping[str, Any],
    apps: Sequence[Mapping[str, Any]],
    measured: Mapping[str, Any] | None = None,
    fleet: Mapping[str, int] | None = None,
    previous: Mapping[str, Mapping[str, Any] | None] | None = None,
    async_verdicts: Mapping[str, Mapping[str, str | None]] | None = None,
    policy: Policy | None = None,
) -> dict[str, Plan]:
    """Plans every app of one host.

    ``facts``: host facts as plain data. ``apps``: normalised apps. By app name: ``measured``, a Measured or its dict,
    or None; ``fleet``, the number of hosts that run the app (1 when unknown), which share its database; ``previous``,
    the settings in force, bare values or a plan's, for the dead band; ``async_verdicts``, for each class the reason
    why the release's libraries rule it out, or None.

    Raises PlanError, which names the variable, its value, what is allowed and the fix, when no plan fits.
    """
    rules = policy or Policy()
    host = Host.from_facts(facts)
    allotments = divide(host, apps, rules)
    plans = {}
    for app in apps:
        name = str(app["name"])
        weighed = (measured or {}).get(name)
        if weighed is not None and not isinstance(weighed, Measured):
            weighed = Measured.from_dict(weighed)
        verdicts = {key: reason for key, reason in ((async_verdicts or {}).get(name) or {}).items() if reason}
        before = _bare((previous or {}).get(name))
        plans[name] = _plan(app, host, allotments[name], weighed, int((fleet or {}).get(name) or 1), before, verdicts)
    return plans


def _bare(previous: Mapping[str, Any] | None) -> dict[str, Any]:
    """Bare values of previous settings, which come bare, as settings with their reasons, or as a whole plan."""
    if not previous:
        return {}
    inner = previous.get("settings")
    source = inner if isinstance(inner, Mapping) else previous
    return {
        name: item["value"] if isinstance(item, Mapping) and "value" in item else item for name, item in source.items()
    }


def _plan(
    app: Mapping[str, Any],
    host: Host,
    allotment: Allotment,
    measured: Measured | None,
    hosts: int,
    previous: Mapping[str, Any],
    verdicts: Mapping[str, str],
) -> Plan:
    _check_overrides(app)
    budget, budget_kept = _memory_max(app, allotment, previous)

    def draft(weighed: Measured | None, worker_class: str | None = None) -> _Draft:
        return _draft(app, host, allotment, weighed, hosts, verdicts, budget, worker_class)

    chosen = draft(measured)
    kept: list[str] = ["memory_max_mib", "memory_high_mib"] if budget_kept else []
    around: list[_Draft] = []
    if measured is not None and previous:
        around = _neighbours(draft, measured)
        chosen, held = _hold_shape(draft, chosen, around, measured, previous)
        kept += held
    settings = _settings(chosen, budget)
    if around:
        spread = [_settings(replace(item, shape=chosen.shape, choice=chosen.choice), budget) for item in around]
        settings, held = _hold_settings(settings, spread, previous)
        kept += held
    settings = {name: _said_kept(item) if name in kept else item for name, item in settings.items()}
    return Plan(
        app=str(app["name"]),
        settings={name: settings[name] for name in SETTINGS},
        warnings=_warnings(chosen, settings),
        inputs=_inputs(chosen, hosts),
        slots=chosen.shape.slots,
        budget_mib=math.floor(allotment.budget_mib),
        expected=_expected(chosen),
        kept=tuple(name for name in SETTINGS if name in kept),
    )


def _check_overrides(app: Mapping[str, Any]) -> None:
    for name, value in (app.get("settings") or {}).items():
        if value is None:
            continue
        if name not in OVERRIDES:
            raise PlanError(
                str(app["name"]),
                f"settings.{name}",
                value,
                "that is no setting that can be overridden",
                ", ".join(OVERRIDES),
                f"remove settings.{name}" + ("; set worker_class on the app" if name == "worker_class" else ""),
            )


def _override(app: Mapping[str, Any], name: str) -> Any:
    return (app.get("settings") or {}).get(name)


def _memory_max(app: Mapping[str, Any], allotment: Allotment, previous: Mapping[str, Any]) -> tuple[int, bool]:
    """MiB of MemoryMax, and whether the dead band kept it. An override above the budget raises PlanError."""
    budget = math.floor(allotment.budget_mib)
    forced = _override(app, "memory_max_mib")
    if forced is not None:
        if forced > budget:
            raise PlanError(
                str(app["name"]),
                "settings.memory_max_mib",
                forced,
                f"a generation may use {budget} MiB: {allotment.budget_reason}",
                f"at most {budget}",
                "lower settings.memory_max_mib, give the app a larger share or the host more memory",
            )
        return int(forced), False
    before = previous.get("memory_max_mib")
    if isinstance(before, int) and budget * (1 - MEMORY_BAND) <= before < budget:
        return before, True
    return budget, False


def _draft(
    app: Mapping[str, Any],
    host: Host,
    allotment: Allotment,
    measured: Measured | None,
    hosts: int,
    verdicts: Mapping[str, str],
    memory_max: int,
    worker_class: str | None,
) -> _Draft:
    inputs = gather(app, host, allotment, measured)
    fits = {name: fits_once(memory_for(inputs, name, memory_max)) for name in ("sync", "gthread", "gevent", "eventlet")}
    choice = choose_class(app, inputs, verdicts, fits)
    if worker_class is not None:
        choice = replace(choice, name=worker_class)
    nofile = _override(app, "limit_nofile")
    if nofile is not None and nofile > host.nofile_max:
        raise PlanError(
            str(app["name"]),
            "settings.limit_nofile",
            nofile,
            f"the host allows {host.nofile_max} open files",
            f"at most {host.nofile_max}",
            "lower it, or raise fs.nr_open and DefaultLimitNOFILE on the host",
        )
    memory = memory_for(inputs, choice.name, memory_max)
    ceiling = ceiling_for(app, inputs, memory, hosts, int(nofile) if nofile is not None else host.nofile_max)
    per_worker = None
    if choice.name == "gthread":
        per_worker = _override(app, "threads")
    elif choice.name in ASYNC:
        per_worker = _override(app, "worker_connections")
    shape = size(inputs, choice.name, ceiling, _override(app, "workers"), per_worker)
    return _Draft(app, inputs, choice, ceiling, shape)


def _neighbours(draft: Callable[..., _Draft], measured: Measured) -> list[_Draft]:
    """The plans that measurements within the band would have given."""
    result = []
    for memory in (1 - BAND, 1.0, 1 + BAND):
        for waiting in (1 - BAND, 1.0, 1 + BAND):
            try:
                result.append(draft(measured.scaled(memory, waiting)))
            except PlanError:
                continue
    return result


def _hold_shape(
    draft: Callable[..., _Draft],
    chosen: _Draft,
    around: Sequence[_Draft],
    measured: Measured,
    previous: Mapping[str, Any],
) -> tuple[_Draft, list[str]]:
    """The previous class, workers and slots, where a measurement within the band would give them and they are safe."""
    kept: list[str] = []
    before = previous.get("worker_class")
    if before != chosen.choice.name and before in {item.choice.name for item in around}:
        try:
            chosen = draft(measured, before)
        except PlanError:
            return chosen, kept
        kept.append("worker_class")
    same = [item.shape for item in around if item.choice.name == chosen.choice.name]
    per_name = _per_worker_name(chosen.choice.name)
    workers = previous.get("workers")
    per_worker = previous.get(per_name) if per_name else 1
    if before != chosen.choice.name or not same or not isinstance(workers, int) or not isinstance(per_worker, int):
        return chosen, kept
    if (workers, per_worker) == (chosen.shape.workers, chosen.shape.per_worker):
        return chosen, kept
    inside = min(item.workers for item in same) <= workers <= max(item.workers for item in same) and (
        min(item.per_worker for item in same) <= per_worker <= max(item.per_worker for item in same)
    )
    shape = replace(chosen.shape, workers=workers, per_worker=per_worker)
    if not inside or not holds(chosen.ceiling, shape, BAND):
        return chosen, kept
    if workers != chosen.shape.workers:
        kept.append("workers")
    if per_name and per_worker != chosen.shape.per_worker:
        kept.append(per_name)
    return replace(chosen, shape=shape), kept


def _per_worker_name(worker_class: str) -> str | None:
    if worker_class == "sync":
        return None
    return "threads" if worker_class == "gthread" else "worker_connections"


def _hold_settings(
    settings: Mapping[str, Setting], spread: Sequence[Mapping[str, Setting]], previous: Mapping[str, Any]
) -> tuple[dict[str, Setting], list[str]]:
    """Keeps previous numbers that the settings around the measurement span."""
    result, kept = dict(settings), []
    for name, item in settings.items():
        before = previous.get(name)
        if before == item.value or item.origin == "override" or isinstance(item.value, (bool, str, list)):
            continue
        if isinstance(before, bool) or not isinstance(before, (int, float)):
            continue
        values = [float(other[name].value) for other in spread]
        if min(values) <= before <= max(values):
            result[name] = replace(item, value=before)
            kept.append(name)
    return result, kept


def _said_kept(item: Setting) -> Setting:
    words = f"kept from the previous plan: the difference is within {share(BAND)}, as noise is; {item.reason}"
    if item.name.startswith("memory_"):
        words = f"kept from the previous plan: within {share(MEMORY_BAND)} of the budget; {item.reason}"
    return replace(item, winner="dead band", reason=words)


# --- settings ---------------------------------------------------------------------------------------------------------


def _settings(draft: _Draft, memory_max: int) -> dict[str, Setting]:
    """Every setting for a shape. Overridden values keep the limits that were considered."""
    result = {item.name: item for item in _sized(draft)}
    forced_keepalive = _override(draft.app, "keepalive")
    for item in (
        _preload(draft),
        _keepalive(draft),
        _backlog(draft),
        *_timeouts(draft),
        *_recycling(draft),
        _nofile(draft),
        *_memory_settings(draft, memory_max),
        *_gunicorn(draft),
    ):
        result[item.name] = item
    for name, value in (draft.app.get("settings") or {}).items():
        if value is not None:
            item = result[name]
            own = Limit("override", value, f"settings.{name}")
            limits = item.limits if own in item.limits else (own, *item.limits)
            reason = f"overridden by settings.{name}; the plan's own: {item.value}"
            if item.winner == "override":
                reason = f"settings.{name}"
            result[name] = replace(
                item, value=value, winner="override", reason=reason, origin="override", limits=limits
            )
    if draft.choice.name == "gthread" and forced_keepalive and _override(draft.app, "worker_connections") is None:
        item = result["worker_connections"]
        words = f"{item.reason}; and as many again for idle connections, as settings.keepalive keeps them"
        result["worker_connections"] = replace(item, value=2 * draft.shape.per_worker, reason=words)
    return result


def _origin(*origins: str) -> str:
    """The weakest of several origins."""
    order = ("assumed", "measured", "declared", "derived")
    return next((origin for origin in order if origin in origins), "derived")


def _sized(draft: _Draft) -> list[Setting]:
    choice, shape, inputs = draft.choice, draft.shape, draft.inputs
    memory = draft.ceiling.memory
    origins = {
        "cores": "derived" if inputs.wait_ratio.value == 0 or choice.name != "sync" else inputs.wait_ratio.origin,
        "concurrency": inputs.concurrency.origin,
        "memory": _origin(memory.base.origin, memory.slot.origin, memory.master.origin),
        "database": "declared",
        "waiting": inputs.wait_ratio.origin,
        "need": _origin(inputs.concurrency.origin, inputs.wait_ratio.origin),
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
    slots = {"winner": shape.slots_winner, "reason": words, "origin": origin, "limits": shape.slots_limits}
    one = {"winner": "class", "origin": "derived", "limits": ()}
    threads, connections = 1, 1
    if choice.name == "gthread":
        threads = connections = shape.per_worker
        first = Setting("threads", threads, "threads", **slots)  # type: ignore[arg-type]
        why = (
            "as many as threads: a busy worker leaves new connections in the shared queue, where an idle one finds them"
        )
        second = Setting("worker_connections", connections, "connections", reason=why, **one)  # type: ignore[arg-type]
    elif choice.name in ASYNC:
        why = f"a {choice.name} worker has one thread; its connections are greenlets"
        first = Setting("threads", threads, "threads", reason=why, **one)  # type: ignore[arg-type]
        second = Setting("worker_connections", shape.per_worker, "connections", **slots)  # type: ignore[arg-type]
    else:
        why = "a sync worker serves one request at a time; more threads would make it gthread"
        first = Setting("threads", threads, "threads", reason=why, **one)  # type: ignore[arg-type]
        why = "a sync worker holds one connection, and Gunicorn does not read the setting"
        second = Setting("worker_connections", connections, "connections", reason=why, **one)  # type: ignore[arg-type]
    kind = Setting("worker_class", choice.name, "", choice.winner, choice.reason, choice.origin, choice.limits)
    return [kind, workers, first, second]


def _simple(
    name: str, value: Any, unit: str, winner: str, reason: str, origin: str, limits: Sequence[Limit] = ()
) -> Setting:
    return Setting(name, value, unit, winner, reason, origin, tuple(limits))


def _preload(draft: _Draft) -> Setting:
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


def _keepalive(draft: _Draft) -> Setting:
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


def _backlog(draft: _Draft) -> Setting:
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
        _origin(draft.inputs.concurrency.origin),
        limits,
    )


def _timeouts(draft: _Draft) -> list[Setting]:
    inputs = draft.inputs
    slowest_ms = 10.0 * inputs.wall_ms.value
    p99 = (draft.app.get("limits") or {}).get("p99_ms")
    slowest = max(slowest_ms, 2.0 * float(p99)) if p99 else slowest_ms
    seconds = min(TIMEOUT_MAX_SECONDS, max(TIMEOUT_MIN_SECONDS, up(slowest / 10_000.0) * 10))
    words = f"ten times a request's {number(inputs.wall_ms.value)} ms ({inputs.wall_ms.origin})"
    if p99:
        words += f", twice limits.p99_ms {number(float(p99))}"
    limits = (
        Limit(
            "least", TIMEOUT_MIN_SECONDS, "Gunicorn's default; a paused host or a slow import must not look like a hang"
        ),
        Limit("slowest request", up(slowest / 1000.0), f"{words}, in steps of 10 s"),
    )
    winner = "least" if seconds == TIMEOUT_MIN_SECONDS else "slowest request"
    origin = "derived" if winner == "least" else inputs.wall_ms.origin
    beat = "the longest a request may take" if draft.choice.name == "sync" else "a heartbeat, not a limit of requests"
    forced = _override(draft.app, "timeout")
    base = seconds if forced is None else max(1, up(float(forced)))
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
            base,
            "seconds",
            "timeout",
            "a stopping worker may finish the longest request; the unit's TimeoutStopSec lies above it",
            origin,
            (Limit("timeout", base, "what a request may take while the worker runs, it may take while it stops"),),
        ),
    ]


def _recycling(draft: _Draft) -> list[Setting]:
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
    forced = _override(draft.app, "max_requests")
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


def _nofile(draft: _Draft) -> Setting:
    ceiling, shape = draft.ceiling, draft.shape
    per_worker = shape.per_worker
    if draft.choice.name == "gthread" and _override(draft.app, "keepalive"):
        per_worker *= 2
    connections = _override(draft.app, "worker_connections")
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
        raise PlanError(
            draft.inputs.app,
            "settings.worker_connections",
            connections if connections is not None else per_worker,
            f"a worker would need {need} open files of {ceiling.nofile_max}",
            f"at most {ceiling.nofile_slots}",
            "lower it, or raise the host's limit of open files",
        )
    value = min(ceiling.nofile_max, max(need, NOFILE_MIN))
    winner = "connections" if need >= NOFILE_MIN else "least" if value == NOFILE_MIN else "host"
    won = next(limit for limit in limits if limit.name == winner)
    return _simple("limit_nofile", value, "open files", winner, won.reason, "derived", limits)


def _memory_settings(draft: _Draft, memory_max: int) -> list[Setting]:
    allotment, memory, shape = draft.inputs.allotment, draft.ceiling.memory, draft.shape
    total = memory.total(shape.workers, shape.slots)
    high = max(1, math.floor(memory_max * MEMORY_HIGH_SHARE))
    forced = _override(draft.app, "memory_high_mib")
    if forced is not None and forced > memory_max:
        raise PlanError(
            draft.inputs.app,
            "settings.memory_high_mib",
            forced,
            f"memory_max_mib is {memory_max}",
            f"at most {memory_max}",
            "lower settings.memory_high_mib: above MemoryMax it never throttles",
        )
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


def _gunicorn(draft: _Draft) -> list[Setting]:
    old = draft.inputs.host.python < (3, 10)
    kind = draft.choice.name
    version, winner = f"=={GUNICORN}", "newest"
    reason = f"the newest Gunicorn that was tested, for Python {'.'.join(map(str, draft.inputs.host.python))}"
    if old:
        version, winner = f"=={GUNICORN_PYTHON39}", "python"
        reason = "the last Gunicorn for Python 3.9, and the oldest without known holes (CVE-2024-6827)"
    packages = [f"gunicorn{version}"]
    if kind == "gevent":
        packages = [f"gunicorn[gevent]{version}"] + (["gevent>=24.10.1"] if old else [])
    elif kind == "eventlet":
        if not old:
            version, winner = GUNICORN_EVENTLET, "eventlet"
            reason = "Gunicorn 26.0 removed the eventlet worker; 25.3 is the last that has it"
        packages = [f"gunicorn{version}", f"eventlet=={EVENTLET_PYTHON39 if old else EVENTLET}"]
    limits: list[Limit] = [
        Limit("newest", f"=={GUNICORN}", "needs Python 3.10 or later, and has no eventlet worker"),
        Limit("oldest", ">=23", "CVE-2024-1135 is fixed in 22.0, CVE-2024-6827 in 23.0"),
    ]
    if winner != "newest":
        limits.append(Limit(winner, version, reason))
    return [
        _simple("gunicorn_version", version, "", winner, reason, "derived", limits),
        _simple("gunicorn_packages", packages, "", "worker_class", f"what a {kind} worker needs: {reason}", "derived"),
    ]


# --- what goes beside the settings ------------------------------------------------------------------------------------


def _warnings(draft: _Draft, settings: Mapping[str, Setting]) -> tuple[str, ...]:
    inputs, kind, shape, app = draft.inputs, draft.choice.name, draft.shape, draft.app
    name = inputs.app
    result = [*inputs.warnings, *draft.choice.warnings]
    if draft.ceiling.memory.warning:
        result.append(draft.ceiling.memory.warning)
    if kind == "gthread" and draft.choice.winner in ("async compatibility", "memory"):
        result.append(f"{name}: gthread and not gevent: {draft.choice.reason}")
    if kind == "eventlet":
        result.append(
            f"{name}: eventlet {EVENTLET} is in bug-fix-only retirement, and"
            " Gunicorn 26.0 removed its worker: the release is"
            f" pinned to gunicorn{settings['gunicorn_version'].value}; move to worker_class: gevent"
        )
    if kind in ("sync", "gthread") and not app.get("buffering_proxy"):
        result.append(
            f"{name}: a {kind} worker waits for slow clients: put a buffering"
            " proxy in front and set buffering_proxy: true,"
            " or set worker_class: gevent"
        )
    flight = inputs.concurrency
    if flight.origin != "assumed" and kind != "sync" and shape.slots < flight.value:
        limited = shape.slots_winner
        if limited not in ("waiting",):
            result.append(
                f"{name}: {shape.slots} requests can be in flight, fewer than the"
                f" {number(up(flight.value))} planned"
                f" for ({flight.source}); what limits it: {limited}. The rest waits in the backlog"
            )
    if inputs.rate is not None and inputs.times_known:
        need = inputs.rate * inputs.cpu_ms.value / 1000.0
        if need > inputs.allotment.cores:
            result.append(
                f"{name}: rate {number(inputs.rate)}/s x"
                f" {number(inputs.cpu_ms.value)} ms of CPU ({inputs.cpu_ms.origin}) needs"
                f" {number(need)} cores, and there are {number(inputs.allotment.cores)}: use more hosts or larger ones"
            )
    if settings["preload_app"].value and kind in ASYNC:
        result.append(
            f"{name}: preload_app with {kind}: the app is imported before the"
            " worker patches the library; the configuration"
            " file must patch first"
        )
    if kind == "gthread" and _override(app, "keepalive"):
        result.append(f"{name}: settings.keepalive binds clients to one gthread worker, however busy that is")
    return tuple(result)


def _inputs(draft: _Draft, hosts: int) -> dict[str, Any]:
    inputs, memory = draft.inputs, draft.ceiling.memory
    return {
        "cores": {"value": inputs.allotment.cores, "origin": "derived", "source": inputs.allotment.cores_reason},
        "budget_mib": {
            "value": round(inputs.allotment.budget_mib, 1),
            "origin": "derived",
            "source": inputs.allotment.budget_reason,
        },
        "profile": {"value": inputs.profile, "origin": inputs.wait_ratio.origin, "source": inputs.wait_ratio.source},
        "wait_ratio": inputs.wait_ratio.to_dict(),
        "cpu_ms": inputs.cpu_ms.to_dict(),
        "wall_ms": inputs.wall_ms.to_dict(),
        "concurrency": inputs.concurrency.to_dict(),
        "worker_mib": memory.base.to_dict(),
        "slot_mib": memory.slot.to_dict(),
        "master_mib": memory.master.to_dict(),
        "hosts": {"value": hosts, "origin": "declared", "source": "hosts of the fleet that run the app"},
        "rollout_headroom": inputs.allotment.generations == 2,
    }


def _expected(draft: _Draft) -> dict[str, Any]:
    """What the trial should see. Rates and latencies only where the times are known: a guess is no expectation."""
    inputs, shape, memory = draft.inputs, draft.shape, draft.ceiling.memory
    result: dict[str, Any] = {
        "memory_mib": round(memory.total(shape.workers, shape.slots), 1),
        "memory_origin": _origin(memory.base.origin, memory.slot.origin, memory.master.origin),
        "requests_per_second": None,
        "limited_by": None,
        "latency_ms": None,
        "times_origin": inputs.wall_ms.origin if inputs.times_known else None,
    }
    if inputs.times_known:
        by_cores = inputs.allotment.cores * 1000.0 / inputs.cpu_ms.value
        by_slots = shape.slots * 1000.0 / max(inputs.wall_ms.value, 1e-9)
        result["requests_per_second"] = round(min(by_cores, by_slots), 1)
        result["limited_by"] = "cores" if by_cores <= by_slots else "slots"
        result["latency_ms"] = round(inputs.wall_ms.value, 2)
    return result
