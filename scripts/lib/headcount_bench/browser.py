# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The report of a run over hundreds of hosts in a browser: time until it can be read, to sort and to filter; its size.

Debian's Chromium opens the file in a fresh window each time, without a window on a screen.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from headcount_scripts import tools
from headcount_scripts.console import ScriptError

from . import _fleet_report
from ._chromium import chromium, opened
from ._common import Bench, Cell, Report, markdown_table
from ._engine import collection

MINUTES = 10.0
QUICK_MINUTES = 5.0
VERSION: Final = 2
HOSTS: Final = (100, 500, 2000)
PROMISED: Final = 500
"""The promise is about so many hosts."""

MOST_S: Final = 2.0
MOST_MB: Final = 10.0
TIMES, QUICK_TIMES = 7, 3

SHOWN: Final = "#fleet > tbody > tr"
SETTLED: Final = """async () => {
  const find = (selector) => document.querySelector(selector);
  const begin = performance.now();
  %s;
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  return performance.now() - begin;
}"""
"""Milliseconds until what was done is on the screen."""

ACTS: Final = {
    "sort_ms": "find('#fleet > thead th:nth-child(9) button').click()",
    "filter_ms": (
        "const input = find('.controls input'); input.value = 'failed';"
        " input.dispatchEvent(new Event('input', {bubbles: true}))"
    ),
    "open_ms": (
        "find('#fleet > tbody button').click();"
        " while (!find('tr.detail')) await new Promise((resolve) => requestAnimationFrame(resolve))"
    ),
}


def cells(quick: bool) -> list[Cell]:
    """One for each size of a fleet."""
    times = QUICK_TIMES if quick else TIMES
    return [Cell(f"{hosts} hosts", {"version": VERSION, "hosts": hosts, "times": times}) for hosts in HOSTS]


def measure(bench: Bench) -> None:
    """One fleet after the other."""
    program = tools.chromium()
    if program is None:
        raise ScriptError("there is no Chromium on this machine, and it cannot be installed")
    bench.run(lambda cell, _: look(program, int(cell.inputs["hosts"]), int(cell.inputs["times"])))


def look(program: Path, hosts: int, times: int) -> dict[str, Any]:
    """Seconds of each of so many visits, milliseconds of each act in them, bytes of the file, and complaints."""
    taken: dict[str, list[float]] = {name: [] for name in ("load_s", *ACTS)}
    complaints: list[str] = []
    with tempfile.TemporaryDirectory() as folder, chromium(program) as browser:
        file = Path(folder) / "report.html"
        file.write_text(collection("plugin_utils._output.page").page(_fleet_report.of_run(hosts)), encoding="utf-8")
        for _ in range(times):
            begin = time.monotonic()
            with opened(browser, file) as visit:
                visit.page.locator(SHOWN).first.wait_for()
                taken["load_s"].append(time.monotonic() - begin)
                for name, act in ACTS.items():
                    taken[name].append(float(visit.page.evaluate(SETTLED % act)))
                complaints += visit.complaints
        size = file.stat().st_size
    return {**taken, "bytes": size, "complaints": complaints}


def report(bench: Bench) -> Report:
    """A row for each size, and whether the promise holds."""
    found = {name: result.value for name, result in bench.results().items()}
    return Report("The report of a run in a browser", text(found), found, missed=missed(found))


def text(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The page."""
    rows = [
        (name, 2 * int(name.split()[0]), f"{value['bytes'] / 1e6:.2f}", _middle(value["load_s"], 2),
         *(_middle(value[act], 0) for act in ACTS))
        for name, value in found.items()
    ]  # fmt: skip
    header = ("run over", "rows", "MB", "until it can be read, s", "sort, ms", "filter, ms", "open a row, ms")
    table = markdown_table(header, rows, right=range(1, len(header)))
    return (
        "Two apps on each host, with plans of the planner, distributions of 600 latencies each, checks, ledger and load"
        " tests. Debian's Chromium opens the file in a fresh window each time; the window's own start is in the time."
        f" Medians, and in brackets the longest.\n\n{table}"
    )


def _middle(values: Sequence[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({max(values):.{digits}f})"


def missed(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What was promised of PROMISED hosts and did not come, and what a browser complained of."""
    told = [f"{name}: {words}" for name, value in found.items() for words in dict.fromkeys(value["complaints"])]
    for name, value in found.items():
        if int(name.split()[0]) > PROMISED:
            continue
        if statistics.median(value["load_s"]) > MOST_S:
            told.append(f"{name}: {statistics.median(value['load_s']):.1f} s to load, at most {MOST_S:g} were promised")
        if value["bytes"] > MOST_MB * 1e6:
            told.append(f"{name}: {value['bytes'] / 1e6:.1f} MB, at most {MOST_MB:g} were promised")
    return told
