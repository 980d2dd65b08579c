# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The way from PATH|GIT|PIP to the text of an entry: files, hints, environment, import, proposal, preflight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from ...module_utils._declaration.normalise import normalise_apps, render_problems
from ...module_utils._release.contents import TREE as RELEASED
from .._display.text import visible
from .._edge import Json
from .._source.project import PACKAGE, TREE, form_of, table
from .._wheels.declared import check_says, members
from .._wheels.files import shipped
from .._wheels.lockfiles import FOLLOWING
from .._wheels.progress import told_to
from .._wheels.sources import copy_project
from .._wheels.tools import (
    OF_THE_CONTROLLER,
    BadLock,
    BadSource,
    BuildFailed,
    Contradiction,
    LacksFiles,
    WheelhouseError,
    toml,
)
from . import hints as hinted
from . import imports, render, sandbox, scan, templates
from .draft import Proposal, Question, Subject
from .environment import Made, Maker, make
from .held import scratch_folder
from .older import MOST_STEPS, stepped_back
from .proposal import propose
from .refusals import HOST, Cannot, nothing, refuse, several
from .subject import Given, Unknown, answered, given, project_name
from .survey import Found, survey
from .there import There
from .types import Answers, Candidate, Hints, Imported


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


class Unfinished(Exception):
    """A project could not be looked at to the end: `cause` says why; `entry` is what its files say by themselves, with
    what is missing as questions."""

    def __init__(self, cause: Cannot | WheelhouseError, half: Entry) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.entry = half


def again(error: Exception) -> str:
    """What is said of a project that could not be looked at for a reason of the controller; "" where it is the
    project's own."""
    if not isinstance(error, OF_THE_CONTROLLER):
        return ""
    return f"could not be looked at: {str(error).rstrip('.')}; call it again"


def entry(what: str, tools: Tools, host: str = "", beside: Path | None = None, answers: Answers | None = None) -> Entry:
    """The entry of PATH|GIT|PIP. Raises Unknown where nothing can be meant, a WheelhouseError where it cannot be
    fetched, and Unfinished where it could not be looked at to the end."""
    answers = answers or Answers()
    tools = replace(tools, say=partial(_say, tools.say))
    if answers.python:
        tools = replace(tools, make=partial(tools.make, python=answers.python))
    with scratch_folder() as scratch:
        found = answered(given(what, scratch, tools.cache, beside), answers, beside)
        try:
            found = _narrowed(found, tools)
            return _finish(_proposal(found, scratch, tools), what, host)
        except Unknown:
            raise
        except (Cannot, WheelhouseError) as error:
            raise Unfinished(error, _finish(_half(found, error), what, host)) from error


def _say(say: Callable[[str], None], text: str) -> None:
    say(visible(text))


def _finish(proposal: Proposal, what: str, host: str) -> Entry:
    heading = [f"Written by scripts/new-app from {what}. Each value is a proposal: change what you know better."]
    proposal = templates.without_odd_keys(proposal)
    text = render.text(proposal, host, heading)
    check(proposal, text)
    return Entry(proposal, text)


def check(proposal: Proposal, text: str) -> None:
    """The preflight's own check of the entry, as it can be read back. AssertionError is a fault of new-app."""
    read = templates.read(text)
    apps = read["all"]["vars"]["headcount_apps"] if "all" in read else read["headcount_apps"]
    if apps != [templates.plain(proposal.entry)]:
        raise AssertionError(f"the entry is not what is read back from its text: {apps!r}")
    _, problems = normalise_apps(apps, HOST)
    if problems:
        raise AssertionError(f"the entry does not pass the preflight:\n{render_problems(problems)}")


def _proposal(found: Given, scratch: Path, tools: Tools) -> Proposal:
    if found.folder is None:
        return _installed(found, scratch, tools, Hints(given=found.answers.environment), "")
    return _in_folder(found, found.folder, shipped(found.folder).names, scratch, tools)


def _narrowed(found: Given, tools: Tools) -> Given:
    """What was asked about, or the one project in it that holds an app."""
    if found.folder is None or found.answers.subdirectory or found.answers.entry_point:
        return found
    names = shipped(found.folder).names
    below = _only_below(found, names)
    if not below:
        _refuse_several(found, names)
        return found
    tools.say(f"its app is in {below}")
    folder = found.folder / below
    name = found.answers.name or project_name(folder)
    return replace(found, source={**found.source, "subdirectory": below}, folder=folder, project=name)


def _half(found: Given, error: Cannot | WheelhouseError) -> Proposal:
    """What the files of a project say by themselves, where it could not be looked at to the end because of `error`."""
    hints, candidates, why = Hints(given=found.answers.environment), [], ""
    guessed: tuple[str, ...] = ()
    is_tree = False
    if found.folder is not None:
        try:
            names = shipped(found.folder).names
            form = form_of(found.folder)
            is_tree, why = form.is_tree, _why(found, form.kind, form.why)
            hints = _hints(found, names)
            candidates = _candidates(found, hints, scan.candidates(found.folder, names, found.project))
            found = _with_requirements(found, names) if is_tree else found
            guessed = _guessed(found) if is_tree else ()
        except WheelhouseError:
            why = ""  # it is that which is told
    cause = error.cause if isinstance(error, Cannot) else None
    tried = cause[0] if cause else next(iter(candidates), Candidate("wsgi", "app", "a guess"))
    required = dict.fromkeys((*cause[1].stood_in, *cause[1].leading), "") if cause else {}
    stand = Imported(
        tried.module, tried.target or tried.likely or "app", required=required, candidate=tried, error=None
    )
    subject = Subject(found.source, found.project, why or found.why, guessed=guessed, is_tree=is_tree)
    if is_tree:
        subject = replace(subject, there=There(frozenset(shipped(_folder(found)).names)))
    return propose(subject, hints, Found(None, unreached=stand, cannot=str(error), again=again(error)), tried.path)


def _hints(found: Given, names: Sequence[str]) -> Hints:
    return replace(hinted.read(_folder(found), names), given=found.answers.environment)


def _candidates(found: Given, hints: Hints, scanned: Sequence[Candidate]) -> list[Candidate]:
    """The modules that may hold the app: the one that a person names, else all that hints and code name."""
    if not found.answers.entry_point:
        return _ordered(hints.candidates, scanned)
    module, _, target = found.answers.entry_point.partition(":")
    path = next((item.path for item in scanned if item.module == module), "")
    return [Candidate(module, target, "--entry-point", path, certain=True)]


_VENV: Final = "venv"
_PROJECT_FILES: Final = ("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "Pipfile")


def _only_below(found: Given, names: Sequence[str]) -> str:
    """The one project below that holds an app, where the top folder is no project itself; "" otherwise."""
    folder = _folder(found)
    top = toml(folder / "pyproject.toml") if (folder / "pyproject.toml").is_file() else {}
    if table(top, "tool", "uv", "workspace"):
        return _member(found, folder, names)
    if top.get("project") or table(top, "tool", "poetry") or any(name in names for name in _PROJECT_FILES[1:]):
        return ""
    below = [] if _is_at_top(found, names) else scan.projects(folder, names, _PROJECT_FILES)
    return below[0] if len(below) == 1 else ""


def _is_at_top(found: Given, names: Sequence[str]) -> bool:
    """Whether a module at the top holds an app, or a file there says how one is started."""
    held = scan.candidates(_folder(found), names, found.project)
    told = _hints(found, names).candidates
    return any(not item.script and f"{item.module}.py" in names for item in held) or any(
        item.certain and "/" not in item.origin.partition("'")[0].partition(",")[0] for item in told
    )


def _refuse_several(found: Given, names: Sequence[str]) -> None:
    """Raise Cannot for a folder that is no project itself and holds several with an app."""
    folder = _folder(found)
    if not any(name in names for name in _PROJECT_FILES) and not _is_at_top(found, names):
        below = scan.projects(folder, names, _PROJECT_FILES)
        if len(below) > 1:
            raise Cannot(several(found, below))


def _member(found: Given, folder: Path, names: Sequence[str]) -> str:
    """The one member of a workspace that holds an app, where its root holds none; "" otherwise."""
    team = [str(place.relative_to(folder)) for place in members(folder).values() if place != folder]
    held = [item.origin.partition(" ")[0] for item in scan.candidates(folder, names, found.project)]
    below = {next((place for place in team if name.startswith(f"{place}/")), "") for name in held}
    return below.pop() if len(below) == 1 else ""


def _in_folder(found: Given, folder: Path, names: Sequence[str], scratch: Path, tools: Tools) -> Proposal:
    try:
        return _as_declared(found, folder, names, scratch, tools)
    except Contradiction as error:
        if found.answers.requirements or found.answers.lock:
            raise
        files = [name for name in error.files if (folder / name).is_file()]
        if len(files) == 1 and Path(files[0]).name in FOLLOWING:
            raise  # with what contradicts it, which is no file: the project's own metadata
        failed = []
        for turn, name in enumerate(files):
            tools.say(f"{error.what}; trying {name} alone")
            alone = replace(
                found,
                source={**found.source, "requirements": [name]},
                answers=replace(found.answers, requirements=(name,)),
            )
            try:
                return _asked_about(_as_declared(alone, folder, names, scratch / f"by-{turn}", tools), error.what, name)
            except OF_THE_CONTROLLER:
                raise
            except (Cannot, WheelhouseError) as why:
                failed.append(f"{name} alone: {why.problem.what if isinstance(why, Cannot) else why}")
        raise BadLock("; ".join([str(error), *failed])) from error


def _asked_about(proposal: Proposal, contradiction: str, taken: str) -> Proposal:
    """The proposal with the question whether the right one of two files was taken."""
    text = f"is it {taken} that counts? {contradiction}; with {taken} alone it could be imported here"
    return replace(proposal, questions=(*proposal.questions, Question(text)))


def _as_declared(found: Given, folder: Path, names: Sequence[str], scratch: Path, tools: Tools) -> Proposal:
    scratch.mkdir(exist_ok=True)
    hints = _hints(found, names)
    form = form_of(folder)
    tools.say(f"{len(names)} files; it is a {form.kind}: {form.why}")
    if form.is_tree:
        return _tree(found, scratch, tools, hints, names, form.why)
    try:
        return _installed(found, scratch, tools, hints, form.why)
    except (Cannot, BuildFailed) as error:
        if isinstance(error, Cannot) and not error.lacks_files:
            raise
        what = _amiss(error)
        tools.say(f"{what}; looking at it as a tree")
        declared = replace(found, source={**found.source, "as": TREE})
        why = f"{form.why}, but {what}: its files are taken as they are"
        try:
            return _tree(declared, scratch / "again", tools, hints, names, why)
        except Cannot as later:
            if isinstance(error, LacksFiles):  # it may do without
                tools.say(f"that does not work: {later.problem.what}; looking at it as a package that does without")
                return _without(found, scratch, tools, hints, (form.why, later))
            # Of what was installed it is told what it lacks; of what was never built, or lacks the module that is there
            # as a tree, what its files came to.
            further = isinstance(error, BuildFailed) or (error.cause is not None and not later.lacks_files)
            raise (later if further else error) from None


def _without(found: Given, scratch: Path, tools: Tools, hints: Hints, why: tuple[str, Cannot]) -> Proposal:
    """A package that does without what its wheel lacks. `why`: it is one, and it is nothing else."""
    without = replace(found, source={**found.source, "as": PACKAGE})
    try:
        return _installed(without, scratch / "without", tools, hints, f"{why[0]}, and as a tree it fails")
    except Cannot as error:
        raise (why[1] if error.lacks_files and not why[1].lacks_files else error) from None


def _amiss(error: Cannot | BuildFailed) -> str:
    """Why a project is not taken as the package that it is."""
    if isinstance(error, LacksFiles):
        return f"the wheel of it lacks {error.what}, which its app would look for"
    return "no wheel of it can be built here" if isinstance(error, BuildFailed) else "what is installed holds no app"


def _normalised(source: Json, folder: Path | None) -> Json:
    """A source as the wheelhouse takes it, with absolute paths."""
    kind = next(key for key in ("path", "wheel", "pip", "git") if key in source)
    value = str(folder) if kind in ("path", "git") and folder else source[kind]
    kind = "path" if kind == "git" else kind
    value = str(Path(value).expanduser().resolve()) if kind == "wheel" else value
    lock = str(Path(source["lock"]).expanduser().resolve()) if source.get("lock") else None
    wanted = source.get("requirements")
    return {"kind": kind, "value": value, "as": source.get("as"), "requirements": wanted, "lock": lock}


def _tree(found: Given, scratch: Path, tools: Tools, hints: Hints, names: Sequence[str], why: str) -> Proposal:
    """A project that is released as it is."""
    folder = _folder(found)
    candidates = _candidates(found, hints, scan.candidates(folder, names, found.project))
    if not candidates:
        raise Cannot(nothing(found, names), lacks_files=True)
    found = _with_requirements(found, names)
    for turn in range(MOST_STEPS):
        place = scratch / f"older-{turn}" if turn else scratch
        try:
            return _tree_with(found, place, tools, hints, (names, candidates), why)
        except Cannot as error:
            guessed, cause = _guessed(found), error.cause
            older = stepped_back(guessed, cause[1], place / _VENV) if guessed and cause else None
            if older is None or cause is None:
                raise
            tools.say(f"{cause[1]}; nothing says versions: trying {', '.join(older)}")
            found = replace(found, source={**found.source, "requirements": older})
    return _tree_with(found, scratch / "oldest", tools, hints, (names, candidates), why)


def _guessed(found: Given) -> tuple[str, ...]:
    """The requirements of a tree that nothing in the project says."""
    return () if found.answers.requirements else tuple(found.source.get("requirements") or ())


def _tree_with(
    found: Given,
    scratch: Path,
    tools: Tools,
    hints: Hints,
    code: tuple[Sequence[str], Sequence[Candidate]],
    why: str,
) -> Proposal:
    """The same with its requirements as they are; `code`: its files, and which of their modules may hold its app."""
    folder, (names, candidates) = _folder(found), code
    scratch.mkdir(exist_ok=True)
    root = scratch / RELEASED
    root.mkdir()
    copy_project(folder, root)
    kept = sandbox.lead(scratch, ())
    made = _make(found, scratch, tools, is_tree=True)

    def place(candidate: Candidate) -> sandbox.Place:
        paths = (root, root / candidate.path) if candidate.path else (root,)
        return sandbox.Place(scratch, root, made.python, paths, (root,), kept, beside=_beside(made))

    told = survey(candidates, place, hints, tools.look, tools.say)
    refuse(told, found, names, made.minor, _guessed(found))
    there = There(frozenset(names), made.programs, made.modules)
    about = (found.source, found.project, _why(found, "tree", why), made.notes, _guessed(found))
    subject = Subject(*about, there=there, compiled=made.compiled)
    app = told.app or told.unreached
    return propose(subject, hints, told, app.candidate.path if app else "")


def _folder(found: Given) -> Path:
    if found.folder is None:
        raise ValueError("a distribution is no tree")
    return found.folder


def _with_requirements(found: Given, names: Sequence[str]) -> Given:
    """Name what the code imports where nothing in a tree says what it depends on; that may be nothing at all."""
    folder = _folder(found)
    if found.answers.requirements or found.answers.lock:
        return found
    try:
        check_says(folder, folder)
    except BadSource:
        told = [name for name in names if name.rpartition("/")[2] == "requirements.txt" and not scan.is_beside(name)]
        if len(told) == 1:
            why = f"{told[0]} is the only file that says what it depends on"
            answers = replace(found.answers, requirements=(told[0],))
            source = {**found.source, "requirements": told}
            return replace(found, source=source, answers=answers, why="; ".join(filter(None, (found.why, why))))
        return replace(found, source={**found.source, "requirements": imports.distributions(folder, names)})
    return found


def _installed(found: Given, scratch: Path, tools: Tools, hints: Hints, why: str) -> Proposal:
    """A project that is built and installed."""
    made = _make(found, scratch, tools)
    root = scratch / "work"
    root.mkdir(parents=True)
    candidates = _candidates(found, hints, scan.candidates(made.site, made.files, found.project, ("",)))
    candidates = [replace(item, path="") for item in candidates]
    own = tuple({made.site / name.partition("/")[0] for name in made.files if "/" in name})
    alone = tuple(made.site / name for name in made.files if "/" not in name)
    beside = (*_beside(made), *alone)
    kept = sandbox.lead(scratch, ())

    def place(candidate: Candidate) -> sandbox.Place:
        return sandbox.Place(scratch, root, made.python, (), own or (root,), kept, beside=beside, installed=made.site)

    told = survey(candidates, place, hints, tools.look, tools.say)
    refuse(told, found, made.files, made.minor)
    there = There(None, made.programs, made.modules)
    about = (found.source, found.project, _why(found, "package", why), made.notes)
    subject = Subject(*about, is_tree=False, there=there, compiled=made.compiled)
    return propose(subject, hints, told)


def _beside(made: Made) -> tuple[Path, ...]:
    """The code of what is built from folders beside the project."""
    return tuple(dict.fromkeys(made.site / name.partition("/")[0] for name in made.beside))


def _why(found: Given, kind: str, why: str) -> str:
    return "; ".join(part for part in (found.why, f"taken as a {kind}: {why}" if why else "") if part)


def _make(found: Given, scratch: Path, tools: Tools, is_tree: bool = False) -> Made:
    """Its environment, made as the entry would have a rollout make it."""
    tools.say("gathering and installing its dependencies")
    source = {**_normalised(found.source, found.folder), "as": TREE if is_tree else found.source.get("as")}
    with told_to(tools.say):
        try:
            made = tools.make(source, scratch / _VENV, tools.cache)
        except BuildFailed as error:
            doubtful = imports.guessed(_guessed(found)) if is_tree else []
            if doubtful:
                error.args = (f"{error}; {imports.words(doubtful)}: --requirements says what is right",)
            raise
    # The server is the plan's matter; and a clone lies in a folder that is gone afterwards.
    notes = [note for note in made.notes if " gives way to gunicorn " not in note]
    return replace(made, notes=tuple(note.replace(f"source path {str(found.folder)!r}: ", "") for note in notes))


def _ordered(named: Sequence[Candidate], scanned: Sequence[Candidate]) -> list[Candidate]:
    """The sure hints, what the code holds, the other hints, scripts that have the app for something else; a hint of a
    module that the code holds has its folder."""
    folders = {item.module: item.path for item in scanned}
    likely = {item.module: item.likely for item in scanned}
    known = [
        replace(item, path=item.path or folders.get(item.module, ""), likely=item.target or likely.get(item.module, ""))
        for item in named
    ]
    sure = [item for item in known if item.certain]
    apps, scripts = [item for item in scanned if not item.script], [item for item in scanned if item.script]
    return [*sure, *apps, *(item for item in known if not item.certain), *scripts]


__all__ = ["BadSource", "Cannot", "Entry", "Tools", "Unfinished", "WheelhouseError", "again", "check", "entry"]
