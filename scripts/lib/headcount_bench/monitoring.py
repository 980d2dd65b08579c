# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A real Prometheus and Alertmanager: every panel has data, and alerts fire under their fault and clear after it.

One host of the lab serves the sample app and has the exporter; the other one has Prometheus and Alertmanager of Debian.
The rules are those of scripts/monitoring with all times a tenth or a hundredth as long, so that a run takes minutes;
with the times as they are, Prometheus' own promtool plays each alert in the unit tests.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from headcount_scripts import labs
from headcount_scripts.console import ScriptError, say

from . import _engine
from ._common import Bench, Cell, Lab, Report, markdown_table

TIMED = False  # whether an alert comes is no matter of milliseconds
MINUTES = 40.0
QUICK_MINUTES = 20.0
VERSION: Final = 3
APP: Final = "shop"
HOSTS: Final = ["server:1:768m:bookworm", "watched:1:768m:bookworm"]
FASTER: Final = 10
MUCH_FASTER: Final = 100
"""By so much the times of the rules are shortened: those below an hour, and the others."""

HOUR_S: Final = 3600
PATIENCE_S: Final = 420.0
LOOK_EVERY_S: Final = 2.0
CONSOLES: Final = "/etc/prometheus/consoles"
_DURATION: Final = re.compile(r"\b(\d+)(d|h|m)\b")
_SECONDS: Final = {"d": 86400, "h": 3600, "m": 60}
_COUNTED: Final = re.compile(r"(?<=\()\d+(?= \* instance_app:)|(?<= \* )\d+(?= >= )|(?<=[)}] > )\d+$", re.MULTILINE)
"""Seconds of a window, by which a rate is multiplied to be a number of requests; and the age of a text file."""

PROMETHEUS_YML: Final = """\
global: {scrape_interval: 2s, evaluation_interval: 2s}
rule_files: [headcount.rules.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ["127.0.0.1:9093"]}]}]}
scrape_configs: [{job_name: headcount, static_configs: [{targets: ["%s:9788"]}]}]
"""
ALERTMANAGER_YML: Final = """\
route: {receiver: nobody, group_by: [alertname, app], group_wait: 1s, group_interval: 5s}
receivers: [{name: nobody}]
"""


@dataclass(frozen=True)
class Fault:
    """What is done to the watched host, and how it is taken back; `words` say what it is. `alerts` are to fire;
    those of `quiet` are not, because they are for worse.

    `paths` are what users ask meanwhile, `rate` times a second. In `begin` and `end` UNIT is the live unit, PROCESS
    that of its further process, COUNTS the folder of its recorder, HOLD the MiB that bring it to 85 % of its memory,
    and BURST those that are beyond it.
    """

    name: str
    words: str
    alerts: tuple[str, ...]
    begin: str
    end: str
    paths: tuple[str, ...] = ("/version",)
    rate: float = 4.0
    quick: bool = True
    quiet: tuple[str, ...] = ()


PROCESSES: Final = {"mail": {"run": "python -c 'import signal; signal.pause()'", "memory_mib": 32}}

_KILL = "for n in 1 2 3 4; do pkill -KILL -o -P $(systemctl show -p MainPID --value UNIT); {pause}; done"
_NEW_WORKER = "timeout 30 sh -c 'until pgrep -P $(systemctl show -p MainPID --value UNIT); do sleep .2; done'"
_MASTER = (
    "for n in 1 2 3; do kill -KILL $(systemctl show -p MainPID --value UNIT);"
    " timeout 60 sh -c 'until test $(curl -s -o /dev/null -w %{http_code} http://127.0.0.1:8000/healthz) = 200;"
    " do sleep .5; done'; sleep 3; done"
)
BREAK, MEND = "touch /etc/shop.broken", "rm /etc/shop.broken"
"""From the one to the other the app answers 500, but for health."""

FAULTS: Final = (
    Fault("down", "its unit is stopped", ("HeadcountAppDown",), "systemctl stop UNIT", "systemctl start UNIT", (), 0),
    Fault(
        "no exporter",
        "the exporter is stopped",
        ("HeadcountExporterGone",),
        "systemctl stop headcount-exporter",
        "systemctl start headcount-exporter",
    ),
    Fault(
        "edited",
        "a file of the live generation is edited",
        ("HeadcountDrift",),
        f"echo '# by hand' >>/opt/headcount/{APP}/live/gunicorn.conf.py",
        f"sed -i '$d' /opt/headcount/{APP}/live/gunicorn.conf.py",
    ),
    Fault(
        "few errors",
        "one request in ten answers 500",
        ("HeadcountErrorBudgetBurns",),
        BREAK,
        MEND,
        ("/version", *["/healthz"] * 9),
        10.0,
        quick=False,
        quiet=("HeadcountErrorBudgetBurnsFast",),
    ),
    Fault(
        "some errors",
        "one request in five answers 500",
        ("HeadcountErrorBudgetBurnsFast",),
        BREAK,
        MEND,
        ("/version", *["/healthz"] * 4),
        10.0,
        quick=False,
    ),
    Fault(
        "errors",
        "every request but that for health answers 500",
        ("HeadcountErrorBudgetBurnsFast", "HeadcountErrorBudgetBurns"),
        BREAK,
        MEND,
    ),
    Fault(
        "overload",
        "more requests of 4 s than there are slots",
        ("HeadcountSlotsSaturated", "HeadcountAcceptQueueStanding", "HeadcountLatencyOverLimit"),
        "true",
        "true",
        ("/wait?ms=4000",),
        12.0,
    ),
    Fault(
        "killed workers",
        "workers are killed one after the other",
        ("HeadcountWorkersDying",),
        _KILL.format(pause=f"{_NEW_WORKER}; sleep 3"),
        "true",
    ),
    Fault("killed master", "Gunicorn's master is killed three times", ("HeadcountMasterRestarts",), _MASTER, "true"),
    Fault(
        "memory",
        "requests hold 85 % of the app's memory",
        ("HeadcountMemoryNearLimit",),
        "systemd-run --quiet --collect --unit=holds curl -s 'http://127.0.0.1:8000/memory?mib=HOLD&seconds=60'",
        "true",
        quick=False,
    ),
    Fault(
        "out of memory",
        "a request takes more memory than the app may have",
        ("HeadcountOutOfMemory",),
        "curl -s 'http://127.0.0.1:8000/memory?mib=BURST&seconds=1'; true",
        "true",
    ),
    Fault(
        "process",
        "a further process is stopped",
        ("HeadcountProcessDown",),
        "systemctl stop PROCESS",
        "systemctl start PROCESS",
    ),
    Fault(
        "no counts",
        "something else is in the place of the recorder's file",
        ("HeadcountBlind",),
        "mv COUNTS/recorder COUNTS/kept; echo nothing >COUNTS/recorder",
        "mv COUNTS/kept COUNTS/recorder",
    ),
)


def cells(quick: bool) -> list[Cell]:
    """The panels, the console, and each fault."""
    faults = [fault for fault in FAULTS if fault.quick or not quick]
    return [
        Cell("panels", {"version": VERSION, "what": "panels"}),
        Cell("console", {"version": VERSION, "what": "console"}),
        *(Cell(f"fault/{fault.name}", {"version": VERSION, "fault": fault.name}) for fault in faults),
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to run instead of in a lab of its own."""
    parser.add_argument("--lab", metavar="NAME", help="use this lab of two hosts, which is up already, and leave it")


def measure(bench: Bench) -> None:
    """One fault after the other."""
    with contextlib.ExitStack() as stack:
        lab = Lab(labs.load(bench.options.lab)) if bench.options.lab else stack.enter_context(bench.lab(HOSTS))
        server, watched = lab.hosts
        watch = Watch(lab, server, watched)
        watch.prepare()
        bench.run(lambda cell, _: watch.cell(cell))


def faster(rules: str) -> str:
    """The rules with each time FASTER or MUCH_FASTER times as short; the names of recorded series stay.

    Where a rate is multiplied by its window, so that so many requests are asked for, the factor is shortened with it.
    """

    def shorter(seconds: int) -> int:
        return seconds // (FASTER if seconds < HOUR_S else MUCH_FASTER)

    counted = _COUNTED.sub(lambda found: str(shorter(int(found[0]))), rules)
    return _DURATION.sub(lambda found: f"{shorter(int(found[1]) * _SECONDS[found[2]])}s", counted)


@dataclass
class Watch:
    """Both hosts, when they are ready: `unit` is the live one, `hold_mib` brings it to 85 % of its memory."""

    lab: Lab
    server: str
    watched: str
    unit: str = ""
    hold_mib: int = 0

    def prepare(self) -> None:
        """The app and its exporter on one host, Prometheus and Alertmanager on the other."""
        engine = _engine.Engine(self.lab, self.watched, _engine.wheel_cache())
        engine.push()
        request = engine.request(_engine.shop(APP, environment={"SHOP_FAULTS": "turns:errors"}, processes=PROCESSES))
        if engine.live(APP) is None:
            done = engine.steps(APP, ("stage", request), "finish", "promote")
            if "failed" in done[-1]:
                raise ScriptError(f"{self.watched} cannot be made ready: {done[-1]['failed']}")
        self.unit = f"{APP}@{engine.live(APP)}.service"
        self.hold_mib = int(0.85 * request["plan"]["settings"]["memory_max_mib"]["value"]) - 40
        install = (
            f"import sys; sys.path.insert(0, {_engine.ONHOST!r}); from headcount._host import exporting; "
            "exporting.install('0.0.0.0:9788')"
        )
        self.lab.run(self.watched, ["/usr/bin/python3", "-c", install])
        self._serve()

    def _serve(self) -> None:
        output = _engine.collection("plugin_utils._monitoring.output")
        files = output.files("https://wiki.example/alerts")
        packages = "prometheus prometheus-alertmanager"
        fetch = f"apt-get -q update && apt-get -q install -y --no-install-recommends {packages}"
        say(f".. {packages} on {self.server}")
        command = f"command -v prometheus-alertmanager >/dev/null || (DEBIAN_FRONTEND=noninteractive; {fetch})"
        self.lab.run(self.server, ["sh", "-c", command], timeout=600)
        self.lab.put(
            self.server,
            {
                "/etc/prometheus/prometheus.yml": (PROMETHEUS_YML % self.lab.addresses[self.watched]).encode(),
                "/etc/prometheus/alertmanager.yml": ALERTMANAGER_YML.encode(),
                "/etc/prometheus/headcount.rules.yml": faster(files["headcount.rules.yml"]).encode(),
                f"{CONSOLES}/headcount.html": files["headcount.html"].encode(),
            },
        )
        self.lab.run(self.server, ["promtool", "check", "config", "/etc/prometheus/prometheus.yml"])
        self.lab.run(self.server, ["systemctl", "restart", "prometheus", "prometheus-alertmanager"])
        self.wait("Prometheus to scrape", lambda: self.query("headcount_app_up == 1"))

    # -- what Prometheus and Alertmanager say -------------------------------------------------------------------------

    def get(self, port: int, path: str, **parameters: str) -> str:
        """An answer of a server, on the lab's own network."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        asked = f"http://{self.lab.addresses[self.server]}:{port}{path}?{urllib.parse.urlencode(parameters)}"
        with opener.open(asked, timeout=30) as response:
            return str(response.read().decode())

    def query(self, expr: str) -> list[Any]:
        """The series that an expression has now."""
        answer = json.loads(self.get(9090, "/api/v1/query", query=expr))
        return list(answer["data"]["result"])

    def firing(self) -> set[str]:
        """The alerts that Prometheus says fire."""
        return {series["metric"]["alertname"] for series in self.query('ALERTS{alertstate="firing"}')}

    def told(self) -> set[str]:
        """The alerts that Alertmanager would tell somebody of."""
        return {alert["labels"]["alertname"] for alert in json.loads(self.get(9093, "/api/v2/alerts"))}

    def wait(self, what: str, holds: Callable[[], object]) -> float:
        """Seconds until it holds; ScriptError after PATIENCE_S."""
        begin = time.monotonic()
        while time.monotonic() - begin < PATIENCE_S:
            with contextlib.suppress(OSError):
                if holds():
                    return time.monotonic() - begin
            time.sleep(LOOK_EVERY_S)
        raise ScriptError(f"waited {PATIENCE_S:g} s in vain for {what}; there fire: {', '.join(sorted(self.firing()))}")

    # -- cells --------------------------------------------------------------------------------------------------------

    def cell(self, cell: Cell) -> Mapping[str, Any]:
        """What is to be seen of a cell."""
        if cell.name == "panels":
            return self.panels()
        if cell.name == "console":
            return self.console()
        return self.fault(next(fault for fault in FAULTS if fault.name == cell.inputs["fault"]))

    def users(self, paths: Sequence[str], rate: float) -> contextlib.AbstractContextManager[object]:
        """Users who ask all the while; nobody where there are no paths."""
        if not paths:
            return contextlib.nullcontext()
        engine = _engine.Engine(self.lab, self.watched, _engine.wheel_cache())
        arms = [{"name": "users", "kind": "close", "rate": rate, "paths": list(paths)}]
        return engine.users([self.lab.addresses[self.watched], 8000], arms)

    @property
    def instance(self) -> str:
        """What Prometheus calls the watched host."""
        return f"{self.lab.addresses[self.watched]}:9788"

    def panels(self) -> Mapping[str, Any]:
        """How many series each query of each panel has, while users ask; `untold`: what the exporter does not tell on
        that host, because its kernel does not count it, or there is none."""
        source = _engine.collection("plugin_utils._monitoring.panels")
        hosts = f'instance="{self.instance}"'
        found = []
        with self.users(("/version",), 4.0):
            limited = 'instance_app_limit:headcount_over_limit:ratio_rate5m{limit="p95"}'
            self.wait("the rules to be computed", lambda: self.query(limited))
            for row in source.ROWS:
                for panel in row.panels:
                    for query in panel.queries:
                        series = self.query(query.filled(f'{hosts}, app="{APP}"', hosts, "1m"))
                        asked = set(re.findall(r"(?<!:)\bheadcount_\w+", query.expr))
                        untold = [name for name in sorted(asked) if not self.query(name)]
                        found.append(
                            {"panel": panel.title, "legend": query.legend, "series": len(series), "untold": untold}
                        )
        return {"queries": found}

    def console(self) -> Mapping[str, Any]:
        """Both pages of the console, as Prometheus makes them."""
        path = "/consoles/headcount.html"
        everything = self.get(9090, path)
        one = self.get(9090, path, instance=self.instance, app=APP)
        odd = self.get(9090, path, instance='"}) or vector(1', app="<script>alert(1)</script>")
        return {
            "lists_the_app": f"app={APP}" in everything and self.instance in everything,
            "empty": len(re.findall(r"no data", one)),
            "shown": len(re.findall(r">graph</a>", one)),
            "quotes": "<script" not in odd and "vector(1" not in re.sub(r"<h1>.*?</h1>", "", odd),
        }

    def fault(self, fault: Fault) -> Mapping[str, Any]:
        """Seconds until each alert of a fault fires and is told of, and until all have cleared after it."""
        wanted = set(fault.alerts)

        def cleared() -> bool:
            return not wanted & (self.firing() | self.told())

        self.wait("earlier alerts to clear", cleared)
        begin = time.monotonic()
        with self.users(fault.paths, fault.rate):
            self._host(fault.begin)
            try:
                self.wait(", ".join(sorted(wanted)), lambda: wanted <= self.firing() & self.told())
                fired = time.monotonic() - begin
                others = sorted(self.firing() - wanted)
            finally:
                self._host(fault.end)
        with self.users(("/version",), 4.0):
            after = self.wait("them to clear", cleared)
        return {"fired_s": round(fired, 1), "cleared_s": round(after, 1), "others": others}

    def _host(self, command: str) -> None:
        instance = self.unit.removesuffix(".service")
        words = {
            "UNIT": self.unit,
            "PROCESS": f"{instance}-mail.service",
            "COUNTS": f"/run/headcount-instances/{instance.replace('@', '-')}",
            "HOLD": str(self.hold_mib),
            "BURST": str(2 * self.hold_mib),
        }
        filled = re.sub("|".join(words), lambda found: words[found[0]], command)
        self.lab.run(self.watched, ["sh", "-c", filled], timeout=PATIENCE_S)


def report(bench: Bench) -> Report:
    """What had data, and which alerts fired and cleared."""
    found = {name: result.value for name, result in bench.results().items()}
    return Report(
        title="Prometheus and Alertmanager on the exporter's word",
        markdown=text(found),
        data=found,
        missed=missed(found),
    )


def text(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The page."""
    parts = [
        "Prometheus 2.42 and Alertmanager 0.25 of Debian 12 watch the sample app on another host of the lab. All times"
        f" of the rules are {FASTER} times as short as they are written, those from an hour on {MUCH_FASTER} times;"
        " Prometheus looks every 2 s. With the times as they are written, its promtool checks the rules and plays each"
        " alert in the unit tests."
    ]
    if "panels" in found:
        queries = found["panels"]["queries"]
        data = sum(query["series"] > 0 for query in queries)
        parts.append(f"{data} of {len(queries)} queries of the dashboard had data.")
        untold = sorted({name for query in queries for name in query["untold"]})
        parts += [
            f"The exporter does not tell {name} here: there is none, or the kernel does not count it."
            for name in untold
        ]
    if "console" in found:
        parts.append(f"The console told of {found['console']['shown']} series of the app.")
    rows = [
        (fault.words, ", ".join(fault.alerts), value["fired_s"], value["cleared_s"], ", ".join(value["others"]))
        for fault in FAULTS
        if (value := found.get(f"fault/{fault.name}"))
    ]
    header = ("fault", "alerts", "all told of after s", "all cleared s after its end", "others that fired")
    return "\n\n".join([*parts, markdown_table(header, rows, right=(2, 3)), _tried(found)])


def _tried(found: Mapping[str, object]) -> str:
    """That all alerts fired, or which have not been tried."""
    tried = {alert for fault in FAULTS if f"fault/{fault.name}" in found for alert in fault.alerts}
    names = [alert.name for alert in _engine.collection("plugin_utils._monitoring.rules").alerts()]
    untried = ", ".join(name for name in names if name not in tried)
    return f"Not tried on these hosts: {untried}." if untried else f"All {len(names)} alerts fired and cleared."


def missed(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What a panel or the console did not show, and what fired that was not to. An alert that did not fire or clear is
    a cell that failed."""
    told = [
        f"no data: {query['panel']} ({query['legend']})"
        for query in found.get("panels", {}).get("queries", [])
        if not query["series"] and not query["untold"]
    ]
    told += [
        f"{fault.words}: {name} fired, which is for worse"
        for fault in FAULTS
        for name in fault.quiet
        if name in found.get(f"fault/{fault.name}", {}).get("others", [])
    ]
    console = found.get("console")
    if console is not None:
        told += [f"the console: {name} is false" for name in ("lists_the_app", "quotes") if not console[name]]
    return told
