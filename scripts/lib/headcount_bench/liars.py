# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Releases that look well and are not: whether a trial refuses them, or tells, in words that lead to the fault."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headcount_scripts import paths
from headcount_scripts.console import ScriptError

from . import _engine
from ._common import Bench, Cell, Report, markdown_table
from ._hosts import add_lab, on_each_host
from ._liar_app import HEAVY, LIGHT, NOISY

TIMED = False  # both arms suffer from what else the machine does
MINUTES = 60.0
QUICK_MINUTES = 20.0
VERSION = 5
APP = "liar"
PORT = 8200
HOSTS = ["la:1:1g:bookworm", "lb:1:1g:bookworm"]
RATE, SECONDS = 30, 20
"""As many requests as limits need, retry included in a minute."""
TRIES = 3
"""A load that was stopped is tried so often in all: it may have been the machine's other work."""

REFUSED, TOLD, PASSES, EITHER = "refused", "told", "passes", "refused or told"

PATHS: Sequence[Mapping[str, Any]] = (
    {"path": "/", "weight": 50},
    {"path": "/a", "weight": 25},
    {"path": "/b", "weight": 12},
    {"path": "/c", "weight": 12, "method": "POST", "body": "x=1"},
    {"path": "/rare", "weight": 0.25},
)


@dataclass(frozen=True)
class Liar:
    """A release, what must come of it, and a pattern of the words that lead to its fault. `changes`: what is declared
    otherwise, of what is live too; `meanwhile`: what root does on the host while it is tried, as a shell command;
    `users`: who ask the live release all the while, as arms of _client.py; `sd_ms`: by how much the waiting of a path
    may vary, as it is weighed, where that is looked at."""

    name: str
    what: str
    expected: str
    words: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    quick: bool = False
    meanwhile: str = ""
    users: Sequence[Mapping[str, Any]] = ()
    sd_ms: float | None = None

    @property
    def live(self) -> str:
        """The shape of the release that is live beside it: a good one of its own kind, as it was before."""
        return self.name if self.expected == PASSES and self.name in NOISY else ""


def _load(**more: Any) -> dict[str, Any]:
    return {"load": {"paths": [dict(path) for path in PATHS], "rate": RATE, "seconds": SECONDS, **more}}


TIGHT = _load(rate=45, seconds=15)
"""Twice as many do not fit on one core where a request takes 9 ms and more of it."""

CROWDED = _load(rate=160, seconds=15)
"""Twice as many do not fit on one core where a request takes 3 ms of it."""

SLOWER = [*map(dict, PATHS[:4]), {**PATHS[4], "weight": 4}]
RECYCLED = {"settings": {"workers": 2, "threads": 8, "max_requests": 150, "max_requests_jitter": 30}}
OFTEN = {"settings": {"workers": 2, "threads": 8, "max_requests": 60, "max_requests_jitter": 10}}
LARGE = _load(paths=[dict(path) for path in PATHS[:3]] + [{**PATHS[3], "body": "x" * 20_000}])
SAYS = _load(paths=[{**PATHS[0], "contains": "the answer"}, *map(dict, PATHS[1:])])

BURSTS = "timeout 150 sh -c 'while sleep 1; do timeout 0.4 sh -c \"while :; do :; done\"; done'"
"""A neighbour who takes the core for 0.4 s, again and again."""


def _users(rate: float, *paths: str) -> Sequence[Mapping[str, Any]]:
    return [{"name": "users", "kind": "close", "rate": rate, "paths": list(paths)}]


TWICE = "a request (took|takes) .* ms of CPU against"
REEXEC = "for _ in 1 2 3 4 5 6; do sleep 15; systemctl daemon-reexec; done"

LIARS: Sequence[Liar] = (
    Liar("same", "the same release again", PASSES, quick=True),
    Liar(
        "rare-500",
        "one of five paths always answers 500, at 0.25 % of the load",
        REFUSED,
        'GET /rare answered 500 .*"wrong"',
        quick=True,
    ),
    Liar(
        "b-500", "one of five paths always answers 500", REFUSED, "GET /b answered 500 .*no route to the price server"
    ),
    Liar("post-500", "only POST is broken", REFUSED, 'POST /c answered 500 .*"wrong"', quick=True),
    Liar("all-500", "every answer is 500", REFUSED, 'answered 500 .*"wrong"'),
    Liar("errors-20", "20 % of the answers are 500", REFUSED, 'answered 500 .*"wrong"'),
    Liar("errors-5", "5 % of the answers are 500", REFUSED, "answered 500"),
    Liar("not-found", "every path answers 404", REFUSED, '404 .*"wrong"'),
    Liar("after-120", "500 from each worker's 120th request on", REFUSED, 'answered 500 .*"wrong"'),
    Liar("second-worker", "one worker of two answers 500", REFUSED, "were one worker's"),
    Liar("cpu7", "7 ms more CPU a request", REFUSED, "ms of CPU", TIGHT, quick=True),
    Liar("cpu14", "14 ms more CPU a request", REFUSED, "ms of CPU", TIGHT),
    Liar(
        "twice-users",
        "twice the CPU a request, beside a live one with 8 users a second whose requests take four times as much",
        REFUSED,
        TWICE,
        quick=True,
        users=_users(8, HEAVY),
    ),
    Liar(
        "twice-users-like",
        "twice the CPU a request, beside a live one with 20 users a second whose requests are the load's",
        REFUSED,
        TWICE,
        users=_users(20, "/", "/a", "/b"),
    ),
    Liar("spin", "a thread that spins", REFUSED, "of a core", quick=True),
    Liar("wait8", "8 ms more wait a request", REFUSED, "p50"),
    Liar("slower-half", "every request takes twice as long", REFUSED, "p50"),
    Liar("tail", "the slowest tenth takes 60 ms more", REFUSED, "p95"),
    Liar("b-slow", "one path of five takes twice as long", REFUSED, "GET /b"),
    Liar("lock", "one lock that every request waits for", REFUSED, "p50|p95"),
    Liar("descriptors", "an open descriptor is left by every fourth request", REFUSED, "descriptors grew", quick=True),
    Liar("threads", "a thread is left by every request", REFUSED, "threads grew|start new thread"),
    Liar("memory", "64 KiB are kept by every request", REFUSED, "memory"),
    Liar("log-1mb", "1 MB of log for every request", REFUSED, "written", quick=True),
    Liar("log-lines", "10,000 lines of log a second", REFUSED, "wrote|written"),
    Liar(
        "hang",
        "from each worker's 60th request on nothing is answered",
        REFUSED,
        "timed out|no answer|nothing was answered",
    ),
    Liar("hang-50th", "every 50th request is never answered", REFUSED, "timed out|no answer|nothing was answered"),
    Liar("worker-dies", "a worker dies at its 150th request", REFUSED, "died"),
    Liar(
        "one-stalls",
        "one worker of two stands still for 4 s, once",
        EITHER,
        "stood still",
    ),
    Liar(
        "half-answer", "the answer ends after ten bytes", REFUSED, "cut short|no answer|reset|ended within its answer"
    ),
    Liar("late-byte", "the last byte comes half a second late", REFUSED, "p50|p95|ms or more"),
    Liar("empty", "every answer is empty", REFUSED, "contain|the answer", SAYS),
    Liar("error-page", "an error page with the status 200", REFUSED, "contain|the answer", SAYS),
    Liar(
        "empty-unsaid", "every answer is empty, and `contains` is not declared", TOLD, "answers of GET /.* have 0 bytes"
    ),
    Liar(
        "error-page-unsaid",
        "an error page with the status 200, and `contains` is not declared",
        TOLD,
        "answers of GET /.* have 42 bytes, of the live generation 220",
    ),
    Liar("redirects", "every path redirects to /login", REFUSED, "redirect"),
    Liar("other-host", "404 for every Host but localhost", REFUSED, "404", {"host": "www.example.com"}),
    Liar("head-only", "HEAD alone is answered", REFUSED, "405"),
    Liar("large-answer", "every answer has 3 MB", EITHER, "answers of GET /.* have 3 MB, of the live"),
    Liar(
        "gzip-bomb",
        "every answer is gzip, unasked for, of 200 MB of nothing",
        TOLD,
        "answers of GET /.* have 20. kB, of the live generation 220 bytes",
    ),
    Liar("large-body", "20 ms more CPU for a body of 20 kB", REFUSED, "POST /c", LARGE),
    Liar("first-byte", "the first byte comes 0.3 s late", REFUSED, "p50|p95"),
    Liar("cold", "each worker's first 220 requests take 0.1 s more", EITHER, r"first \d+ requests took"),
    Liar("raises", "5 % of the requests raise an exception", REFUSED, "RuntimeError: no prices for today"),
    Liar("locked", "10 % of the requests meet a locked database", REFUSED, "database is locked"),
    Liar("disk", "400 kB are written to a file by every request", REFUSED, "written"),
    Liar(
        "dies-in-weigh",
        "a request for one path of five ends its worker with status 1, once that has answered 25",
        REFUSED,
        r"died under load .*the worker ended (once|\d+ times) while it was weighed .*while GET /b was under way",
        sd_ms=20.0,
    ),
    Liar("leak-path", "8 MB are kept by every request for one path of five", REFUSED, r"leaks memory.*\(GET /b kept"),
    Liar(
        "traceback-each",
        "every request logs an exception, and is answered well",
        TOLD,
        r"KeyError: 'tracker' \(liar\.py:\d+\)",
    ),
    Liar("half-empty", "half of the answers of one path are empty", TOLD, r"answers of GET / .*empty"),
    Liar("children", "a process is left by every third request", REFUSED, "processes|threads|descriptors|memory"),
    Liar("good-log", "a good release that logs a line for every request", PASSES),
    Liar("good-slow-path", "a good release, one path of which is slow by nature", PASSES, changes=_load(paths=SLOWER)),
    Liar("good-tail", "a good release, a tenth of whose requests is slow by nature", PASSES),
    Liar("good-cache", "a good release that fills a cache, as the live one has", PASSES),
    Liar("good-sizes", "a good release, whose answers have 1 kB to 1 MB by nature", PASSES),
    Liar("good-slow-start", "a good release that is slow at first", PASSES),
    Liar("good-recycling", "a good release whose workers are replaced", PASSES, changes=RECYCLED),
    Liar(
        "recycling-good",
        "a good release whose workers are replaced after every 60 requests, and take half a second to import",
        PASSES,
        changes=OFTEN,
        sd_ms=20.0,
    ),
    Liar("good-tight", "the same release again, where the load fits once", PASSES, changes=CROWDED, quick=True),
    Liar(
        "good-users",
        "the same release beside a live one with 8 users a second whose requests take four times as much",
        PASSES,
        quick=True,
        users=_users(8, HEAVY),
    ),
    Liar(
        "good-users-light",
        "the same release beside a live one with 20 users a second whose requests take hardly any CPU",
        PASSES,
        users=_users(20, LIGHT),
    ),
    Liar(
        "good-users-mixed",
        "the same release beside a live one with 6 users a second, one of three of whose requests is a heavy one",
        PASSES,
        users=_users(6, "/", LIGHT, HEAVY),
    ),
    Liar("good-neighbour", "the same release beside a neighbour who takes the core", PASSES, meanwhile=BURSTS),
    Liar("good-reexec", "the same release while systemd begins anew", PASSES, meanwhile=REEXEC),
)

add_arguments = add_lab


def cells(quick: bool) -> list[Cell]:
    """A cell for each release."""
    rows = sorted((row for row in LIARS if row.quick or not quick), key=_alike)
    return [
        Cell(
            row.name,
            {"version": VERSION, "what": row.what, "changes": dict(row.changes), "meanwhile": row.meanwhile}
            | ({"users": [dict(arm) for arm in row.users]} if row.users else {}),
        )
        for row in rows
    ]


def _alike(row: Liar) -> tuple[bool, str, str]:
    """Rows that are tried beside the same live generation stand together: it is promoted once for all of them."""
    return bool(row.live or row.changes), row.live, json.dumps(row.changes, sort_keys=True)


def measure(bench: Bench) -> None:
    """Each host tries the next release beside a good one that is live."""
    with tempfile.TemporaryDirectory(prefix="headcount-liars-") as folder:  # what git ignores is in no release
        project, rows = _project(Path(folder)), {row.name: row for row in LIARS}
        on_each_host(
            bench,
            HOSTS,
            lambda _lab, _host, engine: Scene(engine, project),
            lambda scene, cell: scene.tried(rows[cell.name]),
        )


def _project(folder: Path) -> Path:
    """The app as a project: one module, and nothing that it depends on."""
    place = folder / "liar"
    place.mkdir(parents=True, exist_ok=True)
    source = paths.ROOT / "scripts/lib/headcount_bench/_liar_app.py"
    (place / "liar.py").write_bytes(source.read_bytes())
    (place / "requirements.txt").write_text("", encoding="utf-8")
    return place


def declared(folder: Path, liar: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The release as an inventory would declare it."""
    return {
        "name": APP,
        "source": {"path": str(folder), "as": "tree"},
        "entry_point": "liar:app",
        "listen": f"0.0.0.0:{PORT}",
        "worker_class": "gthread",
        "settings": {"workers": 2, "threads": 8},
        "health": {"path": "/healthz", "contains": "ok", "boot_seconds": 20},
        "environment": {"LIAR": liar, "LIAR_SERIAL": str(time.time())},
        "limits": {"error_rate": 0.01, "memory_percent": 90},
        "verify_seconds": 2,
        **_load(),
        **changes,
    }


def _steps(engine: _engine.Engine, app: Mapping[str, Any], *ops: str) -> list[dict[str, Any]]:
    """Stage a release and go on with it. The run that holds the app's lease, if any, was one of this bench."""
    lease = re.search(r'"id": "([\w-]+)"', engine.sh(f"cat /var/lib/headcount/{APP}/lease.json 2>/dev/null"))
    gone = [lease[1]] if lease else []
    return engine.steps(APP, ("stage", engine.request(app)), *ops, gone=gone, timeout=500)


@dataclass
class Scene:
    """One host: its engine, the project of the releases, and what is live there, as this run knows it."""

    engine: _engine.Engine
    folder: Path
    live: tuple[str, Mapping[str, Any]] | None = None

    def tried(self, row: Liar) -> dict[str, Any]:
        """What came of a release on its trial: refused by which words, or what was told."""
        begin = time.monotonic()
        if self.live != (row.live, row.changes):
            self.live = None
            good = _steps(self.engine, declared(self.folder, row.live, row.changes), "weigh", "promote")
            if "failed" in good[-1]:
                raise ScriptError(f"the good release was not promoted: {good[-1]['failed']}")
            self.live = row.live, row.changes
        tries, last = 0, {}
        steps: list[dict[str, Any]] = []
        verdict: Mapping[str, Any] = {"stopped": True}
        while verdict.get("stopped") and tries < TRIES:
            tries += 1
            with _meanwhile(self.engine, row.meanwhile), self._asked(row.users):
                steps = _steps(self.engine, declared(self.folder, row.name, row.changes), "weigh", "trial")
            last = steps[-1]
            verdict = last.get("verdict") or {}
        notes: list[str] = last.get("notes", [])
        return {
            "what": row.what,
            "expected": row.expected,
            "refused": "failed" in last,
            "stopped": bool(verdict.get("stopped")),
            "phase": last.get("phase", ""),
            "cause": last.get("failed") or verdict.get("cause", ""),
            "told": [*verdict.get("told", []), *verdict.get("warnings", []), *verdict.get("uncompared", []), *notes],
            "attempts": verdict.get("attempts"),
            "cpu": next((one for one in verdict.get("checks", []) if one["name"] == "cpu_relative"), None),
            "wait_sd_ms": _most_sd(steps),
            "tries": tries,
            "seconds": round(time.monotonic() - begin, 1),
        }

    @contextlib.contextmanager
    def _asked(self, arms: Sequence[Mapping[str, Any]]) -> Iterator[None]:
        """By users, through the public socket."""
        if not arms:
            yield
            return
        with self.engine.users(["127.0.0.1", PORT], arms, inside=True):
            yield


def _most_sd(steps: Sequence[Mapping[str, Any]]) -> float | None:
    """By how much the waiting of a path varies at most, by what was weighed; None where it was not."""
    weighed = next((step["measured"] for step in steps if step.get("measured")), None)
    return max((float(path["wait_sd_ms"]) for path in weighed["paths"]), default=None) if weighed else None


@contextlib.contextmanager
def _meanwhile(engine: _engine.Engine, command: str) -> Iterator[None]:
    """Let a unit of the host do it, which ends with this."""
    if not command:
        yield
        return
    engine.sh(f"systemd-run --quiet --unit liar-meanwhile --collect sh -c {shlex.quote(command)}", check=True)
    try:
        yield
    finally:
        engine.sh("systemctl stop liar-meanwhile")


def came(row: Liar, value: Mapping[str, Any]) -> str:
    """What came of it: refused, stopped (the load hurt the live generation, which says nothing of the candidate), told,
    or passed in silence; with "unnamed" where the words do not lead to the fault. The sentence of a pass tells of none.
    """
    passed = not value["refused"] and not value["stopped"]
    said = " ".join([*([] if passed else [str(value["cause"])]), *map(str, value["told"])])
    named = not row.words or re.search(row.words, said) is not None
    if value["stopped"]:
        return "stopped" if named else "stopped, unnamed"
    if value["refused"]:
        return "refused" if named else "refused, unnamed"
    return "told" if row.words and named else "passed"


def well(row: Liar, value: Mapping[str, Any]) -> bool:
    """Whether it came as it must."""
    fate = came(row, value)
    if row.sd_ms is not None and not (value.get("wait_sd_ms") or 0.0) <= row.sd_ms:
        return False
    if row.expected == PASSES:
        return fate == "passed"
    return fate == "refused" or (fate == "told" and row.expected in (TOLD, EITHER))


def report(bench: Bench) -> Report:
    """The catalogue as a table."""
    rows = {row.name: row for row in LIARS}
    values = {name: result.value for name, result in bench.results().items()}
    missed = [f"{name}: {came(rows[name], value)}" for name, value in values.items() if not well(rows[name], value)]
    table = [
        [
            name,
            value["what"],
            value["expected"],
            came(rows[name], value) if well(rows[name], value) else f"**{came(rows[name], value)}**",
            str(value["tries"]),
            f"{value['seconds']:.0f}",
            str(value["cause"])[:300].replace("|", "/"),
        ]
        for name, value in values.items()
    ]
    bad = [value for name, value in values.items() if rows[name].expected != PASSES]
    fates = Counter(came(rows[name], value) for name, value in values.items() if rows[name].expected != PASSES)
    caught = fates["refused"] + fates["refused, unnamed"]
    good = len(values) - len(bad)
    passed = sum(came(rows[name], value) == "passed" for name, value in values.items() if rows[name].expected == PASSES)
    text = f"""\
Each release runs beside a good one that is live, on a host of one core, through the collection's own stage, weigh and
trial, at the load that its declaration says: {RATE} requests a second for {SECONDS} s (45, or 160, where twice as many
must not fit). "Stopped" is a load that ended because the live generation suffered: users are safe, and nothing is known
of the candidate but what the cause says. As the machine's other work can be what it suffers from, such a trial was
repeated, at most {TRIES} times in all.

{len(bad)} bad releases were tried, {caught} were refused; {good} good ones in noisy shapes, {passed} of which passed.

{markdown_table(["release", "what is wrong", "must be", "was", "tries", "seconds", "cause"], table, right=(4, 5))}
"""
    return Report(title="Releases that look well and are not", markdown=text, data={"rows": values}, missed=missed)
