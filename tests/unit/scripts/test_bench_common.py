# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What all benchmarks share: keys, results on disk, lanes, reports."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import Any

import pytest
from headcount_bench import _cli, _common, _turns
from headcount_bench._common import Bench, Cell, Report, Store
from headcount_scripts import paths
from headcount_scripts.console import ScriptError


@pytest.fixture(autouse=True)
def own_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A benchmark that measures on this machine meanwhile is none of these tests' business."""
    monkeypatch.setattr(_turns, "LOCK", tmp_path / "turns")


@pytest.mark.parametrize("name", _cli.names())
def test_every_benchmark_is_found_by_itself(name: str) -> None:
    """In a process that knows the collection from nowhere else, as scripts/bench starts one."""
    code = f"import importlib; importlib.import_module('headcount_bench.{name}')"
    folder = paths.ROOT / "scripts" / "lib"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _options(**changes: Any) -> argparse.Namespace:
    plain = {
        "quick": False,
        "only": [],
        "minutes": None,
        "output": None,
        "list": False,
        "report": False,
        "fresh": False,
    }
    return argparse.Namespace(**{**plain, "keep": False, "resume": False, **changes})


def _bench(folder: Path, cells: list[Cell], **changes: Any) -> Bench:
    return Bench("some", cells, _options(**changes), folder, minutes=5.0)


CELLS = [Cell("a/1", {"a": 1}), Cell("a/2", {"a": 2}), Cell("b/1", {"b": 1})]


def test_where_time_is_no_measure_no_lane_waits_for_the_long_cell_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_turns, "TURN_SECONDS", -1.0)
    done = threading.Event()

    def work(cell: Cell, _: str) -> str:
        if cell.name == "a/1":
            return "after the others" if done.wait(5) else "alone"
        if cell.name == "b/1":
            done.set()
        return "beside it"

    bench = _bench(tmp_path, CELLS)
    bench.run(work, lanes=("one", "two"))
    assert bench.results()["a/1"].value == "after the others"


def test_a_key_depends_on_the_inputs_and_on_nothing_else() -> None:
    assert Cell("x", {"a": 1, "b": 2}).key == Cell("y", {"b": 2, "a": 1}).key
    assert Cell("x", {"a": 1}).key != Cell("x", {"a": 2}).key
    assert len(Cell("x", {}).key) == 16


def test_measured_cells_are_not_measured_again(tmp_path: Path) -> None:
    asked: list[str] = []

    def work(cell: Cell, lane: str) -> int:
        asked.append(cell.name)
        return len(asked)

    _bench(tmp_path, CELLS, only=["a/"]).run(work)
    assert asked == ["a/1", "a/2"]
    again = _bench(tmp_path, CELLS)
    assert [cell.name for cell in again.missing()] == ["b/1"]
    again.run(work)
    assert {name: result.value for name, result in again.results().items()} == {"a/1": 1, "a/2": 2, "b/1": 3}


def test_a_failed_cell_is_told_and_tried_again(tmp_path: Path) -> None:
    def work(cell: Cell, lane: str) -> int:
        if cell.name == "a/2":
            raise ValueError("no such luck")
        return 1

    bench = _bench(tmp_path, CELLS)
    bench.run(work)
    assert bench.failures == {"a/2": "no such luck"}
    assert [cell.name for cell in _bench(tmp_path, CELLS).missing()] == ["a/2"]


def test_three_failures_in_a_row_end_the_run(tmp_path: Path) -> None:
    def work(cell: Cell, lane: str) -> int:
        raise ValueError("broken")

    bench = _bench(tmp_path, [*CELLS, Cell("c", {})])
    with pytest.raises(ScriptError, match="3 cells in a row failed on h1: broken"):
        bench.run(work, lanes=["h1"])
    assert "c" not in bench.failures


def test_no_cell_is_begun_after_the_time_limit(tmp_path: Path) -> None:
    clock = iter([0.0, 1.0, 301.0])
    bench = Bench("some", CELLS, _options(), tmp_path, minutes=5.0, clock=lambda: next(clock))
    bench.run(lambda cell, lane: 1)
    assert bench.out_of_time
    assert list(bench.results()) == ["a/1"]


def test_a_torn_line_loses_itself_only(tmp_path: Path) -> None:
    store = Store(tmp_path / "results.jsonl")
    good = {"cell": "a", "key": "k", "value": 1, "at": 1.0, "seconds": 1.0, "lane": ""}
    store.add(good)
    with store.path.open("a") as file:
        file.write('{"cell": "b", "key":')
    store.add({**good, "key": "l"})
    assert sorted(store.read()) == ["k", "l"]


def test_raw_data_comes_back(tmp_path: Path) -> None:
    bench = _bench(tmp_path, CELLS)
    bench.save_raw(CELLS[0], {"x": [1.5, None]})
    assert bench.load_raw(CELLS[0]) == {"x": [1.5, None]}
    assert bench.load_raw(CELLS[1]) is None


@pytest.mark.parametrize(
    ("patterns", "name", "expected"),
    [
        ([], "a", True),
        (["calm"], "calm/io/1", True),
        (["calm/*"], "noisy/io", False),
        (["x", "n*y/*"], "noisy/io", True),
    ],
)
def test_only(patterns: list[str], name: str, expected: bool) -> None:
    assert _common.chosen(name, patterns) is expected


def test_the_report_says_how_much_was_measured(tmp_path: Path) -> None:
    facts = {
        "machine": {"cpus": 4, "cpu": "X", "memory_mib": 2048, "system": "Debian", "kernel": "6.1"},
        "measured_from": "then", "measured_to": "later", "cells": {"measured": 2, "of": 3}, "quick": True,
    }  # fmt: skip
    report = Report("A title", "text", {"a": 1}, plot=lambda figure: figure.add_subplot().plot([1, 2]))
    files = _common.write_report(report, tmp_path, "some", facts)
    assert [file.name for file in files] == ["some.json", "some.md", "some.svg"]
    text = (tmp_path / "some.md").read_text()
    assert "Written by `scripts/bench some --quick`, 2 of 3 cells measured, then to later." in text
    assert "4 CPUs (X), 2 GiB, Debian, Linux 6.1." in text
    assert json.loads((tmp_path / "some.json").read_text())["results"] == {"a": 1}
    first = (tmp_path / "some.svg").read_bytes()
    _common.write_report(report, tmp_path, "some", facts)
    assert (tmp_path / "some.svg").read_bytes() == first


def test_the_machine_has_no_name() -> None:
    assert "node" not in _common.machine()
    assert set(_common.machine()) >= {"cpus", "cpu", "memory_mib", "kernel", "system", "load_average"}


def test_table_and_percent() -> None:
    assert _common.markdown_table(["a", "b"], [["x|y", 1]], right=[1]) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |"
    assert [_common.percent(share) for share in (0.0125, 0.5, 1.0, 0.001)] == ["1.2 %", "50 %", "100 %", "0.1 %"]


def test_benchmarks_are_found_by_name(tmp_path: Path) -> None:
    (tmp_path / "fast.py").write_text('"""How fast.\n\nMore."""\n')
    (tmp_path / "_shared.py").write_text("")
    assert _cli.names(tmp_path) == ["fast"]
    assert _cli.about("fast", tmp_path) == "How fast."


def test_quick_results_are_kept_apart_and_fresh_forgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "WORK", tmp_path)
    module = types.ModuleType("m")
    vars(module).update(cells=lambda quick: CELLS[:1] if quick else CELLS, MINUTES=7.0)
    full = _cli.make("some", module, _options())
    quick = _cli.make("some", module, _options(quick=True))
    assert (len(full.cells), full.minutes, len(quick.cells), quick.minutes) == (3, 7.0, 1, 10.0)
    full.run(lambda cell, lane: 1)
    quick.run(lambda cell, lane: 2)
    assert quick.results()["a/1"].value == 2
    _cli.make("some", module, _options(fresh=True, report=True))
    assert len(full.results()) == 3
    _cli.make("some", module, _options(fresh=True))
    assert (len(full.results()), len(quick.results())) == (0, 1)
