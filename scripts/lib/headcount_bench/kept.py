# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What real applications keep: a record made by a user, over a promote and a rollback.

Each NAME=CHECKOUT is rolled out as `scripts/bench apps` does, by the entry that scripts/new-app writes and what --asks
adds to it; nothing is typed on the host. A user does what `uses` says. Then a second generation is promoted, and rolled
back; after each the user does the last of the `uses` again, which reads what was written.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from headcount_scripts.console import ScriptError

from . import _engine, apps
from ._common import Bench, Cell, Report, Result, markdown_table
from ._hosts import a_lab, add_lab
from ._visitor import Visitor

TIMED = False
MINUTES = 120.0
QUICK_MINUTES = 60.0
VERSION: Final = 3
SUITE: Final = "12"
HOST: Final = f"d{SUITE}"
EASY: Final = {**_engine.EASY, "load": {"rate": 2, "seconds": 30}}
"""For pages that cost more than the sample app's."""
SECOND: Final = {"environment": {"HEADCOUNT_BENCH_GENERATION": "2"}}
"""What makes a generation of its own of the same entry."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which projects, and where to run."""
    apps.add_projects(parser)
    parser.set_defaults(p95_ms=None)
    add_lab(parser)


def cells_of(options: argparse.Namespace, folder: Path) -> list[Cell]:
    """One cell for each project that was ever named."""
    return apps.cells_on(options, folder, [SUITE], kept=VERSION)


def measure(bench: Bench) -> None:
    """One project after the other, on one host."""
    with a_lab(bench, [f"{HOST}:2:1g:{apps.SUITES[SUITE]}"]) as lab:
        apps.measure_on(bench, lab, Keeping)


class Keeping(apps.Runs):
    """Projects of which a second generation is promoted and rolled back."""

    def project(self, project: apps.Project, suites: Sequence[str]) -> dict[str, Any]:
        """What came of a project whose uses can show that something is kept. Raises ScriptError for another."""
        if not project.uses or project.uses[-1].kind != "get" or all(use.kind == "get" for use in project.uses):
            raise ScriptError(f"{project.name}: its uses have to write something, and to end with a page that reads it")
        return super().project(project, suites)

    def limits(self) -> dict[str, Any]:
        """So easy that time stops nothing: it is no measure here."""
        return dict(EASY)

    def entry(self, project: apps.Project) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """As new-app writes it; where --asks says the source, too, all of the entry is a person's."""
        if "source" not in project.entry:
            return super().entry(project)
        told = {"new_app": apps.READY, "first": [], "questions": [], "cannot": "", "form": ""}
        return {"name": project.name, **project.entry}, told

    def _used(self, project: apps.Project, entry: Mapping[str, Any], row: Mapping[str, Any]) -> list[dict[str, Any]]:
        if row.get("status") != "promoted" or not row.get("url"):
            return []
        visitor = Visitor(row["url"])
        found, first = visitor.does(project.uses), self.live(project)
        for what, book, words in (
            ("promote", "site.yml", ()),
            ("rollback", "playbooks/rollback.yml", ("-e", f"headcount_app={project.name}")),
        ):
            done = apps.playbook(self.again(entry), book, *words)
            said = apps.refusal(done.stdout + done.stderr) if done.returncode else ""
            now = self.live(project)
            if not said and (now == first) != (what == "rollback"):
                said = f"{now} is live, and before both {first} was"
            found.append({"name": what, "ok": not said, "said": said})
            found.append({**visitor.does(project.uses[-1:])[0], "name": f"{project.uses[-1].name} after the {what}"})
        return found

    def live(self, project: apps.Project) -> str:
        """The generation that is live."""
        return self.lab.run(HOST, ["readlink", f"/opt/headcount/{project.name}/live"]).strip()

    def again(self, entry: Mapping[str, Any]) -> Path:
        """The inventory with the entry of the second generation."""
        path = self.folder / "work" / HOST / "inventory.json"
        inventory = json.loads(path.read_text(encoding="utf-8"))
        inventory["all"]["vars"]["headcount_apps"] = [apps.merged(entry, SECOND)]
        path.write_text(json.dumps(inventory), encoding="utf-8")
        return path


def report(bench: Bench) -> Report:
    """The table, and what was said."""
    return report_of(bench.results())


def report_of(results: Mapping[str, Result]) -> Report:
    """The whole report of what is measured."""
    found = {name: result.value for name, result in results.items()}
    missed = [f"{name}: {_why(value)}" for name, value in found.items() if not _kept(value)]
    rows = []
    for name, value in found.items():
        host = value["hosts"].get(SUITE) or {}
        used = ", ".join(use["name"] for use in host.get("used", []) if use["ok"])
        outcome = "kept" if _kept(value) else f"**not shown**: {_why(value)}"
        rows.append((name, value["kind"], f"`{value['revision']}`", ", ".join(value["added"]), used, outcome))
    header = ("project", "an example of", "content", "added by a person", "in turn", "what was written")
    count = f"{len(found) - len(missed)} of {len(found)} kept what a user wrote."
    told = [apps.details(name, value) for name, value in found.items()]
    text = "\n\n".join(part for part in (count, HOW, markdown_table(header, rows), *told) if part)
    return Report("What real applications keep", text, found, missed=missed)


def _kept(value: Mapping[str, Any]) -> bool:
    hosts = list(value["hosts"].values())
    return bool(hosts) and all(apps.live(host) and host.get("used") for host in hosts)


def _why(value: Mapping[str, Any]) -> str:
    for host in value["hosts"].values():
        said = [f"{use['name']}: {use['said']}" for use in host.get("used", []) if not use["ok"]]
        return str("; ".join(said) or host.get("cause") or host.get("status"))
    return str(value["cannot"] or "; ".join(value["first"]) or "it was not rolled out")


HOW: Final = f"""\
Each project is a checkout as it is, rolled out by its entry alone: the one that `scripts/new-app` wrote, with what a
person added to it (one with a source is a person's as a whole); nothing is typed on the host. In turn: what its user
does, a promote of a second generation, the page that reads what was written, a rollback to the first one, and that page
again. Time is no measure here: trials ask little ({EASY["load"]["rate"]} requests a second), allow a p95 of
{EASY["limits"]["p95_ms"]} ms, and promote where they cannot tell."""
