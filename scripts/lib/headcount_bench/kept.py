# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What real applications keep: a record made by a user, over a promote and a rollback.

Each NAME=CHECKOUT is rolled out as `scripts/bench apps` does, by the entry that scripts/new-app writes and what --asks
adds to it; nothing is typed on the host. A user does what `uses` says. Then a second generation is promoted, and rolled
back; after each the user does the last of the `uses` again, which reads what was written. A project for which --asks
says `keeps: nothing` is used as a whole each time instead, and its folder for data has to be empty at the end.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ansible_collections.headcount.gunicorn.plugins.plugin_utils._display.text import listed
from headcount_scripts.console import ScriptError

from . import _engine, apps
from ._common import Bench, Cell, Report, Result, markdown_table
from ._hosts import a_lab, add_lab
from ._visitor import Visitor

TIMED = False
MINUTES = 120.0
QUICK_MINUTES = 60.0
VERSION: Final = 4
SUITE: Final = "12"
HOSTS: Final = (f"d{SUITE}-a", f"d{SUITE}-b")
"""Each takes the next project."""
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
    """One project after the other, each on the next free host."""
    with a_lab(bench, [f"{host}:2:1g:{apps.SUITES[SUITE]}" for host in HOSTS]) as lab:
        apps.measure_on(bench, lab, Keeping, lab.hosts)


class Keeping(apps.Runs):
    """Projects of which a second generation is promoted and rolled back."""

    def project(self, project: apps.Project, suites: Sequence[str]) -> dict[str, Any]:
        """What came of a project whose uses can show that something is kept, or that keeps nothing. Raises ScriptError
        for another."""
        shows = project.uses and project.uses[-1].kind == "get" and any(use.kind != "get" for use in project.uses)
        if not shows and not (project.nothing and project.uses):
            raise ScriptError(
                f"{project.name}: its uses have to write something, and to end with a page that reads it; or --asks "
                "says `keeps: nothing`, and what it is used for"
            )
        return {**super().project(project, suites), "nothing": project.nothing}

    def limits(self) -> dict[str, Any]:
        """So easy that time stops nothing: it is no measure here."""
        return dict(EASY)

    def entry(self, project: apps.Project) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """As new-app writes it; where --asks says the source, too, all of the entry is a person's."""
        if "source" not in project.entry:
            return super().entry(project)
        told = {"new_app": apps.READY, "first": [], "questions": [], "cannot": "", "form": ""}
        return {"name": project.name, **project.entry}, told

    def seen(self, project: apps.Project, entry: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
        """What came of the app's use, and what its data then holds."""
        return {**super().seen(project, entry, row), "data": self.data(project)}

    def data(self, project: apps.Project) -> list[str]:
        """What the app's folder for data holds: files, and folders of several files with their number."""
        words = ["find", f"/var/lib/hc-{project.name}", "-type", "f", "-printf", r"%P\n"]
        return summary(self.lab.run(self.lane, words, check=False).splitlines())

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
            again = visitor.does(project.uses if project.nothing else project.uses[-1:])
            found += [{**use, "name": f"{use['name']} after the {what}"} for use in again]
        return found

    def live(self, project: apps.Project) -> str:
        """The generation that is live."""
        return self.lab.run(self.lane, ["readlink", f"/opt/headcount/{project.name}/live"]).strip()

    def again(self, entry: Mapping[str, Any]) -> Path:
        """The inventory with the entry of the second generation."""
        path = self.folder / "work" / self.lane / "inventory.json"
        inventory = json.loads(path.read_text(encoding="utf-8"))
        inventory["all"]["vars"]["headcount_apps"] = [apps.merged(entry, SECOND)]
        path.write_text(json.dumps(inventory), encoding="utf-8")
        return path


def summary(names: Sequence[str]) -> list[str]:
    """Names of files as a table has them: a folder with more than one is its name and how many it has."""
    folders = Counter(name.partition("/")[0] for name in names if "/" in name)
    found = {f"{folder}/ ({count} files)" for folder, count in folders.items() if count > 1}
    return sorted(found | {name for name in names if folders[name.partition("/")[0]] < 2 or "/" not in name})


def report(bench: Bench) -> Report:
    """The table, and what was said."""
    return report_of(bench.results())


def report_of(results: Mapping[str, Result]) -> Report:
    """The whole report of what is measured."""
    found = {name: result.value for name, result in results.items()}
    missed = [f"{name}: {_why(value)}" for name, value in found.items() if not _kept(value)]
    header = (
        "project", "an example of", "content", "added by a person", "in turn", "in its data then", "what was written"
    )  # fmt: skip
    text = "\n\n".join(
        part
        for part in (
            _count(found),
            HOW,
            markdown_table(header, [_row(name, value) for name, value in found.items()]),
            *(apps.details(name, value) for name, value in found.items()),
        )
        if part
    )
    return Report("What real applications keep", text, found, missed=missed)


def _count(found: Mapping[str, Mapping[str, Any]]) -> str:
    keeping = [value for value in found.values() if not value.get("nothing")]
    empty = [name for name, value in found.items() if value.get("nothing")]
    more = f"; {listed(empty)} {'keeps' if len(empty) == 1 else 'keep'} nothing" if empty else ""
    return f"{sum(map(_kept, keeping))} of {len(keeping)} that keep something kept what a user wrote{more}."


def _row(name: str, value: Mapping[str, Any]) -> tuple[str, ...]:
    host = value["hosts"].get(SUITE) or {}
    used = ", ".join(use["name"] for use in host.get("used", []) if use["ok"])
    kept = "keeps nothing" if value.get("nothing") else "kept"
    outcome = kept if _kept(value) else f"**not shown**: {_why(value)}"
    data, added = (", ".join(words) for words in (host.get("data", []), value["added"]))
    return (name, value["kind"], f"`{value['revision']}`", added, used, data, outcome)


def _kept(value: Mapping[str, Any]) -> bool:
    hosts = list(value["hosts"].values())
    as_said = not (value.get("nothing") and any(host.get("data") for host in hosts))
    return bool(hosts) and as_said and all(apps.live(host) and host.get("used") for host in hosts)


def _why(value: Mapping[str, Any]) -> str:
    for host in value["hosts"].values():
        said = [f"{use['name']}: {use['said']}" for use in host.get("used", []) if not use["ok"]]
        if value.get("nothing") and host.get("data"):
            said.append(f"it keeps {listed(host['data'])}")
        return str("; ".join(said) or host.get("cause") or host.get("status"))
    return str(value["cannot"] or "; ".join(value["first"]) or "it was not rolled out")


HOW: Final = f"""\
Each project is a checkout as it is, rolled out by its entry alone: the one that `scripts/new-app` wrote, with what a
person added to it (one with a source is a person's as a whole); nothing is typed on the host. In turn: what its user
does, a promote of a second generation, the page that reads what was written, a rollback to the first one, and that page
again; then the files in the app's own folder for data. What keeps nothing is used as a whole each time, and that folder
has to be empty. Time is no measure here: trials ask little ({EASY["load"]["rate"]} requests a second), allow a p95 of
{EASY["limits"]["p95_ms"]} ms, and promote where they cannot tell."""
