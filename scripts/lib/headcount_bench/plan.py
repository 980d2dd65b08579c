# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The planner against an exhaustive search and the rules of thumb: goodput, p95 and memory of each.

A grid of hosts, workloads and connections. In every cell a coarse pass tries classes x workers x threads, the best
eight of it are tried again, and the final runs the leaders, Headcount's plans and the rules in turn, several times.
The server has CPUs of its own on this machine (taskset), wrk has others; wrk keeps the connections busy (closed loop).
"""

from __future__ import annotations

import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, Final

from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration import normalise
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import App
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts import given
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import units
from ansible_collections.headcount.gunicorn.plugins.module_utils._plan import planner
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import measure as _measure
from headcount_scripts.console import ScriptError

from . import _plan_grid as grid
from . import _plan_report, _serving
from ._common import Bench, Cell, Report

MINUTES = 360.0
QUICK_MINUTES = 9.5

VERSION: Final = 4
SEARCH_VERSION: Final = 2
AGAIN, QUICK_AGAIN = 6, 4
LEADERS, QUICK_LEADERS = 2, 2
ROUNDS, QUICK_ROUNDS = 4, 2
FINAL_SECONDS: Final = 3
"""The least length of a run of the final: p95 of identical servers differed by up to 18 % in runs of 2 s."""

FOREIGN_SHARE: Final = 0.08
"""A run in which others used more than this share of the server's CPUs is made once more."""

BEHIND_SHARE: Final = 0.6
"""What is behind this share of the best after two runs of the final is not run again."""

TCP: Final = "127.0.0.1:{port}"
SPREAD_SECONDS: Final = 0.2
POOL_PROCESSES: Final = 350


def cells(quick: bool) -> list[Cell]:
    """The grid, the cells of the stated figures first."""
    rounds, again, leaders = (QUICK_ROUNDS, QUICK_AGAIN, QUICK_LEADERS) if quick else (ROUNDS, AGAIN, LEADERS)
    return [
        Cell(
            f"{host}/{workload}/{connections}",
            {
                "version": VERSION,
                "host": vars(grid.HOSTS[host]),
                "workload": vars(grid.WORKLOADS[workload]),
                "connections": connections,
                "rounds": rounds,
                "again": again,
                "leaders": leaders,
                **_planned(host, workload, connections),
                **_declared_memory(grid.WORKLOADS[workload]),
            },
        )
        for host, workload, connections in grid.grid(quick)
    ]


def _planned(host: str, workload: str, connections: int) -> dict[str, Any]:
    """The declared plans' shapes: a planner that plans a cell otherwise has it measured anew."""
    where, what = grid.HOSTS[host], grid.WORKLOADS[workload]
    return {
        name: grid.Config.from_settings(declared_plan(where, what, connections, said).values()).settings()
        for name, said in (("planner", True), ("unsaid", False))
    }


def _declared_memory(workload: grid.Workload) -> dict[str, Any]:
    """Of a workload that holds much memory, what somebody who knows that it does would declare."""
    return {"memory": {"slot_mib": workload.slot_mib}} if workload.slot_mib else {}


def app_of(
    workload: grid.Workload, connections: int, worker_mib: float | None = None, said: bool = True
) -> dict[str, Any]:
    """The declaration: profile, concurrency and, where it is `said`, that requests are alike; no times, and memory
    only of what holds much of it.

    With `worker_mib` as somebody declares it who knows that, too.
    """
    memory = _declared_memory(workload)
    if worker_mib is not None:
        memory = {"memory": {**memory.get("memory", {}), "worker_mib": worker_mib}}
    apps, problems = normalise.normalise_apps(
        [
            {
                "name": "shop",
                "source": {"path": "app"},
                "entry_point": _serving.ENTRY,
                "listen": "127.0.0.1:8000",
                "profile": workload.profile,
                "concurrency": connections,
                "health": {"path": _serving.HEALTH},
                "load": {"paths": [{"path": workload.path}]},
                **memory,
                **({"mix": "uniform"} if said else {}),
                "buffering_proxy": True,
            }
        ],
        "bench",
    )
    if problems:
        raise ScriptError(f"the benchmark's declaration is wrong: {problems[0]}")
    return dict(apps[0])


def plan_of(host: grid.Host, app: Mapping[str, Any], measured: Mapping[str, Any] | None) -> planner.Plan:
    """Headcount's plan, from the declaration or finished with a weigh."""
    facts = given.declared(host.cores, host.memory_mib).to_dict()
    return planner.plan_host(facts, [app], measured={"shop": measured})["shop"]


def declared_plan(host: grid.Host, workload: grid.Workload, connections: int, said: bool = True) -> planner.Plan:
    """Headcount's plan from the declaration alone; `said`: as of app_of()."""
    return plan_of(host, app_of(workload, connections, said=said), None)


def rendered(
    config: grid.Config, preload: bool = False, site: _serving.Site = _serving.SAMPLE
) -> tuple[str, dict[str, str]]:
    """gunicorn.conf.py and the environment, by the same functions that write them on a host."""
    values = {
        **config.settings(),
        "preload_app": preload,
        "backlog": 2048,
        "gunicorn_version": f"=={planner.GUNICORN}",
    }
    plan = {"settings": {name: {"value": value, "reason": "the benchmark"} for name, value in values.items()}}
    text = units.gunicorn_conf({"name": "shop", "entry_point": site.entry}, plan, 0)
    return text, units.malloc_environment(plan)


def started(
    config: grid.Config,
    addresses: Sequence[str],
    cpus: Sequence[int],
    preload: bool = False,
    site: _serving.Site = _serving.SAMPLE,
) -> _serving.Server:
    """A server of `site` on `cpus` that listens on `addresses`."""
    text, environment = rendered(config, preload, site)
    command = [str(_serving.venv(site.venv) / "bin" / "gunicorn"), "--config", "{folder}/gunicorn.conf.py"]
    command += [word for address in addresses for word in ("--bind", address)]
    environment = {**(site.environment or {}), **environment}
    return _serving.start(command, cpus, {"gunicorn.conf.py": text}, environment, site.health)


class Pool:
    """Servers of one lane, kept running between the runs: at rest they use no CPU, and runs can be interleaved."""

    def __init__(self, cpus: Sequence[int], load_cpus: Sequence[int]) -> None:
        self.cpus, self.load_cpus = tuple(cpus), tuple(load_cpus)
        self._servers: dict[tuple[grid.Config, str], _serving.Server] = {}

    def ready(self, configs: Iterable[grid.Config], tag: str = "") -> None:
        """Starts those that do not run yet, together, and waits until all are at rest."""
        new = [config for config in configs if (config, tag) not in self._servers]
        for config in new:
            self._make_room(config)
            self._servers[config, tag] = started(config, [TCP], self.cpus)
        for config in new:
            self._servers[config, tag].settle(config.workers + 1, 120.0)

    def _make_room(self, config: grid.Config) -> None:
        while self._servers and sum(key[0].workers + 1 for key in self._servers) + config.workers > POOL_PROCESSES:
            oldest = next(iter(self._servers))
            self._servers.pop(oldest).stop()

    def run(
        self, config: grid.Config, url: str, connections: int, seconds: int, limit_ms: float, tag: str = ""
    ) -> dict[str, Any]:
        """One run of wrk, with the memory near its end, once more when others used the CPUs meanwhile."""
        self.ready([config], tag)
        server = self._servers[config, tag]
        runs = []
        for _ in range(2):
            server.settle(config.workers + 1)
            pids = server.pids()
            busy, own = _serving.busy_seconds(self.cpus), server.cpu_seconds()
            began = time.monotonic()
            with ThreadPoolExecutor(1) as helper:
                load = helper.submit(_serving.wrk, server.url + url, connections, seconds, limit_ms, self.load_cpus)
                memory = 0.0
                while not load.done():
                    server.spread(self.cpus, pids)
                    time.sleep(SPREAD_SECONDS)
                    if not memory and time.monotonic() - began > 0.6 * seconds:
                        memory = server.memory_mib()
                found = load.result()
            took = time.monotonic() - began
            own = server.cpu_seconds() - own
            foreign = _serving.busy_seconds(self.cpus) - busy - own
            share = max(0.0, foreign) / (took * len(self.cpus))
            runs.append({**found.to_dict(), "memory_mib": round(memory, 1), "foreign": round(share, 3)})
            if share <= FOREIGN_SHARE:
                break
        return min(runs, key=lambda run: float(run["foreign"]))

    def clear(self) -> None:
        """Stops all of them."""
        for server in list(self._servers.values()):
            server.stop()
        self._servers.clear()


def weigh(
    plan: planner.Plan, app: Mapping[str, Any], cpus: Sequence[int], site: _serving.Site = _serving.SAMPLE
) -> dict[str, Any]:
    """The weigh as it is done on a host: one worker of the declared plan, the same functions; with all its seconds."""
    config = replace(grid.Config.from_settings(plan.values()), workers=1)
    slots = max(1, plan.slots // int(plan.value("workers")))
    began = time.monotonic()
    server = started(config, [TCP, "unix:{socket}"], cpus, site=site)
    try:
        server.settle(2)
        measured = _measure.weigh(
            _serving.TreeUnit(server),
            server.socket,
            App.from_dict(app).load.paths,
            slots,
            memory_max_mib=float(plan.value("memory_max_mib")),
        )
    finally:
        server.stop()
    return {**measured, "all_seconds": round(time.monotonic() - began, 2)}


def measure(bench: Bench) -> None:
    """Cells of one core side by side where there are CPUs for it, the others one after the other."""
    available = sorted(os.sched_getaffinity(0))
    if bench.options.cpus:
        available = list(dict.fromkeys(int(cpu) for cpu in bench.options.cpus.split(",")))
    _serving.venv("main")
    try:
        for cores in dict.fromkeys(int(cell.inputs["host"]["cores"]) for cell in bench.missing()):
            subset = [cell for cell in bench.cells if int(cell.inputs["host"]["cores"]) == cores]
            lanes, load_cpus = _serving.divide_cpus(cores, available, bench.options.lanes)
            os.sched_setaffinity(0, load_cpus)
            pools = {",".join(map(str, cpus)): Pool(cpus, load_cpus) for cpus in lanes}
            part = replace(bench, cells=subset, minutes=bench.seconds_left() / 60.0)
            try:
                part.run(partial(_on_lane, bench, pools), lanes=list(pools))
            finally:
                bench.failures.update(part.failures)
                bench.out_of_time = bench.out_of_time or part.out_of_time
                for pool in pools.values():
                    pool.clear()
            if part.out_of_time:
                return
    finally:
        _serving.stop_all()


def prepare(bench: Bench) -> None:
    """With --disturbed: forget them first."""
    if bench.options.disturbed:
        forget_disturbed(bench)


def forget_disturbed(bench: Bench) -> None:
    """Throws away the finals that other work of the machine disturbed; what was searched is kept."""
    forget(bench, lambda value: grid.foreign(value["final"]) <= grid.DISTURBED)


def forget(bench: Bench, keep: Callable[[Mapping[str, Any]], bool]) -> None:
    """Throws away the results that `keep` does not want."""
    kept = [result for result in bench.store.read().values() if keep(result.value)]
    lines = [json.dumps(vars(result), sort_keys=True) + "\n" for result in kept]
    new = bench.store.path.with_suffix(".new")
    new.write_text("".join(lines), encoding="utf-8")
    new.replace(bench.store.path)


def _on_lane(bench: Bench, pools: Mapping[str, Pool], cell: Cell, lane: str) -> dict[str, Any]:
    return work(bench, cell, pools[lane])


def work(bench: Bench, cell: Cell, pool: Pool) -> dict[str, Any]:
    """One cell: the weigh, the search, the final."""
    workload = grid.Workload(**cell.inputs["workload"])
    if not workload.slot_mib:
        return _work(bench, cell, workload, pool)
    own = Pool(pool.cpus, pool.load_cpus)  # what a worker has held once may stay with it
    try:
        return _work(bench, cell, workload, own)
    finally:
        own.clear()


def _work(bench: Bench, cell: Cell, workload: grid.Workload, pool: Pool) -> dict[str, Any]:
    host, connections = grid.Host(**cell.inputs["host"]), int(cell.inputs["connections"])
    app, declared = app_of(workload, connections), declared_plan(host, workload, connections)
    weighed = weigh(declared, app, pool.cpus)
    finished = plan_of(host, app, weighed)
    budget = float(finished.value("memory_max_mib"))
    limit = grid.limit_ms(host, workload, connections, budget)
    final_seconds = grid.seconds_of(host, workload, connections, budget, FINAL_SECONDS, 3.0)
    named = {
        **grid.rules(host),
        grid.DECLARED: grid.Config.from_settings(declared.values()),
        grid.UNSAID: grid.Config.from_settings(declared_plan(host, workload, connections, said=False).values()),
        grid.WEIGHED: grid.Config.from_settings(finished.values()),
    }
    if workload.slot_mib:
        knowing = plan_of(host, app_of(workload, connections, math.ceil(weighed["worker_pss_mib"])), None)
        named[grid.KNOWING] = grid.Config.from_settings(knowing.values())
    search = Cell(
        cell.name,
        {"version": SEARCH_VERSION, "host": vars(host), "workload": vars(workload), "connections": connections,
         "limit": limit, "budget": budget, "again": cell.inputs["again"]},
    )  # fmt: skip
    found = bench.load_raw(search)  # a planner that plans otherwise needs a new final, not a new search
    if found is None:
        found = _search(pool, host, workload, search.inputs)
        bench.save_raw(search, found)
    order = sorted(found["second"], key=lambda name: -float(found["second"][name]["goodput"]))
    leaders = [grid.Config(**found["configs"][name]) for name in order[: int(cell.inputs["leaders"])]]
    final = _final(
        grid.contenders(leaders, named), pool, workload, connections, int(cell.inputs["rounds"]), final_seconds, limit
    )
    return {
        "limit_ms": limit,
        "budget_mib": budget,
        "seconds": {"coarse": found["seconds"], "final": final_seconds},
        "weigh": weighed,
        "weighed_warnings": list(finished.warnings),
        "searched": len(found["coarse"]),
        "pruned": found["pruned"],
        "coarse": found["coarse"],
        "second": found["second"],
        "final": final,
        "cpus": {"server": list(pool.cpus), "load": list(pool.load_cpus)},
    }


def _search(pool: Pool, host: grid.Host, workload: grid.Workload, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """One short run of each shape, but for those that cannot come near by their slots, processes or memory; then the
    best of them once more."""
    connections, budget, limit = int(inputs["connections"]), float(inputs["budget"]), float(inputs["limit"])
    seconds = grid.seconds_of(host, workload, connections, budget, 1, 1.5)
    space = grid.search_space(host, workload, connections)
    left = [config for config in space if not grid.too_much_memory(config, workload, connections, budget)]
    results: dict[grid.Config, dict[str, Any]] = {}
    while left:
        best = max((float(result["rate"]) for result in results.values()), default=0.0)
        enough = grid.BOUND_SHARE * best
        left = [config for config in left if grid.bound(config, host, workload, connections) >= enough]
        batch, left = left[:8], left[8:]
        pool.ready(batch)
        for config in batch:
            results[config] = pool.run(config, workload.path, connections, seconds, limit)
        if workload.slot_mib:  # all of them together would hold the machine's memory
            pool.clear()
    order = sorted(results, key=lambda config: -float(results[config]["goodput"]))
    again = [config for config in order if results[config]["memory_mib"] <= budget][: int(inputs["again"])]
    longer = grid.seconds_of(host, workload, connections, budget, 2, 3.0)
    second = {config: pool.run(config, workload.path, connections, longer, limit) for config in again}
    return {
        "seconds": seconds,
        "pruned": len(space) - len(results),
        "configs": {config.name: vars(config) for config in results},
        "coarse": {config.name: _short(result) for config, result in results.items()},
        "second": {config.name: _short(result) for config, result in second.items()},
    }


def _short(run: Mapping[str, Any]) -> dict[str, Any]:
    return {key: run[key] for key in ("goodput", "rate", "p95_ms", "memory_mib")}


def _final(
    field: Sequence[grid.Contender],
    pool: Pool,
    workload: grid.Workload,
    connections: int,
    rounds: int,
    seconds: int,
    limit: float,
) -> list[dict[str, Any]]:
    """Every contender in every round, there and back again, so that no place in the order is better than another."""
    for contender in field:
        pool.ready([contender.config], _tag(contender))
    runs: dict[grid.Contender, list[dict[str, Any]]] = {contender: [] for contender in field}
    for number in range(rounds):
        for contender in field if number % 2 == 0 else reversed(field):
            best = max((statistics.median(float(one["goodput"]) for one in all_) for all_ in runs.values() if all_),
                       default=0.0)  # fmt: skip
            mine = runs[contender]
            if len(mine) >= 2 and statistics.median(float(one["goodput"]) for one in mine) < BEHIND_SHARE * best:
                continue
            mine.append(pool.run(contender.config, workload.path, connections, seconds, limit, _tag(contender)))
    return [
        {
            "config": contender.config.name,
            "settings": contender.config.settings(),
            "roles": list(contender.roles),
            "runs": runs[contender],
        }
        for contender in field
    ]


def _tag(contender: grid.Contender) -> str:
    return "twin" if grid.TWIN in contender.roles else ""


def add_arguments(parser: Any) -> None:
    """Which CPUs, and how many servers at the same time."""
    parser.add_argument("--cpus", metavar="LIST", help="CPUs to use: the last for servers, the others for wrk")
    parser.add_argument("--disturbed", action="store_true", help="measure anew what other work disturbed")
    parser.add_argument("--lanes", type=int, default=1, metavar="N", help="cells measured at the same time (1)")


def report(bench: Bench) -> Report:
    """Tables, data and a plot of what is measured."""
    return _plan_report.report(bench.cells, bench.results())
