# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The simulation of the queue beside the real runs of scripts/bench mixtures: the same arrivals, what comes of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from . import _mix_grid as mix
from . import _queue
from ._plan_grid import Config, Host

AGREES: Final = 0.15
"""Simulation and reality agree where the largest p95 slowdown differs by at most this share."""


@dataclass(frozen=True)
class Simulated:
    """One contender of a cell, simulated with the arrivals of its rounds: p95 of each kind in ms, and the largest
    slowdown."""

    p95_ms: tuple[float, ...]
    slowdown: float


def queues_of(config: Config) -> _queue.Queues:
    """What a configuration is in the simulation."""
    each = min(config.threads, config.connections) if config.worker_class == "gthread" else config.connections
    switch = config.switch_ms or _queue.SWITCH_MS
    return _queue.Queues.of(config.worker_class, config.workers, each, switch)


def kinds_of(traffic: mix.Traffic, cpu_ms: Sequence[float]) -> list[_queue.Kind]:
    """The kinds with the CPU time that was measured of each alone, Gunicorn's and Flask's part taken off."""
    return [
        _queue.Kind(kind.name, max(0.0, cpu - _queue.OVERHEAD_MS), kind.wait_ms, kind.share)
        for kind, cpu in zip(traffic.kinds, cpu_ms, strict=True)
    ]


def simulated(
    config: Config, host: Host, traffic: mix.Traffic, schedules: Sequence[mix.Schedule], cpu_ms: Sequence[float],
    alone_ms: Sequence[float], beside: bool = False, took_ms: Sequence[float] = (),
) -> Simulated:  # fmt: skip
    """All rounds of one contender, each from an idle server on, as the real ones were. `beside`: see _queue.
    `took_ms`: CPU time of a request in each real round; the simulated round takes the same."""
    latencies: list[list[float]] = [[] for _ in cpu_ms]
    for number, due in enumerate(schedules):
        kinds = kinds_of(traffic, cpu_ms)
        if took_ms:
            _, computed = _queue.replayed(queues_of(config), host.cores, kinds, due, beside)
            scale = took_ms[number] * len(due) / computed
            kinds = kinds_of(traffic, [scale * one for one in cpu_ms])
        for kind, _, took in _queue.replay(queues_of(config), host.cores, kinds, due, beside):
            latencies[kind].append(took)
    told = mix.told(latencies, alone_ms)
    return Simulated(tuple(kind.p95_ms for kind in told), mix.worst(told))


def slowdown(
    config: Config, host: Host, traffic: mix.Traffic, due: mix.Schedule, cpu_ms: Sequence[float],
    alone_ms: Sequence[float], shared: bool,
) -> float:  # fmt: skip
    """The largest p95 slowdown of one run. `shared`: the clients run on the same cores."""
    return simulated(config, host, traffic, [due], cpu_ms, alone_ms, shared).slowdown


def beside(host: Host, traffic: mix.Traffic, value: Mapping[str, Any], arrivals: str) -> dict[str, Simulated]:
    """Every contender of a measured cell by its configuration; not the twin, nor what lost requests."""
    schedules = [
        mix.schedule(traffic, float(value["rate"]), float(value["final_seconds"]), arrivals, f"final {number}")
        for number in range(max(len(entry["runs"]) for entry in value["final"]))
    ]
    found = {}
    for entry in value["final"]:
        lost = any(one is None for run in entry["runs"] for mine in run["latencies_ms"] for one in mine)
        if not lost and entry["config"] not in found:
            config = Config.from_settings(entry["settings"])
            mine = schedules[: len(entry["runs"])]
            shared = not value["cpus"]["load"] and host.cores > 1
            took = [float(run["cpu_ms"]) for run in entry["runs"]]
            found[entry["config"]] = simulated(
                config, host, traffic, mine, value["cpu_ms"], value["alone_ms"], shared, took
            )
    return found


def agrees(simulated_slowdown: float, measured: float) -> bool:
    """Within AGREES of each other."""
    return math.isfinite(measured) and abs(simulated_slowdown / measured - 1.0) <= AGREES
