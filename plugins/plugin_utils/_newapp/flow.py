# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The way from PATH|GIT|PIP to the text of an entry: files, hints, environment, import, proposal, preflight."""

from __future__ import annotations

import platform as machine
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml

from ...module_utils._declaration.fields import Problem
from ...module_utils._declaration.normalise import normalise_apps, render_problems
from ...module_utils._release.contents import TREE as RELEASED
from .._display.text import listed
from .._edge import Json
from .._source.project import PACKAGE, TREE, form_of, table
from .._wheels.declared import check_says
from .._wheels.files import shipped
from .._wheels.sources import copy_project
from .._wheels.tools import BadSource, BuildFailed, WheelhouseError, toml
from . import hints as hinted
from . import render, sandbox, scan
from .environment import Made, Maker, make
from .proposal import Proposal, Subject, propose
from .subject import Given, given
from .survey import Found, survey
from .types import Candidate, Error, Hints, Imported

_HOST: Final = "new-app"


class Cannot(Exception):
    """The project cannot work as it is: `problem` says why, as the preflight would.

    `lacks_files`: what was looked at does not hold a module or a file that the project has.
    """

    def __init__(self, problem: Problem, lacks_files: bool = False) -> None:
        super().__init__(problem.text)
        self.problem = problem
        self.lacks_files = lacks_files


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
    """The preflight's own check of the entry, as it can be read back. AssertionError is a fault of new-app."""
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
    below = _only_below(found, names)
    if below:
        tools.say(f"its app is in {below}")
        folder = found.folder / below
        found = replace(found, source={**found.source, "subdirectory": below}, folder=folder, project=folder.name)
        names = shipped(folder).names
        return _in_folder(found, folder, names, scratch, tools)
    return _in_folder(found, _folder(found), names, scratch, tools)


_PROJECT_FILES: Final = ("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "Pipfile")


def _only_below(found: Given, names: Sequence[str]) -> str:
    """The one project below that holds an app, where the top folder is no project itself; "" otherwise."""
    folder = _folder(found)
    top = toml(folder / "pyproject.toml") if (folder / "pyproject.toml").is_file() else {}
    if top.get("project") or table(top, "tool", "poetry") or any(name in names for name in _PROJECT_FILES[1:]):
        return ""
    holding = scan.folders(folder, names)
    below = [item for item in holding if any(f"{item}/{name}" in names for name in _PROJECT_FILES)]
    return below[0] if len(below) == 1 else ""


def _in_folder(found: Given, folder: Path, names: Sequence[str], scratch: Path, tools: Tools) -> Proposal:
    hints = hinted.read(folder, names)
    form = form_of(folder)
    tools.say(f"{len(names)} files; it is a {form.kind}: {form.why}")
    if form.is_tree:
        return _tree(found, scratch, tools, hints, names, form.why)
    try:
        return _installed(found, scratch, tools, hints, form.why)
    except (Cannot, BuildFailed) as error:
        if isinstance(error, Cannot) and not error.lacks_files:
            raise
        what = (
            "no wheel of it can be built here"
            if isinstance(error, BuildFailed)
            else "what is installed of it holds no app"
        )
        tools.say(f"{what}; looking at it as a tree")
        declared = replace(found, source={**found.source, "as": TREE})
        why = f"{form.why}, but {what}: its files are taken as they are"
        try:
            return _tree(declared, scratch / "again", tools, hints, names, why)
        except Cannot as later:
            # Of what was installed it is told what it lacks; of what was never built, what its files came to.
            raise (later if isinstance(error, BuildFailed) else error) from None


def _normalised(source: Json, folder: Path | None) -> Json:
    """A source as the wheelhouse takes it, with absolute paths."""
    kind = next(key for key in ("path", "wheel", "pip", "git") if key in source)
    value = str(folder) if kind in ("path", "git") and folder else source[kind]
    kind = "path" if kind == "git" else kind
    value = str(Path(value).expanduser().resolve()) if kind == "wheel" else value
    return {"kind": kind, "value": value, "as": source.get("as"), "requirements": source.get("requirements")}


def _tree(found: Given, scratch: Path, tools: Tools, hints: Hints, names: Sequence[str], why: str) -> Proposal:
    """A project that is released as it is."""
    folder = _folder(found)
    candidates = _ordered(hints.candidates, scan.candidates(folder, names, found.project))
    if not candidates:
        raise Cannot(_nothing(found, names), lacks_files=True)
    scratch.mkdir(exist_ok=True)
    root = scratch / RELEASED
    root.mkdir()
    copy_project(folder, root)
    kept = sandbox.lead(scratch, ())
    found = _with_requirements(found, names)
    made = _make(found, scratch, tools, TREE)

    def place(candidate: Candidate) -> sandbox.Place:
        paths = (root, root / candidate.path) if candidate.path else (root,)
        return sandbox.Place(scratch, root, made.python, paths, (root,), kept)

    told = survey(candidates, place, hints, tools.look, tools.say)
    guessed = tuple(found.source.get("requirements") or ())
    _refuse(told, found, candidates, names, guessed)
    subject = Subject(found.source, found.project, _why(found, "tree", why), made.notes, guessed)
    app = told.app or told.unreached
    return propose(subject, hints, told, app.candidate.path if app else "")


def _folder(found: Given) -> Path:
    if found.folder is None:
        raise ValueError("a distribution is no tree")
    return found.folder


def _with_requirements(found: Given, names: Sequence[str]) -> Given:
    """Name what the code imports where nothing in a tree says what it depends on; that may be nothing at all."""
    folder = _folder(found)
    try:
        check_says(folder, folder)
    except BadSource:
        return replace(found, source={**found.source, "requirements": scan.distributions(folder, names)})
    return found


def _installed(found: Given, scratch: Path, tools: Tools, hints: Hints, why: str) -> Proposal:
    """A project that is built and installed."""
    made = _make(found, scratch, tools, PACKAGE)
    root = scratch / "work"
    root.mkdir()
    candidates = _ordered(hints.candidates, scan.candidates(made.site, made.files, found.project, ("",)))
    candidates = [replace(item, path="") for item in candidates]
    own = tuple({made.site / name.partition("/")[0] for name in made.files if "/" in name})
    kept = sandbox.lead(scratch, ())

    def place(candidate: Candidate) -> sandbox.Place:
        return sandbox.Place(scratch, root, made.python, (), own or (made.site,), kept, installed=made.site)

    told = survey(candidates, place, hints, tools.look, tools.say)
    _refuse(told, found, candidates, made.files)
    subject = Subject(found.source, found.project, _why(found, "package", why), made.notes, is_tree=False)
    return propose(subject, hints, told)


def _why(found: Given, kind: str, why: str) -> str:
    return "; ".join(part for part in (found.why, f"taken as a {kind}: {why}" if why else "") if part)


def _make(found: Given, scratch: Path, tools: Tools, kind: str) -> Made:
    tools.say("gathering and installing its dependencies")
    source = {**_normalised(found.source, found.folder), "as": kind if found.folder else None}
    made = tools.make(source, scratch / "venv", tools.cache)
    # The server is the plan's matter; and a clone lies in a folder that is gone afterwards.
    notes = [note for note in made.notes if " gives way to gunicorn " not in note]
    return replace(made, notes=tuple(note.replace(f"source path {str(found.folder)!r}: ", "") for note in notes))


def _ordered(named: Sequence[Candidate], scanned: Sequence[Candidate]) -> list[Candidate]:
    """The sure hints, what the code holds, the other hints; a hint of a module that the code holds has its folder."""
    folders = {item.module: item.path for item in scanned}
    likely = {item.module: item.likely for item in scanned}
    known = [
        replace(item, path=item.path or folders.get(item.module, ""), likely=item.target or likely.get(item.module, ""))
        for item in named
    ]
    sure = [item for item in known if item.certain]
    return [*sure, *scanned, *(item for item in known if not item.certain)]


# -- why it cannot work -----------------------------------------------------------------------------------------------


def _refuse(
    told: Found, found: Given, candidates: Sequence[Candidate], names: Sequence[str], guessed: Sequence[str] = ()
) -> None:
    """Raise Cannot when no app was found, with the reason that tells most; `guessed`: dependencies by imports alone."""
    if told.app is not None or told.unreached is not None:
        return
    cause = told.cause
    if cause is None:
        raise Cannot(_nothing(found, names), lacks_files=True)
    error = cause[1]
    lacks = error.kind in ("NotFound", "FileNotFoundError", "TemplateNotFound") or _is_own(*cause)
    problem = _problem(*cause)
    if guessed and problem.fix.startswith(_ALWAYS):
        fix = (
            f"nothing in the project says versions, so that the newest of {listed(guessed, 6)} were taken: name those "
            "that it was made for with source.requirements, or in a requirements.txt"
        )
        problem = replace(problem, fix=fix)
    raise Cannot(problem, lacks)


def _entry_point(what: str, allowed: str, fix: str) -> Problem:
    return Problem(_HOST, ("headcount_apps", 0, "entry_point"), what, allowed, fix)


def _nothing(found: Given, names: Sequence[str]) -> Problem:
    below = scan.folders(found.folder, names) if found.folder else []
    fix = "make a wsgi.py with `app = ...`"
    if below:
        fix = f"name the folder that holds the app, one of {listed(below, 4)}"
    return _entry_point(
        f"was not found in {found.project}: no module that can be imported from its folder makes a Flask app, a "
        f"factory of one "
        "or a WSGI callable, and nothing says how it is started (FLASK_APP, Procfile, Dockerfile, a Gunicorn command)",
        "module:callable or module:factory()",
        fix,
    )


def _is_own(candidate: Candidate, error: Error) -> bool:
    """Whether what is missing is a module of the project itself."""
    return bool(error.missing_module) and (error.missing_module.partition(".")[0] == candidate.module.partition(".")[0])


# What older code asks of the standard library, and the Python that still has it.
_OLDER: Final = (
    (r"module '?collections'? has no attribute|from 'collections'", "3.9"),
    (r"No module named '(distutils|asynchat|asyncore|imp)\b", "3.11"),
    (r"No module named '(cgi|crypt|telnetlib|pipes|imghdr|sndhdr)\b", "3.12"),
    (r"from 'inspect'|module 'inspect' has no attribute 'getargspec'", "3.10"),
    (r"module 'pkgutil' has no attribute 'ImpImporter'|from 'typing\.io'", "3.11"),
)

# What newer code asks of the standard library, and the Python that first has it.
_NEWER: Final = (
    (r"cannot import name '(override|TypeAliasType)' from 'typing'", "3.12"),
    (r"cannot import name '(Self|Never|assert_never|Required|NotRequired|StrEnum)'|No module named 'tomllib'", "3.11"),
    (r"cannot import name 'batched' from 'itertools'", "3.12"),
    (r"cannot import name '(deprecated|Buffer|CapsuleType)' from '(warnings|collections\.abc|types)'", "3.13"),
)


_ALWAYS: Final = "put right what it says"


def _problem(candidate: Candidate, error: Error) -> Problem:
    what = f"would be {str(candidate)!r} ({candidate.origin})"
    callables, modules = "module:callable or module:factory()", "a module that can be imported"
    if error.kind == "NotFound" and "ASGI" in error.message:
        fix = "serve it with an ASGI server; a WSGI app beside it is named with FLASK_APP"
        return _entry_point(f"{what}, but {error.message}", callables, fix)
    if error.kind == "NotFound":
        return _entry_point(
            f"{what}, but {error.message}", callables, "a module wsgi.py that makes it and calls it app"
        )
    if error.kind == "Serves":
        fix = 'put what serves under `if __name__ == "__main__":`'
        return _entry_point(f"{what}, but {error.message}{_at(error)}", "a module that only defines the app", fix)
    older = next((python for pattern, python in _OLDER if re.search(pattern, error.message)), "")
    version = ".".join(machine.python_version_tuple()[:2])
    failed = f"{what}, but importing it with Python {version} fails: {error}"
    newer = next((python for pattern, python in _NEWER if re.search(pattern, error.message)), "")
    if newer:
        return _entry_point(failed, modules, f"headcount_python with a Python {newer} or newer on the host")
    if older:
        fix = f"newer versions of what it pins, or headcount_python with a Python {older} or older on the host"
        return _entry_point(failed, modules, fix)
    if _is_own(candidate, error):
        fix = "name the folder that the module is in, or make what the build of the project would make"
        return _entry_point(
            f"{what}, but there is no module {error.missing_module}{_at(error)}", "a module of the project", fix
        )
    if error.missing_module:
        fix = f"name the distribution that brings {error.missing_module} in the project's dependencies"
        return _entry_point(failed, modules, fix)
    return _entry_point(failed, modules, f"{_ALWAYS}; with these dependencies it fails so on every host")


def _at(error: Error) -> str:
    return f" ({error.where})" if error.where else ""


__all__ = ["BadSource", "Cannot", "Entry", "Tools", "WheelhouseError", "check", "entry"]
