# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Servers and load of the benchmarks on this machine: what is pure of it, and the comparison's summary."""

from __future__ import annotations

from pathlib import Path

import pytest
from headcount_bench import _serving, compare
from headcount_scripts.console import ScriptError

WRK = """Running 2s test @ http://127.0.0.1:40000/cpu?ms=5
  1 threads and 32 connections

RESULT {"requests": 720, "us": 2000000, "connect": 1, "read": 2, "write": 0, "status": 20, "timeout": 3, \
"p50": 83000, "p95": 94500, "p99": 101000, "max": 140000, "within": 0.9000}
"""


def test_wrk_is_read() -> None:
    load = _serving.parse_wrk(WRK)
    assert (load.requests, load.errors, load.rate, load.goodput) == (720, 26, 350.0, 315.0)
    assert (load.p50_ms, load.p95_ms, load.max_ms) == (83.0, 94.5, 140.0)


def test_wrk_that_does_not_report_is_an_error() -> None:
    with pytest.raises(ScriptError, match=r"^wrk did not report: unable to connect$"):
        _serving.parse_wrk("unable to connect\n")


def test_tree_finds_all_descendants() -> None:
    assert _serving.tree(10, {10: 1, 11: 10, 12: 11, 13: 2, 14: 10}) == [10, 11, 14, 12]


def test_memory_alone_counts_files_once() -> None:
    rollups = [{"Pss_Anon": 10.0, "Pss_Shmem": 0.5, "Pss": 11.0}, {"Pss_Anon": 9.0, "Pss": 9.1}]
    assert _serving.alone_mib(rollups, [6.0, 7.0]) == 26.5
    assert _serving.alone_mib([], []) == 0.0


@pytest.mark.parametrize(
    ("cores", "available", "lanes", "expected"),
    [
        (2, [0, 1, 2, 3], 1, ([(2, 3)], (0, 1))),
        (2, [2, 3, 0, 1], 1, ([(0, 1)], (2, 3))),
        (1, [0, 1, 2, 3], 2, ([(3,), (2,)], (0, 1))),
        (1, [0, 1, 2, 3], 9, ([(3,), (2,), (1,)], (0,))),
        (3, [0, 1, 2, 3], 2, ([(1, 2, 3)], (0,))),
    ],
)
def test_cpus_are_divided(
    cores: int, available: list[int], lanes: int, expected: tuple[list[tuple[int, ...]], tuple[int, ...]]
) -> None:
    assert _serving.divide_cpus(cores, available, lanes) == expected


def test_too_few_cpus() -> None:
    with pytest.raises(ScriptError, match=r"a server on 2 CPUs needs one more for the load, and there are 2"):
        _serving.divide_cpus(2, [0, 1])


def test_compare_measures_every_mode_in_every_round() -> None:
    cells = compare.cells(False)
    assert len(cells) == len(compare.MODES) * len(compare.ROUTES) * compare.ROUNDS
    assert len({cell.key for cell in cells}) == len(cells)
    first = [cell.inputs["mode"] for cell in cells[: len(compare.MODES)]]
    assert first == list(compare.MODES)


def test_compare_takes_medians_and_adds_errors() -> None:
    rounds = [
        {"rate": rate, "p50_ms": 10.0, "p95_ms": 20.0, "errors": 1, "requests": 100, "memory_mib": 30.0}
        for rate in (100.0, 130.0, 110.0)
    ]
    found = compare.summarise(rounds)
    assert (found["rate"], found["rate_low"], found["rate_high"], found["errors"]) == (110.0, 100.0, 130.0, 3)


def test_compare_says_what_was_seen_of_flask_s_server() -> None:
    rows = {mode: {"rate": rate, "errors": 0} for mode, rate in
            (("flask", 600.0), ("flask-threaded-true", 590.0), ("flask-threaded-false", 19.0))}  # fmt: skip
    assert compare.seen({"io": rows}) == [
        "`app.run()` behaves as `threaded=True`: 600/s on the route that waits, where threaded=True serves 590/s and"
        " threaded=False 19/s. Flask's server is threaded by default since 1.0."
    ]


def test_cpu_seconds_of_processes_with_awkward_names(tmp_path: Path) -> None:
    (tmp_path / "proc/5").mkdir(parents=True)
    stat = "5 (a ) R b) S 1 5 5 0 -1 4194560 1 0 0 0 150 50 20 30 20 0 1 0 1 1 1"
    (tmp_path / "proc/5/stat").write_text(stat, encoding="utf-8")
    assert _serving.process_cpu_seconds([5, 6], tmp_path / "proc", ticks=100) == 2.5


def test_work_at_idle_priority_is_no_disturbance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups at idle priority are told apart from others, for the CPUs that are asked about."""
    monkeypatch.setattr(_serving, "GROUP", tmp_path / "cpu" / "headcount-serving")
    monkeypatch.setattr(_serving, "ACCOUNTS", tmp_path / "cpuacct")
    for name, idle in (("calm", "1"), ("calm/inner", "0"), ("loud", "0"), ("gone", "1")):
        for tree, file, text in (
            ("cpu", "cpu.idle", idle),
            ("cpuacct", "cpuacct.usage_percpu", "5000000000 700000000 "),
        ):
            if (tree, name) != ("cpuacct", "gone"):
                (tmp_path / tree / name).mkdir(parents=True)
                (tmp_path / tree / name / file).write_text(f"{text}\n", encoding="ascii")
    assert _serving.idle_seconds([0]) == pytest.approx(5.0)
    assert _serving.idle_seconds([0, 1]) == pytest.approx(5.7)
