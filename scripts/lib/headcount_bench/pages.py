# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Public apps with their own fast and slow pages: the plan, beside one for requests that are alike, and the rules.

Three apps from the package index, as they are, each asked for quick pages and slow ones (open loop, Poisson). The plan
that knows how requests vary, the one that takes them all to be like their mean, and the rules of thumb run in turn,
over the same arrivals.
"""

from __future__ import annotations

import datetime
import math
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration import normalise
from headcount_scripts import paths
from headcount_scripts.console import ScriptError

from . import _mix_grid as mix
from . import _mix_run, _serving
from . import _plan_grid as grid
from . import plan as plan_bench
from ._common import Bench, Cell, Report, Result, markdown_table

MINUTES = 30.0
QUICK_MINUTES = 8.0
VERSION: Final = 2
ROUNDS, QUICK_ROUNDS = 4, 2
TIMEOUT_SECONDS: Final = 8.0
SECONDS: Final = 8.0
HOST: Final = grid.HOSTS["2c"]
LOADS: Final = (0.3, 0.6)

NOW: Final = "the plan"
MEAN: Final = "planned as if alike"
"""What Headcount planned before it knew how requests vary: the mean of the same weigh, and requests that are alike."""


NOISE: Final = 1.1
"""Two servers with the same settings differ by as much."""


@dataclass(frozen=True)
class Page(mix.Kind):
    """A page of an app: its own address; CPU and waiting are a guess, of which only the calibration makes use."""

    address: str = "/"

    @property
    def path(self) -> str:
        """Where it is."""
        return self.address


@dataclass(frozen=True)
class PublicApp:
    """An app of _serving.PUBLIC: how it is made ready in a folder (its environment), and its pages by address, or with
    {made} where making ready says it."""

    name: str
    entry: str
    health: str
    pages: tuple[Page, ...]
    ready: Callable[[Path], tuple[Mapping[str, str], str]]


def _ledger(folder: Path) -> tuple[Mapping[str, str], str]:
    """The books of a shop: 3000 purchases in a thousand days. Fava makes the first part of its addresses of the title,
    or, without one, of the file's whole path."""
    accounts = ("Assets:Bank", "Income:Sales", "Expenses:Rent", "Expenses:Food")
    lines = [
        'option "title" "shop"',
        'option "operating_currency" "EUR"',
        *(f"2020-01-01 open {account}" for account in accounts),
    ]
    for number in range(3000):
        day = datetime.date(2020, 1, 1) + datetime.timedelta(days=number // 3)
        lines += [f'{day} * "Shop {number % 50}" "purchase {number}"', f"  Assets:Bank  {-(number % 90) - 1}.00 EUR"]
        lines += [f"  Expenses:{'Food' if number % 3 else 'Rent'}"]
    books = folder / "shop.beancount"
    books.write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = f"from fava.application import create_app\napplication = create_app([{str(books)!r}])\n"
    (folder / "books.py").write_text(text, encoding="utf-8")
    return {"PYTHONPATH": str(folder)}, ""


def _packages(folder: Path) -> tuple[Mapping[str, str], str]:
    """800 wheels, empty: what the server lists."""
    store = folder / "packages"
    store.mkdir(exist_ok=True)
    for number in range(800):
        (store / f"project{number}-1.0-py3-none-any.whl").touch()
    text = f"import pathlib\nimport pypiserver\napplication = pypiserver.app(roots=[pathlib.Path({str(store)!r})])\n"
    (folder / "listing.py").write_text(text, encoding="utf-8")
    return {"PYTHONPATH": str(folder)}, ""


BILLS: Final = """\
from ihatemoney.models import Bill, Project, db
from ihatemoney.run import create_app
with create_app().app_context():
    project = Project.query.get("demo") or Project.create_demo_project()
    people = list(project.members)
    for number in range(400):
        db.session.add(Bill(amount=10 + number, bill_type="Expense", original_currency="XXX", owers=people,
            payer_id=people[number % 3].id, project_default_currency="XXX", what=f"bill {number}"))
    db.session.commit()
    print(f"/demo/feed/{project.generate_token('feed')}.xml")
"""


def _bills(folder: Path) -> tuple[Mapping[str, str], str]:
    """A database with 400 bills; the address of the feed that lists the last hundred."""
    database, settings = folder / "bills.db", folder / "ihatemoney.cfg"
    database.unlink(missing_ok=True)
    settings.write_text(f"SQLALCHEMY_DATABASE_URI = 'sqlite:///{database}'\nSECRET_KEY = 'x'\n", encoding="utf-8")
    environment = {"IHATEMONEY_SETTINGS_FILE_PATH": str(settings)}
    python = _serving.venv("ihatemoney") / "bin" / "python"
    done = subprocess.run(
        [python, "-W", "ignore", "-c", BILLS], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise ScriptError(f"ihatemoney's database could not be made: {done.stderr.strip()[-500:]}")
    return environment, done.stdout.strip().splitlines()[-1]


QUERY: Final = "select+date,payee,account,position,balance"

APPS: Final = {
    app.name: app
    for app in (
        PublicApp(
            "ihatemoney",
            "ihatemoney.wsgi:application",
            "/",
            (Page("home", 0.95, 6, 0, "/"), Page("feed", 0.05, 130, 0, "{made}")),
            _bills,
        ),
        PublicApp(
            "pypiserver",
            "listing:application",
            "/health",
            (
                Page("download", 0.90, 2, 0, "/packages/project7-1.0-py3-none-any.whl"),
                Page("project", 0.08, 18, 0, "/simple/project7/"),
                Page("listing", 0.02, 35, 0, "/packages/"),
            ),
            _packages,
        ),
        PublicApp(
            "fava",
            "books:application",
            "/shop/help/",
            (
                Page("statement", 0.80, 2, 0, "/shop/income_statement/"),
                Page("figures", 0.17, 15, 0, "/shop/api/income_statement"),
                Page("query", 0.03, 100, 0, f"/shop/api/query?query_string={QUERY}"),
            ),
            _ledger,
        ),
    )
}


def cells(quick: bool) -> list[Cell]:
    """Each app at each load."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    return [
        Cell(f"{app.name}/{load:g}", {"version": VERSION, "app": app.name, "load": load, "rounds": rounds})
        for app in APPS.values()
        for load in LOADS
    ]


def declaration(app: PublicApp, pages: Sequence[Page], rate: float) -> dict[str, Any]:
    """What somebody declares who knows the pages and the peak rate, and no times."""
    apps, problems = normalise.normalise_apps(
        [
            {
                "name": "shop",
                "source": {"pip": _serving.PUBLIC[app.name][0]},
                "entry_point": app.entry,
                "listen": "127.0.0.1:8000",
                "rate": rate,
                "health": {"path": app.health},
                "load": {"paths": [{"path": page.path, "weight": 100 * page.share} for page in pages]},
                "buffering_proxy": True,
            }
        ],
        "bench",
    )
    if problems:
        raise ScriptError(f"the benchmark's declaration is wrong: {problems[0]}")
    return dict(apps[0])


def measure(bench: Bench) -> None:
    """One cell after the other."""
    try:
        bench.run(lambda cell, _: work(cell))
    finally:
        _serving.stop_all()


def work(cell: Cell) -> dict[str, Any]:
    """One app at one load: what its pages take alone, the weigh, the plans, and all of them in turn."""
    app = APPS[cell.inputs["app"]]
    folder = paths.WORK / "bench" / "pages" / app.name
    folder.mkdir(parents=True, exist_ok=True)
    _serving.venv(app.name)
    environment, made = app.ready(folder)
    site = _serving.Site(app.name, app.entry, app.health, environment)
    pages = tuple(replace(page, address=page.address.format(made=made)) for page in app.pages)
    traffic = mix.Traffic(app.name, "mixed", pages)
    cpus, load_cpus = _mix_run.lanes(HOST.cores, 1)[0]
    servers = _mix_run.Servers(cpus, preload=False, site=site)
    try:
        alone = _mix_run.alone(servers, traffic)
        walls = [one.wall_ms for one in alone]
        mean = traffic.mean([one.cpu_ms for one in alone])
        rate = float(f"{cell.inputs['load'] * HOST.cores * 1000.0 / mean:.3g}")
        declared = declaration(app, pages, rate)
        first = plan_bench.plan_of(HOST, declared, None)
        weighed = plan_bench.weigh(first, declared, cpus, site)
        alike = {key: value for key, value in weighed.items() if key != "paths"}
        configs = {
            NOW: grid.Config.from_settings(plan_bench.plan_of(HOST, declared, weighed).values()),
            MEAN: grid.Config.from_settings(plan_bench.plan_of(HOST, {**declared, "mix": "uniform"}, alike).values()),
            **mix.rules(HOST),
        }
        field = list(dict.fromkeys(configs.values()))
        servers.ready(field)
        runs: dict[grid.Config, list[_mix_run.Run]] = {config: [] for config in field}
        for config in field:  # a process compiles its templates and fills its caches with its first requests
            due = mix.schedule(traffic, rate / 4, SECONDS, "poisson", "warm")
            _mix_run.load(servers, config, traffic, due, TIMEOUT_SECONDS, load_cpus)
        for number in range(int(cell.inputs["rounds"])):
            due = mix.schedule(traffic, rate, SECONDS, "poisson", f"pages {number}")
            for config in field if number % 2 == 0 else reversed(field):
                run = _mix_run.load(servers, config, traffic, due, TIMEOUT_SECONDS, load_cpus, memory=number == 0)
                runs[config].append(run)
    finally:
        servers.close()
    return {
        "rate": rate,
        "pages": [{"name": page.name, "share": page.share} for page in pages],
        "alone_ms": walls,
        "cpu_ms": [one.cpu_ms for one in alone],
        "weigh": weighed,
        "rows": {
            name: {"config": config.name, "runs": [run.to_dict() for run in runs[config]]}
            for name, config in configs.items()
        },
    }


@dataclass(frozen=True)
class Row:
    """A way to serve an app, with what came of its runs: each page's figures, the largest p95 slowdown, answers within
    ten times what their page takes alone (a second), memory in MiB, the share of the CPUs that went to other work."""

    config: str
    pages: tuple[mix.Told, ...]
    slowdown: float
    goodput: float
    memory_mib: float
    foreign: float


def rows_of(value: Mapping[str, Any]) -> dict[str, Row]:
    """By the way to serve it."""
    found = {}
    for name, row in value["rows"].items():
        runs = [_mix_run.Run.from_dict(run) for run in row["runs"]]
        latencies = _mix_run.pooled(runs)
        pages = mix.told(latencies, value["alone_ms"])
        found[name] = Row(
            config=row["config"],
            pages=tuple(pages),
            slowdown=mix.worst(pages),
            goodput=mix.within(latencies, value["alone_ms"]) / sum(run.seconds for run in runs),
            memory_mib=max(run.memory_mib for run in runs),
            foreign=sorted(run.foreign for run in runs)[len(runs) // 2],
        )
    return found


def shortfalls(rows: Mapping[str, Row]) -> list[str]:
    """Where the plan is worse than another way to serve the app by more than its noise, a sentence each."""
    plan = rows[NOW]
    return [
        f"the plan's slowdown is {plan.slowdown:.1f} ({plan.config}), that of {name} {row.slowdown:.1f} ({row.config})"
        for name, row in rows.items()
        if plan.slowdown > NOISE * row.slowdown
    ]


def report(bench: Bench) -> Report:
    """A table for each app and load."""
    return report_of(bench.cells, bench.results())


def report_of(cells: Sequence[Cell], results: Mapping[str, Result]) -> Report:
    """The whole report of what is measured."""
    found = {cell.name: results[cell.name].value for cell in cells if cell.name in results}
    rows = {name: rows_of(value) for name, value in found.items()}
    parts = [HOW, f"{len(found)} of {len(cells)} cells are measured."]
    for name, value in found.items():
        app, load = name.split("/")
        kinds = ", ".join(
            f"{100 * page['share']:g} % {page['name']} ({alone:.1f} ms alone, {cpu:.1f} ms of CPU)"
            for page, alone, cpu in zip(value["pages"], value["alone_ms"], value["cpu_ms"], strict=True)
        )
        others = max(row.foreign for row in rows[name].values())
        parts += [
            f"## {app}, load {load}",
            f"{value['rate']:g} requests a second: {kinds}. Other work took {100 * others:.0f} % of the CPUs.",
            _table(value, rows[name]),
        ]
    return Report(
        title="Public apps with their own fast and slow pages",
        markdown="\n\n".join(parts),
        data={
            name: {
                **{key: value[key] for key in ("rate", "pages", "alone_ms", "cpu_ms", "weigh")},
                "rows": {
                    role: {
                        **{key: mix.plain_number(getattr(row, key)) for key in ("slowdown", "goodput", "memory_mib")},
                        "config": row.config,
                        "pages": [page.to_dict() for page in row.pages],
                    }
                    for role, row in rows[name].items()
                },
            }
            for name, value in found.items()
        },
        missed=[f"{name}: {sentence}" for name in found for sentence in shortfalls(rows[name])],
    )


def _table(value: Mapping[str, Any], rows: Mapping[str, Row]) -> str:
    names = [page["name"] for page in value["pages"]]
    header = ("", "settings", *(f"{name}: p50, p95 ms" for name in names), "largest slowdown", "goodput/s", "MiB")
    lines = [
        (
            name,
            row.config,
            *(f"{_ms(page.p50_ms)}, {_ms(page.p95_ms)}" for page in row.pages),
            f"{row.slowdown:.1f}" if math.isfinite(row.slowdown) else "lost",
            f"{row.goodput:.0f}",
            f"{row.memory_mib:.0f}",
        )
        for name, row in rows.items()
    ]
    return markdown_table(header, lines, right=tuple(range(2, len(header))))


def _ms(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else "lost"


HOW: Final = f"""\
Three public apps from the package index, as they are, on two cores. `{NOW}`: no profile declared, the paths with their
weights, the peak rate, finished with the weigh. `{MEAN}`: the mean of the same weigh, with requests that are taken to
be alike, which is what was planned before the plan knew how they vary. The rules: 2n+1 sync, Gunicorn's documentation;
heroku min(2n+1, RAM / 256 MiB) sync; debops n+1 sync; cloud run gthread 1 x 8.

Slowdown: the largest, over the pages, of p95 divided by what the page takes alone. Goodput: answers within ten times
what their page takes alone. Load: the share of the cores that the requests' CPU takes. Every way to serve the app gets
the same arrivals (Poisson, a connection each) in every round, there and back again; a figure is that of all rounds
together. Before the first one each is asked for a while at a quarter of the rate, which is not counted: a process
compiles its templates and fills its caches with its first requests."""
