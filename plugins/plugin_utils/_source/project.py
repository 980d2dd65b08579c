# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a project is, by the files that it has: a tree or a package, and where its dependencies are written.

A **package** says how it is built: a wheel is built from it and installed. A **tree** does not: it is released as it
is, and runs with its folder as working directory. Functions of the files of a folder; nothing of a project is run.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .._edge import Json
from .._wheels.tools import BadSource, toml

AUTO: Final = "auto"
TREE: Final = "tree"
PACKAGE: Final = "package"
REQUIREMENTS: Final = (
    "requirements.lock",
    "requirements.txt",
    "requirements/prod.txt",
    "requirements/production.txt",
    "requirements/requirements.txt",
    "requirements/main.txt",
    "requirements/base.txt",
    "requirements/common.txt",
    "requirements-prod.txt",
    "requirements_prod.txt",
    "requirements-production.txt",
    "requirements-base.txt",
)
"""Requirements files as projects call what they need in production. Those of the top folder that are there all count;
of the others, the first."""
_UNLOCKED: Final = ("requirements.in", "Pipfile")
"""What such files and locks are made from: it counts where they were not made."""
_OF_CONDA: Final = ("environment.yml", "environment.yaml", "pixi.toml")

_OTHERS: Final = re.compile(
    r"(^|[-_./])(dev|devel|develop|development|test|tests|testing|docs?|ci|lint|build|local|debug|tools?)([-_.]|$)",
    re.I,
)


@dataclass(frozen=True)
class Form:
    """How a project is released: `kind` is TREE or PACKAGE, `why` the words that say what of it decides that."""

    kind: str
    why: str

    @property
    def words(self) -> str:
        """Both in a sentence without its subject."""
        return f"released as a {self.kind}: {self.why}"

    @property
    def is_tree(self) -> bool:
        """Whether its files are released as they are."""
        return self.kind == TREE


def form_of(folder: Path, wanted: str = AUTO) -> Form:
    """Whether the project in `folder` is a tree or a package; `wanted` is what `source.as` says.

    Raises BadSource when it is wanted as a package and does not say how it is built, when there is no Python in it, and
    when a file that has to be read for it cannot be read.
    """
    found = _found(folder)
    if wanted == TREE:
        found = Form(TREE, "source.as says so")
    elif wanted == PACKAGE and found.is_tree and not _may_be_built(folder):
        raise BadSource(
            f"{folder} is no package ({found.why}): give it a [project] and a [build-system], or take it as it is with "
            "source.as: tree"
        )
    elif wanted == PACKAGE:
        found = Form(PACKAGE, "source.as says so")
    if found.is_tree and not _has_python(folder):
        raise BadSource(
            f"{folder} holds no Python that could run: name the folder of the project with source.subdirectory"
            f"{projects_below(folder)}"
        )
    return found


def _found(folder: Path) -> Form:
    """What the files say."""
    path = folder / "pyproject.toml"
    data: Json = toml(path) if path.is_file() else {}
    if table(data, "tool", "uv").get("package") is False:
        return Form(TREE, "its pyproject.toml has `package = false` in [tool.uv]")
    if table(data, "tool", "poetry").get("package-mode") is False:
        return Form(TREE, "its pyproject.toml has `package-mode = false` in [tool.poetry]")
    if _calls_setup(folder / "setup.py"):
        return Form(PACKAGE, "it has a setup.py")
    if setup_cfg(folder).has_option("metadata", "name"):
        return Form(PACKAGE, "its setup.cfg has [metadata]")
    return _by_pyproject(folder, data)


def _may_be_built(folder: Path) -> bool:
    """Whether a wheel can be built of what is no package by itself: without [build-system] setuptools builds it."""
    path = folder / "pyproject.toml"
    return path.is_file() and bool(table(toml(path), "project"))


def _by_pyproject(folder: Path, data: Json) -> Form:
    named = next((words for keys, words in _NAMED if table(data, *keys)), "")
    if named and "build-system" in data:
        return Form(PACKAGE, f"its pyproject.toml has {named} and [build-system]")
    if table(data, "project"):
        if table(data, "tool", "uv").get("package") is True:
            return Form(PACKAGE, "its pyproject.toml has [project] and `package = true` in [tool.uv]")
        if table(data, "tool", "setuptools"):
            return Form(PACKAGE, "its pyproject.toml has [project] and [tool.setuptools]")
        if any((folder / "src").glob("*/__init__.py")):
            return Form(
                PACKAGE, "its pyproject.toml has [project], and what is below src/ is found when installed only"
            )
        if not _has_python(folder):
            return Form(PACKAGE, "its pyproject.toml has [project], and there is no Python that could run as it is")
    if named:
        return Form(TREE, f"its pyproject.toml has {named} and no [build-system]")
    if data:
        return Form(TREE, "its pyproject.toml has no [project]")
    return Form(TREE, "it has neither a pyproject.toml nor a setup.py")


_NAMED: Final = (
    (("project",), "[project]"),
    (("tool", "poetry"), "[tool.poetry]"),
    (("tool", "flit", "metadata"), "[tool.flit.metadata]"),
)


def table(data: Json, *keys: str) -> Json:
    """The table of a TOML file that `keys` lead to; empty without it."""
    for key in keys:
        value = data.get(key)
        if not isinstance(value, Mapping):
            return {}
        data = value
    return data


def setup_cfg(folder: Path) -> configparser.ConfigParser:
    """The setup.cfg of a project; without sections when there is none, or when it is not in setuptools' own words."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(folder / "setup.cfg", encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return configparser.ConfigParser(interpolation=None)
    return parser


def _calls_setup(path: Path) -> bool:
    """Whether a setup.py is setuptools'; a script of that name may set up anything."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return bool(re.search(r"\bsetup\s*\(", text) and re.search(r"\b(setuptools|distutils|skbuild|numpy)\b", text))


_PYTHON: Final = ("*.py", "*/*.py", "*/*/*.py")


def _has_python(folder: Path) -> bool:
    return any(next(folder.glob(pattern), None) for pattern in _PYTHON)


_PROJECTS: Final = ("pyproject.toml", "setup.py", "requirements.txt", "manage.py", "app.py", "wsgi.py")


def projects_below(folder: Path) -> str:
    """Folders below that look like projects, for the end of a message; "" without one."""
    depths = [f"{depth}{name}" for depth in ("*/", "*/*/") for name in _PROJECTS]
    found = {path.parent.relative_to(folder).as_posix() for pattern in depths for path in folder.glob(pattern)}
    return f"; projects below it, for source.subdirectory: {', '.join(sorted(found)[:4])}" if found else ""


def requirements_files(folder: Path) -> tuple[str, ...]:
    """The requirements files of a project that count, as names within it, when none is named; none when it has none.

    Raises BadSource where several are there and none of them is known by its name to be the one for production.
    """
    there = [name for name in REQUIREMENTS if (folder / name).is_file()]
    top = [name for name in there if name in ("requirements.lock", "requirements.txt")]
    if top:
        return tuple(top)
    if there:
        return (there[0],)
    other = [path.name for path in sorted(folder.glob("requirements*.txt"))]
    other += [f"requirements/{path.name}" for path in sorted((folder / "requirements").glob("*.txt"))]
    left = [name for name in other if not _OTHERS.search(name)]
    if len(left) > 1:
        raise BadSource(
            f"{folder} has {', '.join(left)}: name what the app needs in production with source.requirements, as in "
            f"source.requirements: [{left[0]}]"
        )
    return tuple(left) or tuple(name for name in _UNLOCKED if (folder / name).is_file())[:1]


def not_read(folder: Path) -> str:
    """A file that says what a project depends on, and is not read, with why, in brackets; "" without one."""
    name = next((name for name in _OF_CONDA if (folder / name).is_file()), "")
    return f" ({name} is conda's, and is not read)" if name else ""


__all__ = [
    "AUTO",
    "PACKAGE",
    "REQUIREMENTS",
    "TREE",
    "Form",
    "form_of",
    "not_read",
    "projects_below",
    "requirements_files",
    "setup_cfg",
    "table",
]
