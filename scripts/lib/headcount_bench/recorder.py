# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The price of the recorder: time of a request and memory of a worker, with it and without, in turns on one machine.

Two Gunicorns with the same plan, one with the recorder, serve an app on 127.0.0.1: the smallest one that Flask can be,
and the smallest one that there can be. One client asks one request after another, some of the one and as many of the
other, in an order that turns round each time (with, without, without, with). What the machine does meanwhile meets both
alike, so that their ratio can be told where the milliseconds cannot.

Two processes of the very same program differ too, for as long as they live, by where their memory and their CPU happen
to be: two without the recorder by up to 5 % of p50. So a class has many pairs of fresh processes, and what is between
pairs is in the interval.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import units
from ansible_collections.headcount.gunicorn.plugins.module_utils._load.memory import read_process
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.procfs import children
from ansible_collections.headcount.gunicorn.plugins.module_utils._recorder import configuration, counts
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.statistics import quantile_ranks
from headcount_scripts.console import ScriptError

from ._common import Bench, Cell, Report, markdown_table

TIMED = False  # what else the machine does meets both sides of a turn
MINUTES = 20.0
QUICK_MINUTES = 8.0
VERSION: Final = 3
CLASSES: Final = ("sync", "gthread", "gevent")
PAIRS, QUICK_PAIRS = 16, 4
TURNS: Final = 20
REQUESTS: Final = 50
LEVEL: Final = 0.05
MOST_PERCENT: Final = 3.0
MOST_MIB: Final = 3.0
PATIENCE_S: Final = 30.0

FLASK, NOTHING = "flask", "nothing"
APPS: Final = {
    FLASK: """
import flask

app = flask.Flask(__name__)


@app.get("/")
def index():
    return "ok"
""",
    NOTHING: """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
""",
}
INTRODUCTION: Final = f"""\
Two Gunicorns with the same plan, one of them with the recorder, serve the smallest app that Flask can be (one route,
two bytes), or one without any framework that does nothing at all; one client asks them in turns of {REQUESTS} requests,
each on a connection of its own. The share is the larger the less an app does: a page that takes 5 ms pays the same
microseconds.

Each class has {PAIRS} pairs of fresh processes, as two processes of the same program differ by some percent for as long
as they live. "On top" is the median over the pairs, of each the median over {TURNS} turns; its interval is exact and
needs no distribution. The machine was shared with other work, which meets both sides of a turn alike."""

ASKED: Final = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def cells(quick: bool) -> list[Cell]:
    """One for each app and worker class."""
    sizes = {"version": VERSION, "pairs": QUICK_PAIRS if quick else PAIRS, "turns": TURNS, "requests": REQUESTS}
    return [Cell(f"{app}/{name}", {"app": app, "worker_class": name, **sizes}) for app in APPS for name in CLASSES]


def measure(bench: Bench) -> None:
    """One cell after the other."""
    bench.run(
        lambda cell, _: compare(str(cell.inputs["app"]), str(cell.inputs["worker_class"]), int(cell.inputs["pairs"]))
    )


@dataclass(frozen=True)
class Served:
    """A Gunicorn that serves APP: its port, its master's process id, and its runtime directory."""

    port: int
    master: int
    folder: Path

    def ask(self, times: int) -> list[float]:
        """Microseconds of so many requests, one after the other, each on a connection of its own."""
        taken = []
        for _ in range(times):
            begin = time.perf_counter_ns()
            with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S) as connection:
                connection.sendall(ASKED)
                answer = b""
                while part := connection.recv(4096):
                    answer += part
            taken.append((time.perf_counter_ns() - begin) / 1000)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise ScriptError(f"no answer of 200: {answer[:100]!r}")
        return taken

    def worker(self) -> int:
        """The process id of its worker."""
        everything = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        return max(pid for pid, _ in children(self.master, everything))


def uss_mib(pid: int) -> float:
    """Memory of a process alone."""
    found = read_process(pid)
    if found is None:
        raise ScriptError(f"process {pid} is gone")
    return found.uss_mib


def cpu_us(pid: int) -> float:
    """CPU time that a process's first thread and all others have used: field 1 of their schedstat, in nanoseconds."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1000


@contextlib.contextmanager
def serving(app: str, worker_class: str, recorder: bool) -> Iterator[Served]:
    """One worker of that class, with the configuration of a generation."""
    values: dict[str, Any] = {
        "worker_class": worker_class,
        "workers": 1,
        "threads": 8 if worker_class == "gthread" else None,
        "worker_connections": 100 if worker_class != "sync" else None,
        "preload_app": False,
        "keepalive": 0,
        "timeout": 60,
        "graceful_timeout": 2,
        "gunicorn_version": "==27.0.1",
    }
    plan = {"settings": {name: {"value": value, "winner": "", "reason": ""} for name, value in values.items()}}
    declared = {"name": "price", "entry_point": "price:app", "limits": {"p95_ms": 250.0}, "recorder": recorder}
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        folder = Path(name)
        (folder / "price.py").write_text(APPS[app])
        (folder / "gunicorn.conf.py").write_text(units.gunicorn_conf(declared, plan, 1))
        if recorder:
            (folder / configuration.PROGRAM).write_text(configuration.program())
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py", "--bind", f"fd://{listener.fileno()}"],
            cwd=folder,
            env={**os.environ, "RUNTIME_DIRECTORY": name},
            stderr=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
        try:
            yield Served(listener.getsockname()[1], process.pid, folder)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def compare(app: str, worker_class: str, pairs: int) -> dict[str, Any]:
    """Of each pair of processes: medians over its turns of a request's time and CPU time (microseconds) with and
    without, and memory of the workers (MiB)."""
    found = [compare_pair(app, worker_class, counted_first=pair % 2 == 0) for pair in range(pairs)]
    return {name: [one[name] for one in found] for name in found[0]}


def compare_pair(app: str, worker_class: str, *, counted_first: bool) -> dict[str, float]:
    """One pair; which of the two starts first changes from pair to pair."""
    with contextlib.ExitStack() as stack:
        served = {on: stack.enter_context(serving(app, worker_class, on)) for on in (counted_first, not counted_first)}
        counting, bare = served[True], served[False]
        for one in (counting, bare):
            one.ask(2 * REQUESTS)
        taken: dict[str, list[float]] = {name: [] for name in ("with", "without", "cpu_with", "cpu_without")}
        sides = [("with", counting, counting.worker()), ("without", bare, bare.worker())]
        for turn in range(TURNS):
            for name, one, pid in sides if turn % 2 == 0 else sides[::-1]:
                before = cpu_us(pid)
                taken[name].append(statistics.median(one.ask(REQUESTS)))
                taken[f"cpu_{name}"].append((cpu_us(pid) - before) / REQUESTS)
        found = counts.read(str(counting.folder))
        asked = (TURNS + 2) * REQUESTS
        if found is None or found.tally.outcomes["2xx"] != asked:
            raise ScriptError(f"the recorder did not count {asked} requests")
        medians = {name: statistics.median(values) for name, values in taken.items()}
        return {**medians, "with_mib": uss_mib(counting.worker()), "without_mib": uss_mib(bare.worker())}


@dataclass(frozen=True)
class Ratio:
    """How much more something is with the recorder, in percent: the median of the turns' ratios, and its interval."""

    percent: float
    low: float
    high: float

    @classmethod
    def of(cls, counting: Sequence[float], bare: Sequence[float]) -> Ratio:
        """Of pairs; the interval is exact (order statistics)."""
        ratios = sorted(100 * (one / other - 1) for one, other in zip(counting, bare))
        lower, upper = quantile_ranks(len(ratios), 0.5, LEVEL)
        return cls(
            percent=statistics.median(ratios),
            low=ratios[lower - 1] if lower >= 1 else -math.inf,
            high=ratios[upper - 1] if upper <= len(ratios) else math.inf,
        )

    @property
    def words(self) -> str:
        """For the table."""
        return f"{self.percent:+.1f} % ({self.low:+.1f} to {self.high:+.1f})"


@dataclass(frozen=True)
class Price:
    """What the recorder costs: CPU time of a request in microseconds without it, that and p50 on top, and MiB."""

    cpu_us: float
    cpu: Ratio
    p50: Ratio
    mib: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"cpu_us": self.cpu_us, "cpu": vars(self.cpu), "p50": vars(self.p50), "mib": self.mib}


def price(value: dict[str, Any]) -> Price:
    """From what compare() found."""
    return Price(
        cpu_us=statistics.median(value["cpu_without"]),
        cpu=Ratio.of(value["cpu_with"], value["cpu_without"]),
        p50=Ratio.of(value["with"], value["without"]),
        mib=statistics.median(counting - bare for counting, bare in zip(value["with_mib"], value["without_mib"])),
    )


def report(bench: Bench) -> Report:
    """A row for each app and class, and whether the price is within what was promised."""
    found = {name: price(result.value) for name, result in bench.results().items()}
    return Report(
        title="The price of counting every request",
        markdown=text(found),
        data={name: one.to_dict() for name, one in found.items()},
        missed=missed(found),
    )


def text(found: dict[str, Price]) -> str:
    """The page."""
    rows: list[Sequence[str]] = [
        (*name.split("/"), f"{one.cpu_us:.0f}", one.cpu.words, one.p50.words, f"{one.mib:+.2f}")
        for name, one in found.items()
    ]
    header = ("app", "worker class", "CPU us a request without", "CPU on top", "p50 on top", "MiB a worker (USS)")
    return f"{INTRODUCTION}\n\n{markdown_table(header, rows)}"


def missed(found: dict[str, Price]) -> list[str]:
    """Where the price is surely higher than it may be."""
    slow = [
        f"{name}: {one.percent:.1f} % {what} on top, at most {MOST_PERCENT:g} % were promised"
        for name, paid in found.items()
        for what, one in (("of CPU", paid.cpu), ("of p50", paid.p50))
        if one.low > MOST_PERCENT
    ]
    large = [
        f"{name}: {one.mib:.1f} MiB a worker, at most {MOST_MIB:g} were promised"
        for name, one in found.items()
        if one.mib > MOST_MIB
    ]
    return slow + large
