# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The Python that releases run on, whatever Python Ansible runs on, and what keeps a release from running on it.

The interpreter is asked itself, in one process, unless it is the one that asks. `read` never raises: what is wrong
with it is a sentence that names the variable, the value and the fix, because a probe changes and refuses nothing.
"""

from __future__ import annotations

import json
import os
import platform
import re
import stat
import subprocess
import sys
from dataclasses import dataclass, replace
from glob import glob
from importlib.util import find_spec
from typing import Callable, Iterator, Sequence

from .._os import OLDEST_PYTHON
from .._os.paths import HIDDEN, under

_FOLDERS = ("/usr/bin", "/usr/local/bin", "/opt/*/bin", "/usr/local/*/bin")
_OLDEST_WORDS = ".".join(map(str, OLDEST_PYTHON))
_SECONDS = 20.0
_NEEDED = ["venv"] if sys.version_info >= (3, 10) else ["venv", "distutils.core"]
"""Modules that Debian has in packages of their own. pip installs nothing without distutils, up to Python 3.9."""

_ASK = """
import json, os, platform, sys
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION")
except Exception:
    libc = None
lacking = []
for name in ["venv"] if sys.version_info >= (3, 10) else ["venv", "distutils.core"]:
    try:
        from importlib.util import find_spec
        if find_spec(name) is None:
            lacking.append(name)
    except Exception:
        lacking.append(name)
print(json.dumps({
    "version": list(sys.version_info[:3]),
    "full": platform.python_version(),
    "executable": sys.executable,
    "base": getattr(sys, "_base_executable", "") or sys.executable,
    "inside": sys.prefix != getattr(sys, "base_prefix", sys.prefix),
    "library": os.path.dirname(os.__file__),
    "implementation": platform.python_implementation(),
    "free_threaded": "t" in getattr(sys, "abiflags", ""),
    "machine": platform.machine(),
    "libc": libc,
    "lacking": lacking,
}))
"""
"""A program that every Python since 2.6 can run."""


@dataclass(frozen=True)
class Python:
    """The interpreter that a virtual environment would be made with. `version` is "3.11", `full` is "3.11.2".

    `declared`: the path that was asked for; "" for the interpreter that asked. `problem`: why no release can run on it,
    and the fix; "" where one can.
    """

    version: str
    executable: str
    implementation: str
    full: str = ""
    free_threaded: bool = False
    declared: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Found:
    """An interpreter, and the machine and the C library that it was built for where they may differ from those of the
    interpreter that asks: "" where they do not."""

    python: Python
    machine: str = ""
    libc: str = ""


Ask = Callable[[Sequence[str]], "tuple[int, str, str]"]
"""Runs a command: exit status, standard output, standard error. Raises OSError where it cannot be started."""


def _lacking() -> list[str]:
    """What the interpreter that runs this lacks of _NEEDED."""
    found = []
    for name in _NEEDED:
        try:
            there = find_spec(name) is not None
        except ImportError:  # its package is not there
            there = False
        found += [] if there else [name]
    return found


def own() -> Python:
    """The interpreter that runs this."""
    inside = sys.prefix != sys.base_prefix  # a virtual environment: its base makes the new ones
    return Python(
        version=f"{sys.version_info[0]}.{sys.version_info[1]}",
        executable=str(getattr(sys, "_base_executable", "") or sys.executable) if inside else sys.executable,
        implementation=platform.python_implementation(),
        full=platform.python_version(),
        free_threaded="t" in sys.abiflags,  # sysconfig says so too, and loads its whole table for it
    )


def read(declared: str, ask: Ask | None = None, root: str = "/") -> Found:
    """The interpreter at the path `declared`, and what keeps a release from running on it."""
    if os.path.realpath(declared) == os.path.realpath(sys.executable) and ask is None:
        mine = own()
        problem = _incomplete(declared, _lacking())
        places = (declared, mine.executable, os.path.dirname(os.__file__))
        return Found(replace(mine, declared=declared, problem=problem or _unreachable(declared, places, root)))
    unknown = Python("", declared, "", declared=declared)
    try:
        status, out, err = (ask or _run)([declared, "-E", "-s", "-c", _ASK])
        said = json.loads(out) if status == 0 else {}
    except OSError as error:
        return Found(replace(unknown, problem=_missing(declared, error, root)))
    except ValueError:
        said, err = {}, out
    if not isinstance(said, dict) or not said.get("version"):
        what = " ".join(err.split())[-200:] or "it says nothing"
        problem = f"headcount_python is {declared}, which is no Python that runs on this host: {what}"
        return Found(replace(unknown, problem=f"{problem}; {_fix(root)}"))
    major, minor = said["version"][:2]
    python = Python(
        version=f"{major}.{minor}",
        executable=str(said["base"] if said["inside"] else said["executable"]),
        implementation=str(said["implementation"]),
        full=str(said["full"]),
        free_threaded=bool(said["free_threaded"]),
        declared=declared,
    )
    problem = _unfit(declared, python, said["lacking"], root)
    places = (declared, python.executable, str(said["library"]))
    python = replace(python, problem=problem or _unreachable(declared, places, root))
    return Found(python, str(said["machine"]), str(said["libc"] or ""))


def _run(command: Sequence[str]) -> tuple[int, str, str]:
    """From `/`, because `-c` looks for modules in the working directory."""
    try:
        done = subprocess.run(
            list(command),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
            cwd="/",
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        return 1, "", f"it does not answer within {_SECONDS:g} s"
    return done.returncode, done.stdout, done.stderr


def _missing(declared: str, error: OSError, root: str) -> str:
    if not os.path.lexists(under(root, declared)):
        return f"headcount_python is {declared}, which is not on this host; {_fix(root)}"
    why = error.strerror or error
    return f"headcount_python is {declared}, which cannot be run on this host ({why}); {_fix(root)}"


def _unfit(declared: str, python: Python, lacking: Sequence[str], root: str) -> str:
    """Why the interpreter itself is not one that releases run on."""
    version = tuple(int(part) for part in python.version.split("."))
    if version < OLDEST_PYTHON:
        told = f"headcount_python is {declared}, which is Python {python.full} on this host: {_OLDEST_WORDS} or later"
        return f"{told} is needed; {_fix(root)}"
    if python.implementation != "CPython":
        told = f"headcount_python is {declared}, which is {python.implementation} {python.full} on this host: wheels"
        return f"{told} are gathered for CPython alone; {_fix(root)}"
    return _incomplete(declared, lacking)


def _incomplete(declared: str, lacking: Sequence[str]) -> str:
    """Why a Python with a part of the standard library is too little, and what brings the rest; "" where none lacks."""
    if not lacking:
        return ""
    packages = ", ".join(f"python3-{name.partition('.')[0]}" for name in lacking)
    modules = f"module{'s'[: len(lacking) - 1]} {' and '.join(lacking)}"
    return (
        f"headcount_python is {declared}, which lacks the {modules} on this host; fix: install the whole of its "
        f"standard library (Debian: {packages}, Fedora: python3-libs)"
    )


def _fix(root: str) -> str:
    """What to declare instead, of what is there."""
    names = {os.path.realpath(under(root, path)): path for path in reversed(others(root))}
    found = [
        path for real, path in reversed(names.items()) if not _hidden(path) and not (root == "/" and _hidden(real))
    ]
    if not found:
        return f"fix: install Python {_OLDEST_WORDS} or later, and let headcount_python name it"
    more = f" (or {', '.join(found[1:4])})" if found[1:] else ""
    return f"fix: headcount_python: {found[0]}{more}, which is on this host"


def others(root: str = "/") -> list[str]:
    """Interpreters in the usual folders that are new enough by their names, the newest first."""
    found: dict[str, tuple[int, int]] = {}
    for folder in _FOLDERS:
        for path in glob(under(root, f"{folder}/python3.*")):
            name = re.fullmatch(r"python(\d+)\.(\d+)", os.path.basename(path))
            version = (int(name[1]), int(name[2])) if name else (0, 0)
            if version >= OLDEST_PYTHON and os.access(path, os.X_OK):
                found["/" + os.path.relpath(path, root)] = version
    return sorted(found, key=lambda path: (tuple(-part for part in found[path]), path))


def _hidden(path: str) -> str:
    """The folder of HIDDEN that a path is in; "" for none."""
    return next((folder for folder in HIDDEN if (path + "/").startswith(folder + "/")), "")


def _unreachable(declared: str, places: Sequence[str], root: str) -> str:
    """Why the account of an app could not start the interpreter, or read its library."""
    for place in places:
        for path in dict.fromkeys((place, os.path.realpath(under(root, place)) if root == "/" else place)):
            folder = _hidden(path)
            if folder:
                where = "" if path == declared else f", which needs {path}"
                return (
                    f"headcount_python is {declared}{where}: {HIDDEN[folder]} of the app's units hides {folder}, so "
                    "that no app could start; fix: install that Python below /opt or /usr/local, and let "
                    "headcount_python name it there"
                )
    for place in places:
        for path, needs in _way(place, root):
            if not _mode(path, root) & needs:
                what = "enter" if needs == stat.S_IXOTH else "run or read"
                return (
                    f"headcount_python is {declared}, and the account of an app may not {what} {path}; "
                    f"fix: chmod o+rx {path} on this host"
                )
    return ""


def _way(place: str, root: str) -> Iterator[tuple[str, int]]:
    """(path, what others need there) of every folder on the way to `place`, links followed, and of itself."""
    path = os.path.realpath(place) if root == "/" else place
    parts = path.strip("/").split("/")
    for number in range(1, len(parts)):
        yield "/" + "/".join(parts[:number]), stat.S_IXOTH
    yield path, stat.S_IXOTH if os.path.isdir(under(root, path)) else stat.S_IROTH


def _mode(path: str, root: str) -> int:
    """The mode of a file or folder; all bits where it cannot be looked at."""
    try:
        return os.stat(under(root, path)).st_mode
    except OSError:
        return -1
