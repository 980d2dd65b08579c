# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Ways to run a Flask app beside each other: Flask's own server, Gunicorn's worker classes, uWSGI.

The sample app on two CPUs of this machine, loaded by wrk from the others, on a route that computes and on one that
waits. Every mode is measured in every round, one after the other, so that what the machine does meanwhile hits all.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from . import _serving
from ._common import Bench, Cell, Report, markdown_table

MINUTES = 30.0
QUICK_MINUTES = 5.0

CORES: Final = 2
CONNECTIONS: Final = 32
ROUNDS: Final = 3
SECONDS: Final = 4
DRAIN_SECONDS: Final = 2.0
"""After the warm-up: a server with one slot still serves what wrk has given up, 32 requests of 50 ms."""

NO_LIMIT_MS: Final = 1e6

ROUTES: Final[Mapping[str, tuple[str, str]]] = {
    "cpu": ("/cpu?ms=5", "5 ms of CPU"),
    "io": ("/wait?ms=50", "50 ms of waiting"),
}


@dataclass(frozen=True)
class Mode:
    """A way to run the app: its words, its command, the virtual environment, and how many processes it has at rest."""

    words: str
    command: tuple[str, ...]
    venv: str = "main"
    processes: int = 1


def _flask(arguments: str) -> tuple[str, ...]:
    code = f"from shop.wsgi import create_app; create_app().run(port={{port}}{arguments})"
    return ("{venv}/bin/python", "-c", code)


def _gunicorn(*arguments: str) -> tuple[str, ...]:
    return ("{venv}/bin/gunicorn", "--bind", "127.0.0.1:{port}", *arguments, _serving.ENTRY)


def _uwsgi(*arguments: str) -> tuple[str, ...]:
    base = (
        "--http-socket",
        "127.0.0.1:{port}",
        "--master",
        "--need-app",
        "--disable-logging",
        "--listen",
        "100",
        "--add-header",
        "Connection: close",
    )
    return ("{venv}/bin/uwsgi", *base, *arguments, "--virtualenv", "{venv}", "--module", _serving.ENTRY)


MODES: Final[Mapping[str, Mode]] = {
    "flask": Mode("app.run(): Flask's server as it is", _flask("")),
    "flask-threaded-false": Mode("app.run(threaded=False)", _flask(", threaded=False")),
    "flask-threaded-true": Mode("app.run(threaded=True)", _flask(", threaded=True")),
    "flask-processes-3": Mode("app.run(threaded=False, processes=3)", _flask(", threaded=False, processes=3")),
    "sync-4": Mode("Gunicorn 27.0.1, sync, 4 workers", _gunicorn("--workers", "4"), processes=5),
    "gthread-2x16": Mode(
        "Gunicorn 27.0.1, gthread, 2 workers x 16 threads",
        _gunicorn("--worker-class", "gthread", "--workers", "2", "--threads", "16"),
        processes=3,
    ),
    "gevent-2": Mode(
        "Gunicorn 27.0.1, gevent, 2 workers",
        _gunicorn("--worker-class", "gevent", "--workers", "2"),
        processes=3,
    ),
    "eventlet-2": Mode(
        "Gunicorn 25.3.0, eventlet, 2 workers",
        _gunicorn("--worker-class", "eventlet", "--workers", "2"),
        venv="eventlet",
        processes=3,
    ),
    "uwsgi-4": Mode("uWSGI 2.0.31, 4 processes", _uwsgi("--processes", "4"), venv="uwsgi", processes=5),
    "uwsgi-2x16": Mode(
        "uWSGI 2.0.31, 2 processes x 16 threads",
        _uwsgi("--processes", "2", "--threads", "16"),
        venv="uwsgi",
        processes=3,
    ),
}


def cells(quick: bool) -> list[Cell]:
    """Every mode on both routes, round by round."""
    rounds, seconds = (1, 3) if quick else (ROUNDS, SECONDS)
    return [
        Cell(
            f"{route}/{mode}/{number}",
            {"version": 2, "route": route, "mode": mode, "round": number, "seconds": seconds,
             "connections": CONNECTIONS, "cores": CORES, "command": list(MODES[mode].command)},
        )
        for number in range(1, rounds + 1)
        for route in ROUTES
        for mode in MODES
    ]  # fmt: skip


def measure(bench: Bench) -> None:
    """One server after the other, on the last CPUs of this machine."""
    (server_cpus,), load_cpus = _serving.divide_cpus(CORES, sorted(os.sched_getaffinity(0)))
    for name in {mode.venv for mode in MODES.values()}:
        _serving.venv(name)
    os.sched_setaffinity(0, load_cpus)

    def work(cell: Cell, _lane: str) -> dict[str, Any]:
        mode = MODES[cell.inputs["mode"]]
        folder = _serving.venv(mode.venv)
        command = [word.replace("{venv}", str(folder)) for word in mode.command]
        with _serving.running(command, server_cpus, mode.processes) as server:
            url = server.url + ROUTES[cell.inputs["route"]][0]
            _serving.wrk(url, CONNECTIONS, 1, NO_LIMIT_MS, load_cpus)
            server.settle(mode.processes)
            time.sleep(DRAIN_SECONDS)
            load = _serving.wrk(url, CONNECTIONS, int(cell.inputs["seconds"]), NO_LIMIT_MS, load_cpus)
            memory, alive = server.memory_mib(), server.process.poll() is None
        return {**load.to_dict(), "memory_mib": round(memory, 1), "alive": alive, "server_cpus": list(server_cpus)}

    try:
        bench.run(work)
    finally:
        _serving.stop_all()


def summarise(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds, the lowest and highest rate, and all errors."""
    rates = [float(value["rate"]) for value in values]

    def median(key: str) -> float:
        return round(statistics.median(float(value[key]) for value in values), 1)

    return {
        "rate": median("rate"),
        "rate_low": round(min(rates), 1),
        "rate_high": round(max(rates), 1),
        "p50_ms": median("p50_ms"),
        "p95_ms": median("p95_ms"),
        "errors": sum(int(value["errors"]) for value in values),
        "requests": sum(int(value["requests"]) for value in values),
        "memory_mib": median("memory_mib"),
        "rounds": len(values),
    }


def report(bench: Bench) -> Report:
    """A table for each route, and bars."""
    found: dict[str, dict[str, list[Mapping[str, Any]]]] = {route: {} for route in ROUTES}
    for cell in bench.cells:
        result = bench.results().get(cell.name)
        if result is not None:
            found[cell.inputs["route"]].setdefault(cell.inputs["mode"], []).append(result.value)
    data = {route: {mode: summarise(values) for mode, values in modes.items()} for route, modes in found.items()}
    return Report(
        title="Ways to run a Flask app",
        markdown=_markdown(data),
        data={"cores": CORES, "connections": CONNECTIONS, "modes": {n: m.words for n, m in MODES.items()}, **data},
        plot=lambda figure: _draw(figure, data),
        plot_size=(10.0, 4.5),
    )


def _markdown(data: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    rounds = max((row["rounds"] for rows in data.values() for row in rows.values()), default=0)
    parts = [
        f"The sample app on {CORES} CPUs of the machine; wrk on the others keeps {CONNECTIONS} connections busy "
        f"(closed loop). Medians of {rounds} rounds; every round measures every mode once, on a server started for it. "
        "Memory: anonymous PSS of all its processes, and the pages of files once, right after the load. "
        "Latencies are wrk's, which counts beside a slow answer the requests that a steady client would have sent "
        "meanwhile. Errors: connections refused, reset or timed out (10 s), and answers of 400 and above."
    ]
    header = ("mode", "requests/s", "lowest..highest", "p50 ms", "p95 ms", "errors", "of", "memory MiB")
    for route, rows in data.items():
        table = [
            (MODES[mode].words, f"{row['rate']:.0f}", f"{row['rate_low']:.0f}..{row['rate_high']:.0f}",
             f"{row['p50_ms']:.0f}", f"{row['p95_ms']:.0f}", row["errors"], row["requests"], f"{row['memory_mib']:.0f}")
            for mode, row in rows.items()
        ]  # fmt: skip
        path, words = ROUTES[route]
        parts += [f"## `{path}`: {words}", markdown_table(header, table, right=range(1, len(header)))]
    parts += ["## What was seen", "\n".join(f"- {line}" for line in seen(data))]
    return "\n\n".join(parts)


def seen(data: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """Sentences that the figures bear out; none for modes that are not measured."""
    lines = []
    io, cpu = data.get("io", {}), data.get("cpu", {})

    def rate(rows: Mapping[str, Mapping[str, Any]], mode: str) -> float:
        return float(rows[mode]["rate"]) if mode in rows else 0.0

    default, single, threaded = (rate(io, mode) for mode in ("flask", "flask-threaded-false", "flask-threaded-true"))
    if default and single and threaded:
        like = "threaded=True" if abs(default - threaded) < abs(default - single) else "threaded=False"
        lines.append(
            f"`app.run()` behaves as `{like}`: {default:.0f}/s on the route that waits, where threaded=True serves "
            f"{threaded:.0f}/s and threaded=False {single:.0f}/s. Flask's server is threaded by default since 1.0."
        )
    if rate(cpu, "flask") and rate(cpu, "sync-4"):
        lines.append(
            f"Flask's server is one process: on the route that computes it serves {rate(cpu, 'flask'):.0f}/s, the "
            f"CPU of one core, and Gunicorn's 4 sync workers {rate(cpu, 'sync-4'):.0f}/s on two."
        )
    if rate(io, "sync-4") and rate(io, "gevent-2"):
        lines.append(
            f"A sync worker waits with its request: 4 of them serve {rate(io, 'sync-4'):.0f}/s of 50 ms each, 2 gevent "
            f"workers {rate(io, 'gevent-2'):.0f}/s."
        )
    for route, rows in data.items():
        broken = [f"{MODES[mode].words} ({row['errors']})" for mode, row in rows.items() if row["errors"]]
        if broken:
            lines.append(f"Errors on {ROUTES[route][0]}: {', '.join(broken)}.")
    return lines


def _draw(figure: Any, data: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    axes = figure.subplots(1, len(data), sharey=True)
    for panel, (route, rows) in zip(axes, data.items(), strict=True):
        names = list(rows)
        rates = [rows[name]["rate"] for name in names]
        low = [rows[name]["rate"] - rows[name]["rate_low"] for name in names]
        high = [rows[name]["rate_high"] - rows[name]["rate"] for name in names]
        panel.barh(names, rates, xerr=(low, high), color="#4878a8", capsize=2)
        for name, value in zip(names, rates, strict=True):
            panel.annotate(
                f"{value:.0f}/s, p95 {rows[name]['p95_ms']:.0f} ms", (0, name), (4, 0), textcoords="offset points",
                va="center", fontsize=7, color="black",
            )  # fmt: skip
        panel.set_title(f"{ROUTES[route][0]}: {ROUTES[route][1]}")
        panel.set_xlabel(f"requests/s, {CONNECTIONS} connections, {CORES} CPUs")
    axes[0].invert_yaxis()
