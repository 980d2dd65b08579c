# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""scripts/bench mixtures: arrivals, the search, the objective, the generator, and what is said of a cell."""

from __future__ import annotations

import argparse
import json
import math
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from headcount_bench import _mix_client, _mix_duel, _mix_report, _queue, mixtures
from headcount_bench import _mix_grid as mix
from headcount_bench import _mix_simulated as sim
from headcount_bench import _plan_grid as grid
from headcount_bench import plan as plan_bench
from headcount_bench._common import Bench, Cell, Result
from headcount_bench._mix_run import Run, lanes

REPORT = mix.TRAFFIC["report"]


def test_the_grid_has_what_is_asked_of_it() -> None:
    cells = mix.GRID
    assert len(cells) == len(set(cells)) >= 24
    assert {grid.HOSTS[host].cores for host, *_ in cells} == {1, 2}
    assert {load for _, _, load, _ in cells} >= {0.3, 0.6, 0.9}
    assert {arrivals for *_, arrivals in cells} == {"poisson", "bursts"}
    assert min(grid.HOSTS[host].memory_mib for host, *_ in cells) <= 256
    used = [mix.TRAFFIC[name] for _, name, _, _ in cells]
    assert {len(traffic.kinds) for traffic in used} == {2, 3, 4}
    c2 = [traffic.variation([kind.cpu_ms + mix.OVERHEAD_MS for kind in traffic.kinds]) for traffic in used]
    assert min(c2) == pytest.approx(0, abs=1e-9)
    assert max(c2) > 50
    assert set(mix.QUICK) <= set(cells)


@pytest.mark.parametrize("traffic", mix.TRAFFIC.values(), ids=lambda traffic: traffic.name)
def test_shares_add_up_and_plain_data_comes_back(traffic: mix.Traffic) -> None:
    assert sum(kind.share for kind in traffic.kinds) == pytest.approx(1)
    assert mix.traffic_of(json.loads(json.dumps(mix.plain(traffic)))) == traffic


def test_variation_is_the_squared_coefficient_of_variation() -> None:
    assert REPORT.mean([5, 300]) == pytest.approx(19.75)
    assert REPORT.variation([5, 300]) == pytest.approx(10.6, abs=0.01)
    assert REPORT.variation([7, 7]) == pytest.approx(0)
    assert REPORT.variation([0, 0]) == 0


def test_a_load_is_the_share_of_the_cores_that_the_requests_take() -> None:
    rate = mix.rate_of(REPORT, 2, 0.6)
    assert rate * (19.75 + mix.OVERHEAD_MS) == pytest.approx(0.6 * 2 * 1000, rel=0.01)


@pytest.mark.parametrize("arrivals", ["poisson", "bursts"])
def test_schedules_repeat_and_have_every_kind_s_share(arrivals: str) -> None:
    due = mix.schedule(REPORT, 59.0, 20.0, arrivals, "a")
    assert due == mix.schedule(REPORT, 59.0, 20.0, arrivals, "a")
    assert due != mix.schedule(REPORT, 59.0, 20.0, arrivals, "b")
    assert len(due) == 1180
    assert Counter(kind for _, kind in due) == {0: 1121, 1: 59}
    assert [at for at, _ in due] == sorted(at for at, _ in due)


def _dispersion(arrivals: str, window: float) -> float:
    total = 0.0
    for seed in range(20):
        counts = Counter(int(at / window) for at, _ in mix.schedule(REPORT, 60.0, 30.0, arrivals, str(seed)))
        numbers = [counts[place] for place in range(int(30.0 / window))]
        mean = sum(numbers) / len(numbers)
        total += sum((number - mean) ** 2 for number in numbers) / len(numbers) / mean
    return total / 20


def test_poisson_arrivals_scatter_as_much_as_they_are_and_bursts_more() -> None:
    assert _dispersion("poisson", 0.1) == pytest.approx(1.0, abs=0.1)
    # a burst of a geometric number of mean 4 that falls into one window: E[N^2] / E[N] = 7
    assert 5.0 < _dispersion("bursts", 0.5) < 7.5


@pytest.mark.parametrize(("count", "expected"), [(100, [95, 5]), (10, [9, 1]), (2, [1, 1]), (59, [56, 3])])
def test_every_kind_is_asked_at_least_once(count: int, expected: list[int]) -> None:
    assert list(Counter(mix.shares(REPORT, count)).values()) == expected


@pytest.mark.parametrize("cores", [1, 2])
def test_the_search_has_all_classes_and_names_tell_them_apart(cores: int) -> None:
    space = mix.search_space(cores)
    assert len(space) == len(set(space)) == len({config.name for config in space})
    sync = [config.workers for config in space if config.worker_class == "sync"]
    assert {1, cores, 2 * cores + 1, 16 * cores} <= set(sync)
    assert {config.workers for config in space if config.worker_class == "gevent"} == set(range(1, 2 * cores + 2))
    threads = [config for config in space if config.worker_class == "gthread"]
    assert {config.switch_ms for config in threads} == {0.0, 0.5}
    assert {config.workers for config in threads} == {cores, cores + 1, *(factor * cores for factor in (2, 3, 4, 8))}


def test_the_promising_shapes_run_for_real() -> None:
    """The best two of each class and then the best of all, but nothing that is simulated at twice the least."""
    space = mix.search_space(2)
    slowdowns = {shape: {"sync": 3.0, "gthread": 4.0, "gevent": 30.0}[shape.worker_class] for shape in space}
    few, many = grid.Config("sync", 5), grid.Config("sync", 32)
    slowdowns[grid.Config("sync", 2)] = slowdowns[grid.Config("sync", 1)] = 40.0
    slowdowns[many] = 2.99
    found = mix.promising(slowdowns)
    assert len(found) == mix.SCREENED
    assert [shape.worker_class for shape in found[:4]] == ["sync", "sync", "gthread", "gthread"]
    assert found[0] == grid.Config("sync", 3), "what is as good takes fewer processes"
    assert few in found
    assert many not in found
    assert {shape.worker_class for shape in found} == {"sync", "gthread"}


def test_shapes_are_simulated_in_processes_of_their_own() -> None:
    task = mixtures._Task(grid.HOSTS["2c"], REPORT, 0.6, "poisson", (0, 1), ())
    shapes = [grid.Config("sync", 2), grid.Config("sync", 16)]
    found = task._simulated(shapes, task.due(6.0, "simulated"), [5.6, 300.6], [5.6, 300.6])
    assert list(found) == shapes
    assert found[shapes[0]] > 3 * found[shapes[1]]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (grid.Config("sync", 4), True),  # 80 a second of 50 ms are 4 at a time
        (grid.Config("sync", 5), False),
        (grid.Config("gevent", 1, 1, 256, 0), True),  # 80 a second of 15 ms are more than one core
        (grid.Config("gevent", 2, 1, 256, 0), False),
        (grid.Config("gthread", 1, 64, 64, 0), True),
    ],
)
def test_what_cannot_serve_the_rate_is_not_tried(config: grid.Config, expected: bool) -> None:
    assert mix.saturated(config, 2, 80.0, 15.0, 50.0) is expected


def test_quantiles_and_the_objective() -> None:
    assert mix.quantile([1, 2, 3, 4], 0.5) == 2.5
    assert math.isnan(mix.quantile([], 0.5))
    assert mix.quantile([1, math.inf], 0.5) == math.inf
    assert mix.quantile([1, 2, math.inf, math.inf], 0.9) == math.inf
    kinds = mix.told([[10.0] * 99 + [math.inf], [300.0, 600.0]], [5.0, 300.0])
    assert (kinds[0].n, kinds[0].p95_ms, kinds[0].slowdown, kinds[0].lost) == (100, 10.0, 2.0, 1)
    assert mix.worst(kinds) == 2.0
    assert mix.within([[49.0, 51.0], [2999.0]], [5.0, 300.0]) == 2
    assert mix.told([[math.inf]], [5.0])[0].to_dict()["p95_ms"] is None


class _Server:
    """Answers each request after what its path says in ms; "/none" never, "/bad" with 500, "/cut" halfway."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.held: list[socket.socket] = []

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection: socket.socket) -> None:
        path = connection.recv(4096).split()[1].decode().strip("/")
        if path == "none":
            self.held.append(connection)
            return
        if path.isdigit():
            threading.Event().wait(int(path) / 1000)
        status = b"500 Bad" if path == "bad" else b"200 OK"
        body = b"ok" if path == "cut" else b"okay"
        connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 4\r\n\r\n" + body)
        connection.close()


@contextmanager
def _serving() -> Iterator[_Server]:
    server = _Server()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()
        thread.join(5)


def _ask(server_port: int, heads: list[str], due: list[tuple[float, int]], timeout: float = 1.0) -> dict[str, Any]:
    spec = {"host": "127.0.0.1", "port": server_port, "heads": heads, "due": due, "timeout": timeout}
    program = Path(_mix_client.__file__)
    done = subprocess.run(
        [sys.executable, program], input=json.dumps(spec) + "\n", capture_output=True, text=True, timeout=30, check=True
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_generator_tells_every_request_whatever_becomes_of_it() -> None:
    with _serving() as server:
        heads = ["/0", "/200", "/bad", "/none", "/cut"]
        answer = _ask(server.port, heads, [(0.0, 1), (0.01, 0), (0.02, 2), (0.03, 3), (0.04, 4)])
    rows = answer["rows"]
    assert [row[0] for row in rows] == [1, 0, 2, 3, 4]
    assert 0.2 <= rows[0][2] < 1.0
    assert rows[1][2] < 0.2, "it did not wait for the slow one"
    assert [row[3] for row in rows] == [200, 200, 500, 0, 200]
    assert rows[3][2] is None
    assert rows[4][2] is not None


def test_the_generator_counts_from_when_a_request_was_due() -> None:
    """All are held, and answered from the last to the first: so the first waited for at least what it was earlier."""
    server = _Server()

    def last_first() -> None:
        held = [server.listener.accept()[0] for _ in range(4)]
        for connection in reversed(held):
            server.answer(connection)

    thread = threading.Thread(target=last_first, daemon=True)
    thread.start()
    try:
        answer = _ask(server.port, ["/0"], [(number * 0.05, 0) for number in range(4)])
        thread.join(5)
    finally:
        server.listener.close()
    took = [row[2] for row in answer["rows"]]
    assert took[0] >= took[3] + 3 * 0.05 - 0.001


def test_what_is_refused_was_not_answered() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        answer = _ask(bound.getsockname()[1], ["/0"], [(0.0, 0), (0.1, 0)])
    assert [row[2:] for row in answer["rows"]] == [[None, 0], [None, 0]]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", False),
        (b"HTTP/1.1 200 OK\r\n\r\nwhatever", False),
    ],
)
def test_an_answer_is_whole_by_its_length(data: bytes, expected: bool) -> None:
    assert _mix_client.whole(data) is expected


def test_cells_are_planned_from_the_profile_and_the_rate() -> None:
    cells = mixtures.cells(False)
    assert len({cell.key for cell in cells}) == len(cells) == len(mix.GRID)
    chosen = mixtures.declared_plan(grid.HOSTS["2c"], mix.TRAFFIC["stalled"], 0.6)
    assert chosen.value("worker_class") in ("sync", "gthread", "gevent")
    assert mixtures.app_of(grid.HOSTS["2c"], REPORT, 0.6)["rate"] == pytest.approx(59.0)


def test_a_declaration_says_whether_requests_are_alike_or_nothing_of_it_or_what_they_take() -> None:
    host, stalled = grid.HOSTS["2c"], mix.TRAFFIC["stalled"]
    said, silent, timed = (
        mixtures.app_of(host, stalled, 0.6, which) for which in (mixtures.SAID, mixtures.NOTHING, mixtures.TIMES)
    )
    assert (said["mix"], silent["mix"], timed["mix"]) == ("uniform", None, None)
    assert [path.get("cpu_ms") for path in said["load"]["paths"]] == [None, None]
    assert [path["cpu_ms"] for path in timed["load"]["paths"]] == [5, 1]
    alike = {name for name, traffic in mix.TRAFFIC.items() if traffic.mix == "uniform"}
    assert alike == {"alike", "stalled"}  # by what they compute
    inputs = next(cell.inputs for cell in mixtures.cells(False) if cell.name == "2c/alike/0.6/poisson")
    assert (inputs["planner"]["worker_class"], inputs["planner"]["workers"]) == ("sync", 2)
    assert (inputs["unsaid"]["worker_class"], inputs["unsaid"]["workers"]) == ("sync", 14)


def test_a_run_has_enough_of_the_rarest_kind_within_bounds() -> None:
    for host, name, load, _ in mix.GRID:
        traffic = mix.TRAFFIC[name]
        rate = mix.rate_of(traffic, grid.HOSTS[host].cores, load)
        seconds, rarest = mix.lengths_of(rate, traffic).final, min(kind.share for kind in traffic.kinds)
        assert 5.0 <= seconds <= mix.FINAL_MOST
        assert round(rate * seconds * rarest) >= mix.RARE_LEAST or seconds == mix.FINAL_MOST


@pytest.mark.parametrize(
    ("cell", "planned"),
    [
        (("2c", "mild", 0.6, "poisson"), 6),
        (("2c", "extreme", 0.6, "poisson"), 14),
        (("2c", "report", 0.3, "poisson"), 6),
        (("2c", "report", 0.6, "bursts"), 11),
        (("2c", "report", 0.9, "poisson"), 24),
        (("1c", "report", 0.6, "poisson"), 11),
        (("1c", "mild", 0.9, "poisson"), 16),
    ],
    ids=lambda value: "/".join(map(str, value)) if isinstance(value, tuple) else str(value),
)
def test_as_many_processes_as_the_mixture_asks_for(cell: tuple[str, str, float, str], planned: int) -> None:
    """Strong mixtures or mild ones, a low load or a high one, bursts: by the simulation, over the benchmark's own
    arrivals, no fixed number of sync workers for each core is better by more than chance."""
    host, traffic = grid.HOSTS[cell[0]], mix.TRAFFIC[cell[1]]
    own = [kind.cpu_ms + mix.OVERHEAD_MS for kind in traffic.kinds]
    app = mixtures.app_of(host, traffic, cell[2])
    paths = [{**path, "cpu_ms": cpu} for path, cpu in zip(app["load"]["paths"], own, strict=True)]
    chosen = plan_bench.plan_of(host, {**app, "profile": None, "load": {**app["load"], "paths": paths}}, None)
    assert (chosen.value("worker_class"), chosen.value("workers")) == ("sync", planned)
    rate, n = mix.rate_of(traffic, host.cores, cell[2]), host.cores
    seconds = mix.lengths_of(rate, traffic).final
    due = [mix.schedule(traffic, rate, seconds, cell[3], f"final {number}") for number in range(3)]
    found = {
        count: sim.simulated(grid.Config("sync", count), host, traffic, due, own, own, n > 1).slowdown
        for count in {planned, n, 2 * n + 1, 16 * n}
    }
    assert found[planned] <= 1.1 * min(found.values()), found
    assert found[planned] < found[n], found


def test_what_a_core_is_planned_for_waits_that_nobody_knows_is_bad_in_no_mixture() -> None:
    """By the simulation, over the benchmark's own arrivals: more processes are better where the requests' CPU times
    differ, and far worse where they are alike and only some wait."""
    for name, load, arrivals in (
        *(("stalled", 0.6, "poisson"), ("backend", 0.6, "poisson")),
        *(("shop", 0.6, "poisson"), ("shop", 0.3, "bursts")),
    ):
        host, traffic = grid.HOSTS["1c"], mix.TRAFFIC[name]
        own = [kind.cpu_ms + mix.OVERHEAD_MS for kind in traffic.kinds]
        alone = [cpu + kind.wait_ms for cpu, kind in zip(own, traffic.kinds, strict=True)]
        rate, n = mix.rate_of(traffic, host.cores, load), host.cores
        seconds = mix.lengths_of(rate, traffic).final
        due = [mix.schedule(traffic, rate, seconds, arrivals, f"final {turn}") for turn in range(3)]
        chosen = grid.Config.from_settings(mixtures.declared_plan(host, traffic, load, mixtures.NOTHING).values())
        others = [grid.Config("gevent", 2, 1, 64, 0), grid.Config("sync", 8), grid.Config("sync", 14)]
        found = {
            shape: sim.simulated(shape, host, traffic, due, own, alone, n > 1).slowdown for shape in (chosen, *others)
        }
        assert found[chosen] <= 1.6 * min(found.values()), (name, found)


def test_lanes_have_cpus_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    assert lanes(2, 1) == [((0, 1), ())]
    assert lanes(1, 1) == [((1,), (0,))]
    assert lanes(1, 2) == [((1,), ()), ((0,), ())]


def _run(short: float, long: float, memory: float = 50.0, foreign: float = 0.01) -> dict[str, Any]:
    latencies = [[short] * 95, [long] * 5]
    return Run(latencies, 10.0, memory, 20.0, 0.2, 0.02, foreign).to_dict()


def _value(**changes: list[dict[str, Any]]) -> dict[str, Any]:
    entries = {
        "gthread 6x4": (["search"], [_run(12, 900), _run(12, 900)]),
        "sync 12": ([mix.TIMED], [_run(16, 900), _run(16, 900)]),
        "ours": ([grid.DECLARED, grid.UNSAID, grid.WEIGHED], [_run(13, 900), _run(13, 900)]),
        "twin": ([grid.TWIN], [_run(13, 990), _run(13, 990)]),
        "sync 5": (["2n+1", "heroku"], [_run(90, 900)]),
        "others": (["debops", "cloud run"], [_run(200, 900)]),
    }
    settings = grid.Config("sync", 4).settings()
    final = [
        {"config": name, "roles": roles, "settings": settings, "runs": changes.get(name, runs)}
        for name, (roles, runs) in entries.items()
    ]
    return {
        **{"rate": 59.0, "budget_mib": 200.0, "alone_ms": [5.0, 300.0], "cpu_ms": [5.0, 300.0], "final_seconds": 2.0},
        **{"weigh": {}, "search": {}, "final": final, "duels": {}, "cpus": {"server": [1], "load": [0]}},
    }


def _cell() -> Cell:
    inputs = {"host": vars(grid.HOSTS["2c"]), "traffic": mix.plain(REPORT), "load": 0.6, "arrivals": "poisson"}
    return Cell("2c/report/0.6/poisson", inputs)


def test_a_cell_is_compared_by_its_worst_kind() -> None:
    found = _mix_report.found_of(_cell(), _value())
    assert found.best.config == "gthread 6x4"
    assert found.best.slowdown == pytest.approx(3.0)  # the long ones; the short ones have 2.4
    assert found.role(grid.WEIGHED).ratio == pytest.approx(1.0)
    assert found.role("2n+1").ratio == pytest.approx(6.0)
    assert found.noise == pytest.approx(1.1)
    assert found.short == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"ours": [_run(25, 900)] * 2},
            ["after weighing 1.67 times the least slowdown (ours 5.0, gthread 6x4 3.0)"],
        ),
        (
            {"sync 12": [_run(25, 900)] * 2},
            ["declared with times 1.67 times the least slowdown (sync 12 5.0, gthread 6x4 3.0)"],
        ),
        (
            {"ours": [_run(13, 900, 300)] * 2},
            [
                "after weighing 300 MiB, more than the budget of 200",
                "declared 300 MiB, more than the budget of 200",
            ],
        ),
        (
            {"ours": [_run(13, math.inf)] * 2},
            ["after weighing inf times the least slowdown (ours inf, gthread 6x4 3.0)"],
        ),
    ],
)
def test_what_falls_short_is_said(changes: Any, expected: list[str]) -> None:
    said = _mix_report.found_of(_cell(), _value(**changes)).short
    assert said[: len(expected)] == expected if len(expected) == 1 else all(one in said for one in expected)


def test_a_plan_that_is_too_close_to_its_bound_goes_on_with_the_other_plans_and_the_best() -> None:
    def of(workers: int, *roles: str) -> grid.Contender:
        return grid.Contender(grid.Config("sync", workers), roles)

    best, weighed, near, far, other = of(7), of(6, grid.WEIGHED), of(5, "2n+1"), of(3, "debops"), of(14, grid.DECLARED)
    found = {best: 2.0, weighed: 2.4, near: 2.5, far: 5.0, other: 8.0}
    plans, bounds = (
        (grid.WEIGHED, grid.DECLARED),
        {grid.WEIGHED: mix.Bound(1.25, 0.95), grid.DECLARED: mix.Bound(1.5, 0.9)},
    )

    def going_on(fits: list[grid.Contender], goodput: float = 100.0, **changes: float) -> list[grid.Contender]:
        slow = {**found, **{{"weighed": weighed, "other": other}[name]: value for name, value in changes.items()}}
        good = {weighed: goodput}
        return mix.undecided({one: (value, good.get(one, 100.0)) for one, value in slow.items()}, bounds, plans, fits)

    everybody = list(found)
    assert going_on(everybody) == [best, weighed, near, other]
    assert going_on(everybody, weighed=2.8) == [best, weighed, near, other]  # above it
    assert going_on(everybody, weighed=2.1) == []  # clearly within
    assert going_on(everybody, weighed=3.0) == []  # clearly beyond
    assert going_on(everybody, weighed=2.1, other=2.7) == [best, weighed, near, other]  # the other one's bound
    assert going_on(everybody, weighed=2.1, goodput=93.0) == [best, weighed, near, other]
    assert going_on(everybody, weighed=2.1, goodput=91.0) == []  # clearly too little
    assert going_on([weighed, near, far, other]) == []  # the least does not fit
    assert going_on([]) == []


def test_a_rule_is_ahead_of_the_plan_over_the_rounds_that_both_ran_in() -> None:
    rounds = {"ours": [_run(15, 900), _run(15, 900), _run(30, 900), _run(30, 900)], "sync 5": [_run(16, 900)] * 2}
    value = _value(**rounds)
    assert _mix_report.found_of(_cell(), value).role("2n+1").ahead == pytest.approx(15 / 16)  # and not 30 / 16


@pytest.mark.parametrize(
    ("plan", "rule", "rivals"),
    [
        (16, 15, ["sync 5"]),
        (15, 16, ["sync 5"]),  # behind, but what two equals differ by in a final
        (20, 15, ["sync 5"]),
        (15, 20, []),
    ],
)
def test_a_rule_that_is_close_or_ahead_meets_the_plan_again_if_it_fits_in_the_memory(
    plan: float, rule: float, rivals: list[str]
) -> None:
    runs = {"ours": [_run(plan, 900)] * 2, "sync 5": [_run(rule, 900)] * 2, "others": [_run(rule, 900, 300)] * 2}
    value = _value(**runs)
    assert list(_mix_report.rivals(value["final"], value["alone_ms"], value["budget_mib"])) == rivals


def _duel(plan: list[float], rule: list[float], foreign: float = 0.01) -> dict[str, Any]:
    return {
        "plan": [_run(one, 900) for one in plan],
        "rule": [_run(one, 900, foreign=foreign) for one in rule],
    }


@pytest.mark.parametrize(
    ("plan", "rule", "worse"),
    [
        ([16.0] * 12, [15.6] * 12, True),  # by little, in every round
        ([16.0, 18.0] * 6, [18.2, 15.5] * 6, False),  # one here, the other there: over all rounds the plan by little
        ([16.0, 18.0] * 6, [17.8, 15.5] * 6, True),  # ... the rule by little
        ([16.0, 18.0] * 6, [15.0, 18.2] * 6, False),  # more often the rule, but over all rounds together the plan
        ([16.0] * 11 + [60.0], [16.2] * 11 + [15.0], True),  # one bad round makes p95 of all together bad
        ([16.0] * 12, [17.0] * 12, False),
    ],
    ids=["always", "hardly not", "hardly", "not over all", "one bad round", "never"],
)
def test_the_duel_decides_whether_the_plan_is_worse_than_a_rule(
    plan: list[float], rule: list[float], worse: bool
) -> None:
    value = _value(**{"ours": [_run(17, 900)] * 2, "sync 5": [_run(15, 900)] * 2})
    value["duels"] = {"sync 5": _duel(plan, rule)}
    found = _mix_report.found_of(_cell(), value)
    told = found.role("2n+1").duel
    assert told is not None
    assert told.worse is worse, told
    assert any(sentence.startswith("after weighing worse than 2n+1 (") for sentence in found.short) is worse
    assert any(sentence.startswith("after weighing worse than heroku (") for sentence in found.short) is worse
    report = _mix_report.report([_cell()], {_cell().name: Result(_cell().name, _cell().key, value, 0.0, 1.0)})
    assert "## Beside a rule of thumb that is close" in report.markdown
    assert f"| {told.chance:.2f} | {'yes' if worse else 'no'} |" in report.markdown
    json.dumps(report.data, allow_nan=False)


def test_a_disturbed_duel_disturbs_its_cell() -> None:
    value = _value()
    value["duels"] = {"sync 5": _duel([16.0] * 12, [17.0] * 12, foreign=0.3)}
    assert _mix_report.found_of(_cell(), value).foreign == pytest.approx(0.3)


def test_what_it_costs_to_say_nothing_of_the_mix_is_told() -> None:
    value = _value(ours=[_run(13, 900)] * 2)
    ours = next(entry for entry in value["final"] if entry["config"] == "ours")
    ours["roles"].remove(grid.UNSAID)
    silent = {"config": "silent", "roles": [grid.UNSAID], "settings": ours["settings"], "runs": [_run(40, 900)] * 2}
    value["final"].append(silent)
    report = _mix_report.report([_cell()], {_cell().name: Result(_cell().name, _cell().key, value, 0.0, 1.0)})
    assert "It has at most 1.5 times the least slowdown in 0 of 1 cells." in report.markdown
    assert "| 2c/report/0.6/poisson | mixed | ours | 1.00 | silent | 2.67 |" in report.markdown
    told = "declared without a word on the mix 2.67 times the least slowdown (silent 8.0, gthread 6x4 3.0)"
    assert report.missed == [f"2c/report/0.6/poisson: {told}"]


def test_the_chance_is_that_of_all_signs() -> None:
    assert _mix_duel.chance_of([1.1, 1.2, 1.3]) == pytest.approx(1 / 8)
    assert _mix_duel.chance_of([0.9]) == pytest.approx(1.0)
    assert _mix_duel.chance_of([1.2, 1 / 1.1]) == pytest.approx(2 / 4)
    assert _mix_duel.chance_of([1.0, 1.0]) == pytest.approx(1.0)
    lost = _mix_duel.duel_of(math.inf, 3.0, [(math.inf, 3.0)] * 5)
    assert lost.worse
    assert lost.to_dict()["plan"] is None
    other = _mix_duel.duel_of(3.0, math.inf, [(3.0, math.inf), (math.inf, math.inf)])
    assert not other.worse
    assert other.by_round == (0.0, 1.0)
    assert _mix_duel.duel_of(math.inf, math.inf, [(math.inf, math.inf)]).ratio == 1.0


def test_the_best_fits_in_the_memory() -> None:
    small = _value(**{"gthread 6x4": [_run(12, 900, 300)] * 2})
    assert _mix_report.found_of(_cell(), small).best.config == "ours"


def test_the_report_is_written_and_disturbed_cells_prove_nothing(tmp_path: Path) -> None:
    cell = _cell()
    slow = _value(ours=[_run(25, 900)] * 2)
    report = _mix_report.report([cell], {cell.name: Result(cell.name, cell.key, slow, 0.0, 1.0)})
    assert report.missed[0].startswith("2c/report/0.6/poisson: after weighing 1.67 times")
    assert "| report, 0.6, poisson | 10.6, 10.6 | 59 | gthread 6x4 | 3.0 |" in report.markdown
    assert "`2c/report/0.6/poisson`" in report.markdown
    json.dumps(report.data, allow_nan=False)
    loud = _value(ours=[_run(25, 900, foreign=0.3)] * 2)
    report = _mix_report.report([cell], {cell.name: Result(cell.name, cell.key, loud, 0.0, 1.0)})
    assert report.missed == []


def test_the_simulation_gets_the_same_arrivals() -> None:
    kinds = sim.kinds_of(REPORT, [6.0, 301.0])
    assert [kind.alone_ms for kind in kinds] == [6.0, 301.0]
    alone = _queue.replay(sim.queues_of(grid.Config("sync", 2)), 2, kinds, [(0.0, 0), (1.0, 1), (1.01, 0)])
    assert sorted((kind, round(arrived), round(took)) for kind, arrived, took in alone) == [
        *((0, 0, 6), (0, 1010, 6), (1, 1000, 301))
    ]
    behind = _queue.replay(sim.queues_of(grid.Config("sync", 1)), 2, kinds, [(1.0, 1), (1.01, 0)])
    assert max(took for kind, _, took in behind if kind == 0) == pytest.approx(297, abs=1)


def test_contenders_are_simulated_but_those_that_lost_requests() -> None:
    value = _value(ours=[_run(13, math.inf)])
    found = sim.beside(grid.HOSTS["2c"], REPORT, value, "poisson")
    assert set(found) == {"gthread 6x4", "sync 12", "twin", "sync 5", "others"}
    assert all(len(one.p95_ms) == 2 for one in found.values())
    assert sim.agrees(3.4, 3.0)
    assert not sim.agrees(3.5, 3.0)
    assert not sim.agrees(3.0, math.inf)


def test_threads_are_simulated_with_their_switch_interval() -> None:
    assert sim.queues_of(grid.Config("gthread", 2, 8, 8, 0)) == _queue.Queues(2, 8, 5.0)
    assert sim.queues_of(grid.Config("gthread", 2, 8, 8, 0, switch_ms=0.5)) == _queue.Queues(2, 8, 0.5)
    assert sim.queues_of(grid.Config("gevent", 2, 1, 64, 0)) == _queue.Queues(2, 64, math.inf)


def test_disturbed_finals_are_forgotten(tmp_path: Path) -> None:
    bench = Bench("mixtures", [], argparse.Namespace(quick=False, only=[], disturbed=True), tmp_path, 1.0)
    loud = _value(ours=[_run(13, 900, foreign=0.3)] * 2)
    for key, value in (("calm", _value()), ("loud", loud)):
        bench.store.add({"cell": key, "key": key, "value": value, "at": 0.0, "seconds": 1.0, "lane": ""})
    mixtures.prepare(bench)
    assert list(bench.store.read()) == ["calm"]
