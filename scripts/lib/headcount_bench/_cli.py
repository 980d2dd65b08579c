# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The command line of scripts/bench: finds the benchmarks, reads their arguments, runs one, writes its report."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import shutil
import signal
import sys
import time
from pathlib import Path
from types import ModuleType

from headcount_scripts import paths
from headcount_scripts.console import ScriptError, locked, say

from . import _common, _turns

PACKAGE = Path(__file__).resolve().parent
EPILOG = """\
A benchmark goes on where it was broken off; what is measured is kept below .headcount/bench.

examples:
  scripts/bench judge --quick              a small run, in minutes; its report stays below .headcount/bench
  scripts/bench judge                      the whole run; writes docs/benchmarks/judge.{json,md,svg}
  scripts/bench judge --only 'calm/*'      these cells only (a part of the name, or a glob; repeatable)
  scripts/bench judge --report             nothing is measured: the report anew from what is there

exit codes: 0 well, 1 failed, 2 wrong use, 3 not all cells are measured yet (call it again), 4 a stated figure was not
reached"""


def names(package: Path = PACKAGE) -> list[str]:
    """The benchmarks there are."""
    return sorted(file.stem for file in package.glob("*.py") if not file.name.startswith("_"))


def about(name: str, package: Path = PACKAGE) -> str:
    """The first line of a benchmark's docstring, without importing it."""
    tree = ast.parse((package / f"{name}.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def _common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="a small run; results and report are kept apart")
    parser.add_argument("--only", action="append", default=[], metavar="CELL", help="these cells only (repeatable)")
    parser.add_argument("--minutes", type=float, metavar="N", help="stop after so long; the next call goes on")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where the report goes (default: docs/benchmarks)")
    parser.add_argument("--list", action="store_true", help="print the cells, and which of them are measured")
    parser.add_argument("--report", action="store_true", help="measure nothing, write the report of what is there")
    parser.add_argument("--keep", action="store_true", help="leave the lab running, to look at it")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on with what is measured (this is the default)")
    again.add_argument("--fresh", action="store_true", help="throw away what is measured, and begin again")


def _main_parser() -> argparse.ArgumentParser:
    rows = "\n".join(f"  {name:10} {about(name)}" for name in names())
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Benchmarks on real hosts of the lab.",
        epilog=f"benchmarks:\n{rows}\n\n{EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("benchmark", choices=names(), metavar="BENCHMARK", help=", ".join(names()))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments: scripts/bench BENCHMARK --help")
    return parser


def _bench_parser(name: str, module: ModuleType) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"scripts/bench {name}",
        description=module.__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _common_arguments(parser)
    if hasattr(module, "add_arguments"):
        module.add_arguments(parser)
    return parser


def main(arguments: list[str]) -> int:
    """Runs scripts/bench with its arguments; returns the exit code."""
    chosen = _main_parser().parse_args(arguments)
    module = importlib.import_module(f"headcount_bench.{chosen.benchmark}")
    options = _bench_parser(chosen.benchmark, module).parse_args(chosen.arguments)
    bench = make(chosen.benchmark, module, options)
    if options.only and not any(_common.chosen(cell.name, options.only) for cell in bench.cells):
        raise ScriptError(f"--only {' '.join(options.only)} matches no cell: scripts/bench {bench.name} --list", 2)
    if options.list:
        there = bench.results()
        for cell in bench.cells:
            if _common.chosen(cell.name, options.only):
                print(f"{'measured' if cell.name in there else 'missing '}  {cell.name}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not options.report:
        # one at a time, --quick or not: they share a lab
        with locked(paths.WORK / "bench" / bench.name / "lock", f"it runs scripts/bench {bench.name}"):
            if hasattr(module, "prepare"):
                module.prepare(bench)
            _measure(bench, module)
    return _report(bench, module)


def make(name: str, module: ModuleType, options: argparse.Namespace) -> _common.Bench:
    """The benchmark of these options, with its folder (made empty by --fresh)."""
    folder = paths.WORK / "bench" / name
    if options.quick:
        folder /= "quick"
    if options.fresh and not options.report and not options.list:
        (folder / "results.jsonl").unlink(missing_ok=True)
        shutil.rmtree(folder / "raw", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    minutes = options.minutes or (
        getattr(module, "QUICK_MINUTES", 10.0) if options.quick else getattr(module, "MINUTES", 60.0)
    )
    turns_lock = _turns.LOCK if getattr(module, "TIMED", True) else None
    cells = module.cells_of(options, folder) if hasattr(module, "cells_of") else module.cells(options.quick)
    return _common.Bench(name, cells, options, folder, minutes, turns_lock=turns_lock)


def _measure(bench: _common.Bench, module: ModuleType) -> None:
    missing = len(bench.missing())
    there = len(bench.results())
    if not missing:
        say(f"nothing to measure: {there} cells are measured (--fresh begins again)")
        return
    say(f".. {bench.name}: {missing} cells to measure, {there} are; at most {bench.minutes:g} minutes")
    about_machine = bench.folder / "machine.json"
    about_machine.write_text(json.dumps(_common.machine()), encoding="utf-8")
    module.measure(bench)


def _report(bench: _common.Bench, module: ModuleType) -> int:
    results = bench.results()
    if not results:
        raise ScriptError(f"nothing is measured yet: scripts/bench {bench.name}")
    try:
        machine = json.loads((bench.folder / "machine.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        machine = _common.machine()
    report: _common.Report = module.report(bench)
    facts = {
        "machine": machine,
        "measured_from": _day(min(result.at for result in results.values())),
        "measured_to": _day(max(result.at for result in results.values())),
        "cells": {"measured": len(results), "of": len(bench.cells)},
        "quick": bench.quick,
    }
    folder = bench.options.output or (bench.folder if bench.quick else paths.ROOT / "docs" / "benchmarks")
    files = _common.write_report(report, folder, bench.name, facts)
    print((folder / f"{bench.name}.md").read_text(encoding="utf-8"))
    say(f"ok written: {', '.join(paths.shown(file) for file in files)}")
    for sentence in report.missed:
        say(f"!! missed: {sentence}")
    left = len(bench.missing())
    if bench.failures:
        return 1
    if left:
        say(f"{left} cells are not measured yet{' (out of time)' if bench.out_of_time else ''}: call it again to go on")
        return 3
    return 4 if report.missed else 0


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
