# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Projects as they are: from a checkout, by the entry that scripts/new-app writes, to a live app that is used.

Each NAME=CHECKOUT is rolled out unmodified on a host with Debian 12 and one with Debian 13, asked as its users would,
and removed again. Nothing of a checkout is kept but what came of it. --asks names a YAML file that says for a NAME what
a person answered: to new-app (`options`, words of its command line), in the entry (`entry`, `vars`) and on the hosts
(`packages`, Debian's); and how the app is used (`uses`).

Trials have the limits that new-app writes. Where other work on the machine makes time no measure, a second call with
--p95-ms MS tries those once more that did not go live by them, with that limit; the report has both.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import yaml
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._display.text import listed
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._output.plantable import size_words
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.files import shipped
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.sources import folder_digest
from headcount_scripts import paths
from headcount_scripts.console import ScriptError, say
from headcount_scripts.newapp import HALF

from ._common import RESULTS, Bench, Cell, Lab, Report, Result, Store, markdown_table
from ._visitor import Use, Visitor

MINUTES = 240.0
QUICK_MINUTES = 60.0
TIMED = False
VERSION: Final = 1
SUITES: Final = {"12": "bookworm", "13": "trixie"}
READY, ASKED, CANNOT = 0, 3, 4
SHARE_LIVE: Final = 0.75
"""As many of the entries are to go live without an edit."""
_BUSY_LOAD: Final = {"rate": 5, "seconds": 120}
"""So few requests that a standstill of the machine is told from one of the app."""
_ASKED: Final = ("kind", "options", "entry", "vars", "packages", "keeps", "uses")
_NEW_APP_SECONDS, _ROLLOUT_SECONDS, _PACKAGES_SECONDS = 1200.0, 1800.0, 600.0
_CONNECTION_SECONDS: Final = "120"
"""How long Ansible waits for a host to let it in, instead of 10: that a busy machine is slow is not the project's."""


@dataclass(frozen=True)
class Project:
    """A checkout, and what a person adds: `options` go to new-app, `entry` and `vars` answer its questions, `packages`
    are installed on the hosts; `uses` are what its users do; `kind` says in a few words what it is an example of.
    `nothing`: that it keeps nothing of what they do (`keeps: nothing`)."""

    name: str
    path: Path
    kind: str = ""
    entry: Mapping[str, Any] = field(default_factory=dict)
    vars: Mapping[str, Any] = field(default_factory=dict)
    uses: tuple[Use, ...] = ()
    options: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    nothing: bool = False

    @property
    def added(self) -> list[str]:
        """What a person says beside what new-app writes, in words."""
        installed = [f"{name} on the host" for name in self.packages]
        return [*([" ".join(self.options)] if self.options else []), *sorted({*self.entry, *self.vars}), *installed]

    @classmethod
    def of(cls, name: str, path: str, asks: Mapping[str, Any]) -> Project:
        """From an argument, and its part of the file of --asks. Raises ScriptError."""
        unknown = sorted(set(asks) - set(_ASKED))
        if unknown:
            allowed = f"{', '.join(_ASKED[:-1])} and {_ASKED[-1]}"
            raise ScriptError(f"--asks: {name} has {', '.join(unknown)}: allowed are {allowed}", 2)
        if asks.get("keeps", "nothing") != "nothing":
            raise ScriptError(f"--asks: {name} has keeps: {asks['keeps']}: allowed is nothing, or no keeps", 2)
        uses = tuple(Use.of(item, f"--asks: {name}") for item in asks.get("uses", ()))
        kind, entry, more = str(asks.get("kind", "")), asks.get("entry", {}), asks.get("vars", {})
        options, packages = (tuple(map(str, asks.get(key, ()))) for key in ("options", "packages"))
        return cls(name, Path(path), kind, entry, more, uses, options, packages, "keeps" in asks)

    def revision(self) -> str:
        """Twelve hex digits of the content that is shipped."""
        return folder_digest(self.path, shipped(self.path).names)[:12]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this benchmark."""
    add_projects(parser)
    parser.add_argument(
        "--p95-ms",
        type=int,
        metavar="MS",
        help="tries what did not go live by its own limits once more: allows this, at few requests a second, where "
        "other work on the machine makes time no measure",
    )


def add_projects(parser: argparse.ArgumentParser) -> None:
    """Which projects, and what is answered and asked of them."""
    parser.add_argument(
        "checkouts", nargs="*", metavar="NAME=CHECKOUT", help="the folder of a project, by the app's name"
    )
    parser.add_argument("--asks", type=Path, metavar="FILE", help="YAML: what is answered and asked, by the app's name")


def cells_of(options: argparse.Namespace, folder: Path) -> list[Cell]:
    """One cell for each project that was ever named; those of this call are kept for the next ones."""
    return cells_on(options, folder, ["12"] if options.quick else list(SUITES))


def cells_on(options: argparse.Namespace, folder: Path, suites: Sequence[str], **more: Any) -> list[Cell]:
    """The same for hosts of these `suites`, with `more` that decides what is measured."""
    known = _kept(folder)
    asks = _asks(options.asks)
    for word in options.checkouts:
        name, mark, path = word.partition("=")
        if not mark or not Path(path).is_dir():
            raise ScriptError(f"{word}: what is wanted is NAME=CHECKOUT, with the folder of a project", 2)
        known[name] = {"path": str(Path(path).resolve()), "asks": known.get(name, {}).get("asks", {})}
    for name in asks:
        if name in known:
            known[name]["asks"] = asks[name]
    if not known:
        raise ScriptError("name a project: NAME=CHECKOUT", 2)
    found, measured = [], Store(folder / RESULTS).read()
    for name, item in sorted(known.items()):
        project = Project.of(name, item["path"], item["asks"])
        if project.path.is_dir():
            item["revision"] = project.revision()
        inputs = {"version": VERSION, "app": name, "revision": item.get("revision", ""), "asks": item["asks"]}
        own = Cell(name, {**inputs, **more, "p95_ms": None, "suites": list(suites)})
        eased = options.p95_ms and stopped(measured.get(own.key))
        found.append(replace(own, inputs={**own.inputs, "p95_ms": options.p95_ms}) if eased else own)
    folder.mkdir(parents=True, exist_ok=True)
    _file(folder).write_text(json.dumps(known, indent=1), encoding="utf-8")
    return found


def stopped(result: Result | None) -> dict[str, str]:
    """On which hosts a project was rolled out and did not go live, or did not do all that was asked, and why."""
    hosts = result.value["hosts"] if result else {}
    return {suite: _why(host) for suite, host in hosts.items() if not live(host)}


def _why(host: Mapping[str, Any]) -> str:
    said = (f"{use['name']}: {use['said']}" for use in host.get("used", []) if not use["ok"])
    return str(host.get("cause") or next(said, host["status"]))


def _file(folder: Path) -> Path:
    return folder / "checkouts.json"


def _kept(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        known: dict[str, dict[str, Any]] = json.loads(_file(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known


def _asks(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ScriptError(f"{path} cannot be read: {error}", 2) from None
    return dict(found or {})


# -- measuring --------------------------------------------------------------------------------------------------------


def measure(bench: Bench) -> None:
    """One project after the other, each on both hosts at the same time."""
    suites = {"12"} if bench.quick else set(SUITES)
    hosts = [f"d{number}:2:1g:{suite}" for number, suite in SUITES.items() if number in suites]
    with bench.lab(hosts, name=f"apps-{'quick' if bench.quick else 'bench'}") as lab:
        measure_on(bench, lab, Runs)


def measure_on(bench: Bench, lab: Lab, runs: type[Runs], lanes: Sequence[str] = ("",)) -> None:
    """What is still missing, by `runs` on the hosts of `lab`; where `lanes` names hosts, each takes the next one."""
    known, measured = _kept(bench.folder), bench.store.read()

    def work(cell: Cell, lane: str) -> dict[str, Any]:
        item, p95_ms = known[cell.name], cell.inputs["p95_ms"]
        project = Project.of(cell.name, item["path"], item["asks"])
        found = runs(lab, bench.folder, p95_ms, lane).project(project, cell.inputs["suites"])
        own = replace(cell, inputs={**cell.inputs, "p95_ms": None})
        return {**found, "own": stopped(measured.get(own.key)) if p95_ms else {}}

    bench.run(work, lanes)


class Runs:
    """Projects on the hosts of a lab: each on the host of each suite, or on `lane` alone."""

    def __init__(self, lab: Lab, folder: Path, p95_ms: int | None = None, lane: str = "") -> None:
        self.lab, self.folder, self.p95_ms, self.lane = lab, folder, p95_ms, lane
        (folder / "entries").mkdir(parents=True, exist_ok=True)

    def project(self, project: Project, suites: Sequence[str]) -> dict[str, Any]:
        """What came of a project: its entry, and its rollouts."""
        entry, told = self.entry(project)
        found: dict[str, Any] = {"kind": project.kind, "revision": project.revision(), **told, "hosts": {}}
        found["p95_ms"] = self.p95_ms
        found["added"] = project.added
        if entry is None or (told["new_app"] == ASKED and not found["added"]):
            return found
        with ThreadPoolExecutor(max_workers=len(suites)) as pool:
            declared = merged(merged(entry, project.entry), self.limits())
            rolled = pool.map(lambda suite: self.rollout(project, declared, self.lane or f"d{suite}"), suites)
            found["hosts"] = dict(zip(suites, rolled, strict=True))
        return found

    def limits(self) -> dict[str, Any]:
        """What an entry's trials have in place of their own."""
        if not self.p95_ms:
            return {}
        return {"limits": {"p95_ms": self.p95_ms}, "load": dict(_BUSY_LOAD), "on_inconclusive": "promote"}

    def entry(self, project: Project) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """The entry that new-app writes (None where it says that the project cannot work), and what it said."""
        path = self.folder / "entries" / f"{project.name}.yml"
        words = [paths.ROOT / "scripts/new-app", project.path, "--name", project.name, "--output", path, "--force"]
        words += project.options
        done = _run([str(word) for word in words], _NEW_APP_SECONDS)
        if done.returncode not in (READY, ASKED, CANNOT):
            raise ScriptError(f"new-app ended with code {done.returncode}: {done.stderr.strip()[-500:]}")
        told = {"new_app": done.returncode, **said(done.stderr.replace(str(project.path), project.name))}
        if done.returncode == CANNOT:
            return None, told
        return dict(yaml.safe_load(path.read_text(encoding="utf-8"))["headcount_apps"][0]), told

    def rollout(self, project: Project, entry: Mapping[str, Any], host: str) -> dict[str, Any]:
        """Roll an entry out on a host, use the app, and take it off again, with what it kept."""
        work = self.folder / "work" / host
        inventory = work / "inventory.json"
        work.mkdir(parents=True, exist_ok=True)
        (work / "report.json").unlink(missing_ok=True)
        variables = {
            **self._variables(host),
            **project.vars,
            "headcount_apps": [entry],
            "headcount_work_dir": str(work),
        }
        inventory.write_text(
            json.dumps({"all": {"hosts": {host: {"ansible_host": self.lab.addresses[host]}}, "vars": variables}}),
            encoding="utf-8",
        )
        if project.packages:
            self.lab.run(host, ["apt-get", "-q", "update"], timeout=_PACKAGES_SECONDS)
            words = ["apt-get", "-qy", "--no-install-recommends", "install", *project.packages]
            self.lab.run(host, ["env", "DEBIAN_FRONTEND=noninteractive", *words], timeout=_PACKAGES_SECONDS)
        done = playbook(inventory, "site.yml")
        try:
            row = _row(work / "report.json")
            if row is None:
                return {"status": "failed", "cause": refusal(done.stdout + done.stderr)}
            return {**outcome(row), **self.seen(project, entry, row)}
        finally:
            whole = ("-e", f"headcount_app={project.name}", "-e", "headcount_remove_data=true")
            removed = playbook(inventory, "playbooks/remove.yml", *whole)
            if removed.returncode:
                say(f"!! {project.name} was not removed from {host}: {removed.stdout.strip()[-300:]}")

    def seen(self, project: Project, entry: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
        """What came of the app's use."""
        return {"used": self._used(project, entry, row)}

    def _used(self, project: Project, entry: Mapping[str, Any], row: Mapping[str, Any]) -> list[dict[str, Any]]:
        if row.get("generation") is None or not row.get("url"):
            return []
        health = entry.get("health", {})
        page = health.get("path", "/") if isinstance(health, Mapping) else str(health)
        return Visitor(row["url"]).does(project.uses or (Use("page", "get", page),))

    def _variables(self, host: str) -> dict[str, Any]:
        command = [
            str(Path(sys.executable).parent / "ansible-inventory"),
            "-i",
            str(self.lab.inventory),
            "--host",
            host,
        ]
        found = json.loads(_run(command, 120).stdout)
        return {key: value for key, value in found.items() if key.startswith("ansible_") and key != "ansible_host"}


def _run(command: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "ANSIBLE_CONFIG": str(paths.ROOT / "ansible.cfg"), "NO_COLOR": "1"}
    environ["ANSIBLE_STDOUT_CALLBACK"] = "default"
    environ.setdefault("ANSIBLE_TIMEOUT", _CONNECTION_SECONDS)
    try:
        return subprocess.run(
            command, cwd=paths.ROOT, env=environ, capture_output=True, text=True, timeout=seconds, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ScriptError(f"{Path(command[0]).name} did not end within {seconds:g} s") from None


def playbook(inventory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return _run([str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), *words], _ROLLOUT_SECONDS)


def _row(path: Path) -> dict[str, Any] | None:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    except (OSError, ValueError, KeyError):
        return None
    return dict(rows[0]) if rows else None


# -- what was said ----------------------------------------------------------------------------------------------------


def merged(entry: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """`entry` with what a person adds: mappings are joined, all else takes the place of what was there."""
    found = dict(entry)
    for key, value in more.items():
        there = found.get(key)
        both = isinstance(value, Mapping) and isinstance(there, Mapping)
        found[key] = merged(there or {}, value) if both else value
    return found


_INSTALLED = re.compile(r"/[^\s:()]*/(?=site-packages/)")
"""Where packages lie on this machine, which is nobody's matter."""


def said(text: str) -> dict[str, Any]:
    """What new-app said on standard error: its questions, and why a project cannot work."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    asked = [line.partition(": ")[::2] for line in lines if line.startswith("QUESTION")]
    first = [words for label, words in asked if "first" in label]
    open_ones = [words for label, words in asked if "first" not in label]
    cannot = ""
    for number, line in enumerate(lines):
        if line.endswith("cannot work as it is:"):
            why = itertools.takewhile(lambda words: not words.startswith(HALF), lines[number + 1 :])
            cannot = _INSTALLED.sub("", " ".join(why))
    return {"first": first, "questions": open_ones, "cannot": cannot, "form": form(text)}


def refusal(text: str) -> str:
    """Why a playbook ended without a report, by its own words."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [at for at, line in enumerate(lines) if "[ERROR]" in line or "fatal:" in line]
    first = told[0] if told else 0
    return " ".join(lines[first : first + (2 if told and lines[first].endswith(":") else 1)])[:600] or "it said nothing"


def outcome(row: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a row of the report."""
    settings = row.get("settings") or {}
    return {
        "status": row["status"],
        "cause": row.get("cause") or "",
        "class": settings.get("worker_class", ""),
        "size": size_words(settings),
        "verdict": row.get("verdict") or "",
    }


def form(text: str) -> str:
    """What new-app took a project as: a tree or a package; "" where it did not come to it."""
    found = re.findall(r"it is a (tree|package): |looking at it as a (tree|package)", text)
    return next((word for word in found[-1] if word), "") if found else ""


# -- the report -------------------------------------------------------------------------------------------------------


def report(bench: Bench) -> Report:
    """The table, and what was said."""
    return report_of(bench.results())


def live(host: Mapping[str, Any]) -> bool:
    """Whether the app was live and did all that was asked of it."""
    return host.get("status") == "promoted" and all(use["ok"] for use in host.get("used", []))


def by_itself(value: Mapping[str, Any]) -> bool:
    """Whether its entry went live without an edit, on a host at least."""
    return not value["added"] and any(live(host) for host in value["hosts"].values())


def report_of(results: Mapping[str, Result]) -> Report:
    """The whole report of what is measured."""
    found = {name: result.value for name, result in results.items()}
    ours = [name for name, value in found.items() if by_itself(value)]
    anyhow = [name for name, value in found.items() if any(map(live, value["hosts"].values()))]
    eased = _eased_words(found)
    edit = "without an edit but for limits and load of some trials" if eased else "without an edit"
    count = (
        f"{len(anyhow)} of {len(found)} projects went live and were used on a host at least, {len(ours)} of them by "
        f"the entry that new-app wrote, {edit}."
    )
    parts = [
        HOW,
        eased,
        count,
        _table(found),
        *(details(name, value) for name, value in found.items()),
    ]
    missed = []
    if len(ours) < SHARE_LIVE * len(found):
        missed.append(f"{len(ours)} of {len(found)} entries went live {edit}, three in four were said")
    return Report("Projects as they are", "\n\n".join(part for part in parts if part), found, missed=missed)


def _eased_words(found: Mapping[str, Any]) -> str:
    """Whose trials had other limits than their own, and why; "" where none had."""
    eased = {name: value["p95_ms"] for name, value in found.items() if value.get("p95_ms")}
    if not eased:
        return ""
    return (
        f"Other work ran on the machine. Trials have the limits that new-app wrote, but for {listed(list(eased))}: "
        "what came of those is told below the table, and the row is that of a second rollout, whose trial allowed a "
        f"p95 of {listed([f'{ms} ms' for ms in sorted(set(eased.values()))])}, at a few requests a second, and "
        "promoted where it could not tell."
    )


def _table(found: Mapping[str, Any]) -> str:
    header = ("project", "an example of", "content", "released as", "new-app", "planned", "Debian 12", "Debian 13")
    rows = []
    for name, value in found.items():
        hosts = list(value["hosts"].values())
        told: Mapping[str, Any] = next((host for host in hosts if host.get("class")), {})
        rows.append(
            (
                name,
                value["kind"],
                f"`{value['revision']}`",
                value["form"],
                _asked_words(value),
                f"{told['class']} {told['size']}" if told else "",
                *(_host_words(value, number) for number in SUITES),
            )
        )
    return markdown_table(header, rows)


def _asked_words(value: Mapping[str, Any]) -> str:
    if value["new_app"] == CANNOT:
        return "cannot work"
    words = "ready" if value["new_app"] == READY else f"asks first ({len(value['first'])})"
    return f"{words}; added: {', '.join(value['added'])}" if value["added"] else words


def _host_words(value: Mapping[str, Any], number: str) -> str:
    host = value["hosts"].get(number)
    if host is None:
        return "not tried"
    if host["status"] != "promoted":
        return str(host["status"])
    return "live: " + ", ".join(f"{use['name']}{'' if use['ok'] else ' FAILED'}" for use in host["used"])


def details(name: str, value: Mapping[str, Any]) -> str:
    """What was said of a project, by each of new-app, its first limits and its hosts."""
    lines = [f"- cannot work as it is: {value['cannot']}"] if value["cannot"] else []
    lines += [f"- to be answered first: {text}" for text in value["first"]]
    lines += [f"- question: {text}" for text in value["questions"]]
    lines += [f"- Debian {number}, by its own limits: {why}" for number, why in value.get("own", {}).items()]
    for number, host in value["hosts"].items():
        lines += [f"- Debian {number}: {host['cause']}"] if host.get("cause") else []
        lines += [f"- Debian {number}: {use['name']}: {use['said']}" for use in host.get("used", []) if use["said"]]
    return "\n".join([f"## {name}", "", *lines]) if lines else ""


HOW: Final = """\
Each project is a checkout as it is. `scripts/new-app` wrote its entry, `site.yml` rolled it out on a fresh host of two
cores and 1 GiB, and its users did what the table names: a page, a write, a read of what was written. "ready": the
entry can go live as it is; "asks first": it has a question that only a person can answer, and "added" names what a
person wrote. Content: the digest of the files that are shipped. What failed is told below the table in the words of the
run."""
