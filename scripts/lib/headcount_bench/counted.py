# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the recorder counts against what clients count: recycled and killed workers, slow and cut clients, a promote.

On a host of the lab users ask a real generation, of which all workers are recycled again and again, and a promote comes
meanwhile. What both generations have counted is compared with the users' own rows, outcome by outcome; what Headcount
itself asks, paths that no user does, is taken off by the log of requests. Then all workers are killed while requests
run in them.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from headcount_scripts.console import ScriptError

from . import _engine
from ._common import Bench, Cell, Lab, Report, markdown_table
from ._hosts import a_lab
from .switch import APP

TIMED = False  # what counts is what is counted; a scrape is timed beside one of a fresh instance
MINUTES = 45.0
QUICK_MINUTES = 20.0
VERSION: Final = 2
CLASSES: Final = ("sync", "gthread", "gevent")
HOSTS: Final = ["counted:1:1g:bookworm"]
REQUESTS, QUICK_REQUESTS = 20_000, 1_500
RECYCLED, QUICK_RECYCLED = 1_000, 100
MOST_SCRAPE_MS: Final = 50.0
SCRAPES: Final = 10
ROUNDS, HELD = 3, 4
"""So often all workers are killed, with so many requests in them."""

PATIENCE_S: Final = 300.0
KEPT: Final = "/run/headcount-bench"
SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "sync": {"workers": 6, "preload_app": True},
    "gthread": {"workers": 2, "threads": 16, "worker_connections": 48, "keepalive": 5},
    "gevent": {"workers": 2, "keepalive": 5},
}
OWN: Final = ("/healthz", "/whoami")
"""What Headcount asks, and no user."""

PATHS: Final = ["/nowhere", "/wait?ms=5", "/version"]
ARMS: Final[Sequence[Mapping[str, Any]]] = (
    {"name": "new", "kind": "close", "rate": 24, "paths": PATHS},
    {"name": "kept", "kind": "keep", "rate": 12, "paths": PATHS},
    {"name": "long", "kind": "close", "rate": 0.5, "paths": ["/wait?ms=1500"]},
    {"name": "slow", "kind": "trickle", "rate": 0.5, "paths": PATHS},
    {"name": "cut", "kind": "cut", "rate": 1, "paths": ["/wait?ms=300"]},
)
HOLD: Final = "for n in {}; do (curl -s -o /dev/null 'http://127.0.0.1:8000/wait?ms=60000'; echo $?) & done; wait"
READ: Final = (
    f"import sys, json; sys.path.insert(0, {_engine.ONHOST!r}); from headcount._recorder import counts\n"
    "found = counts.read(sys.argv[1])\n"
    "print(json.dumps(found and {**found.tally.to_dict(), 'uncounted': found.uncounted, 'trouble': found.trouble}))"
)
SCRAPE: Final = (
    "import time, urllib.request as u\n"
    "begin = time.monotonic()\n"
    "page = u.urlopen('http://127.0.0.1:9788/metrics').read().decode()\n"
    "print(1000 * (time.monotonic() - begin)); print(page)"
)


def cells(quick: bool) -> list[Cell]:
    """One for each worker class, and the scrape after many workers."""
    requests, recycled = (QUICK_REQUESTS, QUICK_RECYCLED) if quick else (REQUESTS, RECYCLED)
    return [
        *(Cell(name, {"version": VERSION, "class": name, "requests": requests}) for name in CLASSES),
        Cell("scrape", {"version": VERSION, "recycled": recycled}),
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to run instead of in a lab of its own."""
    parser.add_argument(
        "--lab", metavar="NAME", help="use the first host of this lab, which is up already, and leave it"
    )


def measure(bench: Bench) -> None:
    """One after the other, on one host."""
    with a_lab(bench, HOSTS) as lab:
        bench.run(lambda cell, host: Host(lab, host).cell(cell.inputs), lanes=lab.hosts[:1])


class Host:
    """The host that is asked."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab, self.name = lab, name
        self.engine = _engine.Engine(lab, name, _engine.wheel_cache())

    def cell(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """What came of a cell."""
        self.engine.push()
        self.engine.steps(APP, "remove")
        self.engine.sh(f"rm -rf {KEPT}; journalctl --rotate --vacuum-time=1s")
        install = (
            f"import sys; sys.path.insert(0, {_engine.ONHOST!r}); from headcount import _hosttool; "
            "from headcount._host import exporting; _hosttool.install(_hosttool.own_sources()); "
            "exporting.install('127.0.0.1:9788')"
        )
        self.lab.run(self.name, ["/usr/bin/python3", "-c", install])
        return self.counted(inputs) if "class" in inputs else self.scraped(int(inputs["recycled"]))

    def deploy(self, release: str, worker_class: str, settings: Mapping[str, Any]) -> int:
        """A new generation, live; its number. What it counts can be read after its end too."""
        app = _engine.shop(
            APP,
            worker_class=worker_class,
            concurrency=60,
            access_log="json",
            load={"paths": [OWN[1]], "rate": 60, "seconds": 6},
            verify_seconds=0.5,
            settings=dict(settings),
            environment={"SHOP_RELEASE": release},
        )
        done = self.engine.steps(APP, ("stage", self.engine.request(app)), "finish", "promote")
        if "failed" in done[-1]:
            raise ScriptError(f"the deployment of {release} failed: {done[-1]['failed']}")
        number = self.engine.live(APP)
        if number is None:
            raise ScriptError(f"nothing is live after the deployment of {release}")
        name = f"{APP}-{number}"
        link = f"mkdir -p {KEPT}/{name} && ln /run/headcount-instances/{name}/recorder {KEPT}/{name}/recorder"
        self.engine.sh(link, check=True)
        return number

    def tally(self, number: int) -> dict[str, Any]:
        """What a generation has counted."""
        told = json.loads(self.lab.run(self.name, ["/usr/bin/python3", "-c", READ, f"{KEPT}/{APP}-{number}"]))
        if told is None:
            raise ScriptError(f"generation {number} has counted nothing")
        return dict(told)

    def wait(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait until it holds; ScriptError after PATIENCE_S."""
        begin = time.monotonic()
        while not holds():
            if time.monotonic() - begin > PATIENCE_S:
                raise ScriptError(f"waited {PATIENCE_S:g} s in vain for {what}")
            time.sleep(0.3)

    def idle(self, number: int) -> dict[str, Any]:
        """What a generation has counted, when no request runs."""
        self.wait("the last request to end", lambda: self.tally(number)["in_flight"] == 0)
        return self.tally(number)

    # -- counts -------------------------------------------------------------------------------------------------------

    def counted(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Users, recycling and a promote; then workers that are killed."""
        settings = {**SETTINGS[inputs["class"]], "max_requests": 150, "max_requests_jitter": 50}
        first = self.deploy("g1", inputs["class"], settings)
        seconds = inputs["requests"] / sum(arm["rate"] for arm in ARMS) + 5
        begin = time.monotonic()
        with self.engine.users([self.lab.addresses[self.name], 8000], ARMS, timeout=60.0) as users:
            time.sleep(seconds / 2)
            second = self.deploy("g2", inputs["class"], settings)
            time.sleep(max(0.0, seconds - (time.monotonic() - begin)))
        told = [self.idle(first), self.idle(second)]
        logged = self.engine.sh(f"journalctl -t {APP}-access -t {APP}-trial-access -u '{APP}@*' -o cat")
        lines = [json.loads(line) for line in logged.splitlines() if line]
        return {
            "clients": by_outcome(users.rows),
            "failed": [list(row) for row in users.rows if row[3] == 0 and row[4] != "cut"][:5],
            "own": sum(line.get("path") in OWN for line in lines),
            "lines": len(lines),
            "missing": sum(int(line.get("missing") or 0) for line in lines),
            "recorders": told,
            "releases": sorted({row[4] for row in users.rows if row[3] == 200 and row[4]}),
            "killed": [self.kill(second) for _ in range(ROUNDS)],
            "exporter": self.exported(second),
        }

    def kill(self, number: int) -> dict[str, int]:
        """All workers killed with HELD requests in them: what the clients lost, what the recorder says, and workers."""
        before = self.idle(number)
        command = self.lab.command(self.name, ["sh", "-c", HOLD.format(" ".join(map(str, range(HELD))))])
        with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as clients:
            self.wait("the requests to be in flight", lambda: self.tally(number)["in_flight"] == HELD)
            pids = f"$(pgrep -P $(systemctl show -p MainPID --value {APP}@{number}.service))"
            killed = self.engine.sh(f"pids={pids}; kill -KILL $pids; echo $pids", check=True)
            out, _ = clients.communicate(timeout=PATIENCE_S)
        self.wait("their workers to be counted", lambda: self.tally(number)["lost"] > before["lost"])
        after = self.idle(number)
        return {
            "clients": sum(int(code) != 0 for code in out.split()),
            "lost": after["lost"] - before["lost"],
            "workers": after["worker_ends"]["killed"] - before["worker_ends"]["killed"],
            "said": len(killed.split()),
        }

    def exported(self, number: int) -> dict[str, int]:
        """Requests of a generation by the exporter, and by its recorder."""
        tally = self.idle(number)
        own = f'app="{APP}",generation="{number}"'

        def told() -> int:
            found = re.findall(rf"^headcount_requests_(?:lost_)?total{{{own}[^}}]*}} (\S+)$", self.scrape()[1], re.M)
            return sum(int(float(value)) for value in found)

        self.wait("a page of the exporter that is new", lambda: told() == tally["begun"])
        return {"exporter": told(), "recorder": tally["begun"]}

    # -- a scrape -----------------------------------------------------------------------------------------------------

    def scrape(self) -> tuple[float, str]:
        """Milliseconds of a scrape from the host itself, and the page."""
        took, _, page = self.lab.run(self.name, ["/usr/bin/python3", "-c", SCRAPE]).partition("\n")
        return float(took), page

    def scrapes(self) -> list[float]:
        """Milliseconds of scrapes that each look anew: a page is handed out again for a second."""
        taken = []
        for _ in range(SCRAPES):
            time.sleep(1.1)
            taken.append(self.scrape()[0])
        return taken

    def scraped(self, recycled: int) -> dict[str, Any]:
        """Scrapes of a fresh instance, and after so many of its workers were recycled, one for each request."""
        settings = {"workers": 4, "preload_app": True, "max_requests": 1, "max_requests_jitter": 0}
        number = self.deploy("g1", "sync", settings)
        fresh = self.scrapes()
        ask = f"for n in $(seq {recycled + 10}); do curl -s -o /dev/null http://127.0.0.1:8000/version || exit 1; done"
        self.engine.sh(ask, check=True, timeout=3600)
        self.wait("them to be recycled", lambda: self.tally(number)["worker_ends"]["recycled"] >= recycled)
        return {"fresh_ms": fresh, "ms": self.scrapes(), "recycled": self.tally(number)["worker_ends"]["recycled"]}


def by_outcome(rows: Sequence[Sequence[Any]]) -> dict[str, int]:
    """How many of the users' rows came to what: a class of status, cut, or failed."""
    found = Counter(f"{row[3] // 100}xx" if row[3] else "cut" if row[4] == "cut" else "failed" for row in rows)
    return dict(found)


def report(bench: Bench) -> Report:
    """What was counted by whom, and where that differs."""
    found = {name: result.value for name, result in bench.results().items()}
    return Report("What is counted, by both sides", text(found), found, missed=missed(found))


def both(value: Mapping[str, Any], *outcomes: str) -> int:
    """What both generations have counted of outcomes."""
    return sum(one["outcomes"][name] for one in value["recorders"] for name in outcomes)


def text(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The page."""
    rows = []
    for name in (name for name in CLASSES if name in found):
        value, clients = found[name], found[name]["clients"]
        ends = [one["worker_ends"] for one in value["recorders"]]
        rows.append(
            (
                *(name, sum(clients.values()), sum(one["begun"] for one in value["recorders"]) - value["own"]),
                *(clients.get("cut", 0), clients.get("failed", 0), sum(one["recycled"] for one in ends)),
                " + ".join(f"{one['lost']} of {one['clients']}" for one in value["killed"]),
            )
        )
    header = ("class", "clients asked", "recorder counted", "cut", "failed", "workers recycled", "lost when killed")
    parts = [__doc__.partition("\n\n")[2].strip(), markdown_table(header, rows, right=range(1, 6))]
    if "scrape" in found:
        value = found["scrape"]
        fresh, later = statistics.median(value["fresh_ms"]), statistics.median(value["ms"])
        parts.append(
            f"A scrape of the exporter took {later:.0f} ms in the median after {value['recycled']} recycled workers,"
            f" {fresh:.0f} ms before."
        )
    return "\n\n".join(parts)


def missed(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Where recorder and clients differ, and a scrape that takes too long."""
    told = [f"{name}: {words}" for name in CLASSES if name in found for words in differences(found[name])]
    if "scrape" in found and statistics.median(found["scrape"]["ms"]) > MOST_SCRAPE_MS:
        took = statistics.median(found["scrape"]["ms"])
        told.append(f"a scrape takes {took:.0f} ms, at most {MOST_SCRAPE_MS:g} were promised")
    return told


def differences(value: Mapping[str, Any]) -> list[str]:
    """What is not as the clients say, in words."""
    clients = value["clients"]
    failed = clients.get("failed", 0)  # dropped unread, so that no worker began them
    pairs = [
        ("requests", sum(one["begun"] for one in value["recorders"]) - value["own"], sum(clients.values()) - failed),
        ("answers of 4xx", both(value, "4xx"), clients.get("4xx", 0)),
        (
            "answers of 2xx, and cut ones",
            both(value, "2xx", "cut", "broken") - value["own"],
            clients.get("2xx", 0) + clients.get("cut", 0),
        ),
        ("lines of the log", value["lines"] + value["missing"], sum(one["begun"] for one in value["recorders"])),
        ("requests of the exporter", value["exporter"]["exporter"], value["exporter"]["recorder"]),
        *(("lost requests", one["lost"], one["clients"]) for one in value["killed"]),
        ("workers without a row, and errors", sum(one["uncounted"] + one["trouble"] for one in value["recorders"]), 0),
        ("requests that failed", 0, failed),
    ]
    return [f"{own} {what} by Headcount, {theirs} by the clients" for what, own, theirs in pairs if own != theirs]
