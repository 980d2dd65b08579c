# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Is there what a command of a project calls? Its programs, modules, files and the commands of its framework. Pure."""

from __future__ import annotations

import posixpath
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from .._display.text import listed

_PYTHON: Final = re.compile(r"python[\d.]*")
_SHELLS: Final = ("sh", "bash", "dash")
_ENDS: Final = re.compile(r"&&|\|\||[;|&\n]")
_ASSIGNS: Final = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
_BEFORE: Final = frozenset(
    ["exec", "env", "nice", "nohup", "time", "command", "then", "do", "else", "if", "while", "until", "!", "{", "("]
)
"""Words before the program that a shell runs."""
_USUAL: Final = frozenset(
    (
        *("[", "basename", "break", "cat", "cd", "chmod", "cp", "cut", "date", "dirname", "done", "echo", "env"),
        *("exit", "expr", "export", "false", "fi", "find", "git", "grep", "head", "ln", "ls", "mkdir", "mktemp"),
        *("mv", "printf", "pwd", "read", "return", "rm", "rmdir", "sed", "set", "sleep", "sort", "tail", "tar"),
        *("test", "touch", "tr", "true", "umask", "unset", "wait", "}", ")"),
    )
)
"""What a shell, or any host, has."""
_FRAMEWORKS: Final = frozenset(["alembic", "celery", "dramatiq", "gunicorn", "huey_consumer", "rq"])
"""Programs that are taken to be there where nothing could be installed; not `flask`, whose commands are not known."""
_FLASK_OPTIONS: Final = ("--app", "-A", "--env-file", "-e")


@dataclass(frozen=True)
class There:
    """What a release has: `files` of its tree (None: it is a package, and none is), `programs` and `modules` that are
    installed (None: nothing could be), `commands` of its framework by their words, with their options, where its
    app could be asked for them; `kind` of the app."""

    files: frozenset[str] | None = None
    programs: frozenset[str] | None = None
    modules: frozenset[str] = frozenset()
    kind: str = ""
    commands: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def of(self, kind: str, commands: Mapping[str, Sequence[str]]) -> There:
        """The same, of an app that was found."""
        return replace(self, kind=kind, commands=commands)


def missing(command: str, there: There) -> str:
    """What keeps a command from being run in a release, in words that follow it; "" where it can be."""
    try:
        words = shlex.split(command)
    except ValueError:
        return "no shell reads it"
    if len(words) == 3 and words[0] in _SHELLS and words[1] in ("-c", "-ec"):
        return next(filter(None, (_of_words(part, there) for part in _in_shell(words[2]))), "")
    return _of_words(words, there)


def _in_shell(line: str) -> Iterator[list[str]]:
    """The commands of a shell's line, as words."""
    for part in _ENDS.split(line):
        try:
            words = shlex.split(part, comments=True)
        except ValueError:  # cut within quotes
            words = part.split()
        while words and (words[0] in _BEFORE or _ASSIGNS.fullmatch(words[0])):
            del words[0]
        if words and not words[0].startswith(("$", '"', "'")):
            yield words


def _of_words(words: Sequence[str], there: There) -> str:
    program, rest = words[0], list(words[1:])
    base = program.rpartition("/")[2]
    if _PYTHON.fullmatch(base):
        return _of_python(rest, there)
    if base in _SHELLS and rest and not rest[0].startswith("-"):
        return _no_file(rest[0], there)
    if "/" in program and not program.startswith(("/bin/", "/usr/bin/")):
        return _of_file(program, rest, there)
    if base in _USUAL or base in _SHELLS:
        return ""
    if there.programs is None:
        known = base in _FRAMEWORKS
        return "" if known else f"nothing of the project could be installed here to see whether {base} is there"
    if base not in there.programs:
        return f"{base} is no program of what the project depends on, and no file of it"
    return _of_flask(rest, there) if base == "flask" else ""


def _of_python(words: Sequence[str], there: There) -> str:
    left = list(words)
    while left and left[0].startswith("-") and left[0] not in ("-m", "-c"):
        left.pop(0)
    if not left or left[0] == "-c":
        return ""
    if left[0] != "-m":
        return _of_file(left[0], left[1:], there)
    module = left[1] if len(left) > 1 else ""
    if module in ("flask", "gunicorn", "celery") and there.programs is not None and module in there.programs:
        return _of_flask(left[2:], there) if module == "flask" else ""
    return "" if _has_module(module, there) else f"there is no module {module}"


def _has_module(module: str, there: There) -> bool:
    top, path = module.partition(".")[0], module.replace(".", "/")
    if top in sys.stdlib_module_names or top in there.modules:
        return True
    places = (f"{path}.py", f"{path}/__main__.py", f"{path}/__init__.py")
    return any(place in (there.files or ()) or f"src/{place}" in (there.files or ()) for place in places)


def _of_file(name: str, rest: Sequence[str], there: There) -> str:
    """Of a file of the project that is run; of Django's manage.py its command counts as well."""
    why = _no_file(name, there)
    if why or name.rpartition("/")[2] != "manage.py" or there.kind != "django" or not there.commands:
        return why
    command = next((word for word in rest if not word.startswith("-")), "")
    return "" if not command or command in there.commands else f"manage.py has no command {command}"


def _no_file(name: str, there: There) -> str:
    if there.files is None:
        return f"{name} is no file of what is installed of the project"
    place = posixpath.normpath(name)
    return "" if place in there.files else f"there is no file {name} in what is shipped of the project"


def _of_flask(words: Sequence[str], there: There) -> str:
    """Of the program flask: its command, and the options of it."""
    if there.kind != "flask" or not there.commands:
        return "the app could not be asked for its commands here" if there.kind in ("", "flask") else ""
    left, found = _behind_options(words), ""
    while left and f"{found} {left[0]}".strip() in there.commands:
        found = f"{found} {left.pop(0)}".strip()
    prefix = f"{found} " if found else ""
    below = [name[len(prefix) :] for name in there.commands if name.startswith(prefix) and name != found]
    direct = [name for name in below if " " not in name]
    if direct and not (left and left[0].startswith("-")):
        wanted = " ".join(["flask", *found.split(), *left[:1]])
        return f"`flask --help` lists no {wanted} ({_group(found)} has {listed(direct, 8)})"
    return _strange_option(found, left, there.commands.get(found, ()))


def _behind_options(words: Sequence[str]) -> list[str]:
    """The words behind the options of the program flask itself."""
    left = list(words)
    while left and left[0].startswith("-"):
        option = left.pop(0)
        if option in _FLASK_OPTIONS and left:
            del left[0]
    return left


def _strange_option(command: str, words: Sequence[str], options: Sequence[str]) -> str:
    strange = [word.partition("=")[0] for word in words if word.startswith("-") and word != "--"]
    lacking = [word for word in strange if word not in options and (word.startswith("--") or word[:2] not in options)]
    return f"`flask {command}` has no option {lacking[0]}" if lacking and options and "*" not in options else ""


def _group(found: str) -> str:
    return f"flask {found}" if found else "flask"
