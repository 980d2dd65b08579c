# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The project's release made locally: its dependencies as a rollout would gather them, in an environment of its own."""

from __future__ import annotations

import csv
import platform as machine
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
from .._wheels.tools import BuildFailed, essence, raise_for_network, run, uv
from .._wheels.wheelhouse import gather

SERVER: Final = (f"gunicorn=={GUNICORN}",)
_INSTALL_SECONDS: Final = 900.0


@dataclass(frozen=True)
class Made:
    """A virtual environment with what the project needs. `files` are the project's own modules in it, by name within
    `site`; none for a tree. `beside` are those of what is built from folders beside it: members of its workspace.
    `name` and `version` are the distribution's."""

    python: Path
    site: Path
    files: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    name: str = ""
    version: str = ""
    notes: tuple[str, ...] = ()


Maker = Callable[[Json, Path, Path], Made]
"""Makes an environment of a source (as normalised) in a new folder, with what was gathered before in a cache."""


def here() -> Platform:
    """The platform of this machine's Python."""
    libc, version = machine.libc_ver()
    return Platform(machine.python_version(), machine.machine(), f"{libc or 'musl'} {version or '1.2'}")


def make(source: Json, folder: Path, cache: Path) -> Made:
    """Gather what a rollout would gather for this machine, and install it. Raises WheelhouseError."""
    wheelset = gather(source, here(), SERVER, cache, "/")
    tell(f"installing {plural(len(wheelset.wheels), 'wheel')} into an environment that is thrown away")
    python = _virtual_environment(folder)
    _install(python, [wheel.path for wheel in wheelset.wheels], "what was gathered could not be installed here")
    for build in wheelset.needs_host_build:
        what = (
            f"{build.sdist.name} {build.sdist.version} has no wheel for Python {here().minor}, and cannot be built here"
        )
        tell(f"building {build.sdist.name} {build.sdist.version} from its source")
        newer = f" ({build.with_wheel} is the oldest after it that has one)" if build.with_wheel else ""
        _install(python, [build.sdist.path], what, f"; allow a version of it that has a wheel{newer}")
    site = next((folder / "lib").glob("python*/site-packages"))
    own = own_files(site, wheelset.app) if wheelset.app else ()
    beside = tuple(name for other in _beside(source) for name in own_files(site, other) if name not in own)
    return Made(python, site, own, beside, wheelset.app, wheelset.app_version, wheelset.notes)


def _beside(source: Json) -> list[str]:
    """The names of what a project takes from folders beside it, its workspace's members among them."""
    if source["kind"] != "path":
        return []
    folder = Path(source["value"])
    found = project_sources(folder, Path(folder.anchor), None)
    return [name for name, item in found.items() if item.kind == "path" and Path(item.value) != folder]


def _virtual_environment(folder: Path) -> Path:
    done = run([*uv(), "venv", "--quiet", "--no-python-downloads", "--python", sys.executable, folder], 120)
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
