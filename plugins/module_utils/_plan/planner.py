# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The planner: host facts and declared (or weighed) apps in, every Gunicorn setting out, each with its limits and its
reason.

Pure functions: the same inputs give the same plan. docs/planner.md explains each formula, its source and what was
tried.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any, Callable, Final, Mapping, Sequence

from .._declaration.app import App
from .inputs import Allotment, Mismatch, divide, gather, profile_mismatch, wait_share
from .settings import EVENTLET, GUNICORN, OVERRIDES, SETTINGS, Draft, all_settings, origin_of, override
from .size import ASYNC, ceiling_for, choose_class, fits_once, holds, memories, size
from .text import explain, render_table
from .types import Host, Limit, Measured, Number, Plan, PlanError, Policy, Setting, bare_values, number, share, up

__all__ = [
    "BAND",
    "GUNICORN",
    "OVERRIDES",
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


@dataclass(frozen=True)
class Packages:
    """What the packages of an app say: why a class is ruled out, and which Gunicorn the project itself pins."""

    verdicts: Mapping[str, str]
    gunicorn: str | None = None


def plan_host(
    facts: Mapping[str, Any],
    apps: Sequence[Mapping[str, Any]],
    measured: Mapping[str, Measured | Mapping[str, Any] | None] | None = None,
    fleet: Mapping[str, int] | None = None,
    previous: Mapping[str, Mapping[str, object] | None] | None = None,
    async_verdicts: Mapping[str, Mapping[str, str | None]] | None = None,
    policy: Policy | None = None,
    gunicorn: Mapping[str, str] | None = None,
) -> dict[str, Plan]:
    """Plans every app of one host.

    ``facts``: host facts as plain data. ``apps``: normalised apps. By app name: ``measured``, a Measured or its dict,
    or None; ``fleet``, the number of hosts that run the app (1 when unknown), which share its database; ``previous``,
    the settings in force, bare values or a plan's, for the dead band; ``async_verdicts``, for each class the reason
    why the release's libraries rule it out, or None; ``gunicorn``, the version that the project itself pins.

    Raises PlanError, which names the variable, its value, what is allowed and the fix, when no plan fits.
    """
    rules = policy or Policy()
    host = Host.from_facts(facts)
    whole = [App.from_dict(app) for app in apps]
    allotments = divide(host, whole, rules)
    plans = {}
    for app in whole:
        name = app.name
        weighed = (measured or {}).get(name)
        if weighed is not None and not isinstance(weighed, Measured):
            weighed = Measured.from_dict(weighed)
        verdicts = {key: reason for key, reason in ((async_verdicts or {}).get(name) or {}).items() if reason}
        before = bare_values((previous or {}).get(name))
        packages = Packages(verdicts, (gunicorn or {}).get(name))
        plans[name] = _plan(app, host, allotments[name], weighed, int((fleet or {}).get(name) or 1), before, packages)
    return plans


def _plan(
    app: App,
    host: Host,
    allotment: Allotment,
    measured: Measured | None,
    hosts: int,
    previous: Mapping[str, object],
    packages: Packages,
) -> Plan:
    _check_overrides(app)
    budget, budget_kept = _memory_max(app, allotment, previous)

    def draft(weighed: Measured | None, worker_class: str | None = None) -> Draft:
        return _draft(app, host, allotment, weighed, hosts, packages, budget, worker_class)

    chosen = draft(measured)
    kept: list[str] = ["memory_max_mib", "memory_high_mib"] if budget_kept else []
    around: list[Draft] = []
    if measured is not None and previous:
        around = _neighbours(draft, measured)
        chosen, held = _hold_shape(draft, chosen, around, measured, previous)
        kept += held
    settings = all_settings(chosen, budget)
    if around:
        spread = [all_settings(replace(item, shape=chosen.shape, choice=chosen.choice), budget) for item in around]
        settings, held = _hold_settings(settings, spread, previous)
        kept += held
    settings = {name: _said_kept(item) if name in kept else item for name, item in settings.items()}
    return Plan(
        app=app.name,
        settings={name: settings[name] for name in SETTINGS},
        warnings=_warnings(chosen, settings),
        inputs=_inputs(chosen, hosts),
        slots=chosen.shape.slots,
        budget_mib=math.floor(allotment.budget_mib),
        expected=_expected(chosen),
        kept=tuple(name for name in SETTINGS if name in kept),
    )


def _check_overrides(app: App) -> None:
    for name, value in app.settings.items():
        if value is None:
            continue
        if name not in OVERRIDES:
            raise PlanError(
                app.name,
                f"settings.{name}",
                value,
                "that is no setting that can be overridden",
                ", ".join(OVERRIDES),
                f"remove settings.{name}" + ("; set worker_class on the app" if name == "worker_class" else ""),
            )


def _memory_max(app: App, allotment: Allotment, previous: Mapping[str, object]) -> tuple[int, bool]:
    """MiB of MemoryMax, and whether the dead band kept it. An override above the budget raises PlanError."""
    budget = math.floor(allotment.budget_mib)
    forced = override(app, "memory_max_mib")
    if forced is not None:
        if forced > budget:
            raise PlanError(
                app.name,
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
    app: App,
    host: Host,
    allotment: Allotment,
    measured: Measured | None,
    hosts: int,
    packages: Packages,
    memory_max: int,
    worker_class: str | None,
) -> Draft:
    inputs = gather(app, host, allotment, measured)
    fits = {
        name: any(map(fits_once, memories(inputs, name, memory_max)))
        for name in ("sync", "gthread", "gevent", "eventlet")
    }
    choice = choose_class(app, inputs, packages.verdicts, fits)
    if worker_class is not None:
        choice = replace(choice, name=worker_class)
    nofile = override(app, "limit_nofile")
    if nofile is not None and nofile > host.nofile_max:
        raise PlanError(
            app.name,
            "settings.limit_nofile",
            nofile,
            f"the host allows {host.nofile_max} open files",
            f"at most {host.nofile_max}",
            "lower it, or raise fs.nr_open and DefaultLimitNOFILE on the host",
        )
    per_worker = None
    if choice.name == "gthread":
        per_worker = override(app, "threads")
    elif choice.name in ASYNC:
        per_worker = override(app, "worker_connections")
    accounts = memories(inputs, choice.name, memory_max)
    found: list[Draft] = []
    for memory in [item for item in accounts if fits_once(item)] or accounts[-1:]:
        try:
            ceiling = ceiling_for(app, inputs, memory, hosts, int(nofile) if nofile is not None else host.nofile_max)
            shape = size(inputs, choice.name, ceiling, override(app, "workers"), per_worker)
        except PlanError:
            if not found:
                raise
            continue
        found.append(Draft(app, inputs, choice, ceiling, shape, packages.gunicorn))
    most = max(item.shape.slots for item in found)
    return next(item for item in found if item.shape.slots == most)


def _neighbours(draft: Callable[..., Draft], measured: Measured) -> list[Draft]:
    """The plans that measurements within the band would have given."""
    around = (1 - BAND, 1.0, 1 + BAND)
    result = []
    for memory, waiting, computing in itertools.product(around, around, around):
        try:
            result.append(draft(measured.scaled(memory, waiting, computing)))
        except PlanError:
            continue
    return result


def _hold_shape(
    draft: Callable[..., Draft],
    chosen: Draft,
    around: Sequence[Draft],
    measured: Measured,
    previous: Mapping[str, object],
) -> tuple[Draft, list[str]]:
    """The previous class, workers and slots, where a measurement within the band would give them and they are safe."""
    kept: list[str] = []
    before = previous.get("worker_class")
    if isinstance(before, str) and before != chosen.choice.name and before in {item.choice.name for item in around}:
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
    settings: Mapping[str, Setting], spread: Sequence[Mapping[str, Setting]], previous: Mapping[str, object]
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


# --- what goes beside the settings ------------------------------------------------------------------------------------


def _warnings(draft: Draft, settings: Mapping[str, Setting]) -> tuple[str, ...]:
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
    if kind in ("sync", "gthread") and not app.buffering_proxy:
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
    if kind == "gthread" and override(app, "keepalive"):
        result.append(f"{name}: settings.keepalive binds clients to one gthread worker, however busy that is")
    return tuple(result)


def _inputs(draft: Draft, hosts: int) -> dict[str, object]:
    inputs, memory = draft.inputs, draft.ceiling.memory
    wait_c2 = inputs.mix.wait_c2()
    in_line, shared = inputs.mix.delays()
    return {
        "cores": {"value": inputs.allotment.cores, "origin": "derived", "source": inputs.allotment.cores_reason},
        "budget_mib": {
            "value": round(inputs.allotment.budget_mib, 1),
            "origin": "derived",
            "source": inputs.allotment.budget_reason,
        },
        "profile": {"value": inputs.profile, "origin": inputs.wait_ratio.origin, "source": inputs.wait_ratio.source},
        "mix": {"value": inputs.mix.word, "origin": inputs.mix.origin, "source": inputs.mix.source},
        "cpu_c2": inputs.mix.cpu_c2().to_dict(),
        **({} if wait_c2 is None else {"wait_c2": wait_c2.to_dict()}),
        "delay_in_line": in_line.to_dict(),
        "delay_shared": shared.to_dict(),
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


def _expected(draft: Draft) -> dict[str, object]:
    """What the trial should see. Rates and latencies only where the times are known: a guess is no expectation."""
    inputs, shape, memory = draft.inputs, draft.shape, draft.ceiling.memory
    result: dict[str, object] = {
        "memory_mib": round(memory.total(shape.workers, shape.slots), 1),
        "memory_origin": origin_of(memory.base.origin, memory.slot.origin, memory.master.origin),
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
