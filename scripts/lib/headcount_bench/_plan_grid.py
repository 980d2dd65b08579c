# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The grid of scripts/bench plan, what is searched in each of its cells, and what comes out: pure functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

GUNICORN_KEEPALIVE: Final = 2
GUNICORN_CONNECTIONS: Final = 1000
"""Gunicorn's defaults, which the rules of thumb leave as they are."""

OVERHEAD_MS: Final = 1.0
"""CPU of Gunicorn and Flask for a request, beside the route's own: only for limits and bounds."""

LEAST_WORKER_MIB: Final = 10.0
"""A worker that takes less does not exist: what exceeds the memory even so is not tried."""

LIMIT_FACTOR: Final = 2.0
NEAR_SHARE: Final = 0.75
BOUND_SHARE: Final = 0.6
"""A shape that could not serve this share of what was served already is not tried."""

CONNECTIONS: Final = (32, 128, 8)

DISTURBED: Final = 0.05
"""A cell proves nothing when others used more than this share of the server's CPUs during a contender's runs."""

DECLARED: Final = "headcount, declared"
UNSAID: Final = "headcount, mix not said"
"""The role of what is planned where the declaration does not say whether requests are alike (`mix`)."""

UNSAID_WORDS: Final = "declared without a word on the mix"

WEIGHED: Final = "headcount, weighed"
KNOWING: Final = "headcount, declared with the worker's memory"
TWIN: Final = "the same again"
RULES: Final = ("2n+1", "heroku", "debops", "cloud run")

COLOURS: Final = {
    WEIGHED: "#1b6ca8",
    DECLARED: "#7fb2d9",
    "2n+1": "#d08c3c",
    "heroku": "#c0504d",
    "debops": "#8a6d3b",
    "cloud run": "#7a9a4a",
}
"""Of each role, in every figure."""


@dataclass(frozen=True)
class Host:
    """A host of the grid."""

    name: str
    cores: int
    memory_mib: int

    @property
    def words(self) -> str:
        """For people."""
        memory = f"{self.memory_mib // 1024} GiB" if self.memory_mib % 1024 == 0 else f"{self.memory_mib} MiB"
        return f"{self.cores} core{'s' if self.cores > 1 else ''}, {memory}"


@dataclass(frozen=True)
class Workload:
    """A route of the sample app. `cpu_ms` is what the route itself computes, `slot_mib` what a request holds."""

    name: str
    path: str
    profile: str
    cpu_ms: float
    wait_ms: float
    slot_mib: float = 0.0

    @property
    def wall_ms(self) -> float:
        """What a request takes alone."""
        return self.cpu_ms + OVERHEAD_MS + self.wait_ms


HOSTS: Final = {
    host.name: host
    for host in (
        Host("2c", 2, 8192),
        Host("1c", 1, 4096),
        Host("3c", 3, 8192),
        Host("2c-512m", 2, 512),
        Host("1c-256m", 1, 256),
    )
}
WORKLOADS: Final = {
    workload.name: workload
    for workload in (
        Workload("cpu5", "/cpu?ms=5", "cpu", 5, 0),
        Workload("cpu20", "/cpu?ms=20", "cpu", 20, 0),
        Workload("io50", "/wait?ms=50", "io", 0, 50),
        Workload("io200", "/wait?ms=200", "io", 0, 200),
        Workload("mixed20", "/mixed?cpu_ms=8&wait_ms=2", "mixed", 8, 2),
        Workload("mixed50", "/mixed?cpu_ms=10&wait_ms=10", "mixed", 10, 10),
        Workload("mixed80", "/mixed?cpu_ms=5&wait_ms=20", "mixed", 5, 20),
        Workload("memory", "/memory?mib=8&seconds=0.03", "io", 2, 30, slot_mib=8.0),
    )
}
SMALL: Final = (("cpu5", 32), ("io50", 128), ("mixed50", 32), ("memory", 8), ("memory", 32), ("memory", 128))
"""What is run on the hosts with little memory."""

QUICK: Final = (
    ("2c", "cpu5", 32),
    ("2c", "io50", 128),
    ("2c", "mixed80", 8),
    ("2c-512m", "memory", 32),
)


@dataclass(frozen=True)
class Config:
    """What the search varies. `connections` is worker_connections; of a sync worker it says nothing.

    `malloc_trim_mib` is malloc_trim_threshold_mib of a plan; the search leaves it to glibc (0). `switch_ms` is
    switch_interval_ms: how long a thread may compute before it hands over to another; 0 leaves Python's own (5).
    """

    worker_class: str
    workers: int
    threads: int = 1
    connections: int = GUNICORN_CONNECTIONS
    keepalive: int = GUNICORN_KEEPALIVE
    malloc_trim_mib: int = 0
    switch_ms: float = 0.0

    @property
    def name(self) -> str:
        """Short, and not the same for two shapes that behave differently."""
        if self.worker_class == "sync":
            return f"sync {self.workers}"
        if self.worker_class == "gthread":
            text = f"gthread {self.workers}x{self.threads} ka{self.keepalive}"
            text += f" c{self.connections}" if self.connections > self.threads else ""
            return text + (f" si{self.switch_ms:g}" if self.switch_ms else "")
        kept = f" m{self.malloc_trim_mib}" if self.malloc_trim_mib else ""
        return f"{self.worker_class} {self.workers} ka{self.keepalive} c{self.connections}{kept}"

    @property
    def slots(self) -> int:
        """Requests that are worked on at once."""
        each = {"sync": 1, "gthread": min(self.threads, self.connections)}.get(self.worker_class, self.connections)
        return self.workers * each

    def settings(self) -> dict[str, Any]:
        """As a plan has them."""
        return {
            "worker_class": self.worker_class,
            "workers": self.workers,
            "threads": self.threads,
            "worker_connections": self.connections,
            "keepalive": self.keepalive,
            "malloc_trim_threshold_mib": self.malloc_trim_mib,
            **({"switch_interval_ms": self.switch_ms} if self.switch_ms else {}),
        }

    @classmethod
    def from_settings(cls, values: Mapping[str, Any]) -> Config:
        """From the bare values of a plan."""
        kind = str(values["worker_class"])
        if kind == "sync":
            return cls("sync", int(values["workers"]))
        return cls(
            kind,
            int(values["workers"]),
            int(values["threads"]),
            int(values["worker_connections"]),
            int(values["keepalive"]),
            int(values["malloc_trim_threshold_mib"]),
            float(values.get("switch_interval_ms") or 0.0),
        )


def grid(quick: bool) -> list[tuple[str, str, int]]:
    """Host, workload and connections of every cell: those of the stated figures first."""
    if quick:
        return list(QUICK)
    result = [("2c", workload, connections) for connections in CONNECTIONS for workload in WORKLOADS]
    result += [("2c-512m", workload, connections) for workload, connections in SMALL]
    result += [("1c-256m", workload, connections) for workload, connections in SMALL]
    for host in ("1c", "3c"):
        result += [(host, workload, connections) for connections in CONNECTIONS for workload in WORKLOADS]
    return result


def rules(host: Host) -> dict[str, Config]:
    """The rules of thumb, each with Gunicorn's defaults for the rest.

    2n+1: Gunicorn's documentation, Azure. heroku: min(2n+1, RAM / 256 MiB). debops: n+1. cloud run: one worker with
    eight threads.
    """
    n = host.cores
    return {
        "2n+1": Config("sync", 2 * n + 1),
        "heroku": Config("sync", max(1, min(2 * n + 1, host.memory_mib // 256))),
        "debops": Config("sync", n + 1),
        "cloud run": Config("gthread", 1, 8),
    }


def search_space(host: Host, workload: Workload, connections: int) -> list[Config]:
    """Classes x workers x threads, with and without keep-alive; the most promising ones first, as they set the bound.

    gevent with Gunicorn's many connections, and with only as many as the load has; where a request holds memory, with
    few. gthread as Gunicorn has it by default, and with no more connections than threads and no keep-alive.
    """
    n = host.cores
    processes = sorted({*range(max(1, n - 1), n), n, n + 1, 2 * n}, key=lambda count: abs(count - n))
    counts = {n, n + 1, *(factor * n for factor in (2, 3, 4, 6, 8, 16, 32, 64)), 2 * n + 1}
    found = [config for workers in processes for config in _gevent_shapes(workers, workload, connections)]
    for workers in (count for count in processes if count >= n):
        found += _gthread_shapes(workers, n, connections)
    found += [Config("sync", workers) for workers in sorted(counts) if workers <= max(2 * n + 1, connections)]
    return list(dict.fromkeys(found))


def _gevent_shapes(workers: int, workload: Workload, connections: int) -> list[Config]:
    narrow = {max(1, math.ceil(connections / workers))}
    if workload.slot_mib:
        narrow |= {count for count in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32) if count <= connections}
    wide = [Config("gevent", workers, keepalive=0), Config("gevent", workers)]
    return wide + [Config("gevent", workers, 1, count, 0) for count in sorted(narrow, reverse=True)]


def _gthread_shapes(workers: int, cores: int, connections: int) -> list[Config]:
    even = max(1, math.ceil(connections / cores))
    found = []
    for threads in sorted({2, 4, 8, 16, 32, 64, 128, even}, reverse=True):
        if threads > 1 and (workers * threads <= 2 * connections or threads in (2, even)):
            found += [Config("gthread", workers, threads, threads, 0), Config("gthread", workers, threads)]
    return found


def bound(config: Config, host: Host, workload: Workload, connections: int) -> float:
    """The most that a shape can serve in a second: by its slots and the time of a request, by its processes and their
    CPU (one interpreter lock each)."""
    in_flight = min(config.slots, connections)
    by_slots = in_flight * 1000.0 / max(workload.wall_ms - OVERHEAD_MS, 0.1)
    by_cpu = min(config.workers, host.cores) * 1000.0 / max(workload.cpu_ms, 0.3)
    return min(by_slots, by_cpu)


def too_much_memory(config: Config, workload: Workload, connections: int, budget_mib: float) -> bool:
    """Whether a shape exceeds the memory even when its workers are as small as can be."""
    held = min(config.slots, connections) * workload.slot_mib
    return config.workers * LEAST_WORKER_MIB + held > budget_mib


def limit_ms(host: Host, workload: Workload, connections: int, budget_mib: float) -> float:
    """The latency limit of a cell: twice what a request must take on average when nothing is wasted.

    In a closed loop of C connections that is C / the best rate; the best rate is that of the cores, of C requests that
    wait side by side, or of as many as fit in the memory.
    """
    slots = float(connections)
    if workload.slot_mib:
        left = budget_mib - host.cores * 2 * LEAST_WORKER_MIB
        slots = min(slots, max(1.0, left / workload.slot_mib))
    best = min(host.cores * 1000.0 / (workload.cpu_ms + OVERHEAD_MS), slots * 1000.0 / workload.wall_ms)
    return round(LIMIT_FACTOR * max(workload.wall_ms, connections * 1000.0 / best), 1)


def seconds_of(host: Host, workload: Workload, connections: int, budget_mib: float, least: int, cycles: float) -> int:
    """Whole seconds of a run: so many times the average time of a request, at least `least`."""
    mean_ms = limit_ms(host, workload, connections, budget_mib) / LIMIT_FACTOR
    return max(least, math.ceil(cycles * mean_ms / 1000.0))


@dataclass(frozen=True)
class Contender:
    """A configuration of the final comparison, and the roles it has there."""

    config: Config
    roles: tuple[str, ...]


def contenders(leaders: Iterable[Config], named: Mapping[str, Config]) -> list[Contender]:
    """Those of the final: every configuration once, with all its roles; the twin of Headcount's stays by itself."""
    roles: dict[Config, list[str]] = {config: ["search"] for config in leaders}
    for name, config in named.items():
        roles.setdefault(config, []).append(name)
    found = [Contender(config, tuple(names)) for config, names in roles.items()]
    if WEIGHED in named:
        found.append(Contender(named[WEIGHED], (TWIN,)))
    return found


def median(runs: Sequence[Mapping[str, Any]], key: str) -> float:
    """The median of one figure."""
    return float(statistics.median(float(run[key]) for run in runs))


def summarise(final: Sequence[Mapping[str, Any]], budget_mib: float) -> dict[str, Any]:
    """What a cell's final says: medians for every contender, the best of them, and everybody against it.

    `final`: [{config, roles, runs: [{goodput, rate, p50_ms, p95_ms, errors, memory_mib, foreign}]}]. The best is the
    one with the highest median goodput among those that stay within the memory. Ratios above 1 are better for goodput,
    and worse for p95.
    """
    rows = []
    for entry in final:
        runs = entry["runs"]
        rows.append(
            {
                "config": entry["config"],
                "roles": list(entry["roles"]),
                "goodput": round(median(runs, "goodput"), 1),
                "rate": round(median(runs, "rate"), 1),
                "p50_ms": round(median(runs, "p50_ms"), 1),
                "p95_ms": round(median(runs, "p95_ms"), 1),
                "errors": sum(int(run["errors"]) for run in runs),
                "memory_mib": round(max(float(run["memory_mib"]) for run in runs), 1),
                "runs": len(runs),
            }
        )
    inside = [row for row in rows if row["memory_mib"] <= budget_mib and TWIN not in row["roles"]]
    best = max(inside or rows, key=lambda row: float(row["goodput"]))
    for row in rows:
        row["goodput_ratio"] = ratio(row["goodput"], best["goodput"])
        row["p95_ratio"] = ratio(row["p95_ms"], best["p95_ms"])
        row["over_memory"] = row["memory_mib"] > budget_mib
    return {"best": best, "rows": rows, "by_role": {role: row for row in rows for role in row["roles"]}}


def ratio(value: float, base: float) -> float:
    """value / base; 0 for a base of 0."""
    return round(value / base, 3) if base else 0.0


@dataclass(frozen=True)
class Stated:
    """The stated figures."""

    weighed: float = 0.97
    declared: float = 0.93
    p95: float = 1.10
    weigh_seconds: float = 10.0


STATED: Final = Stated()


def shortfalls(summary: Mapping[str, Any], weigh_seconds: float, stated: Stated = STATED) -> list[str]:
    """What a cell falls short of, a sentence each; [] when it reaches every stated figure."""
    roles, best = summary["by_role"], summary["best"]
    weighed, rule = roles[WEIGHED], roles["2n+1"]
    found = []
    if weighed["goodput_ratio"] < stated.weighed:
        found.append(
            f"after weighing {weighed['goodput_ratio']:.2f} of the best goodput ({weighed['config']}"
            f" {weighed['goodput']:.0f}/s, {best['config']} {best['goodput']:.0f}/s)"
        )
    if weighed["p95_ratio"] > stated.p95:
        found.append(
            f"after weighing p95 {weighed['p95_ratio']:.2f} of the best's ({weighed['config']}"
            f" {weighed['p95_ms']:.0f} ms, {best['config']} {best['p95_ms']:.0f} ms)"
        )
    for words, row in (("declared", roles[DECLARED]), (UNSAID_WORDS, roles[UNSAID])):
        if row["goodput_ratio"] < stated.declared:
            found.append(
                f"{words} {row['goodput_ratio']:.2f} of the best goodput ({row['config']}"
                f" {row['goodput']:.0f}/s, {best['config']} {best['goodput']:.0f}/s)"
            )
    for name, row in ((WEIGHED, weighed), (DECLARED, roles[DECLARED]), (UNSAID, roles[UNSAID])):
        if row["goodput"] < rule["goodput"] and row is not rule:
            found.append(f"{name} below 2n+1 sync ({row['goodput']:.1f}/s, {rule['goodput']:.1f}/s)")
        if row["over_memory"]:
            found.append(f"{name} took {row['memory_mib']:.0f} MiB, more than the budget")
    if weigh_seconds > stated.weigh_seconds:
        found.append(f"the weigh took {weigh_seconds:.1f} s")
    return found


def foreign(final: Sequence[Mapping[str, Any]]) -> float:
    """The share of the server's CPUs that others used while it was loaded: the middle of a contender's runs, the most
    of all contenders that are compared (those that are far behind may leave a CPU to others)."""
    most = max(median(entry["runs"], "goodput") for entry in final)
    near = [entry for entry in final if median(entry["runs"], "goodput") >= NEAR_SHARE * most]
    return round(max(median(entry["runs"], "foreign") for entry in near), 3)


def noise(summary: Mapping[str, Any]) -> tuple[float, float]:
    """The same configuration on two servers: the ratios of their goodput and of their p95."""
    one, other = summary["by_role"][WEIGHED], summary["by_role"][TWIN]
    return ratio(other["goodput"], one["goodput"]), ratio(other["p95_ms"], one["p95_ms"])
