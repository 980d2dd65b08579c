# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What an app lacks by the words that it failed with, of its machine, its Python or its database, and what to do about
it."""

from __future__ import annotations

import re
from typing import Final

from .._newapp.inside.tables import LACKS_TABLE

_OF_THE_MACHINE: Final = (
    (r"(lib[\w.+-]+?\.so[\w.]*): cannot open shared object file", r"\1"),
    (r"cannot load library '([^']+)'|no library called \"([^\"]+)\" was found", r"\1\2"),
    (r"failed to find libmagic", "libmagic (Debian: libmagic1)"),
    (r"libpq library not found", "libpq (Debian: libpq5)"),
    (r"[Bb]ad git executable|'git'$", "the program git (Debian: git)"),
)
"""What an import says that lacks something of the machine, and what that is."""
_MODULE: Final = re.compile(r"No module named '(distutils|pkg_resources)\b")
_HERE: Final = (
    "in the project's dependencies, or beside them in source.requirements where the project is not yours to change"
)
DISTUTILS: Final = (
    f"name setuptools {_HERE}: it brings distutils, which Debian has up to Python 3.11, in the package "
    "python3-distutils, and no newer Python"
)
_PKG_RESOURCES: Final = (
    f"name setuptools<81 {_HERE}: newer ones have no pkg_resources, and an environment has none of itself; or take a "
    "version of what imports it that does without"
)
_COMMAND: Final = re.compile(
    r"\b(flask(?: [\w-]+)*? db (?:upgrade|migrate|init)|flask (?:init|create|make|setup)[-_]?(?:db|database|tables?)|"
    r"alembic upgrade(?: heads?\b)?|django-admin migrate|python3? manage\.py migrate)(?![\w-])"
)
"""A command that an app itself asks for."""
_BEHIND: Final = re.compile(
    r"no such column: |\bcolumn \S+ (?:of relation \S+ )?does not exist|\bUnknown column '|\bUndefinedColumn\b|"
    r"[Tt]arget database is not up to date|\bunapplied migration|\bpending migration"
)
"""What a database, or who watches over it, says of a schema that is older than the code."""
_NO_CLIENT: Final = re.compile(r"(?<!\w)'' does not appear to be an IPv[46]")
_OF_A_UNIX_SOCKET: Final = (
    "where it listens on a unix socket, REMOTE_ADDR is empty, for users too: take the client's address from "
    "X-Forwarded-For (Werkzeug's ProxyFix), as a proxy in front sends it, and declare `scheme`, with which Headcount's "
    "own requests have that header; or listen on TCP"
)
PREPARED: Final = "prepare"
"""The step that runs such commands."""


def of_the_machine(message: str) -> str:
    """What of the machine an import fails for; "" where for nothing of it."""
    matches = ((re.search(pattern, message), named) for pattern, named in _OF_THE_MACHINE)
    return next((match.expand(named) for match, named in matches if match), "")


def of_python(message: str) -> str:
    """What to do about a module that Python, or an environment of it, used to have; "" for any other."""
    found = _MODULE.search(message)
    if not found:
        return ""
    return DISTUTILS if found[1] == "distutils" else _PKG_RESOURCES


def of_the_database(message: str, step: str) -> str:
    """What to do about a database that is not what the release needs; "" where it is not that, or where the `step` that
    failed is the one that was to make it so."""
    asked = _COMMAND.search(message)
    if step == PREPARED or not (asked or LACKS_TABLE.search(message) or _BEHIND.search(message)):
        return ""
    command = asked[1] if asked else "flask db upgrade"
    return (
        "where its database is the one that is meant, name what makes or migrates the tables in `prepare` (`prepare: "
        f"[{command}]`{'' if asked else ', or what the app has for it'}), which runs it with the new release before "
        "that is first started"
    )


def with_fix(cause: str, step: str = "") -> str:
    """Why an app failed on a host in a `step`, with what to do where it is for want of something that no release
    brings."""
    lacks = of_the_machine(cause)
    fix = of_python(cause) or of_the_database(cause, step) or (_OF_A_UNIX_SOCKET if _NO_CLIENT.search(cause) else "")
    if lacks and not fix:
        fix = (
            f"install {lacks} on the host, by what sets it up: no wheel of the project brings it, and Headcount "
            "installs none"
        )
    return f"{cause}; fix: {fix}" if fix and "; fix: " not in cause else cause


__all__ = ["DISTUTILS", "of_python", "of_the_database", "of_the_machine", "with_fix"]
