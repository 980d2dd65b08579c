# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The errors of what does not fit."""

from __future__ import annotations

from typing import Mapping, Sequence

from .._declaration.app import App
from .inputs import Inputs
from .size import NOFILE_BASE, Ceiling, WorkerMemory, memory_workers
from .types import COUNTLESS, Host, PlanError, fitting, number, share


def nothing_left(host: Host, why: str) -> PlanError:
    """Others have all memory of the host."""
    return PlanError(
        "host",
        "memory",
        f"{host.memory_mib} MiB ({host.memory_limited_by})",
        f"nothing is left of it: {why}",
        "memory that others leave",
        "give the host more memory, or have what uses it use less",
    )


def all_reserved(host: Host, reserve: float) -> PlanError:
    """All memory of the host is kept for the system."""
    return PlanError(
        "host",
        "headcount_reserve_memory_mib",
        number(reserve),
        f"nothing is left of {host.memory_mib} MiB ({host.memory_limited_by})",
        f"less than {host.memory_mib} MiB",
        "lower the reserve, or give the host more memory",
    )


def processes_take_all(app: App, key: str, need: str, there: str) -> PlanError:
    """The app's processes leave its server nothing of what it has on the host."""
    return PlanError(
        app.name,
        f"processes ({', '.join(app.processes)})",
        need,
        f"the app has {there} on this host, and its server needs some of them",
        f"less than {there}",
        f"lower `{key}` or `instances` of its processes, give the app a larger share or the host more",
    )


def above_budget(app: App, forced: object, budget: int, reason: str) -> PlanError:
    """The declared MemoryMax is above what a generation may use (MiB)."""
    return PlanError(
        app.name,
        "settings.memory_max_mib",
        forced,
        f"a generation may use {budget} MiB: {reason}",
        f"at most {budget}",
        "lower settings.memory_max_mib, give the app a larger share or the host more memory",
    )


def above_host_files(app: App, forced: object, allowed: int) -> PlanError:
    """More open files are declared than the host allows a process."""
    return PlanError(
        app.name,
        "settings.limit_nofile",
        forced,
        f"the host allows {allowed} open files",
        f"at most {allowed}",
        "lower it, or raise fs.nr_open and DefaultLimitNOFILE on the host",
    )


def no_override(app: App, name: str, value: object, overrides: Sequence[str]) -> PlanError:
    """A setting is declared that a plan has not."""
    return PlanError(
        app.name,
        f"settings.{name}",
        value,
        "that is no setting that can be overridden",
        ", ".join(overrides),
        f"remove settings.{name}" + ("; set worker_class on the app" if name == "worker_class" else ""),
    )


def asked_too_much(named: Mapping[str, float], others: Sequence[str], key: str, total: str) -> PlanError:
    """The error of apps that together name more of a host than it has, or leave the others nothing."""
    first = next(iter(named))
    need = "and something must be left for " + ", ".join(others) if others else "that is more than there is"
    return PlanError(
        first,
        f"share.{key}",
        number(named[first]),
        f"the apps of this host ask for {number(sum(named.values()))} of {total}, {need}",
        f"together {'less than' if others else 'at most'} {total}",
        f"lower share.{key}, or use share.weight",
    )


def no_worker_fits(inputs: Inputs, memory: WorkerMemory) -> PlanError:
    """Not one worker with one request fits in the memory."""
    return PlanError(
        inputs.app,
        "memory of a worker",
        f"{number(memory.base.value)} MiB ({memory.base.source})",
        f"one worker, one request ({number(memory.slot.value)} MiB) and"
        f" the master ({number(memory.master.value)} MiB)"
        f" need {number(memory.total(1, 1))} MiB, and {number(memory.usable)} MiB may be"
        f" planned with: {share(inputs.allotment.usable_share)}"
        f" of {memory.maximum} MiB = {inputs.allotment.budget_reason}",
        f"at most {number(max(0.0, memory.usable - memory.master.value - memory.slot.value))} MiB for a worker",
        "give the host more memory or this app a larger share, or do without room for two generations side by side"
        " (headcount_rollout_headroom: false)",
    )


def too_few_files(inputs: Inputs, nofile_max: int, descriptors: int) -> PlanError:
    """A process may not open the files that one request takes (`descriptors`)."""
    return PlanError(
        inputs.app,
        "limit_nofile",
        nofile_max,
        f"a worker opens {NOFILE_BASE} files of its own and {descriptors} for each request",
        f"at least {NOFILE_BASE + descriptors}",
        "raise the host's limit of open files (fs.nr_open, DefaultLimitNOFILE) or settings.limit_nofile",
    )


def too_few_connections(inputs: Inputs, most: int, reason: str, need: int) -> PlanError:
    """The database has no connection left for a host: it has `most`, and `need` would do."""
    return PlanError(
        inputs.app,
        "database.max_connections",
        most,
        f"{reason} leaves no connection for a host",
        f"at least {need}",
        "raise the database's max_connections, put a pooler in front of it, lower database.reserved,"
        " or run the app on fewer hosts",
    )


def too_many_connections(inputs: Inputs, connections: int, need: int, ceiling: Ceiling) -> PlanError:
    """A worker with so many connections would `need` more open files than a process may have."""
    return PlanError(
        inputs.app,
        "settings.worker_connections",
        connections,
        f"a worker would need {need} open files of {ceiling.nofile_max}",
        f"at most {ceiling.nofile_slots}",
        "lower it, or raise the host's limit of open files",
    )


def never_throttles(inputs: Inputs, high: float, memory_max: int) -> PlanError:
    """The declared MemoryHigh is above MemoryMax (MiB)."""
    return PlanError(
        inputs.app,
        "settings.memory_high_mib",
        high,
        f"memory_max_mib is {memory_max}",
        f"at most {memory_max}",
        "lower settings.memory_high_mib: above MemoryMax it never throttles",
    )


def not_yet(inputs: Inputs, name: str, value: object, since: str, version: str) -> PlanError:
    """A setting of Gunicorn is declared that came later (`since`) than the planned `version`."""
    return PlanError(
        inputs.app,
        f"gunicorn.{name}",
        value,
        f"it came with Gunicorn {since}, and the plan has {version}",
        f"a setting that Gunicorn {version} knows",
        "remove it, or raise settings.gunicorn_version",
    )


def wrong_gunicorn(inputs: Inputs, version: str, unfit: str, known: str, worker_class: str) -> PlanError:
    """A version of Gunicorn that is declared cannot be; `unfit`: why, `known`: one that can."""
    return PlanError(
        inputs.app,
        "settings.gunicorn_version",
        version,
        f"that version {unfit}",
        f"{known}, for {worker_class} workers",
        "correct settings.gunicorn_version, or remove it",
    )


def does_not_fit(
    inputs: Inputs, worker_class: str, ceiling: Ceiling, workers: int, per_worker: int, fixed_workers: int | None
) -> PlanError:
    """What stands in the way of so many workers with so many slots each, what would do, and the fix."""
    memory = ceiling.memory
    name = {"gthread": "threads", "sync": "workers"}.get(worker_class, "worker_connections")
    variable, value = ("workers", workers) if fixed_workers is not None else (name, per_worker)
    slots = workers * per_worker
    problems, allowed = [], COUNTLESS
    if memory.total(workers, slots) > memory.usable + 1e-9:
        problems.append(
            f"{workers} x {number(memory.base.value)} MiB for workers, {slots} x"
            f" {number(memory.slot.value)} MiB for requests and"
            f" {number(memory.master.value)} MiB for the master are {number(memory.total(workers, slots))} MiB of"
            f" {number(memory.usable)} MiB that may be planned with ({inputs.allotment.budget_reason})"
        )
        left = memory.usable - memory.master.value - memory.base.value
        by_slots = fitting(left, memory.slot.value)
        allowed = min(allowed, memory_workers(ceiling, per_worker) if variable == "workers" else by_slots)
    if ceiling.database_slots is not None and slots > ceiling.database_slots:
        problems.append(f"the database allows {ceiling.database_slots} requests on a host: {ceiling.database_reason}")
        by_database = (
            ceiling.database_slots // per_worker if variable == "workers" else ceiling.database_slots // workers
        )
        allowed = min(allowed, by_database)
    if per_worker > ceiling.nofile_slots:
        problems.append(
            f"{per_worker} requests need {NOFILE_BASE + per_worker * ceiling.descriptors_per_slot} open files of"
            f" {ceiling.nofile_max}"
        )
        allowed = min(allowed, ceiling.nofile_slots)
    return PlanError(
        inputs.app,
        f"settings.{variable}",
        value,
        "; ".join(problems) or "it does not fit",
        f"at most {max(0, allowed)}" if allowed >= 1 else "none with these limits",
        f"lower settings.{variable} or leave it to the plan",
    )
