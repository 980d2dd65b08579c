# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The commands before a release is started: migrations, tables, static files, and the questions about them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from .._display.text import listed
from .._edge import Json
from .beside import MIGRATES
from .draft import Draft, mapping
from .inside.tables import LACKS_TABLE
from .survey import is_kept
from .types import Imported


def prepare(draft: Draft) -> None:
    """Commands before a release is started: those that are there, and questions about the others."""
    hints, made = draft.hints, _repositories(draft)
    said = _there(draft, {command.run: command.origin for command in hints.prepares})
    said.update(_there(draft, _migrating(draft, list(said))))
    if not said:
        _first_setup(draft, made)
    if said and draft.subject.is_tree:
        here = _keeps_own_database(draft)
        draft.put("prepare", [*made, *({"run": run, "each_host": True} if here else run for run in said)])
        origins = listed(list(dict.fromkeys(said.values())), 2)
        where = ", on each host, as its database is a file there" if here else ""
        draft.comments["prepare"] = f"before a new release is started{where}: {origins}"
    elif said:
        draft.ask(
            f"does {listed(list(said), 3)} work with what is installed of the project (a folder of migrations beside "
            "its package is not)? Then name it in prepare: a rollout runs nothing of its own accord"
        )
    _collected(draft)
    _before(draft)


def _there(draft: Draft, said: Mapping[str, str]) -> dict[str, str]:
    """Those of some commands that can be run in a release; the others are asked about."""
    tried = {_at_manage(draft, run): origin for run, origin in said.items()}
    reasons = {run: draft.missing(run) if draft.subject.is_tree else "" for run in tried}
    found: dict[str, str] = {run: origin for run, origin in tried.items() if not reasons[run]}
    migrates = any(MIGRATES.search(run) for run in found)
    for command, origin in tried.items():
        why = reasons[command]
        if why and not (migrates and MIGRATES.search(command)):
            draft.ask(
                f"what is to be run before a release is started instead of `{command}` ({origin})? As it is "
                f"written, {why}. Name in prepare what does it; where nothing has to be run, take this question away"
            )
    return found


def _at_manage(draft: Draft, run: str) -> str:
    """A command of manage.py where that lies in a folder of the project, which the working directory is not."""
    manage = draft.hints.django.manage
    return re.sub(r"(?<![\w/.-])(\./)?manage\.py\b", manage, run) if "/" in manage else run


_STATIC: Final = "{data}/static"


def _collected(draft: Draft) -> None:
    """The command that collects Django's static files, on each host, and the place in the app's data for them."""
    app, hints = draft.app, draft.hints
    if not draft.subject.is_tree or not hints.django.manage or (app.static_root is None and draft.found.app):
        return
    run, root = hints.django.collect, app.static_root or ""
    why = draft.missing(run)
    if not root:
        unknown = "its settings say no STATIC_ROOT" if draft.found.app else "its settings could not be looked at"
        _ask_static(draft, unknown if hints.collects else "")
    elif why or not _lead_static(draft, root):
        _ask_static(draft, why or f"STATIC_ROOT is {root}, which no release may write")
    else:
        prepared = draft.entry.get("prepare")
        kept = prepared if isinstance(prepared, list) else []
        draft.put("prepare", [*kept, {"run": run, "each_host": True}])
        says = f"{hints.collects} does so" if hints.collects else "its settings say where to"
        told = [draft.comments.get("prepare", ""), f"static files are collected on each host ({says})"]
        draft.comments["prepare"] = "; ".join(filter(None, told))


def _ask_static(draft: Draft, why: str) -> None:
    if why:
        says = f"{draft.hints.collects} runs collectstatic, and " if draft.hints.collects else ""
        draft.ask(
            f"where are its static files to be collected? {says}{why}: let its settings lead STATIC_ROOT to a folder "
            "of the project (staticfiles), and declare data: {paths: [staticfiles/]} and prepare: [{run: "
            f'"{draft.hints.django.collect}", each_host: true}}]'
        )


def _lead_static(draft: Draft, root: str) -> bool:
    """Whether the folder for static files leads to the app's data: by a variable, or as a path beside its code."""
    environment = dict(mapping(draft.entry.get("environment")))
    named = [item.name for item in draft.app.variables if item.default and _is_same(item.default, root)]
    named = [name for name, value in environment.items() if value == root] or named
    if named:
        environment[named[0]] = _STATIC
        draft.put("environment", environment)
        draft.comments[f"environment.{named[0]}"] = "static files are collected there; a release is read-only on a host"
        return True
    if root.startswith(("/", ".", "~")):
        return _is_in_data(root, environment)
    data = mapping(draft.entry.get("data"))
    paths = data.get("paths")
    known = list(paths) if isinstance(paths, list) else []
    if _meets(root, data.get("built") or ()):
        return False
    if not is_below(f"{root}/", known):
        draft.put("data", {**data, "paths": [*known, f"{root}/"]})
        draft.comments.setdefault(
            "data.paths", "static files are collected there, and a release is read-only on a host"
        )
    return True


def _meets(root: str, built: Sequence[str]) -> bool:
    """Whether a folder is in one that each generation has for itself, or one of these is in it."""
    return any(f"{root}/".startswith(f"{one}/") or f"{one}/".startswith(f"{root}/") for one in built)


def _is_in_data(root: str, environment: Json) -> bool:
    """Whether a value of the environment leads a folder to the app's data."""
    return any(str(value).startswith("{data}") and root in str(value) for value in environment.values())


def _is_same(default: str, root: str) -> bool:
    return default.strip("./") == root.strip("./")


def _migrating(draft: Draft, known: Sequence[str]) -> dict[str, str]:
    """The commands that run the project's migrations, with whose they are, beside those that are known."""
    said: dict[str, str] = {}
    for folder, command in draft.hints.migrations:
        if not command and not known and not said:
            draft.ask(f"{folder}/ holds migrations: which command runs them? Name it in prepare")
        elif command and not any(MIGRATES.search(run) for run in (*known, *said)):
            said[command] = f"{folder}/ holds migrations"
    if _django_tables(draft) and not any(MIGRATES.search(run) for run in (*known, *said)):
        said[draft.hints.django.migrate] = "it makes the tables of Django's own apps (users, sessions)"
    return said


def _django_tables(draft: Draft) -> bool:
    """Whether it is a Django project with a database: those of its apps that Django brings along have tables too."""
    by_manage = any(candidate.origin.endswith("manage.py") for candidate in draft.hints.candidates)
    return by_manage and draft.app.kind == "django" and bool(draft.app.databases)


def _first_setup(draft: Draft, before: Sequence[Json]) -> None:
    """The command of the app's own that makes its tables, where its pages lacked some: only where they are not there
    yet, because it may begin with emptying them."""
    app = draft.app
    kept = [place for place in (_place_in_data(draft, path) for path in app.made) if place]
    is_own = app.kind != "django"  # whose command makes what is lacking, each time
    command = f"flask {app.setup}" if is_own else app.setup
    if is_own and _keeps_all(app, kept):
        draft.put("prepare", [*before, {"run": command, "creates": kept[0]}])
        draft.comments["prepare"] = (
            "makes its tables, as it did here; not where there are some already, which it may empty"
        )
        return
    lacking = [page for page in app.pages if LACKS_TABLE.search(page.error)]
    if app.setup or lacking:
        how = f"`{command}` did so here: is it right for a database that holds something?" if app.setup else ""
        shown = f" GET {lacking[0].path} fails with {lacking[0].error}." if lacking else ""
        draft.ask(
            f"which command makes its tables?{shown} {how or 'Nothing in the project says one.'} Name it in prepare, "
            "and with `creates` the file that it makes in {data}, so that it does not run twice"
        )


def _keeps_all(app: Imported, kept: Sequence[str]) -> bool:
    """Whether all that a command of the app made has a place in its data: `kept`."""
    return bool(app.setup and kept) and len(kept) == len(app.made)


def _place_in_data(draft: Draft, path: str) -> str:
    """Where in the app's data a database is that it has beside its code here, or there already; "" where nothing leads
    it there."""
    if path.startswith("{data}/"):
        return path
    data, environment = mapping(draft.entry.get("data")), mapping(draft.entry.get("environment"))
    led = data.get("paths")
    if is_kept(path) or (isinstance(led, list) and is_below(path, led)):
        return f"{{data}}/{path}"
    place = f"{{data}}/{path.rpartition('/')[2]}"
    return place if {place, f"sqlite:///{place}"} & set(map(str, environment.values())) else ""


def _repositories(draft: Draft) -> list[Json]:
    """The commands that make the repositories of git which the app needs in its data."""
    made: list[Json] = [{"run": f"git init {{data}}/{name}", "each_host": True} for name in draft.found.repositories]
    if made:
        draft.put("prepare", made, "the app needs a repository of git there; one that is there stays as it is")
        draft.ask("is git on the host? The app keeps a repository of it in its data, which is on each host for itself")
    return made


def _before(draft: Draft) -> None:
    """Asks about what its own line runs before the server."""
    for unknown in draft.hints.before:
        draft.ask(
            f"{unknown.origin} runs `{unknown.run}` before the server: what for? A release is read-only on a host. "
            "What it makes of the code is made before the project is released, or on each host: name its folder in "
            "data.built, and the command in prepare, with a file that it creates there; so what is for {data}, without"
        )


def _keeps_own_database(draft: Draft) -> bool:
    """Whether its database is a SQLite file of each host that no variable of the entry names."""
    local = any(re.fullmatch(r"sqlite:(?!.*:memory:)//.+", uri) for uri in draft.app.databases)
    named = [str(value) for key in ("environment", "secrets") for value in mapping(draft.entry.get(key)).values()]
    return (local or "sqlite" in draft.app.written.values()) and not any(value.startswith("sqlite:") for value in named)


def is_below(path: str, places: Sequence[str]) -> bool:
    """Whether a path is one of some places, or in one of them that is a folder (it ends in `/`)."""
    return any(path == place or (place.endswith("/") and path.startswith(place)) for place in places)
