# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Older versions for a project that says none: where the newest of what it imports lacks what it imports of it, the
newest of the series before is tried. Nothing is fetched here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from .imports import distribution_of
from .types import Error

MOST_STEPS: Final = 3
_GONE: Final = (
    re.compile(r"cannot import name '[^']+' from '(?P<module>\w+)"),
    re.compile(r"No module named '(?P<module>\w+)\.[\w.]+'"),
    re.compile(r"module '(?P<module>\w+)[\w.]*' has no attribute"),
)


def stepped_back(requirements: Sequence[str], error: Error, environment: Path) -> list[str] | None:
    """`requirements` without the series of a distribution that lacks what an import failed for want of; None where
    that is not why it failed. `environment` is what it was imported in."""
    found = next((match for pattern in _GONE for match in [pattern.search(error.message)] if match), None)
    if found is None:
        return None
    name = canonicalize_name(distribution_of(found["module"]))
    version = installed(environment, name)
    if version is None or not version.major:
        return None
    older = f"{name}<{version.major}"
    kept = [text for text in requirements if canonicalize_name(Requirement(text).name) != name]
    return sorted([*kept, older], key=lambda text: canonicalize_name(Requirement(text).name))


def installed(environment: Path, name: str) -> Version | None:
    """The version of a distribution in a virtual environment; None where it is not there."""
    for folder in environment.glob("lib/python*/site-packages/*.dist-info"):
        own, _, version = folder.name.removesuffix(".dist-info").partition("-")
        if canonicalize_name(own) == name:
            try:
                return Version(version)
            except InvalidVersion:
                return None
    return None
