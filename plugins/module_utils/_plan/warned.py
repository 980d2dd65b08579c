# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The words of what few plans warn of."""

from __future__ import annotations

from .inputs import Inputs
from .settings import EVENTLET
from .sharing import SYNC_LOAD_MOST
from .types import number, share


def busy(inputs: Inputs, rate: float, need: float) -> str:
    """The warning of a rate that asks for `need` cores, which is (nearly) all there are, or more."""
    cores = inputs.allotment.cores
    told = (
        f"rate {number(rate)}/s x {number(inputs.cpu_ms.value)} ms of CPU ({inputs.cpu_ms.origin}) needs"
        f" {number(need)} cores, and there are {number(cores)}"
    )
    if need > cores:
        return f"{told}: use more hosts or larger ones"
    fits = number(float(f"{rate * SYNC_LOAD_MOST * cores / need:.3g}"))
    return (
        f"{told}: {share(need / cores)} busy, where queues grow long and nothing is left for a worse moment; use more"
        f" hosts or larger ones, {fits}/s would leave {share(1 - SYNC_LOAD_MOST)} free"
    )


def in_a_line(inputs: Inputs, asked: str) -> str:
    """The warning of a class that was asked for and has short requests wait for long ones."""
    return (
        f"{inputs.app}: worker_class {asked} is declared, but one request after the other computes, and"
        f" {inputs.mix.source}: short requests stand in a line behind long ones; worker_class: auto has them share the"
        " cores"
    )


def few_connections(inputs: Inputs, workers: int, wanted: int) -> str:
    """The warning of a database that has connections for fewer workers than requests ask for that are not alike."""
    return (
        f"{inputs.app}: the database has connections for {workers} requests at a time, and {wanted} are wanted, as"
        f" requests are not alike ({inputs.mix.source}); raise database.max_connections or use a pooler"
    )


def eventlet(gunicorn_version: str, other: str) -> str:
    """The warning of a class that goes."""
    return (
        f"eventlet {EVENTLET} is in bug-fix-only retirement, and Gunicorn 26.0 removed its worker: the release is"
        f" pinned to gunicorn{gunicorn_version}; move to worker_class: {other}"
    )
