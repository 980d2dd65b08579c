# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The planner on requests that are not alike: the largest p95 slowdown of a kind, against a search and the rules.

A grid of hosts, mixtures of requests, loads and arrivals (Poisson, bursts). Open loop: the schedule of arrivals is
fixed before a run and the same for every configuration. In every cell every shape of the search is simulated as a
queue, the most promising ones run for real, and the best of them, Headcount's plans and the rules meet in a final: in
turn, there and back again. A rule of thumb that is close to the weighed plan, or ahead, then meets it in a duel.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from typing import Any, Final

from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration import normalise
from ansible_collections.headcount.gunicorn.plugins.module_utils._plan import planner
from headcount_scripts.console import ScriptError

from . import _mix_duel, _mix_report, _mix_run, _serving
from . import _mix_grid as mix
from . import _mix_simulated as sim
from . import _plan_grid as grid
from . import plan as plan_bench
from ._common import Bench, Cell, Report

MINUTES = 120.0
QUICK_MINUTES = 6.0
VERSION: Final = 5
SEARCH_VERSION: Final = 2
ROUNDS, QUICK_ROUNDS = 2, 2
TIMEOUT_SECONDS: Final = 8.0
LEADERS: Final = 2
FURTHER: Final = 3
"""At most so many times two rounds more where a plan is too close to its bound to call."""

FAR_BEHIND: Final = 3.0
BEATEN: Final = 1.6
"""What has so many times the best's slowdown after one round of the final is not run again: the plans (the first), and
the others (the second), of which it is enough to know that they are worse."""

TWIN_EVERY: Final = 3
"""In each so manieth cell the weighed plan runs twice, on two servers: what differs between them is chance."""

PLANS: Final = (grid.DECLARED, grid.UNSAID, mix.TIMED, grid.WEIGHED, grid.TWIN)

SAID: Final = "whether requests are alike"
NOTHING: Final = "nothing of the mix"
TIMES: Final = "the times of its paths"

PRELOAD_MIB: Final = 2048
"""On hosts with this memory it is no limit: the search may start its servers quickly, with a preloaded app."""


def cells(quick: bool) -> list[Cell]:
    """The grid; a planner that plans a cell otherwise has its final measured anew."""
    found = []
    for place, (host, traffic, load, arrivals) in enumerate(mix.QUICK if quick else mix.GRID):
        inputs = {
            "host": vars(grid.HOSTS[host]),
            "traffic": mix.plain(mix.TRAFFIC[traffic]),
            "load": load,
            "arrivals": arrivals,
        }
        planned = {
            name: _settled(declared_plan(grid.HOSTS[host], mix.TRAFFIC[traffic], load, said)).settings()
            for name, said in (("planner", SAID), ("unsaid", NOTHING), ("timed", TIMES))
        }
        rounds = QUICK_ROUNDS if quick else ROUNDS
        found.append(
            Cell(
                f"{host}/{traffic}/{load:g}/{arrivals}",
                {
                    **{"version": VERSION, **inputs, "rounds": rounds, "twin": place % TWIN_EVERY == 0},
                    **planned,
                },
            )
        )
    return found


def app_of(host: grid.Host, traffic: mix.Traffic, load: float, said: str = SAID) -> dict[str, Any]:
    """The declaration of somebody who knows the profile, the peak rate and the paths with their weights, and by `said`
    whether requests are alike, or nothing of that, or what each path computes and waits, without what Gunicorn and
    Flask add."""
    rate = mix.rate_of(traffic, host.cores, load)
    paths = [
        {
            **{"path": kind.path, "weight": 100 * kind.share},
            **({"cpu_ms": kind.cpu_ms, "wait_ms": kind.wait_ms} if said == TIMES else {}),
        }
        for kind in traffic.kinds
    ]
    apps, problems = normalise.normalise_apps(
        [
            {
                "name": "shop",
                "source": {"path": "app"},
                "entry_point": _serving.ENTRY,
                "listen": "127.0.0.1:8000",
                "profile": traffic.profile,
                "rate": rate,
                "health": {"path": _serving.HEALTH},
                "load": {"paths": paths},
                "buffering_proxy": True,
                **({"mix": traffic.mix} if said == SAID else {}),
            }
        ],
        "bench",
    )
    if problems:
        raise ScriptError(f"the benchmark's declaration is wrong: {problems[0]}")
    return dict(apps[0])


def declared_plan(host: grid.Host, traffic: mix.Traffic, load: float, said: str = SAID) -> planner.Plan:
    """Headcount's plan from the declaration alone; `said`: as of app_of()."""
    return plan_bench.plan_of(host, app_of(host, traffic, load, said), None)


def _settled(plan: planner.Plan) -> grid.Config:
    return grid.Config.from_settings(plan.values())


def measure(bench: Bench) -> None:
    """One cell after the other; cells of one core side by side with --lanes."""
    _serving.venv("main")
    try:
        for cores in dict.fromkeys(int(cell.inputs["host"]["cores"]) for cell in bench.missing()):
            subset = [cell for cell in bench.cells if int(cell.inputs["host"]["cores"]) == cores]
            lanes = {
                ",".join(map(str, cpus)): (cpus, load) for cpus, load in _mix_run.lanes(cores, bench.options.lanes)
            }
            part = replace(bench, cells=subset, minutes=bench.seconds_left() / 60.0)

            def on_lane(cell: Cell, lane: str, lanes: Mapping[str, Any] = lanes) -> dict[str, Any]:
                return work(bench, cell, *lanes[lane])

            try:
                part.run(on_lane, lanes=list(lanes))
            finally:
                bench.failures.update(part.failures)
                bench.out_of_time = bench.out_of_time or part.out_of_time
            if part.out_of_time:
                return
    finally:
        _serving.stop_all()


def work(bench: Bench, cell: Cell, cpus: Sequence[int], load_cpus: Sequence[int]) -> dict[str, Any]:
    """One cell: the search (kept: a planner that plans otherwise needs a new final only), the weigh, the final."""
    host = grid.Host(**cell.inputs["host"])
    task = _Task(host, mix.traffic_of(cell.inputs["traffic"]), float(cell.inputs["load"]),
                 str(cell.inputs["arrivals"]), tuple(cpus), tuple(load_cpus))  # fmt: skip
    app = app_of(host, task.traffic, task.load, NOTHING)
    unsaid = plan_bench.plan_of(host, app, None)
    budget = float(unsaid.value("memory_max_mib")) * float(app["limits"]["memory_percent"]) / 100
    kept = {"version": SEARCH_VERSION, "budget": budget}
    search = Cell(cell.name, {**{key: cell.inputs[key] for key in ("host", "traffic", "load", "arrivals")}, **kept})
    found = bench.load_raw(search)
    if found is None:
        found = task.search(budget)
        bench.save_raw(search, found)
    first = Cell(cell.name, {**cell.inputs, "part": "weigh and first rounds"})
    begun = bench.load_raw(first)
    if begun is None or mix.foreign(begun["final"]) > grid.DISTURBED:
        began = time.monotonic()
        weighed = plan_bench.weigh(unsaid, app, cpus)
        finished = plan_bench.plan_of(host, app, weighed)
        named = {
            **mix.rules(host),
            grid.DECLARED: _settled(declared_plan(host, task.traffic, task.load)),
            grid.UNSAID: _settled(unsaid),
            mix.TIMED: _settled(declared_plan(host, task.traffic, task.load, TIMES)),
            grid.WEIGHED: _settled(finished),
        }
        field = grid.contenders([grid.Config(**found["configs"][name]) for name in found["order"][:LEADERS]], named)
        field = [contender for contender in field if cell.inputs["twin"] or not _twin(contender)]
        begun = {
            "weigh": weighed,
            "weighed_warnings": list(finished.warnings),
            "final": task.final(field, found["alone_ms"], int(cell.inputs["rounds"])),
            "took": round(time.monotonic() - began, 1),
        }
        bench.save_raw(first, begun)
    final = task.further(begun["final"], found["alone_ms"], budget)
    return {
        "rate": task.rate,
        "budget_mib": budget,
        "alone_ms": found["alone_ms"],
        "cpu_ms": found["cpu_ms"],
        **{key: begun[key] for key in ("weigh", "weighed_warnings")},
        "search": {key: found[key] for key in ("simulated", "screened", "not_tried", "seconds", "took")},
        "final": final,
        "duels": task.duels(final, found["alone_ms"], budget),
        "final_seconds": task.lengths.final,
        "first_rounds_took": begun["took"],
        "cpus": {"server": list(cpus), "load": list(load_cpus)},
    }


class _Task:
    """The measurements of one cell."""

    def __init__(
        self, host: grid.Host, traffic: mix.Traffic, load: float, arrivals: str, cpus: tuple[int, ...],
        load_cpus: tuple[int, ...],
    ) -> None:  # fmt: skip
        self.host, self.traffic, self.load, self.arrivals = host, traffic, load, arrivals
        self.cpus, self.load_cpus = cpus, load_cpus
        self.rate = mix.rate_of(traffic, host.cores, load)
        self.lengths = mix.lengths_of(self.rate, traffic)

    def due(self, seconds: float, seed: str) -> mix.Schedule:
        """The arrivals of one run."""
        return mix.schedule(self.traffic, self.rate, seconds, self.arrivals, seed)

    def search(self, budget: float) -> dict[str, Any]:
        """Every shape that is not sure to be too slow or too large is simulated; the promising ones run for real."""
        began = time.monotonic()
        servers = _mix_run.Servers(self.cpus, preload=self.host.memory_mib >= PRELOAD_MIB)
        lengths = self.lengths
        try:
            alone = _mix_run.alone(servers, self.traffic)
            walls, used = [one.wall_ms for one in alone], [one.cpu_ms for one in alone]
            space = mix.search_space(self.host.cores)
            left = self._possible(space, budget, walls, used)
            simulated = self._simulated(left, self.due(lengths.simulated, "simulated"), walls, used)
            runs = self._screen(servers, mix.promising(simulated), self.due(lengths.screen, "screen"), budget)
        finally:
            servers.close()
        order = sorted(runs, key=lambda config: self._key(runs[config], walls))
        return {
            "alone_ms": walls,
            "cpu_ms": used,
            "configs": {config.name: vars(config) for config in runs},
            "order": [config.name for config in order],
            "simulated": {config.name: mix.plain_number(slowdown) for config, slowdown in simulated.items()},
            "screened": {config.name: self._short(runs[config], walls) for config in order},
            "not_tried": len(space) - len(left),
            "seconds": [lengths.simulated, lengths.screen],
            "took": round(time.monotonic() - began, 1),
        }

    def _possible(
        self, space: Sequence[grid.Config], budget: float, walls: Sequence[float], used: Sequence[float]
    ) -> list[grid.Config]:
        """The shapes that are not sure to be too slow for the rate or too large for the memory."""
        wall, cpu, cores = self.traffic.mean(walls), self.traffic.mean(used), self.host.cores
        return [
            config
            for config in space
            if not mix.saturated(config, cores, self.rate, cpu, wall)
            and config.workers * grid.LEAST_WORKER_MIB <= budget
        ]

    def _simulated(
        self, left: Sequence[grid.Config], due: mix.Schedule, walls: Sequence[float], used: Sequence[float]
    ) -> dict[grid.Config, float]:
        """The largest simulated slowdown of each shape, on all CPUs of the machine."""
        one = partial(
            sim.slowdown, host=self.host, traffic=self.traffic, due=due, cpu_ms=used, alone_ms=walls,
            shared=not self.load_cpus and self.host.cores > 1,
        )  # fmt: skip
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            return dict(zip(left, pool.map(one, left), strict=True))

    def _screen(
        self, servers: _mix_run.Servers, left: Sequence[grid.Config], due: mix.Schedule, budget: float
    ) -> dict[grid.Config, list[_mix_run.Run]]:
        """One run of each shape; those that turn out too large are left out (unless they share a preloaded app)."""
        runs: dict[grid.Config, list[_mix_run.Run]] = {}
        servers.ready(left)
        for config in left:
            run = self._run(servers, config, due, memory=True)
            if servers.preload or run.memory_mib <= budget:
                runs[config] = [run]
        return runs

    def final(self, field: Sequence[grid.Contender], walls: Sequence[float], rounds: int) -> list[dict[str, Any]]:
        """Every contender in every round with the round's own arrivals, there and back again; not what is far behind
        after the first."""
        runs: dict[grid.Contender, list[_mix_run.Run]] = {contender: [] for contender in field}
        self._rounds(field, runs, walls, range(rounds))
        return _plain(runs)

    def further(
        self, final: Sequence[Mapping[str, Any]], walls: Sequence[float], budget: float
    ) -> list[dict[str, Any]]:
        """A final with two rounds more at a time, on servers that are started anew, as long as a plan is too close to
        its bound to call, but at most FURTHER times."""
        runs = {
            grid.Contender(grid.Config.from_settings(entry["settings"]), tuple(entry["roles"])): [
                _mix_run.Run.from_dict(run) for run in entry["runs"]
            ]
            for entry in final
        }
        for _ in range(FURTHER):
            rounds = max(map(len, runs.values()))
            near = {one: mine for one, mine in runs.items() if len(mine) == rounds}
            fits = {one for one, mine in near.items() if max(run.memory_mib for run in mine) <= budget}
            figures = {
                one: (self._worst(mine, walls), float(mix.within(_mix_run.pooled(mine), walls)))
                for one, mine in near.items()
            }
            going_on = mix.undecided(figures, _mix_report.BOUNDS, PLANS, fits)
            if not going_on:
                break
            self._rounds(going_on, runs, walls, range(rounds, rounds + 2))
        return _plain(runs)

    def _rounds(
        self, field: Sequence[grid.Contender], runs: Mapping[grid.Contender, list[_mix_run.Run]],
        walls: Sequence[float], numbers: range,
    ) -> None:  # fmt: skip
        """Add the rounds of these numbers to `runs`, from the first one on without those that are far behind."""
        servers = {twin: _mix_run.Servers(self.cpus, preload=False) for twin in (False, True)}
        try:
            servers[False].ready(contender.config for contender in itertools.filterfalse(_twin, field))
            servers[True].ready(contender.config for contender in filter(_twin, field))
            for number in numbers:
                due = self.due(self.lengths.final, f"final {number}")
                best = min((self._worst(mine, walls) for mine in runs.values() if mine), default=0.0)
                for contender in field if number % 2 == 0 else field[::-1]:
                    mine = runs[contender]
                    if mine and numbers.start == 0 and self._worst(mine, walls) > _behind(contender) * best:
                        continue
                    mine.append(
                        self._run(servers[_twin(contender)], contender.config, due, memory=number == 0, careful=True)
                    )
        finally:
            for each in servers.values():
                each.close()

    def duels(
        self, final: Sequence[Mapping[str, Any]], walls: Sequence[float], budget: float
    ) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """The runs of the duels of a final (see _mix_duel), by the rule's configuration."""
        plan = next(entry["settings"] for entry in final if grid.WEIGHED in entry["roles"])
        return {
            name: self._duel(grid.Config.from_settings(plan), grid.Config.from_settings(rule))
            for name, rule in _mix_report.rivals(final, walls, budget).items()
        }

    def _duel(self, plan: grid.Config, rule: grid.Config) -> dict[str, list[dict[str, Any]]]:
        """The runs of the weighed plan and of a rule of thumb, by round. Every two rounds, there and back, have servers
        of their own, as two servers of the same plan differ."""
        both, runs = {"plan": plan, "rule": rule}, dict[str, list[_mix_run.Run]](plan=[], rule=[])
        for first in range(0, _mix_duel.ROUNDS, 2):
            servers = _mix_run.Servers(self.cpus, preload=False)
            try:
                servers.ready(both.values())
                for number, order in ((first, ("plan", "rule")), (first + 1, ("rule", "plan"))):
                    due = self.due(self.lengths.final, f"duel {number}")
                    for name in order:
                        runs[name].append(self._run(servers, both[name], due, memory=False, careful=True))
            finally:
                servers.close()
        return {name: [run.to_dict() for run in mine] for name, mine in runs.items()}

    def _run(
        self, servers: _mix_run.Servers, config: grid.Config, due: mix.Schedule, memory: bool, careful: bool = False
    ) -> _mix_run.Run:
        """One run; a careful one once more when it was disturbed."""
        run = _mix_run.load(servers, config, self.traffic, due, TIMEOUT_SECONDS, self.load_cpus, memory)
        if run.sound or not careful:
            return run
        again = _mix_run.load(servers, config, self.traffic, due, TIMEOUT_SECONDS, self.load_cpus, memory)
        return min(run, again, key=lambda one: one.foreign + one.lag_ms / 1000.0)

    def _worst(self, runs: Sequence[_mix_run.Run], walls: Sequence[float]) -> float:
        return mix.worst(mix.told(_mix_run.pooled(runs), walls))

    def _key(self, runs: Sequence[_mix_run.Run], walls: Sequence[float]) -> tuple[float, float, float]:
        latencies = _mix_run.pooled(runs)
        memory = statistics.median(run.memory_mib for run in runs)
        return mix.worst(mix.told(latencies, walls)), -mix.within(latencies, walls), memory

    def _short(self, runs: Sequence[_mix_run.Run], walls: Sequence[float]) -> dict[str, Any]:
        latencies = _mix_run.pooled(runs)
        kinds = mix.told(latencies, walls)
        return {
            "slowdown": mix.plain_number(mix.worst(kinds)),
            "within": round(mix.within(latencies, walls) / sum(map(len, latencies)), 4),
            "kinds": [kind.to_dict() for kind in kinds],
        }


def _plain(runs: Mapping[grid.Contender, Sequence[_mix_run.Run]]) -> list[dict[str, Any]]:
    """The contenders of a final with their runs, as plain data."""
    return [
        {
            "config": contender.config.name,
            "settings": contender.config.settings(),
            "roles": list(contender.roles),
            "runs": [run.to_dict() for run in mine],
        }
        for contender, mine in runs.items()
    ]


def _twin(contender: grid.Contender) -> bool:
    """Whether it is the weighed plan once more."""
    return grid.TWIN in contender.roles


def _behind(contender: grid.Contender) -> float:
    """What has more than so many times the best's slowdown is not run again."""
    return FAR_BEHIND if set(contender.roles) & set(PLANS) else BEATEN


def prepare(bench: Bench) -> None:
    """With --disturbed: forget the finals that other work of the machine disturbed; what was searched is kept."""
    if bench.options.disturbed:
        plan_bench.forget(bench, lambda value: mix.foreign(_mix_report.runs_of(value)) <= grid.DISTURBED)


def add_arguments(parser: Any) -> None:
    """How many cells of one core at a time, and whether to measure anew what was disturbed."""
    parser.add_argument("--disturbed", action="store_true", help="measure anew what other work disturbed")
    parser.add_argument("--lanes", type=int, default=1, metavar="N", help="cells of one core measured at a time (1)")


def report(bench: Bench) -> Report:
    """Tables, data and a plot of what is measured."""
    return _mix_report.report(bench.cells, bench.results())
