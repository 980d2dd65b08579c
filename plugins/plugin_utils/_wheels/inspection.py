# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What is looked at before a project becomes a release: is all of it there, and is nothing in it that is secret?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from .._display.text import listed, plural
from .._source.lacking import lacking
from .._source.project import PACKAGE, table
from . import sources
from .gathered import Wheel
from .indexes import check_url
from .reqfiles import decoded
from .sources import Source
from .tools import LacksFiles, toml

_PACKAGING = (
    "*requirements*.txt", "*requirements*.in", "*requirements*.lock", "*constraints*.txt", "*constraints*.in",
    "pyproject.toml", "setup.cfg", "setup.py", "pipfile", "pipfile.lock", "uv.toml", "uv.lock", "poetry.lock",
    "poetry.toml", "pdm.lock", "pylock*.toml", "pip.conf", "pip.ini", "tox.ini", "dockerfile*", "*.dockerfile",
    "environment.y*ml",
)  # fmt: skip
"""Files that say where packages come from, in lower case."""
_IN_REQUIREMENTS = ("requirements/*.txt", "requirements/*.in")
_URL = re.compile(r"(?:[a-z]+\+)?(?:https?|ssh|ftp)://[^\s'\"<>`]+")
_ONLY_A_USER = re.compile(r"(?:[a-z]+\+)?ssh://[^/@:]+@")
_STANDS_FOR = re.compile(r"://[^/@:]+:(pass(word|wd)?|pw|token|secret|x+|\*+|\.+|(your|my)[\w-]*|\$\w+|\{\w+\})@", re.I)
"""A word in the place of a password, as a comment has it that explains what to write."""
_MOST_BYTES = 8 << 20


def check_whole(source: Source, app: Wheel, names: Sequence[str]) -> str:
    """What the wheel of a project lacks of its shipped files, in a sentence for whoever says that it is a package.

    Raises LacksFiles when the app would look for it and nobody says so; "" when it lacks nothing.
    """
    found = lacking(names, sources.contents(Path(app.path)))
    if not found:
        return ""
    counted = [name + (f" ({plural(count, 'file')})" if name.endswith("/") else "") for name, count in found.items()]
    what = listed(counted, 8)
    words = f"{source.describe()}: the wheel that is built of it lacks {what}"
    if source.form == PACKAGE:
        return f"{words}; source.as: tree would have it"
    raise LacksFiles(
        f"{words}, which the app would not find: take the project as it is with source.as: tree, have its build "
        "include it (package-data of setuptools), or say source.as: package when the app needs none of it",
        what,
    )


def other_way(folder: Path) -> str:
    """What to do about a project that cannot be built, for the end of a message."""
    path = folder / "pyproject.toml"
    backend = str(table(toml(path), "build-system").get("build-backend", "")) if path.is_file() else ""
    words = "take the project as it is, without building it, with source.as: tree"
    if backend.startswith("poetry.masonry"):
        return (
            f"{words}, or give its pyproject.toml the build backend that Poetry has now: "
            'requires = ["poetry-core"] and build-backend = "poetry.core.masonry.api"'
        )
    return f"correct what it says, or {words}"


def check_credentials(source: Source, folder: Path, names: Sequence[str]) -> None:
    """Raise BadSource for a URL with a credential in a file of a tree that says where packages come from, be it in a
    comment: all of it would be in the release."""
    for name in names:
        path = folder / name
        if not _says_where(name) or not path.is_file() or path.stat().st_size > _MOST_BYTES:
            continue
        for number, line in enumerate(decoded(path.read_bytes(), "replace").splitlines(), 1):
            for url in _URL.findall(line):
                if not _ONLY_A_USER.match(url) and not _STANDS_FOR.search(url):
                    check_url(url.rstrip(".,;)]"), f"{source.describe()}: {name}, line {number}:")


def _says_where(name: str) -> bool:
    lower = name.lower()
    base = lower.rpartition("/")[2]
    return any(fnmatchcase(base, pattern) for pattern in _PACKAGING) or any(
        fnmatchcase(lower, pattern) or fnmatchcase(lower, f"*/{pattern}") for pattern in _IN_REQUIREMENTS
    )


__all__ = ["check_credentials", "check_whole", "other_way"]
