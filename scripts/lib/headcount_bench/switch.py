# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Requests lost in promotes and reverts, per worker class: new and kept connections, long requests, slow clients."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from headcount_scripts.console import ScriptError

from . import _engine
from ._common import Bench, Cell, Lab, Report, markdown_table
from ._engine import notes_of

TIMED = False
TIMED = False  # what counts is what is lost; beside the longest pause stands that of a run without switches
MINUTES = 60.0
QUICK_MINUTES = 12.0
CLASSES = ("sync", "gthread", "gevent", "eventlet")
HOSTS = [f"s{number}:1:1200m:{suite}" for number, suite in enumerate(("bookworm", "trixie") * 4, 1)]
APP = "shop"
UNIX = "/run/shop.sock"
NOWHERE = "has no good generation before"
"""What a rollback from the oldest generation is told: it asked for something that is not there."""

NEW_EVERY = 3
"""Of so many switches one is the promote of a generation that was never live; the others go back and forth."""

SETTINGS: dict[str, dict[str, Any]] = {
    "sync": {"workers": 8, "preload_app": True},
    "gthread": {"threads": 32, "worker_connections": 96, "keepalive": 5},
    "gevent": {"keepalive": 5},
    "eventlet": {"keepalive": 5},
}
"""Keep-alive is on wherever the class can do it, which the planner would not always choose; on one core, the sync
workers are forked from a preloaded app, so that eight of them booting do not take the core from the users."""

ARMS: tuple[dict[str, Any], ...] = (
    {"name": "new", "kind": "close", "rate": 56, "paths": ["/wait?ms=5"]},
    {"name": "kept", "kind": "keep", "rate": 32, "paths": ["/wait?ms=5", "/version"]},
    {"name": "long", "kind": "close", "rate": 0.8, "paths": ["/wait?ms=3000"]},
    {"name": "slow", "kind": "trickle", "rate": 0.4, "paths": ["/wait?ms=5"]},
)
TOLD = {
    "new": "a new connection for each request",
    "kept": "connections that are kept and used again",
    "long": "requests of 3 s",
    "slow": "clients that pause for 1.5 s within the request",
}


def cells(quick: bool) -> list[Cell]:
    """Each class over TCP and over a unix socket with switches, and over TCP for the same time without."""
    found = []
    sizes = {"tcp": (1_500, 3), "unix": (1_500, 3)} if quick else {"tcp": (50_000, 30), "unix": (10_000, 12)}
    for mode, listen in (("switches", "tcp"), ("calm", "tcp"), ("switches", "unix")):
        requests, switches = sizes[listen]
        for name in CLASSES:
            inputs = {"version": 6, "class": name, "listen": listen, "requests": requests,
                      "switches": switches if mode == "switches" else 0}  # fmt: skip
            found.append(Cell(f"{name}/{listen}/{mode}", inputs))
    return found


def measure(bench: Bench) -> None:
    """Eight hosts of one core each: the runs with switches and those without go on side by side."""
    with bench.lab(HOSTS) as lab:
        bench.run(lambda cell, host: run_cell(lab, host, cell.inputs), lanes=lab.hosts)


def run_cell(lab: Lab, host: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Deploys the class, lets the users ask, and switches all the while."""
    engine = _engine.Engine(lab, host, _engine.wheel_cache())
    engine.push()
    engine.steps(APP, "remove")
    listen = f"unix:{UNIX}" if inputs["listen"] == "unix" else "0.0.0.0:8000"
    declared = {"worker_class": inputs["class"], "concurrency": 60, "listen": listen, "verify_seconds": 0.5,
                "settings": SETTINGS[inputs["class"]]}  # fmt: skip
    for release in ("g1", "g2"):
        why = _deploy(engine, declared, release)
        if why:
            raise ScriptError(f"the deployment of {release} failed: {why}")
    seconds = inputs["requests"] / sum(arm["rate"] for arm in ARMS) + 3
    address: Any = UNIX if inputs["listen"] == "unix" else [lab.addresses[host], 8000]
    with engine.users(address, ARMS, inside=inputs["listen"] == "unix", timeout=30.0) as users:
        begin = time.monotonic()
        switches = _switch(engine, declared, seconds, inputs["switches"])
        length = time.monotonic() - begin
    return (
        summary(users.rows, length)
        | _came_to(switches, engine.status(APP))
        | {"suite": next((spec.rpartition(":")[2] for spec in HOSTS if spec.startswith(f"{host}:")), "")}
    )


def _came_to(switches: Sequence[Mapping[str, Any]], state: Mapping[str, Any]) -> dict[str, Any]:
    """What came of the switches, and how the host is afterwards."""
    done = [one for one in switches if not one["refused"]]
    settings = state["live"]["plan"]["settings"] if state.get("live") else {}
    return {
        "switches": len(done),
        "promotes": sum(one["kind"] == "promote" for one in done),
        "refused": [one["refused"] for one in switches if one["refused"]],
        "switch_seconds": sorted(one["seconds"] for one in done),
        "healthy": bool(state.get("healthy") and state.get("intact") and not state.get("leftovers")),
        "settings": {key: settings[key]["value"] for key in ("workers", "threads", "keepalive") if settings},
    }


def _switch(engine: _engine.Engine, declared: Mapping[str, Any], seconds: float, count: int) -> list[dict[str, Any]]:
    """Switch `count` times, spread over so many seconds: {kind, at, seconds, refused: why or None} of each.

    ScriptError when that takes more than four times as long.
    """
    switches: list[dict[str, Any]] = []
    every = seconds / (count + 1) if count else 0.0
    begin = time.monotonic()
    while time.monotonic() - begin < seconds or len(switches) < count:
        if not count or time.monotonic() - begin < every * len(switches):
            time.sleep(0.2)
            continue
        at = time.time()
        if len(switches) % NEW_EVERY == NEW_EVERY - 1:
            kind, why = "promote", _deploy(engine, declared, f"g{len(switches) + 3}")
        else:
            kind, why = "revert", engine.steps(APP, ("rollback", {"to": _other(engine)}))[-1].get("failed")
        switches.append({"kind": kind, "at": at, "seconds": round(time.time() - at, 2), "refused": why})
        if time.monotonic() - begin > 4 * seconds:
            raise ScriptError(f"only {len(switches)} switches in {4 * seconds:.0f} s")
    return switches


def _other(engine: _engine.Engine) -> int:
    """The newest good generation that is not live: back and forth."""
    state = engine.status(APP)
    live = state["live"]["generation"]
    return max(int(one["number"]) for one in state["generations"] if one["status"] == "good" and one["number"] != live)


def _deploy(engine: _engine.Engine, declared: Mapping[str, Any], release: str) -> str | None:
    """Stage and promote a new generation; why it was refused, or None."""
    app = _engine.shop(APP, **declared, environment={"SHOP_RELEASE": release})
    done = engine.steps(APP, ("stage", engine.request(app)), "finish", "promote")
    return done[-1].get("failed")


def summary(rows: Sequence[Sequence[Any]], seconds: float) -> dict[str, Any]:
    """Counts and latencies of the users' rows (see _client.py)."""
    bad = _engine.failures(rows)
    arms = {}
    for arm in ARMS:
        own = sorted(float(row[2]) for row in rows if row[0] == arm["name"])
        if own:
            arms[arm["name"]] = {
                "requests": len(own),
                "failed": sum(row[0] == arm["name"] for row in bad),
                "p50_ms": own[len(own) // 2],
                "p99_ms": own[min(len(own) - 1, int(0.99 * len(own)))],
                "p999_ms": own[min(len(own) - 1, int(0.999 * len(own)))],
                "longest_ms": own[-1],
            }
    return {
        "requests": len(rows),
        "failed": len(bad),
        "reset": sum("Reset" in str(row[4]) for row in bad),
        "why": dict(Counter(f"{row[3]} {row[4]}" for row in bad).most_common(5)),
        "examples": [list(row) for row in bad[:10]],
        "releases": len({row[4] for row in rows if row[3] == 200 and row[4]}),
        "seconds": round(seconds, 1),
        "arms": arms,
    }


def pause_ms(value: Mapping[str, Any]) -> float:
    """The longest latency of the short requests on new and kept connections, from when the request was due."""
    return max(float(value["arms"][name]["longest_ms"]) for name in ("new", "kept") if name in value["arms"])


def report(bench: Bench) -> Report:
    """A table of the classes, and what was missed."""
    results = {name: result.value for name, result in bench.results().items()}
    rows: list[list[object]] = []
    missed: list[str] = []
    data: dict[str, Any] = {}
    for name in CLASSES:
        places = [place for place in (f"{name}/tcp", f"{name}/unix") if f"{place}/switches" in results]
        pairs = [(place, results[f"{place}/switches"], results.get(f"{place}/calm")) for place in places]
        for place, value, still in pairs:
            data[place] = {"switches": value, "calm": still}
            rows.append(_row(place, value, still))
            missed += _misses(place, value, still)
        total = {key: sum(value[key] for _, value, _ in pairs) for key in ("requests", "switches", "failed", "reset")}
        requests, switches = total["requests"], total["switches"]
        if not requests:
            continue
        data[name] = total | _pauses(pairs)
        if total["failed"]:
            missed.append(f"{name}: {total['failed']} of {requests} requests failed in {switches} switches")
        if not bench.quick and (requests < 50_000 or switches < 30):
            missed.append(f"{name}: only {requests} requests and {switches} switches of 50,000 and 30")
    text = _markdown(rows, missed, results) + notes_of(bench)
    return Report("Requests lost in promotes and reverts", text, data, missed=missed)


def _pauses(pairs: Sequence[tuple[str, Mapping[str, Any], Mapping[str, Any] | None]]) -> dict[str, float | None]:
    calm = [pause_ms(still) for _, _, still in pairs if still is not None]
    longest = max(pause_ms(value) for _, value, _ in pairs)
    return {"longest_pause_ms": longest, "calm_longest_ms": max(calm, default=None)}


def _row(place: str, value: Mapping[str, Any], still: Mapping[str, Any] | None) -> list[object]:
    """The row of a class on one kind of socket: with switches, and without them."""
    middle = value["switch_seconds"][len(value["switch_seconds"]) // 2]
    calm = "" if still is None else f"{pause_ms(still):.0f} ms ({still['requests']}, {still['failed']} failed)"
    slowest = max(arm["p99_ms"] for key, arm in value["arms"].items() if key in ("new", "kept"))
    return [*place.split("/"), value["requests"], f"{value['switches']} ({value['promotes']})", value["failed"],
            value["reset"], f"{pause_ms(value):.0f} ms", calm, f"{slowest:.0f} ms", f"{middle:.1f} s"]  # fmt: skip


def _misses(place: str, value: Mapping[str, Any], still: Mapping[str, Any] | None) -> list[str]:
    found = [] if value["healthy"] else [f"{place}: the host was not healthy and clean afterwards"]
    found += [f"{place}: a switch was refused: {why}" for why in value["refused"] if NOWHERE not in why]
    if still is not None and still["failed"]:
        found.append(f"{place}: {still['failed']} requests failed without any switch")
    return found


def _markdown(rows: Sequence[Sequence[object]], missed: Sequence[str], results: Mapping[str, Any]) -> str:
    header = ["class", "listens on", "requests", "switches (promotes)", "failed", "reset", "longest pause",
              "without switches, same length", "p99", "a switch takes"]  # fmt: skip
    arms = "\n".join(f"- {arm['rate']:g}/s {TOLD[arm['name']]} (`{'`, `'.join(arm['paths'])}`)" for arm in ARMS)
    total = sum(value["requests"] for name, value in results.items() if name.endswith("/switches"))
    lost = sum(value["failed"] for name, value in results.items() if name.endswith("/switches"))
    done = sum(value["switches"] for name, value in results.items())
    verdict = "Missed:\n\n" + "\n".join(f"- {one}" for one in missed) if missed else "Every stated figure is reached."
    return f"""\
{total} requests through {done} promotes and reverts: **{lost} failed**.

{markdown_table(header, rows, right=range(2, 10))}

{verdict}

One host of one core for each row, Debian 12 or 13; the users are elsewhere (TCP), or on the host itself (unix socket).
The runs with and without switches went on at the same time, on a machine that others used too. Every request is due
at a time of its own, so that a pause is seen by all that fall into it:

{arms}

A failure is anything but an answer with 2xx or 3xx within 30 s: a refused or reset connection, one that ends before the
answer, also a kept connection on which a request was sent. Sync workers keep no connections. The longest pause is the
longest latency of the short requests on new and kept connections, from when a request was due; beside it the same
figure of a run of the same length without switches, which says what of it is the machine's. Every third switch is the
promote of a new generation, staged meanwhile; the others go back and forth between good ones
(`headcount-rollback`). A switch takes as long as the longest request in flight (3 s here) and what verifies the new
generation (0.5 s here).
"""
