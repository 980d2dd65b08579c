# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The error of workers that do not fit."""

from __future__ import annotations

from .inputs import Inputs
from .size import NOFILE_BASE, Ceiling, memory_workers
from .types import COUNTLESS, PlanError, fitting, number


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
