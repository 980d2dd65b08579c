# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Why a project cannot work as it is, in the words of the preflight. Pure, but for what is in its folder."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from ...module_utils._declaration.fields import Problem
from .._display.lacking import of_python, of_the_machine
from .._display.text import listed
from .._wheels.files import left_out, looks_secret, shipped
from . import outside, pins, scan
from .subject import Given
from .survey import FILE_OF_SETTINGS, Found
from .types import Candidate, Error

HOST: Final = "new-app"


class Cannot(Exception):
    """The project cannot work as it is: `problem` says why, as the preflight would.

    `lacks_files`: what was looked at does not hold a module or a file that the project has. `cause`: what was imported,
    and what came of it.
    """

    def __init__(
        self, problem: Problem, lacks_files: bool = False, cause: tuple[Candidate, Error] | None = None
    ) -> None:
        super().__init__(problem.text)
        self.problem = problem
        self.lacks_files = lacks_files
        self.cause = cause


def refuse(told: Found, found: Given, names: Sequence[str], python: str, guessed: Sequence[str] = ()) -> None:
    """Raise Cannot when no app was found, with the reason that tells most.

    `names` are the files that were looked at, `python` is the version that they were imported with, `guessed` are
    dependencies by imports alone.
    """
    if told.app is not None or told.unreached is not None:
        return
    cause = told.cause
    if cause is None:
        raise Cannot(nothing(found, names), lacks_files=True)
    error = cause[1]
    lacks = error.kind in ("NotFound", "FileNotFoundError", "TemplateNotFound") or _is_own(*cause)
    problem = _problem(*cause, python)
    if found.folder is not None:
        elsewhere = _folder_of(error.missing_module, names)
        fix = _fix_of_left_out(found.folder, *cause) or (elsewhere and _fix_of_folder(elsewhere, found))
        problem = replace(problem, fix=fix or problem.fix)
    if guessed and not error.stood_in and problem.fix.startswith(_ALWAYS):
        fix = (
            f"nothing in the project says versions, so that the newest of {listed(guessed, 6)} were taken: name those "
            "that it was made for with source.requirements, or in a requirements.txt"
        )
        problem = replace(problem, fix=fix)
    raise Cannot(problem, lacks, cause)


def _folder_of(module: str, names: Sequence[str]) -> str:
    """The folder of the project that a missing module lies in; "" where it has none, or several have one."""
    top = module.partition(".")[0]
    found = {name.rpartition(f"{top}")[0].rstrip("/") for name in names if _is_module(top, name)} if top else set()
    return found.pop() if len(found) == 1 else ""


def _is_module(top: str, name: str) -> bool:
    return name.endswith((f"/{top}.py", f"/{top}/__init__.py")) and not scan.is_beside(name)


def _fix_of_folder(folder: str, found: Given) -> str:
    """What to do about a module that is in the project, in a folder that nothing looks in."""
    given = found.answers.environment.get("PYTHONPATH", "")
    path = f"{given}:{folder}" if given else folder
    return f"it is in {folder}/ of the project: --environment PYTHONPATH={path} has it looked for there"


def _entry_point(what: str, allowed: str, fix: str) -> Problem:
    return Problem(HOST, ("headcount_apps", 0, "entry_point"), what, allowed, fix)


def several(found: Given, below: Sequence[str]) -> Problem:
    """What is said of a folder that holds several projects with an app."""
    return Problem(
        HOST,
        ("headcount_apps", 0, "source", "subdirectory"),
        f"is not said, and {found.project} holds {len(below)} projects with an app: {listed(list(below), 12)}",
        "the folder of one of them",
        f"name it with --subdirectory {below[0]}, for example",
    )


def nothing(found: Given, names: Sequence[str]) -> Problem:
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
    return (
        bool(error.missing_module)
        and error.kind != _NO_METADATA
        and (error.missing_module.partition(".")[0] == candidate.module.partition(".")[0])
    )


# What older code asks of the standard library, and the Python that still has it.
_OLDER: Final = (
    (r"module '?collections'? has no attribute|from 'collections'", "3.9"),
    (r"No module named '(asynchat|asyncore|imp)\b", "3.11"),
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


_NO_METADATA: Final = "PackageNotFoundError"
_LACKS_A_FILE: Final = ("FileNotFoundError", "TemplateNotFound", "NotADirectoryError")
_ALWAYS: Final = "put right what it says"
_OF_THE_CODE: Final = frozenset({"ImportError", "ModuleNotFoundError", "SyntaxError", "IndentationError", "NameError"})
"""Errors that the same code with the same dependencies has wherever it runs."""


def _problem(candidate: Candidate, error: Error, python: str) -> Problem:
    what = f"would be {str(candidate)!r} ({candidate.origin})"
    callables, modules = "module:callable or module:factory()", "a module that can be imported"
    if error.kind == "NotFound":
        return _entry_point(f"{what}, but {error.message}", callables, _fix_of_none(candidate, error))
    if error.kind == "Serves":
        fix = 'put what serves under `if __name__ == "__main__":`'
        return _entry_point(f"{what}, but {error.message}{_at(error)}", "a module that only defines the app", fix)
    if error.late:
        fix = (
            "find out what it waits for: there is no network here. Where it only needs longer on this machine, "
            "--entry-point MODULE:CALLABLE names what it would have shown"
        )
        return _entry_point(f"{what}, but {error.message}{_at(error)}", "a module whose import comes to an end", fix)
    older = next((version for pattern, version in _OLDER if re.search(pattern, error.message)), "")
    using = f" with Python {python}" if python else ""
    failed = f"{what}, but importing it here{using} fails: {error}"
    newer = next((version for pattern, version in _NEWER if re.search(pattern, error.message)), "")
    if newer:
        return _entry_point(
            failed, modules, f"headcount_python with a Python {newer} or newer on the host, and --python here"
        )
    if older:
        fix = (
            f"newer versions of what it pins, or headcount_python with a Python {older} or older on the host, and "
            "--python here"
        )
        return _entry_point(failed, modules, fix)
    if _is_own(candidate, error):
        fix = "name the folder that the module is in, or make what the build of the project would make"
        return _entry_point(
            f"{what}, but there is no module {error.missing_module}{_at(error)}", "a module of the project", fix
        )
    if error.kind == _NO_METADATA:
        fix = f"source.as: package installs it; a tree is no distribution, which {error.missing_module} is wanted as"
        return _entry_point(failed, modules, fix)
    return _entry_point(failed, modules, _fix_of_import(error))


_QUOTED: Final = re.compile(r"'([^'\n]{1,200})'")
_MOST_NAMED: Final = 5


def _fix_of_left_out(folder: Path, candidate: Candidate, error: Error) -> str:
    """What to do where it lacks a file that the project has in its folder, and that is not shipped; "" elsewhere."""
    names = [name for name in _lacked(candidate, error) if not name.startswith(("/", "../"))]
    known = set(shipped(folder).names) if names else set()
    for name in names:
        why = left_out(folder, name) if name not in known else ""
        if why and looks_secret(name, folder / name):
            return (
                f"{name} is in the project's folder, but is not shipped, as it looks like a secret: let the code read "
                "what is in it from its environment, which `secrets` and `environment` give it"
            )
        if why:
            return (
                f"{name} is in the project's folder, but is not shipped, as {why}: declare "
                f"source.include: [{name!r}], or let the code do without it and read what is in it from its "
                "environment"
            )
    if error.kind != "FileNotFoundError" or of_the_machine(error.message):
        return ""
    lacked = next((name for name in names if name not in known), "")
    return _fix_of_lacked(lacked) if lacked else ""


def _lacked(candidate: Candidate, error: Error) -> list[str]:
    """The files that an error says are not there, as paths."""
    if error.kind in _LACKS_A_FILE:
        return [os.path.normpath(name) for name in _QUOTED.findall(error.message)[:_MOST_NAMED]]
    if not error.missing_module:
        return []
    path = os.path.join(candidate.path, *error.missing_module.split("."))
    return [f"{path}.py", f"{path}/__init__.py"]


def _fix_of_lacked(name: str) -> str:
    """What to do about a file or a folder that the project has nowhere."""
    top, slash, _ = name.partition("/")
    kept = (
        f"data: {{paths: [{top}/]}} leads that folder to its data" if slash else f"data: {{paths: [{name}]}} keeps it"
    )
    return (
        f"make {name}: where it is part of the project, put it there (with source.include: [{name!r}] in the entry, "
        f"where git ignores it); where it is what the app keeps, {kept}"
    )


def _fix_of_import(error: Error) -> str:
    """What to do about an import that fails."""
    missing = _fix_of_missing(error.missing_module) if error.missing_module else ""
    return pins.fix(error.message) or missing or _fix(error)


def _fix_of_missing(module: str) -> str:
    """What to do about a module that nothing brings."""
    known = of_python(f"No module named '{module}'")
    return known or f"name the distribution that brings {module} in the project's dependencies"


def _fix_of_none(candidate: Candidate, error: Error) -> str:
    """What to do about a module that holds no app."""
    if "ASGI" in error.message or "an ASGI app" in candidate.origin:
        return "serve it with an ASGI server; a WSGI app beside it is named with FLASK_APP"
    return _fix(error) if error.stood_in else "a module wsgi.py that makes it and calls it app"


def _fix(error: Error) -> str:
    """What to do about an import that fails for a reason of its own."""
    if lacks := of_the_machine(error.message):
        return (
            f"install {lacks} on this machine, and on each host, by what sets them up: no wheel of the project brings "
            "it, and Headcount installs none"
        )
    if error.stood_in:
        return (
            f"{_ALWAYS}; {listed(error.stood_in, 6)} had values that were made up here: give those that it takes, with "
            f"--environment {error.stood_in[0]}=VALUE{_as_file(error)}"
        )
    folder = outside.refused(error.message)
    if folder and not error.leading:
        return (
            f"data: {{outside: [{folder}]}} lets it write there, where each host has {folder}; or have its settings "
            "name a folder in its own data: --environment NAME={data}/..., where a variable says it"
        )
    if error.leading:
        name = error.leading[0]
        return (
            f"name what {name} leads to on a host, with --environment {name}=VALUE ({{data}}/... is a place in the "
            "app's data); the project's own files give it that value"
        )
    if error.unset:
        return (
            f"{_ALWAYS}; where it is for want of {listed(error.unset, 6)}, which it asked for and nothing sets: "
            f"--environment {error.unset[0]}=VALUE"
        )
    if error.kind in _OF_THE_CODE:
        return f"{_ALWAYS}; with these dependencies it fails so on every host"
    return (
        f"{_ALWAYS}; where it lacks a file of settings or a database that a host has, have the entry give it that: a "
        "variable that leads to {data} (--environment NAME={data}/...), and a file that a command of prepare makes"
    )


def _as_file(error: Error) -> str:
    """What the value is of a variable that names a file of settings."""
    name = next((item for item in error.stood_in if FILE_OF_SETTINGS.search(item)), "")
    if not name:
        return ""
    return f" ({name}: where it names a file of settings, the path of one on this machine, and in the entry on a host)"


def _at(error: Error) -> str:
    return f" ({error.where})" if error.where else ""
