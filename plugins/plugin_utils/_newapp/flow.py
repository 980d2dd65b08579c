# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The way from PATH|GIT|PIP to the text of an entry: files, hints, environment, import, proposal, preflight."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from ...module_utils._declaration.fields import Problem
from ...module_utils._declaration.normalise import normalise_apps, render_problems
from .._source.project import PACKAGE, TREE, form_of
from .._wheels.files import shipped
from .._wheels.sources import copy_project
from .._wheels.tools import BadSource, WheelhouseError
from . import hints as hinted
from . import render, sandbox, scan
from .environment import Made, Maker, make
from .proposal import Proposal, Subject, propose
from .subject import Given, given
from .survey import Found, survey
from .types import Candidate, Error, Hints, Imported

_HOST: Final = "new-app"


class Cannot(Exception):
    """The project cannot work as it is. `problems` say why, as the preflight would."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(problem.text for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Tools:
    """What the way uses: `make` an environment, `look` at a module, `say` what is being done. Tests bring their own."""

    cache: Path
    make: Maker = make
    look: Callable[[sandbox.Place, str, str], Imported] = sandbox.look
    say: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class Entry:
    """The proposal and its text."""

    proposal: Proposal
    text: str

    @property
    def ready(self) -> bool:
        """Whether it can go live as it is."""
        return not any(question.must for question in self.proposal.questions)


def entry(what: str, tools: Tools, host: str = "", beside: Path | None = None, name: str = "") -> Entry:
    """The entry of PATH|GIT|PIP. Raises Cannot, BadSource and other kinds of WheelhouseError."""
    with tempfile.TemporaryDirectory(prefix="headcount-new-app-") as folder:
        scratch = Path(folder).resolve()
        scratch.chmod(0o755)
        found = given(what, scratch, tools.cache, beside)
        if name:
            found = replace(found, project=name)
        return _finish(_proposal(found, scratch, tools), what, host)


def _finish(proposal: Proposal, what: str, host: str) -> Entry:
    heading = [f"Written by scripts/new-app from {what}. Each value is a proposal: change what you know better."]
    text = render.text(proposal, host, heading)
    check(proposal, text)
    return Entry(proposal, text)


def check(proposal: Proposal, text: str) -> None:
    """The preflight's own check of the entry, as it can be read back. Raises AssertionError: it is a fault of new-app."""
    read = yaml.safe_load(text)
    apps = read["all"]["vars"]["headcount_apps"] if "all" in read else read["headcount_apps"]
    if apps != [_plain(proposal.entry)]:
        raise AssertionError(f"the entry is not what is read back from its text: {apps!r}")
    _, problems = normalise_apps(apps, _HOST)
    if problems:
        raise AssertionError(f"the entry does not pass the preflight:\n{render_problems(problems)}")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _proposal(found: Given, scratch: Path, tools: Tools) -> Proposal:
    if found.folder is None:
        return _installed(found, scratch, tools, Hints(), "")
    names = shipped(found.folder).names
    hints = hinted.read(found.folder, names)
    form = form_of(found.folder)
    tools.say(f"{len(names)} files; it is a {form.kind}: {form.why}")
    if form.is_tree:
        return _tree(found, scratch, tools, hints, names, form.why)
    try:
        return _installed(found, scratch, tools, hints, form.why)
    except Cannot:
        tools.say("what is installed of it holds no app; looking at it as a tree")
        declared = replace(found, source={**found.source, "as": TREE})
        why = f"{form.why}, but what is installed of it holds no app that can be imported: its files are taken as they are"
        return _tree(declared, scratch / "again", tools, hints, names, why)


def _normalised(source: Mapping[str, Any], folder: Path | None) -> dict[str, Any]:
    """A source as the wheelhouse takes it, with absolute paths."""
    kind = next(key for key in ("path", "wheel", "pip", "git") if key in source)
    value = str(folder) if kind in ("path", "git") and folder else source[kind]
    kind = "path" if kind == "git" else kind
    value = str(Path(value).expanduser().resolve()) if kind == "wheel" else value
    return {"kind": kind, "value": value, "as": source.get("as")}


def _tree(
    found: Given, scratch: Path, tools: Tools, hints: Hints, names: Sequence[str], why: str
) -> Proposal:
    """A project that is released as it is."""
    assert found.folder is not None
    scratch.mkdir(exist_ok=True)
    root = scratch / "project"
    root.mkdir()
    copy_project(found.folder, root)
    made = _make(found, scratch, tools, TREE)
    candidates = _ordered(hints.candidates, scan.candidates(found.folder, names, found.project))

    def place(candidate: Candidate) -> sandbox.Place:
        paths = (root, root / candidate.path) if candidate.path else (root,)
        return sandbox.Place(scratch, root, made.python, paths, (root,))

    told = survey(candidates, place, hints, tools.look, tools.say)
    _refuse(told, found, candidates, hints, made)
    subject = Subject(found.source, found.project, _why(found, "tree", why), made.notes)
    app = told.app
    return propose(subject, hints, told, app.candidate.path if app else "")


def _installed(found: Given, scratch: Path, tools: Tools, hints: Hints, why: str) -> Proposal:
    """A project that is built and installed."""
    made = _make(found, scratch, tools, PACKAGE)
    root = scratch / "work"
    root.mkdir()
    candidates = _ordered(hints.candidates, scan.candidates(made.site, made.files, found.project, ("",)))
    candidates = [replace(item, path="") for item in candidates]
    own = tuple({made.site / name.partition("/")[0] for name in made.files if "/" in name})

    def place(candidate: Candidate) -> sandbox.Place:
        return sandbox.Place(scratch, root, made.python, (), own or (made.site,))

    told = survey(candidates, place, hints, tools.look, tools.say)
    _refuse(told, found, candidates, hints, made)
    subject = Subject(found.source, found.project, _why(found, "package", why), made.notes)
    return propose(subject, hints, told)


def _why(found: Given, kind: str, why: str) -> str:
    return "; ".join(part for part in (found.why, f"taken as a {kind}: {why}" if why else "") if part)


def _make(found: Given, scratch: Path, tools: Tools, kind: str) -> Made:
    tools.say("gathering and installing its dependencies")
    source = {**_normalised(found.source, found.folder), "as": kind if found.folder else None}
    return tools.make(source, scratch / "venv", tools.cache)


def _ordered(named: Sequence[Candidate], scanned: Sequence[Candidate]) -> list[Candidate]:
    """The sure hints, what the code holds, the other hints; a hint of a module that the code holds has its folder."""
    folders = {item.module: item.path for item in scanned}
    known = [replace(item, path=item.path or folders.get(item.module, "")) for item in named]
    sure = [item for item in known if item.certain]
    return [*sure, *scanned, *(item for item in known if not item.certain)]


# -- why it cannot work -----------------------------------------------------------------------------------------------


def _refuse(told: Found, found: Given, candidates: Sequence[Candidate], hints: Hints, made: Made) -> None:
    """Raise Cannot when no app was found, with the reason that tells most."""
    if told.app is not None:
        return
    cause = told.cause
    if cause is None:
        raise Cannot([_nothing(found)])
    raise Cannot([_problem(*cause, found)])


def _entry_point(what: str, allowed: str, fix: str) -> Problem:
    return Problem(_HOST, ("headcount_apps", 0, "entry_point"), what, allowed, fix)


def _nothing(found: Given) -> Problem:
    fix = "name the folder that holds the app (scripts/new-app PROJECT/FOLDER), or make a wsgi.py with `app = ...`"
    return _entry_point(
        f"was not found in {found.project}: no module makes a Flask app, a factory of one or a WSGI callable, and nothing "
        "says how it is started (FLASK_APP, Procfile, Dockerfile, a Gunicorn command)",
        "module:callable or module:factory()",
        fix,
    )


def _problem(candidate: Candidate, error: Error, found: Given) -> Problem:
    what = f"would be {str(candidate)!r} ({candidate.origin})"
    if error.kind == "NotFound":
        fix = "an ASGI app is served by uvicorn, not by Gunicorn's WSGI workers" if "ASGI" in error.message else (
            f"a module wsgi.py with `from {candidate.module} import ...; app = ...`"
        )
        return _entry_point(f"{what}, but {error.message}", "module:callable or module:factory()", fix)
    if error.kind == "Serves":
        fix = "put what serves under `if __name__ == \"__main__\":`"
        return _entry_point(f"{what}, but {error.message}{_at(error)}", "a module that only defines the app", fix)
    if error.missing_module and error.missing_module.partition(".")[0] != candidate.module.partition(".")[0]:
        fix = f"name the distribution that brings {error.missing_module} in the project's dependencies"
        return _entry_point(f"{what}, but importing it fails: {error}", "a module that can be imported", fix)
    if error.missing_module:
        fix = "name the folder that the module is in (scripts/new-app PROJECT/FOLDER)"
        return _entry_point(f"{what}, but there is no module {error.missing_module}", "a module of the project", fix)
    fix = "what the import says; with the project's own dependencies it fails in this way on every host"
    return _entry_point(f"{what}, but importing it fails: {error}", "a module that can be imported", fix)


def _at(error: Error) -> str:
    return f" ({error.where})" if error.where else ""


__all__ = ["BadSource", "Cannot", "Entry", "Tools", "WheelhouseError", "check", "entry", "partial"]
