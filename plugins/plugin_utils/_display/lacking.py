# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What an app lacks by the words that it failed with, of its machine or of its Python, and what to do about it."""

from __future__ import annotations

import re
from typing import Final

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


def with_fix(cause: str) -> str:
    """Why an app failed on a host, with what to do where it is for want of something that no release brings."""
    lacks = of_the_machine(cause)
    fix = of_python(cause) or (
        f"install {lacks} on the host, by what sets it up: no wheel of the project brings it, and Headcount installs "
        "none"
        if lacks
        else ""
    )
    return f"{cause}; fix: {fix}" if fix and "; fix: " not in cause else cause


__all__ = ["DISTUTILS", "of_python", "of_the_machine", "with_fix"]
