# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The errors of what does not fit."""

from __future__ import annotations

from .inputs import Inputs
from .size import NOFILE_BASE, Ceiling, WorkerMemory, memory_workers
from .types import COUNTLESS, PlanError, fitting, number, share


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
