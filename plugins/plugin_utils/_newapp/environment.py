# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The project's release made locally: its dependencies as a rollout would gather them, in an environment of its own."""

from __future__ import annotations

import csv
import json
import os
import platform as machine
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name

from ...module_utils._plan.settings import GUNICORN
from .._display.text import plural
from .._edge import Json
from .._wheels.declared import project_sources
from .._wheels.gathered import Platform
from .._wheels.progress import tell
from .._wheels.tools import BuildFailed, WheelhouseError, essence, raise_for_network, run, uv
from .._wheels.wheelhouse import gather
from .subject import Unknown

SERVER: Final = (f"gunicorn=={GUNICORN}",)
_INSTALL_SECONDS: Final = 900.0
_FIND_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Made:
    """A virtual environment with what the project needs. `files` are the project's own modules in it, by name within
    `site`; none for a tree. `beside` are those of what is built from folders beside it: members of its workspace.
    `name` and `version` are the distribution's, `minor` is its Python's ("3.11"). `compiled`: what has no wheel and was
    compiled here."""

    python: Path
    site: Path
    files: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    name: str = ""
    version: str = ""
    notes: tuple[str, ...] = ()
    minor: str = ""
    compiled: tuple[str, ...] = ()

    @property
    def programs(self) -> frozenset[str]:
        """The programs that were installed."""
        return frozenset(path.name for path in self.python.parent.iterdir() if not path.is_dir())

    @property
    def modules(self) -> frozenset[str]:
        """The modules that were installed, by the first part of their names."""
        return frozenset(path.name.partition(".")[0] for path in self.site.glob("[!.]*"))


Maker = Callable[..., Made]
"""Makes an environment of a source (as normalised) in a new folder, with what was gathered before in a cache; with
`python`, where a person names one."""


@dataclass(frozen=True)
class Interpreter:
    """A Python of this machine that a project is looked at with. `named`: a person named it."""

    path: str
    platform: Platform
    named: bool = False

    @property
    def words(self) -> str:
        """Which it is, and whose."""
        whose = "as --python says" if self.named else "this machine's; --python names another"
        return f"Python {self.platform.python} ({self.path}, {whose})"


_ASKED: Final = (
    "import json, platform, sys; print(json.dumps([sys.executable, platform.python_version(), platform.machine(), "
    "*platform.libc_ver()]))"
)


def interpreter(named: str = "") -> Interpreter:
    """The Python that new-app runs with, or the one that is `named`: by its path, or by its version (3.12).

    Raises Unknown where there is none.
    """
    if not named:
        return Interpreter(sys.executable, _platform(machine.python_version(), machine.machine(), *machine.libc_ver()))
    path = named
    if "/" not in named:
        done = run([*uv(), "python", "find", "--no-python-downloads", named], _FIND_SECONDS)
        path = done.stdout.strip() if done.status == 0 else shutil.which(f"python{named}") or ""
    try:
        told = run([path, "-I", "-c", _ASKED], _FIND_SECONDS).stdout if os.access(path, os.X_OK) else ""
        executable, *about = json.loads(told)
    except (OSError, ValueError):  # it is no program, or none that is a Python
        executable, about = "", []
    if not executable:
        raise Unknown(
            f"--python is {named!r}, which is no Python of this machine: allowed is the path of one, or a version of "
            "one that is installed; fix: install it, or name where it is"
        )
    return Interpreter(executable, _platform(*about), named=True)


def _platform(python: str, hardware: str, libc: str, version: str) -> Platform:
    return Platform(python, hardware, f"{libc or 'musl'} {version or '1.2'}")


def make(source: Json, folder: Path, cache: Path, python: str = "") -> Made:
    """Gather what a rollout would gather for a Python of this machine, and install it. Raises WheelhouseError."""
    using = interpreter(python)
    tell(f"looking with {using.words}; a host's own counts in a rollout")
    try:
        return _made(source, folder, cache, using)
    except WheelhouseError as error:
        error.args = (of_this_machine(str(error), using),)
        raise


def of_this_machine(text: str, using: Interpreter) -> str:
    """What is said of a host, as it is to be said where no host is known: of the Python that is looked with."""
    about = f"it is looked at with {using.words}"
    named = r"(?:; allow another version of it, or have headcount_python name an? (?P<python>.+?) of the host)"
    found = re.search(rf"the host has Python \S+?{named}?(?=$| \()", text)
    if found:
        advice = (
            f"{about}: name a {found['python'] or 'newer one'} of this machine with --python, allow another version of "
            "it, or see that hosts have one (headcount_python names it)"
        )
        return text[: found.start()] + advice + text[found.end() :]
    return re.sub(
        r"or have headcount_python name (an? older Python|Python [^;]+?)( of the host)?(?=$|[,;] )",
        rf"or name \1 of this machine with --python, as hosts would need it too (headcount_python); {about}",
        text,
    )


def _made(source: Json, folder: Path, cache: Path, using: Interpreter) -> Made:
    wheelset = gather(source, using.platform, SERVER, cache, "/")
    tell(f"installing {plural(len(wheelset.wheels), 'wheel')} into an environment that is thrown away")
    python = _virtual_environment(folder, using.path)
    _install(python, [wheel.path for wheel in wheelset.wheels], "what was gathered could not be installed here")
    compiled = []
    for build in wheelset.needs_host_build:
        what = (
            f"{build.sdist.name} {build.sdist.version} has no wheel for Python {using.platform.minor}, and cannot be "
            "built here"
        )
        tell(f"compiling {build.sdist.name} {build.sdist.version} from its source, which can take minutes")
        newer = f" ({build.with_wheel} is the oldest after it that has one)" if build.with_wheel else ""
        _install(python, [build.sdist.path], what, f"; allow a version of it that has a wheel{newer}")
        compiled.append(f"{build.sdist.name} {build.sdist.version}{newer}")
    site = next((folder / "lib").glob("python*/site-packages"))
    own = own_files(site, wheelset.app) if wheelset.app else ()
    beside = tuple(name for other in _beside(source) for name in own_files(site, other) if name not in own)
    notes = wheelset.notes
    if using.named:
        notes = (*notes, f"It was looked at with Python {using.platform.python}: hosts may need it (headcount_python)")
    about = (wheelset.app, wheelset.app_version, notes, using.platform.minor)
    return Made(python, site, own, beside, *about, compiled=tuple(compiled))


def _beside(source: Json) -> list[str]:
    """The names of what a project takes from folders beside it, its workspace's members among them."""
    if source["kind"] != "path":
        return []
    folder = Path(source["value"])
    found = project_sources(folder, Path(folder.anchor), None)
    return [name for name, item in found.items() if item.kind == "path" and Path(item.value) != folder]


def _virtual_environment(folder: Path, python: str) -> Path:
    done = run([*uv(), "venv", "--quiet", "--no-python-downloads", "--python", python, folder], 120)
    if done.status:
        raise BuildFailed(f"a virtual environment could not be made: {essence(done.text)}")
    return folder / "bin" / "python"


def _install(python: Path, files: list[str], what: str, fix: str = "") -> None:
    words: list[str | Path] = [*uv(), "pip", "install", "--quiet", "--no-deps", "--python", python, *files]
    done = run(words, _INSTALL_SECONDS)
    if done.status:
        raise_for_network("installing what was gathered", done.text)
        raise BuildFailed(f"{what}: {essence(done.text, 2)}{fix}")


def own_files(site: Path, distribution: str) -> tuple[str, ...]:
    """The modules that a distribution brought, as names within site-packages."""
    name = canonicalize_name(distribution)
    for record in site.glob("*.dist-info/RECORD"):
        if canonicalize_name(record.parent.name.rpartition("-")[0].removesuffix(".dist")) == name or (
            canonicalize_name(record.parent.name.split("-")[0]) == name
        ):
            with record.open(encoding="utf-8", newline="") as stream:
                return tuple(row[0] for row in csv.reader(stream) if row and row[0].endswith(".py"))
    return ()
