# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""scripts/test: the checks of this repository, then its Molecule scenarios on hosts of the lab.

Every check has its output in a log below .headcount/test; it is shown when the check fails. The last line counts all
tests the way pytest does: those of pytest, in the unit tests and on the hosts; and every linter and scenario as one.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from . import bootstrap, console, images, labmodel, labs, paths, tools
from .console import ScriptError, colour, say

LOGS = paths.WORK / "test"
#: A scenario that takes longer than this hangs; all of them together are to stay below 25 minutes.
SCENARIO_SECONDS = 900.0
#: They wait more than they compute: for systemd, for the seconds that a load takes.
SCENARIOS_AT_ONCE = 2
CHECK_SECONDS = 600.0
#: Logs are for reading as text, by machines too.
PLAIN = {"COLUMNS": "160", "PY_COLORS": "0", "ANSIBLE_FORCE_COLOR": "0", "NO_COLOR": "1"}
EPILOG = """\
examples:
  scripts/test                       everything
  scripts/test --quick               linters and unit tests
  scripts/test --scenario default    one scenario (repeatable); --keep leaves its hosts running
  scripts/test --list                the names of the checks and scenarios

exit codes: 0 all passed, 1 something failed, 2 wrong use."""


@dataclass(frozen=True)
class Counts:
    """Tests as pytest counts them."""

    passed: int = 0
    failed: int = 0
    errors: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.passed + other.passed,
            self.failed + other.failed,
            self.errors + other.errors,
            self.skipped + other.skipped,
        )

    @property
    def words(self) -> str:
        """ "1 failed, 20 passed, 2 skipped", in pytest's order; "no tests ran" for nothing."""
        errors = "error" if self.errors == 1 else "errors"
        named = [(self.failed, "failed"), (self.passed, "passed"), (self.skipped, "skipped"), (self.errors, errors)]
        return ", ".join(f"{count} {name}" for count, name in named if count) or "no tests ran"


@dataclass(frozen=True)
class Check:
    """One command. `junit` is the folder in which its pytest runs leave their results; `own` counts the command too."""

    name: str
    command: tuple[str, ...]
    junit: Path | None = None
    own: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float = CHECK_SECONDS


@dataclass(frozen=True)
class Result:
    """How a check ended: exit code (None: stopped because it took too long), seconds, tests, log."""

    name: str
    code: int | None
    seconds: float
    counts: Counts
    log: Path

    @property
    def passed(self) -> bool:
        return self.code == 0 and not self.counts.failed and not self.counts.errors


def read_junit(folder: Path) -> Counts:
    """The tests in all JUnit XML files of a folder."""
    total = Counts()
    for file in sorted(folder.glob("*.xml")):
        for suite in ET.parse(file).getroot().iter("testsuite"):
            number = {key: int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")}
            bad = number["failures"] + number["errors"] + number["skipped"]
            total += Counts(number["tests"] - bad, number["failures"], number["errors"], number["skipped"])
    return total


def closing_line(counts: Counts, seconds: float, width: int = 80) -> str:
    """The line that pytest ends with."""
    clock = f" ({int(seconds) // 3600}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d})" if seconds >= 60 else ""
    return f" {counts.words} in {seconds:.2f}s{clock} ".center(width, "=")


def summary(results: Sequence[Result]) -> str:
    """The table of all checks."""
    rows = [
        [
            result.name,
            colour("passed", "green") if result.passed else colour("FAILED", "red"),
            f"{result.seconds:.1f}",
            result.counts.words,
        ]
        for result in results
    ]
    return console.table(["check", "result", "seconds", "tests"], rows, right=[2])


def scenarios(root: Path = paths.ROOT) -> list[str]:
    """The Molecule scenarios, by name."""
    return sorted(file.parent.name for file in (root / "molecule").glob("*/molecule.yml"))


def shell_files(root: Path = paths.ROOT) -> list[str]:
    """The shell scripts of this repository, relative to it."""
    found = []
    for folder in ("scripts", ".ci"):
        for file in sorted((root / folder).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                shebang = file.open("rb").readline()
                if file.suffix == ".sh" or re.match(rb"#!.*\b(ba)?sh\b", shebang):
                    found.append(str(file.relative_to(root)))
    return found


def checks(cpus: int, quick: bool = False) -> list[Check]:
    """The linters and the unit tests, the slow ones first; with `quick` those that take a few seconds."""
    python = sys.executable
    junit, integration = LOGS / "junit-unit", LOGS / "junit-preflight"
    ansible = {"ANSIBLE_COLLECTIONS_PATH": str(paths.ROOT / ".collections")}
    slow = [] if quick else [_judge("galaxy-importer"), _judge("antsibull-docs"), _browser()]
    return [
        Check(
            "unit tests",
            (python, "-m", "pytest", "tests/unit", "-n", str(cpus), f"--junitxml={junit / 'unit.xml'}"),
            junit=junit,
            own=False,
        ),
        Check(
            "preflight of the playbooks",
            (python, "-m", "pytest", "tests/integration/preflight", f"--junitxml={integration / 'preflight.xml'}"),
            junit=integration,
            own=False,
        ),
        *slow,
        Check("ansible-lint", ("ansible-lint", "--offline", "--profile", "production"), environment=ansible),
        Check("mypy: collection", (python, "-m", "mypy", "plugins")),
        Check(
            "mypy: scripts",
            (python, "-m", "mypy", "--python-version", "3.11", "-p", "headcount_scripts", "-p", "headcount_bench"),
            environment={"MYPYPATH": str(paths.ROOT / "scripts" / "lib")},
        ),
        _judge("validate-modules"),
        Check("ruff check", ("ruff", "check", ".")),
        Check("ruff format", ("ruff", "format", "--check", ".")),
        Check("yamllint", ("yamllint", "--strict", ".")),
        Check("shellcheck", ("shellcheck", "--external-sources", *shell_files())),
    ]


def _browser() -> Check:
    """The report of a run in a browser as a check; it is skipped where there is none (tools.chromium)."""
    junit = LOGS / "junit-browser"
    return Check(
        "report in a browser",
        (sys.executable, "-m", "pytest", "tests/integration/browser", f"--junitxml={junit / 'browser.xml'}"),
        junit=junit,
        own=False,
    )


def _judge(name: str) -> Check:
    """What the world of Ansible says of the collection (headcount_scripts.judges) as a check."""
    return Check(
        name,
        (sys.executable, "-m", "headcount_scripts.judges", name),
        environment={"PYTHONPATH": str(paths.ROOT / "scripts" / "lib")},
    )


def scenario_check(name: str, keep: bool) -> Check:
    """A Molecule scenario as a check; testinfra's tests are counted too."""
    junit = LOGS / f"junit-{name}"
    command: tuple[str, ...] = ("molecule", "test", "--scenario-name", name)
    if keep:  # what an earlier run left goes first: `--destroy never` would take it for this run's
        once = f"molecule destroy --scenario-name {name} && molecule test --scenario-name {name} --destroy never"
        command = ("sh", "-c", once)
    return Check(
        f"molecule: {name}",
        command,
        junit=junit,
        environment={
            "PYTEST_ADDOPTS": f"--junitxml={junit / 'testinfra.xml'}",
        },
        seconds=SCENARIO_SECONDS,
    )


_children: set[subprocess.Popen[bytes]] = set()
_children_lock = threading.Lock()


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Ends a check and all that it has started: politely, then not."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, sign)
            child.wait(timeout=10)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def run(check: Check) -> Result:
    """Runs one check with its output in its log."""
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / (re.sub(r"[^a-z0-9]+", "-", check.name) + ".log")
    if check.junit:
        check.junit.mkdir(parents=True, exist_ok=True)
        for old in check.junit.glob("*.xml"):
            old.unlink()
    started = time.monotonic()
    code: int | None
    with log.open("wb") as output:
        child = subprocess.Popen(
            check.command,
            cwd=paths.ROOT,
            env={**os.environ, **PLAIN, **check.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with _children_lock:
            _children.add(child)
        try:
            code = child.wait(timeout=check.seconds)
        except subprocess.TimeoutExpired:
            code = None
            _stop(child)
        finally:
            with _children_lock:
                _children.discard(child)
    counts = read_junit(check.junit) if check.junit else Counts()
    if check.own:
        counts += Counts(failed=1) if code != 0 and not counts.failed + counts.errors else Counts(passed=int(code == 0))
    elif code != 0 and not counts.failed + counts.errors:
        counts += Counts(errors=1)
    return Result(check.name, code, time.monotonic() - started, counts, log)


def _report(result: Result, lines: int) -> None:
    if result.passed:
        say(f"{colour('ok', 'green', sys.stderr)} {result.name} ({result.seconds:.1f} s): {result.counts.words}")
        return
    why = f"was stopped after {result.seconds:.0f} s" if result.code is None else f"exit code {result.code}"
    say(f"{colour('!!', 'red', sys.stderr)} {result.name}: {why}; the end of {paths.shown(result.log)}:")
    say(console.tail(result.log, lines))


def _side_by_side(wanted: Sequence[Check], at_once: int, lines: int) -> list[Result]:
    """Runs checks, some at once; `lines` of the log of one that fails are shown."""
    say(f".. {', '.join(check.name for check in wanted)} (logs: {paths.shown(LOGS)})")
    results: dict[str, Result] = {}
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        pending: set[Future[Result]] = {pool.submit(run, check) for check in wanted}
        try:
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    result = future.result()
                    results[result.name] = result
                    _report(result, lines)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            with _children_lock:
                left = list(_children)
            for child in left:
                _stop(child)
            raise
    return [results[check.name] for check in wanted]


def _run_scenarios(names: Sequence[str], keep: bool) -> list[Result]:
    started = time.monotonic()
    images.ensure(set(labmodel.SUITES))
    say(f"ok the lab's images ({time.monotonic() - started:.1f} s)")
    try:
        return _side_by_side([scenario_check(name, keep) for name in names], SCENARIOS_AT_ONCE, 120)
    finally:
        if not keep:
            for name in names:
                labs.down(f"molecule-{name}")


def _find_tools(quick: bool) -> None:
    """What tests ask and no environment of Python holds: it is installed, or put at the end of PATH."""
    if not quick:
        tools.chromium()
    folder = tools.promtool()
    if folder is not None:
        os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{folder}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/test", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="linters and unit tests only: under a minute")
    parser.add_argument("--scenario", action="append", default=[], metavar="NAME", help="this Molecule scenario only")
    parser.add_argument("--keep", action="store_true", help="leave the scenario's hosts running, to look at them")
    parser.add_argument("--list", action="store_true", help="print the names of the checks and scenarios")
    return parser


def _chosen(options: argparse.Namespace, there: Sequence[str]) -> list[str]:
    """The scenarios that were asked for; ScriptError for options that contradict or do not exist."""
    unknown = [name for name in options.scenario if name not in there]
    if unknown:
        raise ScriptError(f"there is no scenario {unknown[0]!r}; there are: {', '.join(there)}", 2)
    if options.quick and options.scenario:
        raise ScriptError("--quick runs no scenario: leave out one of the two", 2)
    return [] if options.quick else list(options.scenario or there)


def main(arguments: list[str]) -> int:
    """Runs scripts/test with its arguments; returns the exit code."""
    options = _parser().parse_args(arguments)
    started = time.monotonic()
    cpus = len(os.sched_getaffinity(0))
    there = scenarios()
    if options.list:
        print("\n".join([*(check.name for check in checks(cpus)), *(f"molecule: {name}" for name in there)]))
        return 0
    chosen = _chosen(options, there)
    if chosen:
        bootstrap.ensure_packages(bootstrap.LAB_PACKAGES)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    if not options.scenario:
        _find_tools(options.quick)
    results = [] if options.scenario else _side_by_side(checks(cpus, options.quick), max(2, cpus), 60)
    results += _run_scenarios(chosen, options.keep) if chosen else []
    total = sum((result.counts for result in results), Counts())
    passed = all(result.passed for result in results)
    print(f"\n{summary(results)}\n")
    line = closing_line(total, time.monotonic() - started)
    print(colour(line, "green" if passed else "red"))
    return 0 if passed else 1
