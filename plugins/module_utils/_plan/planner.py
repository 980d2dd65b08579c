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
from dataclasses import dataclass, field, replace
from typing import Any, Final, Mapping, Sequence

from .._declaration.app import App
from .classes import ClassChoice, Room, choose_class, room_for_sync
from .inputs import Allotment, Inputs, Mismatch, divide, gather, profile_mismatch, wait_share
from .settings import GUNICORN, OVERRIDES, SETTINGS, Draft, all_settings, origin_of, override
from .size import Shape, ceiling_for, fits_once, holds, memories, size
from .text import explain, render_table
from .types import Host, Limit, Measured, Number, Plan, PlanError, Policy, Setting, bare_values, number, share

__all__ = [
    "BAND",
    "GUNICORN",
    "OVERRIDES",
    "SETTINGS",
    "HostPlans",
    "Limit",
    "Measured",
    "Mismatch",
    "Number",
    "Plan",
    "PlanError",
    "Policy",
    "Setting",
    "explain",
    "plan_each",
    "plan_host",
    "profile_mismatch",
    "render_table",
    "wait_share",
]

BAND: Final = 0.15
"""A measurement that would have to be this much different to give the previous plan does not change it: the same app
weighed again varies by a few per cent in memory and by up to a tenth in its times."""

BUSY: Final = 0.95
"""A rate that keeps the cores busier is warned of: sharing one core, requests take twenty times as long in the mean."""

MEMORY_BAND: Final = 0.02
"""MemTotal moves by some pages with each kernel: a previous MemoryMax this little below the budget stays."""


@dataclass(frozen=True)
class HostPlans:
    """The plans of the apps of a host. `refused`: why some have none, each for a mistake of its own."""

    plans: Mapping[str, Plan]
    refused: Mapping[str, PlanError]

    def __getitem__(self, name: str) -> Plan:
        """The plan of one app; PlanError where that app has none."""
        if name in self.refused:
            raise self.refused[name]
        return self.plans[name]


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

    `facts`: host facts as plain data; `former` in them, where it is: what the services that serve the apps today hold
    (FormerSlots), by app name. `apps`: normalised apps. By app name: `measured`, a Measured or its dict,
    or None; `fleet`, the number of hosts that run the app (1 when unknown), which share its database; `previous`,
    the settings in force, bare values or a plan's, for the dead band; `async_verdicts`, for each class the reason
    why the release's libraries rule it out, or None; `gunicorn`, the version that the project itself pins.

    Raises PlanError, which names the variable, its value, what is allowed and the fix, when no plan fits.
    """
    found = plan_each(facts, apps, measured, fleet, previous, async_verdicts, policy, gunicorn)
    return {str(app["name"]): found[str(app["name"])] for app in apps}


def plan_each(
    facts: Mapping[str, Any],
    apps: Sequence[Mapping[str, Any]],
    measured: Mapping[str, Measured | Mapping[str, Any] | None] | None = None,
    fleet: Mapping[str, int] | None = None,
    previous: Mapping[str, Mapping[str, object] | None] | None = None,
    async_verdicts: Mapping[str, Mapping[str, str | None]] | None = None,
    policy: Policy | None = None,
    gunicorn: Mapping[str, str] | None = None,
) -> HostPlans:
    """plan_host(), with which an app that cannot be planned is refused alone: its part of the host stays its own, so
    that the others have the plans that they keep once it is put right.

    Raises PlanError where the host cannot be divided among the apps at all.
    """
    host = Host.from_facts(facts)
    whole = [App.from_dict(app) for app in apps]
    division = divide(host, whole, policy or Policy())
    plans, refused = dict[str, Plan](), dict[str, PlanError]()
    for app in whole:
        name = app.name
        before = bare_values((previous or {}).get(name))
        try:
            allotment = division.of(app)
            _check_overrides(app)
            budget, budget_kept = _memory_max(app, allotment, before)
            subject = _Subject(
                app=app,
                host=host,
                allotment=allotment,
                hosts=int((fleet or {}).get(name) or 1),
                verdicts={key: reason for key, reason in ((async_verdicts or {}).get(name) or {}).items() if reason},
                memory_max=budget,
                gunicorn=(gunicorn or {}).get(name),
                former=_former_of(facts, name),
            )
            kept = ["memory_max_mib", "memory_high_mib"] if budget_kept else []
            plans[name] = _plan(subject, _weighed((measured or {}).get(name)), before, kept)
        except PlanError as error:
            refused[name] = error
    return HostPlans(plans, refused)


def _former_of(facts: Mapping[str, object], name: str) -> Mapping[str, object]:
    """What the service holds that serves an app today (FormerSlots); empty where that is not known."""
    held = facts.get("former")
    found = held.get(name) if isinstance(held, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _weighed(found: Measured | Mapping[str, object] | None) -> Measured | None:
    """A measurement, which may come as plain data."""
    return found if found is None or isinstance(found, Measured) else Measured.from_dict(found)


@dataclass(frozen=True)
class _Subject:
    """What is planned: an app on a host, and what is known of both but for a measurement.

    `hosts`: how many of the fleet run the app. `verdicts`: for each worker class that the release's libraries rule
    out, why. `memory_max`: MiB of MemoryMax. `gunicorn`: the version that the project pins. `former`: what the service
    holds that serves the app today (FormerSlots).
    """

    app: App
    host: Host
    allotment: Allotment
    hosts: int
    verdicts: Mapping[str, str]
    memory_max: int
    gunicorn: str | None = None
    former: Mapping[str, object] = field(default_factory=dict)

    def draft(self, measured: Measured | None, worker_class: str | None = None) -> Draft:
        """What a measurement (None: none yet) leads to, with the worker class that is given or the one that suits.

        Where memory is assumed, the account that leaves the most slots counts. Raises PlanError where nothing fits.
        """
        inputs = gather(self.app, self.host, self.allotment, measured)
        fits = {
            name: any(map(fits_once, memories(inputs, name, self.memory_max)))
            for name in ("sync", "gthread", "gevent", "eventlet")
        }
        choice = choose_class(self.app, inputs, self.verdicts, self._room(inputs, fits))
        if worker_class is not None:
            choice = replace(choice, name=worker_class)
        return max(self._drafts(inputs, choice), key=lambda item: item.shape.slots)

    def _room(self, inputs: Inputs, fits: Mapping[str, bool]) -> Room:
        """How many sync workers there is room for, by the usual guess where a worker's memory is not known."""
        memory = memories(inputs, "sync", self.memory_max)[0]
        if not fits_once(memory):
            return Room(fits, 0)
        ceiling = ceiling_for(self.app, inputs, memory, self.hosts, self._nofile_max())
        forced = override(self.app, "workers")
        workers = room_for_sync(ceiling, forced)
        return Room(fits, workers, workers < room_for_sync(replace(ceiling, database_slots=None), forced))

    def _drafts(self, inputs: Inputs, choice: ClassChoice) -> list[Draft]:
        """A draft for each account of the memory of a worker that one fits. PlanError, the first one, for none."""
        nofile_max = self._nofile_max()
        workers, per_worker = override(self.app, "workers"), _fixed_per_worker(self.app, choice.name)
        accounts = memories(inputs, choice.name, self.memory_max)
        if choice.name == "gthread" and workers is None and per_worker is None and inputs.worker_mib is None:
            from .guessed import for_two

            lean = for_two(inputs, accounts[0])
            accounts = accounts if lean is None else [lean, *accounts[1:]]
        found: list[Draft] = []
        for memory in [item for item in accounts if fits_once(item)] or accounts[-1:]:
            try:
                ceiling = ceiling_for(self.app, inputs, memory, self.hosts, nofile_max)
                shape = size(inputs, choice.name, ceiling, workers, per_worker)
            except PlanError:
                if not found:
                    raise
                continue
            found.append(Draft(self.app, inputs, choice, ceiling, shape, self.gunicorn))
        return found

    def _nofile_max(self) -> int:
        """Open files of a worker at most. An override above what the host allows raises PlanError."""
        forced, allowed = override(self.app, "limit_nofile"), self.host.nofile_max
        if forced is None:
            return allowed
        if forced > allowed:
            from .unfit import above_host_files

            raise above_host_files(self.app, forced, allowed)
        return int(forced)


def _plan(subject: _Subject, measured: Measured | None, previous: Mapping[str, object], kept: Sequence[str]) -> Plan:
    """The plan, in which `previous` settings stay that a measurement within the dead band would give; `kept` names
    those that are kept already."""
    chosen, kept = subject.draft(measured), list(kept)
    around: list[Draft] = []
    if measured is not None and previous:
        around = _neighbours(subject, measured)
        chosen, held = _hold_shape(subject, chosen, around, measured, previous)
        kept += held
    settings = all_settings(chosen, subject.memory_max)
    if around:
        same_shape = [replace(item, shape=chosen.shape, choice=chosen.choice) for item in around]
        spread = [all_settings(item, subject.memory_max) for item in same_shape]
        settings, held = _hold_settings(settings, spread, previous)
        kept += held
    settings = {name: _said_kept(item) if name in kept else item for name, item in settings.items()}
    return Plan(
        app=subject.app.name,
        settings={name: settings[name] for name in SETTINGS},
        warnings=_warnings(chosen, settings, subject.former),
        inputs=_inputs(chosen, subject.hosts),
        slots=chosen.shape.slots,
        budget_mib=math.floor(subject.allotment.budget_mib),
        expected=_expected(chosen),
        kept=tuple(name for name in SETTINGS if name in kept),
    )


def _check_overrides(app: App) -> None:
    for name, value in app.settings.items():
        if value is None:
            continue
        if name not in OVERRIDES:
            from .unfit import no_override

            raise no_override(app, name, value, OVERRIDES)


def _memory_max(app: App, allotment: Allotment, previous: Mapping[str, object]) -> tuple[int, bool]:
    """MiB of MemoryMax, and whether the dead band kept it. An override above the budget raises PlanError."""
    budget = math.floor(allotment.budget_mib)
    forced = override(app, "memory_max_mib")
    if forced is not None:
        if forced > budget:
            from .unfit import above_budget

            raise above_budget(app, forced, budget, allotment.budget_reason)
        return int(forced), False
    before = previous.get("memory_max_mib")
    if isinstance(before, int) and budget * (1 - MEMORY_BAND) <= before < budget:
        return before, True
    return budget, False


def _per_worker_name(worker_class: str) -> str | None:
    """The setting that says how many requests a worker has in flight; None for sync, whose workers have one."""
    if worker_class == "sync":
        return None
    return "threads" if worker_class == "gthread" else "worker_connections"


def _fixed_per_worker(app: App, worker_class: str) -> Any:
    name = _per_worker_name(worker_class)
    return override(app, name) if name else None


# --- the dead band ----------------------------------------------------------------------------------------------------


def _neighbours(subject: _Subject, measured: Measured) -> list[Draft]:
    """The plans that measurements within the band would have given."""
    around = (1 - BAND, 1.0, 1 + BAND)
    apart = ((1.0, 1.0, 1.0, 1 - BAND), (1.0, 1.0, 1.0, 1 + BAND))
    result = []
    for factors in (*itertools.product(around, around, around), *apart):
        try:
            result.append(subject.draft(measured.scaled(*factors)))
        except PlanError:
            continue
    return result


def _hold_shape(
    subject: _Subject,
    chosen: Draft,
    around: Sequence[Draft],
    measured: Measured,
    previous: Mapping[str, object],
) -> tuple[Draft, list[str]]:
    """The previous class, workers and slots, where a measurement within the band would give them and they are safe."""
    chosen, class_kept = _hold_class(subject, chosen, around, measured, previous.get("worker_class"))
    chosen, numbers_kept = _hold_numbers(chosen, around, previous)
    return chosen, class_kept + numbers_kept


def _hold_class(
    subject: _Subject, chosen: Draft, around: Sequence[Draft], measured: Measured, before: object
) -> tuple[Draft, list[str]]:
    """A draft with the worker class `before`, where a measurement within the band would give that and it fits."""
    near = isinstance(before, str) and before in {item.choice.name for item in around}
    if not near or before == chosen.choice.name:
        return chosen, []
    try:
        return subject.draft(measured, str(before)), ["worker_class"]
    except PlanError:
        return chosen, []


def _hold_numbers(chosen: Draft, around: Sequence[Draft], previous: Mapping[str, object]) -> tuple[Draft, list[str]]:
    """The draft with the previous workers and slots, where those around it, of the same class, span them, and they
    hold."""
    kind, shape = chosen.choice.name, chosen.shape
    per_name = _per_worker_name(kind)
    workers = previous.get("workers")
    per_worker = previous.get(per_name) if per_name else 1
    if previous.get("worker_class") != kind or not isinstance(workers, int) or not isinstance(per_worker, int):
        return chosen, []
    before = replace(shape, workers=workers, per_worker=per_worker)
    same = [item.shape for item in around if item.choice.name == kind]
    if not _spanned(before, same) or not holds(chosen.ceiling, before, BAND):
        return chosen, []
    differs = {"workers": workers != shape.workers, per_name: per_worker != shape.per_worker}
    return replace(chosen, shape=before), [name for name, other in differs.items() if name and other]


def _spanned(shape: Shape, shapes: Sequence[Shape]) -> bool:
    """Whether workers and slots per worker lie between the least and the most of `shapes`."""
    workers, slots = [item.workers for item in shapes], [item.per_worker for item in shapes]
    return bool(shapes) and (
        min(workers) <= shape.workers <= max(workers) and min(slots) <= shape.per_worker <= max(slots)
    )


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
    words = f"kept from the previous plan: measurements {share(BAND)} off, as noise makes them, give it; {item.reason}"
    if item.name.startswith("memory_"):
        words = f"kept from the previous plan: within {share(MEMORY_BAND)} of the budget; {item.reason}"
    return replace(item, winner="dead band", reason=words)


# --- what goes beside the settings ------------------------------------------------------------------------------------


def _warnings(draft: Draft, settings: Mapping[str, Setting], former: Mapping[str, object]) -> tuple[str, ...]:
    """What a person has to know of the plan, each sentence beginning with the app."""
    told = (
        _of_class(draft, str(settings["gunicorn_version"].value)),
        _of_slow_clients(draft),
        *_of_few_slots(draft, former),
        _of_rate(draft),
        *_of_settings(draft, settings),
    )
    own = (f"{draft.inputs.app}: {sentence}" for sentence in told if sentence)
    memory = draft.ceiling.memory.warning
    return (*draft.inputs.warnings, *draft.choice.warnings, *([memory] if memory else []), *own)


def _of_class(draft: Draft, gunicorn_version: str) -> str | None:
    choice = draft.choice
    instead = choice.winner in ("async compatibility", "memory") and not draft.inputs.mix.mixed
    if choice.name == "gthread" and instead:
        return f"gthread and not gevent: {choice.reason}"
    if choice.name == "eventlet":
        other = "gevent" if choice.may_be("gevent") else "gthread"
        from .warned import eventlet

        return eventlet(gunicorn_version, other)
    return None


def _of_slow_clients(draft: Draft) -> str | None:
    kind = draft.choice.name
    if kind not in ("sync", "gthread") or draft.app.buffering_proxy:
        return None
    told = f"a {kind} worker waits for slow clients: put a buffering proxy in front and set buffering_proxy: true"
    return f"{told}, or set worker_class: gevent" if draft.choice.may_be("gevent") else told


def _of_settings(draft: Draft, settings: Mapping[str, Setting]) -> Sequence[str]:
    if not draft.app.settings:
        return ()
    from .ownsettings import warnings

    return warnings(draft, settings)


def _of_few_slots(draft: Draft, former: Mapping[str, object]) -> Sequence[str]:
    if draft.shape.slots >= draft.inputs.concurrency.value and not former:
        return ()
    from .fewer import warnings

    return warnings(draft, former)


def _of_rate(draft: Draft) -> str | None:
    inputs = draft.inputs
    cores = inputs.allotment.cores
    if inputs.rate is None or not inputs.times_known:
        return None
    need = inputs.rate * inputs.cpu_ms.value / 1000.0
    if need <= BUSY * cores:
        return None
    from .warned import busy

    return busy(inputs, inputs.rate, need)


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
        **_load(inputs),
        "worker_mib": memory.base.to_dict(),
        "slot_mib": memory.slot.to_dict(),
        "master_mib": memory.master.to_dict(),
        "hosts": {"value": hosts, "origin": "declared", "source": "hosts of the fleet that run the app"},
        "rollout_headroom": inputs.allotment.generations == 2,
    }


def _load(inputs: Inputs) -> dict[str, object]:
    """The share of the cores that the declared rate takes; nothing where none is declared."""
    if inputs.rate is None:
        return {}
    cpu, cores = inputs.cpu_ms, inputs.allotment.cores
    words = f"{number(inputs.rate)}/s x {number(cpu.value)} ms of CPU ({cpu.origin}) / {number(cores)} cores"
    value = round(inputs.rate * cpu.value / 1000.0 / cores, 3)
    return {"load": Number(value, origin_of(cpu.origin, "declared"), words).to_dict()}


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
