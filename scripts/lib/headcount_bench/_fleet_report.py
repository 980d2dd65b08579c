# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The report of a run over a fleet that there is not: what report.json would hold, as large as that of real hosts.

The plans are the planner's, the distributions are histograms of random latencies; the same seed gives the same fleet.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ._engine import collection, shop

BEGAN: Final = 1_795_680_000.0
"""When the run began: 2026-11-26T00:00:00Z in epoch seconds."""

SIZES: Final = ((1, 512), (2, 1024), (4, 8192), (8, 16384))
"""Cores and MiB of the hosts, in turn."""

APPS: Final = ("shop", "billing")
FAILED_EVERY: Final = 50
"""Of so many hosts one fails in its trial, and one is not well for another reason each."""

PAST: Final = 12
"""Events of the ledger and load tests of each row: as many as a probe tells."""

PHASES: Final = (("stage", 9.0), ("weigh", 8.0), ("trial", 24.0), ("promote", 8.0))
CAUSE: Final = "p95 is 812 ms, limit 250: with 99 % confidence at least 640"


def of_run(hosts: int, seed: int = 1) -> dict[str, Any]:
    """What report.json holds of a rollout of two apps over so many hosts, one row in 50 failed."""
    numbers = random.Random(seed)
    names = [f"web{number:03d}" for number in range(1, hosts + 1)]
    batches = _batches(hosts)
    begins = [BEGAN + 60.0 * batch for batch, size in enumerate(batches) for _ in range(size)]
    plans = {(app, size): _plan(app, *size) for app in APPS for size in SIZES}
    rows = []
    for place, name in enumerate(names):
        size = SIZES[place % len(SIZES)]
        for app in APPS:
            rows.append(_row(numbers, place, name, plans[app, size], (app, *size), begins[place]))
    failed = {row["host"]: f"{row['app']}: trial: {row['cause']}" for row in rows if row["status"] == "failed"}
    first = next(iter(failed.items()), None)
    return {
        "run": {
            "id": "20261126-000000-0000",
            "user": "root",
            "controller": "control",
            "started": "2026-11-26T00:00:00Z",
        },
        "ended": "2026-11-26T00:30:00Z",
        "mode": "rollout",
        "check_mode": False,
        "summary": f"{hosts} hosts: {len(rows) - len(failed)} promoted, {len(failed)} failed",
        "first_cause": f"{first[0]}: {first[1]}" if first else None,
        "failed": failed,
        "batches": batches,
        "order": names,
        "rows": rows,
    }


def _batches(hosts: int) -> list[int]:
    """One host, then batches that grow."""
    sizes, left, size = [], hosts, 1
    while left:
        sizes.append(min(size, left))
        left -= sizes[-1]
        size = min(50, 4 * size)
    return sizes


def _plan(app: str, cores: int, memory_mib: int) -> dict[str, Any]:
    """The planner's own for such a host."""
    normal, problems = collection("module_utils._declaration.normalise").normalise_apps([shop(app)], "")
    assert not problems, problems
    facts = collection("module_utils._facts.given").declared(cores, memory_mib).to_dict()
    planner = collection("module_utils._plan.planner")
    asked: dict[str, Any] = {"measured": {}, "fleet": {}, "previous": {}, "async_verdicts": {}}
    made: dict[str, Any] = planner.plan_host(facts, [{**normal[0], "secrets": {}}], **asked)[app].to_dict()
    return made


def _row(
    numbers: random.Random, place: int, host: str, plan: Mapping[str, Any], what: tuple[str, int, int], began: float
) -> dict[str, Any]:
    app, cores, memory_mib = what
    bad = place % FAILED_EVERY == FAILED_EVERY - 1 and app == APPS[0]
    values = {name: setting["value"] for name, setting in plan["settings"].items()}
    candidate = _latencies(numbers, 400.0 if bad else numbers.uniform(10.0, 60.0))
    peak, most = numbers.uniform(50.0, 200.0), float(values["memory_max_mib"])
    p50, p95, p99 = (candidate[int(len(candidate) * part)] for part in (0.5, 0.95, 0.99))
    row = {
        "host": host,
        "address": f"10.{place // 62500}.{place // 250 % 250}.{place % 250 + 1}",
        "hardware": f"{cores} cores, {memory_mib} MiB",
        "cores": float(cores),
        "memory_mib": memory_mib,
        "app": app,
        "status": "promoted",
        "cause": None,
        "phase": None,
        "generation": 4,
        "from": 3,
        "before": {**values, "workers": 2},
        "release": f"{numbers.getrandbits(64):016x}",
        "reasons": ["the code changed"],
        "notes": [],
        "listen": "0.0.0.0:8000",
        "url": f"http://10.0.{place // 250}.{place % 250 + 1}:8000/",
        "settings": values,
        "profile": {"value": "io", "origin": "declared", "source": "declared"},
        "plan": plan,
        "recommended": {},
        "steps": _steps(numbers, began, bad),
        "load_tests": [_load_test(numbers, week) for week in range(PAST)],
        "history": [_event(numbers, day) for day in range(PAST)],
        "drift": ["its cores changed: 1 -> 2"] if place % FAILED_EVERY == 0 else [],
        "verdict": "pass",
        "verdict_cause": f"p95 is {p95:.1f} ms, limit 250",
        "requests": len(candidate),
        "failures": 0,
        "error_rate_limit": 0.02,
        "peak_mib": peak,
        "peak_limit_mib": 0.8 * most,
        "memory_source": "cgroup v2 memory.peak",
        "checks": _checks(numbers, p95, peak, 0.8 * most, bad),
        "uncompared": [],
        "failed_requests": [],
        "histogram": _histogram(candidate),
        "live_histogram": _histogram(_latencies(numbers, numbers.uniform(10.0, 60.0))),
        "memory": _memory(numbers, peak, most),
        "live_memory": _memory(numbers, peak, most),
        "paths": [_path(numbers, path) for path in ("/", "/products", "/cart", "/report")],
        **{"p50_ms": p50, "p50_limit_ms": None, "p95_ms": p95, "p95_limit_ms": 250.0, "p99_ms": p99},
        "p99_limit_ms": None,
    }
    return {**row, **(FAILED if bad else {})}


FAILED: Final = {
    **{
        "status": "failed",
        "cause": CAUSE,
        "phase": "trial",
        "generation": 3,
        "before": {},
        "recommended": {"workers": 2},
    },
    **{"verdict": "fail", "verdict_cause": CAUSE, "failures": 3},
    "failed_requests": [
        {
            **{"request": "GET /products", "answered": "500 Internal Server Error", "cause": "KeyError: 'price'"},
            "log": ["Traceback (most recent call last):", *(f'  File "shop/views.py", line {n}' for n in range(1, 9))],
        }
    ],
}
"""What is told of a row that failed in its trial."""


def _histogram(latencies: Sequence[float]) -> str:
    return str(collection("module_utils._verdict.histogram").Histogram.of_milliseconds(latencies).encode())


def _latencies(numbers: random.Random, middle: float) -> list[float]:
    """Milliseconds of 600 requests, in order."""
    return sorted(middle * numbers.lognormvariate(0.0, 0.5) for _ in range(600))


def _steps(numbers: random.Random, began: float, bad: bool) -> list[dict[str, Any]]:
    steps, at = [], began
    for phase, seconds in PHASES[: 3 if bad else 4]:
        took = round(seconds * numbers.uniform(0.8, 1.5), 2)
        at += took + 0.5
        ok = not (bad and phase == "trial")
        steps.append({"phase": phase, "ok": ok, "seconds": took, "at": round(at, 2), "cause": None if ok else CAUSE})
    return steps


def _load_test(numbers: random.Random, week: int) -> dict[str, Any]:
    took = sorted(numbers.uniform(10.0, 80.0) for _ in range(3))
    return {
        **{
            "time": f"2026-0{week % 9 + 1}-22T04:06:00.000Z",
            "generation": 3,
            "rate": 20.0,
            "outcome": "done",
            "why": "",
        },
        **{"requests": 600, "failures": 0, "memory_mib": numbers.uniform(50.0, 200.0)},
        **dict(zip(("p50_ms", "p95_ms", "p99_ms"), took)),
    }


def _event(numbers: random.Random, day: int) -> dict[str, Any]:
    words = f"p95 is {numbers.uniform(10.0, 80.0):.1f} ms, limit 250; 0 of 600 requests failed"
    return {
        **{"time": f"2026-11-{day + 1:02d}T10:00:00.000Z", "event": "promoted", "from": 2, "to": 3, "user": "root"},
        **{"controller": "control", "verdict": "pass", "evidence": words},
    }


def _checks(numbers: random.Random, p95: float, peak: float, most: float, bad: bool) -> list[dict[str, Any]]:
    told: Sequence[tuple[str, float, float, str]] = (
        ("oom_kills", 0, 0, "no process was killed for memory"),
        ("restarts", 0, 0, "no worker died"),
        ("memory_peak", peak, most, f"memory peaked at {peak:.1f} MiB, limit {most:.0f}"),
        ("measurement", 600, 600, "600 requests at 40 a second"),
        ("error_rate", 0.0, 0.02, "0 of 600 requests failed"),
        ("p95_ms", p95, 250.0, CAUSE if bad else f"p95 is {p95:.1f} ms, limit 250"),
        ("p50_compared", numbers.random(), 1.1, "not slower than the live generation"),
        ("cpu", numbers.random(), 1.2, "no more CPU time a request than the live generation"),
    )
    outcome = "fail" if bad else "pass"
    return [
        {"name": name, "outcome": outcome if name == "p95_ms" else "pass", "value": value, "limit": limit,
         "bounds": [0.8 * value, 1.2 * value] if value else [None, None], "sentence": sentence}
        for name, value, limit, sentence in told
    ]  # fmt: skip


def _memory(numbers: random.Random, peak: float, most: float) -> dict[str, Any]:
    return {
        **{"peak_mib": peak, "limit_mib": most, "after_warmup_mib": 0.8 * peak, "pss_mib": 0.9 * peak},
        **{"uss_mib": 0.7 * peak, "oom_kills": 0, "restarts": 0, "recycled": 0, "cpu_seconds": numbers.uniform(1, 9)},
    }


def _path(numbers: random.Random, name: str) -> dict[str, Any]:
    took = sorted(numbers.uniform(5.0, 80.0) for _ in range(2))
    return {"name": f"GET {name}", "requests": 150, "failures": 0, **dict(zip(("p50_ms", "p95_ms"), took))}
