# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a fleet costs its controller: rollouts, no-op runs and drift checks against `ansible -m ping`, and their slopes.

Eight small hosts, and more names than hosts in the inventory for the controller's share. Ping, no-op and drift of a
cell take turns on the same hosts; what is compared is the median of the ratios within each turn.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from headcount_scripts import paths
from headcount_scripts.console import ScriptError

from ._common import Bench, Cell, Lab, Report, Result, markdown_table

MINUTES = 45.0
QUICK_MINUTES = 12.0
HOSTS = tuple(f"h{number}" for number in range(1, 9))
REMOTE = ("host_info", "stage", "weigh", "trial", "promote", "heal", "rollback", "revert", "abandon", "package",
          "history_info")  # fmt: skip
NOOP_LIMIT, DRIFT_LIMIT, MEMORY_LIMIT_MIB = 3.0, 2.0, 1024.0
KINDS = ("ping", "noop", "drift")
BAD = "h6"


def cells(quick: bool) -> list[Cell]:
    """First rollout, costs by hosts and by names, and a rollout that fails on one host."""
    repeats, few = (2, 1) if quick else (5, 3)
    counts, names = ((8,), (10, 50, 100, 200)) if quick else ((1, 2, 4, 8), (10, 50, 100, 200))
    hosts = HOSTS[:8]
    found = [Cell("first rollout", {"kind": "rollout", "hosts": len(hosts), "build": 1, "bad": None, "version": 1})]
    found += [Cell(f"hosts/{count}", {"kind": "cost", "hosts": count, "names": count, "repeats": repeats, "version": 1})
              for count in counts]  # fmt: skip
    found += [Cell(f"names/{count}", {"kind": "cost", "hosts": 8, "names": count, "repeats": few, "version": 1})
              for count in names]  # fmt: skip
    found.append(Cell("one bad host", {"kind": "rollout", "hosts": len(hosts), "build": 2, "bad": BAD, "version": 1}))
    return found


# -- the inventory ----------------------------------------------------------------------------------------------------


def app(build: int) -> dict[str, Any]:
    """The sample app, with a short trial: the controller's share is what is measured here."""
    return {
        "name": "shop",
        "source": {"path": str(paths.ROOT / "app")},
        "entry_point": "shop.wsgi:create_app()",
        "listen": "0.0.0.0:8000",
        "profile": "io",
        "concurrency": 20,
        "environment": {"SHOP_BUILD": str(build)},
        "health": {"path": "/healthz", "boot_seconds": 30},
        "load": {"paths": ["/wait?ms=50"], "rate": 20, "seconds": 6},
        "limits": {"p95_ms": 2000, "error_rate": 0.05, "memory_percent": 90},
        "verify_seconds": 2,
        "on_inconclusive": "promote",
    }


def inventory(
    base: Mapping[str, Any], names: int, build: int, bad: str | None = None, work: str = ""
) -> dict[str, Any]:
    """An inventory of `names` hosts over those of the lab's inventory `base` ({name: address} and variables)."""
    addresses = list(base["hosts"].items())
    hosts: dict[str, Any] = {}
    for index in range(names):
        name, address = addresses[index % len(addresses)]
        hosts[name if index < len(addresses) else f"{name}-{index // len(addresses)}"] = {"ansible_host": address}
    if bad:
        hosts[bad]["headcount_app_overrides"] = {"shop": {"health": {"path": "/no-such-path", "boot_seconds": 5}}}
    variables = {**base["vars"], "headcount_apps": [app(build)], "headcount_work_dir": work}
    return {"fleet": {"hosts": hosts, "vars": variables}}


# -- measuring --------------------------------------------------------------------------------------------------------


def tree_pss_mib(root: int) -> float:
    """Memory of a process and all its descendants (PSS: what is shared counts once), without ssh's masters."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text(encoding="ascii", errors="replace")
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
            except (OSError, IndexError, ValueError):
                continue
    total, left = 0, [root]
    while left:
        pid = left.pop()
        left += children.get(pid, [])
        try:
            lines = Path("/proc", str(pid), "smaps_rollup").read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def measured(command: Sequence[str], memory: bool = True, timeout: float = 1500.0) -> dict[str, Any]:
    """Run a command of Ansible: wall and CPU seconds, peak memory of its processes, tasks by action, exit code."""
    with tempfile.TemporaryDirectory() as folder:
        tasks = Path(folder, "tasks.json")
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(paths.ROOT / "ansible.cfg"),
            "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).resolve().parent / "callbacks"),
            "ANSIBLE_CALLBACKS_ENABLED": "headcount_tasks",
            "HEADCOUNT_TASKS": str(tasks),
        }
        out = Path(folder, "out")
        begin = time.monotonic()
        with out.open("wb") as stream:
            process = subprocess.Popen(
                command, cwd=paths.ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
            )
        peak, ended = 0.0, threading.Event()

        def watch() -> None:
            nonlocal peak
            while not ended.wait(0.3):
                peak = max(peak, tree_pss_mib(process.pid))

        watcher = threading.Thread(target=watch, daemon=True)
        if memory:
            watcher.start()
        killer = threading.Timer(timeout, process.kill)
        killer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            killer.cancel()
            ended.set()
        wall = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        counts = json.loads(tasks.read_text(encoding="utf-8")) if tasks.exists() else {}
        return {
            "wall": round(wall, 3),
            "cpu": round(usage.ru_utime + usage.ru_stime, 3),
            "memory_mib": round(peak, 1) if memory else None,
            "rss_mib": round(usage.ru_maxrss / 1024, 1),
            "code": process.returncode,
            "remote": remote_tasks(counts),
            "tasks": counts,
            "output": out.read_text(encoding="utf-8", errors="replace")[-3000:],
        }


def remote_tasks(counts: Mapping[str, int]) -> int:
    """How many results came from hosts."""
    return sum(count for action, count in counts.items() if action.rpartition(".")[2] in (*REMOTE, "ping"))


class Users:
    """Users of every host while a rollout goes on: round robin, on a schedule that does not wait for answers."""

    def __init__(self, urls: Sequence[str], rate: float) -> None:
        self.urls, self.rate = list(urls), rate
        self.sent = 0
        self.failed: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._asked: list[threading.Thread] = []

    def __enter__(self) -> Users:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for thread in self._asked:
            thread.join(30)

    def _run(self) -> None:
        begin = time.monotonic()
        while not self._stop.wait(max(0.0, begin + self.sent / self.rate - time.monotonic())):
            thread = threading.Thread(target=self._ask, args=(self.urls[self.sent % len(self.urls)],), daemon=True)
            self.sent += 1
            thread.start()
            self._asked = [one for one in self._asked if one.is_alive()] + [thread]

    def _ask(self, url: str) -> None:
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=20) as answer:
                answer.read()
        except (OSError, urllib.error.URLError) as error:
            self.failed.append(f"{url}: {error}")


def measure(bench: Bench) -> None:
    """Measure what is missing, one cell after the other."""
    with bench.lab([f"{name}:1:256m" for name in HOSTS]) as lab:
        bench.run(lambda cell, _: Fleet(lab, bench.folder).measure(cell))


class Fleet:
    """The lab's hosts as a fleet of any number of names."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder = lab, folder

    def measure(self, cell: Cell) -> dict[str, Any]:
        """One cell."""
        inputs = cell.inputs
        if inputs["kind"] == "rollout":
            return self.rollout(int(inputs["hosts"]), int(inputs["build"]), inputs["bad"])
        return self.cost(int(inputs["hosts"]), int(inputs["names"]), int(inputs["repeats"]))

    def _inventory(self, hosts: int, names: int, build: int, bad: str | None = None) -> Path:
        base = {"hosts": {name: self.lab.addresses[name] for name in HOSTS[:hosts]}, "vars": self._variables()}
        path = self.folder / "inventory" / f"{hosts}-{names}-{build}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(inventory(base, names, build, bad, str(self.folder / "work"))), encoding="utf-8")
        return path

    def _variables(self) -> dict[str, Any]:
        done = subprocess.run(
            [str(Path(sys.executable).parent / "ansible-inventory"), "-i", str(self.lab.inventory), "--host", HOSTS[0]],
            capture_output=True, text=True, check=True, cwd=paths.ROOT,
        )  # fmt: skip
        found = json.loads(done.stdout)
        return {key: value for key, value in found.items() if key.startswith("ansible_") and key != "ansible_host"}

    def rollout(self, hosts: int, build: int, bad: str | None) -> dict[str, Any]:
        """Roll `build` out to the hosts, with users on every host that serves already."""
        path = self._inventory(hosts, hosts, build, bad)
        ping = measured(["ansible", "all", "-i", str(path), "-m", "ping"])
        urls = [f"http://{self.lab.addresses[name]}:8000/wait?ms=20" for name in HOSTS[:hosts]]
        if build == 1:
            done = measured(["ansible-playbook", "-i", str(path), "site.yml"])
            users: dict[str, Any] | None = None
        else:
            with Users(urls, 16.0) as crowd:
                done = measured(["ansible-playbook", "-i", str(path), "site.yml"])
            users = {"sent": crowd.sent, "failed": len(crowd.failed), "first": crowd.failed[:3]}
        if (done["code"] == 0) == bool(bad):
            raise ScriptError(f"the rollout ended with code {done['code']}: {done['output'][-1500:]}")
        report = json.loads((self.folder / "work" / "report.json").read_text(encoding="utf-8"))
        return {"ping": ping, "rollout": done, "users": users, "summary": report["summary"], "first_cause":
                report["first_cause"], "batches": report["batches"]}  # fmt: skip

    def cost(self, hosts: int, names: int, repeats: int) -> dict[str, Any]:
        """Ping, no-op and drift in turns; the first turn only warms up."""
        path = str(self._inventory(hosts, names, 1))
        commands = {
            "ping": ["ansible", "all", "-i", path, "-m", "ping"],
            "noop": ["ansible-playbook", "-i", path, "site.yml"],
            "drift": ["ansible-playbook", "-i", path, "playbooks/drift.yml"],
        }
        turns = []
        warm = 1 if names <= hosts else 0
        for turn in range(repeats + warm):
            order = KINDS if turn % 2 else tuple(reversed(KINDS))
            found = {kind: measured(commands[kind]) for kind in order}
            for kind, one in found.items():
                if one["code"]:
                    raise ScriptError(f"{kind} ended with code {one['code']}: {one['output'][-1500:]}")
                del one["output"]
            turns.append(found)
        return {"hosts": hosts, "names": names, "turns": turns[warm:], "load": os.getloadavg()[0]}


# -- the report -------------------------------------------------------------------------------------------------------


def medians(value: Mapping[str, Any]) -> dict[str, Any]:
    """Medians of a cost cell: seconds, MiB and tasks of each kind, and the ratios to ping within each turn."""
    turns = value["turns"]
    found: dict[str, Any] = {"hosts": value["hosts"], "names": value["names"], "turns": len(turns)}
    for kind in KINDS:
        for key in ("wall", "cpu", "memory_mib"):
            found[f"{kind}_{key}"] = round(statistics.median(turn[kind][key] for turn in turns), 2)
        found[f"{kind}_remote"] = int(statistics.median(turn[kind]["remote"] for turn in turns))
        ratios = [turn[kind]["wall"] / turn["ping"]["wall"] for turn in turns]
        found[f"{kind}_ratio"] = round(statistics.median(ratios), 2)
        found[f"{kind}_ratio_most"] = round(max(ratios), 2)
    return found


def slope(points: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Least squares: (intercept, slope, r squared) of (x, y) points; at least two of them."""
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    mean_x, mean_y = statistics.fmean(xs), statistics.fmean(ys)
    width = sum((x - mean_x) ** 2 for x in xs)
    rise = sum((x - mean_x) * (y - mean_y) for x, y in points) / width if width else 0.0
    base = mean_y - rise * mean_x
    spread = sum((y - mean_y) ** 2 for y in ys)
    rest = sum((y - base - rise * x) ** 2 for x, y in points)
    return base, rise, 1 - rest / spread if spread else 1.0


def misses(rows: Sequence[Mapping[str, Any]], rollouts: Mapping[str, Any]) -> list[str]:
    """The stated figures that were not reached."""
    found = []
    for row in rows:
        where = f"{row['names']} names on {row['hosts']} hosts"
        for kind, limit in (("noop", NOOP_LIMIT), ("drift", DRIFT_LIMIT)):
            if row[f"{kind}_ratio"] > limit:
                found.append(
                    f"{kind} of {where} takes {row[f'{kind}_ratio']} times a ping, at most {limit:g} were said"
                )
        most = max(row[f"{kind}_memory_mib"] for kind in KINDS[1:])
        if row["names"] <= 200 and most > MEMORY_LIMIT_MIB:
            found.append(f"the controller needs {most:.0f} MiB for {where}, at most {MEMORY_LIMIT_MIB:.0f} were said")
    for name, value in rollouts.items():
        if value["users"] and value["users"]["failed"]:
            found.append(f"{name}: {value['users']['failed']} of {value['users']['sent']} requests failed")
    return found


def report(bench: Bench) -> Report:
    """Tables, slopes and a plot."""
    results: dict[str, Result] = bench.results()
    costs = [medians(result.value) for name, result in results.items() if name.startswith(("hosts/", "names/"))]
    rollouts = {
        name: result.value for name, result in results.items() if name in ("first rollout", "one bad host")
    }  # fmt: skip
    by_hosts = [row for row in costs if row["names"] == row["hosts"]]
    by_names = [row for row in costs if row["names"] >= 8]
    parts = [_cost_text("From 1 to 8 hosts", by_hosts), _cost_text("Many names on the same 8 hosts", by_names)]
    slopes = _slopes(by_names)
    parts += [_slopes_text(slopes), _rollout_text(rollouts)]
    data = {"costs": costs, "slopes": slopes, "rollouts": {name: _brief(value) for name, value in rollouts.items()}}
    return Report(
        "What a fleet costs its controller",
        "\n\n".join(part for part in parts if part),
        data,
        _plot(by_names) if len(by_names) > 1 else None,
        missed=misses(costs, rollouts),
    )


def _slopes(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What each further name costs: {"drift_wall": {base, each, r2, unit}, ...}; empty for fewer than two fleets."""
    found: dict[str, dict[str, Any]] = {}
    for kind in KINDS if len(rows) > 1 else ():
        for key, unit in (("wall", "s"), ("cpu", "s of CPU"), ("memory_mib", "MiB")):
            base, rise, fit = slope([(float(row["names"]), float(row[f"{kind}_{key}"])) for row in rows])
            found[f"{kind}_{key}"] = {
                "base": round(base, 3), "each": round(rise, 5), "r2": round(fit, 3), "unit": unit
            }  # fmt: skip
    return found


def _slopes_text(slopes: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [(name.replace("_", " ", 1), f"{one['base']:g}", f"{one['each']:g}", one["unit"], f"{one['r2']:g}")
            for name, one in slopes.items()]  # fmt: skip
    table = markdown_table(("what", "base", "each name", "unit", "r²"), rows)
    return f"## Slopes over names\n\n{table}" if rows else ""


def _brief(value: Mapping[str, Any]) -> dict[str, Any]:
    brief = {key: {name: item for name, item in value[key].items() if name != "output"} for key in ("ping", "rollout")}
    return {**brief, "users": value["users"], "summary": value["summary"], "batches": value["batches"]}


def _cost_text(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    header = ("names", "hosts", "turns", "ping s", "no-op s", "drift s", "no-op / ping", "drift / ping", "CPU s: ping",
              "no-op", "drift", "MiB: ping", "no-op", "drift", "remote tasks: no-op", "drift")  # fmt: skip
    lines = []
    for row in rows:
        cells_ = [row["names"], row["hosts"], row["turns"], *(f"{row[f'{kind}_wall']:.2f}" for kind in KINDS)]
        cells_ += [f"{row[f'{kind}_ratio']:.2f} (at most {row[f'{kind}_ratio_most']:.2f})" for kind in KINDS[1:]]
        cells_ += [f"{row[f'{kind}_cpu']:.2f}" for kind in KINDS]
        cells_ += [f"{row[f'{kind}_memory_mib']:.0f}" for kind in KINDS]
        cells_ += [row[f"{kind}_remote"] for kind in KINDS[1:]]
        lines.append(cells_)
    return f"## {title}\n\n" + markdown_table(header, lines, right=range(len(header)))


def _rollout_text(rollouts: Mapping[str, Any]) -> str:
    rows = []
    for name, value in rollouts.items():
        done, users = value["rollout"], value["users"]
        rows.append(
            (name, value["summary"], len(value["batches"]), f"{done['wall']:.0f}", f"{done['cpu']:.1f}",
             f"{done['memory_mib']:.0f}", done["remote"], f"{value['ping']['wall']:.1f}",
             f"{users['failed']} of {users['sent']}" if users else "nothing was live before")
        )  # fmt: skip
    header = ("rollout of 8 hosts", "came to", "batches", "wall s", "CPU s", "MiB", "remote tasks", "ping s",
              "failed requests")  # fmt: skip
    return "## Rollouts\n\n" + markdown_table(header, rows) if rows else ""


def _plot(rows: Sequence[Mapping[str, Any]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        names = [row["names"] for row in rows]
        for kind in KINDS:
            left.plot(names, [row[f"{kind}_wall"] for row in rows], marker="o", label=kind)
            right.plot(names, [row[f"{kind}_memory_mib"] for row in rows], marker="o", label=kind)
        left.set(xlabel="names in the inventory (8 hosts)", ylabel="wall time, s", ylim=(0, None))
        right.set(
            xlabel="names in the inventory (8 hosts)", ylabel="peak memory of the controller, MiB", ylim=(0, None)
        )
        for axes in (left, right):
            axes.legend()
            axes.grid(alpha=0.3)

    return draw
