# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""scripts/bench plan: the grid, the rules, what is searched, and what is said of a cell."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
from headcount_bench import _plan_grid as grid
from headcount_bench import _plan_report, plan
from headcount_bench._common import Bench, Cell, Result

TWO, SMALL = grid.HOSTS["2c"], grid.HOSTS["2c-512m"]


def _run(goodput: float, p95: float, memory: float = 50.0) -> dict[str, Any]:
    return {
        **{"goodput": goodput, "rate": goodput, "p50_ms": p95 / 2, "p95_ms": p95, "errors": 0},
        **{"memory_mib": memory, "foreign": 0.01},
    }


def _final(**changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A final in which the search found gevent 2 and Headcount plans the same but for what is changed."""
    entries = {
        "search": (["search"], [_run(1000, 50), _run(1010, 51), _run(990, 49)]),
        "ours": ([grid.DECLARED, grid.UNSAID, grid.WEIGHED], [_run(980, 52), _run(985, 50), _run(975, 54)]),
        "twin": ([grid.TWIN], [_run(970, 53)]),
        "rule": (["2n+1", "heroku"], [_run(90, 600)]),
        "others": (["debops", "cloud run"], [_run(60, 900)]),
    }
    return [
        {"config": name, "roles": roles, "runs": changes.get(name, runs)} for name, (roles, runs) in entries.items()
    ]


def test_the_grid_has_the_stated_cells_first_and_every_cell_once() -> None:
    cells = grid.grid(False)
    assert len(set(cells)) == len(cells)
    assert {host for host, _, _ in cells[:24]} == {"2c"}
    assert {(workload, connections) for _, workload, connections in cells[:24]} == {
        (workload, connections) for workload in grid.WORKLOADS for connections in (8, 32, 128)
    }
    assert set(grid.grid(True)) <= set(cells)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("2c", {"2n+1": "sync 5", "heroku": "sync 5", "debops": "sync 3", "cloud run": "gthread 1x8 ka2 c1000"}),
        ("2c-512m", {"2n+1": "sync 5", "heroku": "sync 2", "debops": "sync 3", "cloud run": "gthread 1x8 ka2 c1000"}),
        ("1c-256m", {"2n+1": "sync 3", "heroku": "sync 1", "debops": "sync 2", "cloud run": "gthread 1x8 ka2 c1000"}),
    ],
)
def test_rules(host: str, expected: dict[str, str]) -> None:
    assert {name: config.name for name, config in grid.rules(grid.HOSTS[host]).items()} == expected


@pytest.mark.parametrize("connections", grid.CONNECTIONS)
@pytest.mark.parametrize("workload", grid.WORKLOADS.values(), ids=lambda workload: workload.name)
def test_the_search_covers_each_class_with_and_without_keepalive(workload: grid.Workload, connections: int) -> None:
    space = grid.search_space(TWO, workload, connections)
    assert len(set(space)) == len(space)
    assert len({config.name for config in space}) == len(space)
    assert {(config.worker_class, config.keepalive) for config in space} == {
        *(("gevent", 0), ("gevent", 2), ("gthread", 0), ("gthread", 2), ("sync", 2))
    }
    assert {config.workers for config in space if config.worker_class == "gevent"} == {1, 2, 3, 4}
    assert any(config.worker_class == "sync" and config.workers == 5 for config in space)


def test_slots_and_bounds() -> None:
    io = grid.WORKLOADS["io50"]
    assert grid.Config("sync", 5).slots == 5
    assert grid.Config("gthread", 2, 16, 4, 0).slots == 8
    assert grid.Config("gevent", 2, 1, 16, 0).slots == 32
    assert grid.bound(grid.Config("sync", 5), TWO, io, 128) == pytest.approx(100.0)
    assert grid.bound(grid.Config("gevent", 2), TWO, io, 32) == pytest.approx(640.0)
    assert grid.bound(grid.Config("gevent", 1), TWO, grid.WORKLOADS["cpu5"], 32) == pytest.approx(200.0)


def test_what_cannot_fit_in_the_memory_is_not_tried() -> None:
    memory = grid.WORKLOADS["memory"]
    assert grid.too_much_memory(grid.Config("gevent", 2), memory, 128, 224.0)
    assert not grid.too_much_memory(grid.Config("gevent", 2, 1, 6, 0), memory, 128, 224.0)
    assert grid.too_much_memory(grid.Config("sync", 30), grid.WORKLOADS["cpu5"], 8, 224.0)


@pytest.mark.parametrize(
    ("host", "workload", "connections", "expected"),
    [("2c", "cpu5", 32, 192.0), ("2c", "io50", 8, 102.0), ("2c", "io50", 128, 128.0), ("2c", "io200", 128, 402.0)],
)
def test_limit_is_twice_the_mean_time_of_a_request(host: str, workload: str, connections: int, expected: float) -> None:
    assert grid.limit_ms(grid.HOSTS[host], grid.WORKLOADS[workload], connections, 1000.0) == expected


def test_little_memory_raises_the_limit_as_fewer_requests_fit() -> None:
    memory = grid.WORKLOADS["memory"]
    assert grid.limit_ms(SMALL, memory, 128, 100.0) > grid.limit_ms(TWO, memory, 128, 3686.0)


def test_a_plan_s_settings_become_a_configuration_and_back() -> None:
    config = grid.Config("gthread", 2, 16, 16, 0)
    assert grid.Config.from_settings(config.settings()) == config
    assert grid.Config.from_settings({"worker_class": "sync", "workers": 3}).name == "sync 3"


def test_contenders_join_roles_and_keep_the_twin_apart() -> None:
    ours, rule = grid.Config("gevent", 2, keepalive=0), grid.Config("sync", 5)
    field = grid.contenders([ours], {grid.WEIGHED: ours, "2n+1": rule, "heroku": rule})
    assert [(entry.config, entry.roles) for entry in field] == [
        *((ours, ("search", grid.WEIGHED)), (rule, ("2n+1", "heroku")), (ours, (grid.TWIN,)))
    ]


def test_a_cell_that_reaches_everything() -> None:
    summary = grid.summarise(_final(), 200.0)
    assert summary["best"]["config"] == "search"
    assert summary["by_role"][grid.WEIGHED]["goodput_ratio"] == 0.98
    assert grid.shortfalls(summary, 5.5) == []
    assert grid.noise(summary) == (0.99, 1.019)


@pytest.mark.parametrize(
    ("changes", "weigh_seconds", "expected"),
    [
        ({"ours": [_run(960, 50)]}, 5.0, ["after weighing 0.96 of the best goodput (ours 960/s, search 1000/s)"]),
        (
            {"ours": [_run(920, 50)]},
            5.0,
            [
                "after weighing 0.92 of the best goodput (ours 920/s, search 1000/s)",
                "declared 0.92 of the best goodput (ours 920/s, search 1000/s)",
                "declared without a word on the mix 0.92 of the best goodput (ours 920/s, search 1000/s)",
            ],
        ),
        ({"ours": [_run(990, 60)]}, 5.0, ["after weighing p95 1.20 of the best's (ours 60 ms, search 50 ms)"]),
        ({}, 11.0, ["the weigh took 11.0 s"]),
        (
            {"ours": [_run(980, 50, 300)]},
            5.0,
            [
                "headcount, weighed took 300 MiB, more than the budget",
                "headcount, declared took 300 MiB, more than the budget",
                "headcount, mix not said took 300 MiB, more than the budget",
            ],
        ),
        (
            {"rule": [_run(985, 50)]},
            5.0,
            [
                "headcount, weighed below 2n+1 sync (980.0/s, 985.0/s)",
                "headcount, declared below 2n+1 sync (980.0/s, 985.0/s)",
                "headcount, mix not said below 2n+1 sync (980.0/s, 985.0/s)",
            ],
        ),
    ],
)
def test_what_falls_short_is_said(changes: Any, weigh_seconds: float, expected: list[str]) -> None:
    assert grid.shortfalls(grid.summarise(_final(**changes), 200.0), weigh_seconds) == expected


def test_what_exceeds_the_memory_is_not_the_best() -> None:
    summary = grid.summarise(_final(search=[_run(2000, 20, 500)]), 200.0)
    assert summary["best"]["config"] == "ours"


def test_the_declared_plans_are_planned_from_profile_and_concurrency() -> None:
    chosen = plan.declared_plan(TWO, grid.WORKLOADS["io50"], 32, said=False)
    assert chosen.value("worker_class") == "gthread", "what is not known is taken to be mixed"
    assert chosen.inputs["concurrency"]["value"] == 32
    chosen = plan.declared_plan(TWO, grid.WORKLOADS["io50"], 32)
    assert chosen.value("worker_class") == "gevent"
    text, environment = plan.rendered(grid.Config.from_settings(chosen.values()))
    assert "worker_class = 'gevent'" in text
    assert environment == {}


def test_a_server_of_requests_that_hold_memory_keeps_it_as_on_a_host() -> None:
    app = plan.app_of(grid.WORKLOADS["memory"], 32)
    chosen = grid.Config.from_settings(plan.plan_of(TWO, app, None).values())
    assert chosen.name.endswith(" m64")
    assert plan.rendered(chosen)[1]["MALLOC_TRIM_THRESHOLD_"] == str(64 * 2**20)


def test_what_others_took_of_the_cpus_counts_where_it_could_decide() -> None:
    behind = [{**_run(60, 900), "foreign": 0.5}]
    assert grid.foreign(_final(others=behind)) == 0.01
    disturbed = [{**_run(970, 50), "foreign": share} for share in (0.02, 0.3, 0.2)]
    assert grid.foreign(_final(ours=disturbed)) == 0.2


def test_disturbed_finals_are_forgotten(tmp_path: Path) -> None:
    bench = Bench("plan", [], argparse.Namespace(quick=False, only=[], disturbed=True), tmp_path, 1.0)
    loud = _final(ours=[{**_run(970, 50), "foreign": 0.2}])
    for key, final in (("calm", _final()), ("loud", loud)):
        bench.store.add({"cell": key, "key": key, "value": {"final": final}, "at": 0.0, "seconds": 1.0, "lane": ""})
    plan.prepare(bench)
    assert list(bench.store.read()) == ["calm"]


def test_the_report_names_what_falls_short_and_counts_cells() -> None:
    cell = Cell(
        "2c/io50/32",
        {"host": vars(TWO), "workload": vars(grid.WORKLOADS["io50"]), "connections": 32},
    )
    value = {
        "limit_ms": 102.0, "budget_mib": 200.0, "final": _final(ours=[_run(940, 50)]),
        "weigh": {"seconds": 5.5, "all_seconds": 6.5}, "searched": 40, "pruned": 3, "coarse": {}, "second": {},
        "seconds": {"coarse": 1, "final": 2},
    }  # fmt: skip
    made = _plan_report.report([cell], {cell.name: Result(cell.name, cell.key, value, 0.0, 1.0)})
    assert made.missed == ["2c/io50/32: after weighing 0.94 of the best goodput (ours 940/s, search 1000/s)"]
    assert "1 of 1 cells are measured" in made.markdown
    assert "## 2 cores, 8 GiB" in made.markdown
    assert made.data["stated_cells"] == {"measured": 1, "reached": 0}
