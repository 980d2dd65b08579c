# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Where the files of a project contradict each other, or a lock lacks something: the refusal, with the way out. Loaded
only where wheels are gathered."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from .lockfiles import FOLLOWING
from .reqfiles import CHOOSE, OWN, Declared
from .tools import BadLock, Contradiction

_MAKES = {"uv.lock": "uv lock", "poetry.lock": "poetry lock", "pdm.lock": "pdm lock", "Pipfile.lock": "pipenv lock"}


def remade(label: str) -> str:
    """What makes a lock again, by the words that name it in messages."""
    command = next((command for name, command in _MAKES.items() if re.search(rf"(^|/){name}\b", label)), "")
    return f"make it again with `{command}`" if command else "make it again"


def lacks(label: str, name: str, owner: str, python: str) -> BadLock:
    """The error for a lock without what something in it needs: mostly one that was made for another Python."""
    return BadLock(
        f"{label}: {name} is needed by {owner} with Python {python} and is not in the lock; make the lock again with "
        f"that Python, {CHOOSE}"
    )


_SAYS = re.compile(r"\s*(requires-python|python)\s*=")


def check_python(folder: Path, told: Declared, python: str) -> None:
    """Raise BadLock where a project says that it is for other Pythons, as pip, uv and poetry do."""
    if not excludes(told.python, python):
        return
    lock = f", and so is {told.label}" if told.complete else ""
    lines = (folder / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    at = next((number for number, line in enumerate(lines, 1) if _SAYS.match(line)), 1)
    raise BadLock(
        f"pyproject.toml:{at}: the project is for Python {told.python}{lock}, and Python {python} is what it is to run "
        f"with; have headcount_python name a Python {told.python} of the host (--python of new-app: one of this "
        "machine). Where it runs with others all the same, source.requirements says what it needs there"
    )


def excludes(wanted: str, python: str) -> bool:
    """Whether a project's requires-python rules out a Python; one that nobody can read rules out none."""
    try:
        return bool(wanted) and not SpecifierSet(wanted).contains(python, prereleases=True)
    except InvalidSpecifier:
        return False


def agree(truth: Declared, other: Declared) -> None:
    """Raise BadLock where what `other` declares is not what `truth` has locked."""
    pins = {pin.name: pin for pin in truth.pins}
    for pin in other.pins:
        mine = pins.get(pin.name)
        if mine is not None and mine.version != pin.version:
            raise Contradiction(
                f"{truth.label} has {pin.name} {mine.version} and {other.label} has {pin.name} {pin.version}: two "
                f"files that contradict each other; make one of them again from the other, remove one, {CHOOSE}",
                (truth.label, other.label),
            )
    if not truth.complete:
        return
    for where, text in other.requirements:
        wanted = Requirement(text)
        name = canonicalize_name(wanted.name)
        known = pins.get(name)
        if known is None and name in truth.aside:
            continue  # a file made of the whole lock: what is for development is not installed
        if known is None and name not in truth.direct:
            raise Contradiction(
                f"{where}: {text} is not in {truth.label}, which is more exact: {_again(truth, other)}",
                (truth.label, other.label),
            )
        if known is not None and not wanted.specifier.contains(known.version, prereleases=True):
            raise Contradiction(
                f"{where}: {text} contradicts {truth.label}, which has {name} {known.version}: {_again(truth, other)}",
                (truth.label, other.label),
            )


def _again(truth: Declared, other: Declared) -> str:
    """What to do where a lock is not what `other` asks for. A lock that follows the project's metadata counts with it
    whatever is said, so that only one of the two can be put right."""
    fix = f"{remade(truth.label)}, or correct the line"
    if other.label != OWN:
        return f"{fix}, {CHOOSE}"
    follows = Path(truth.label).name in FOLLOWING
    return fix if follows else f"{fix}, or say that {truth.label} counts alone with source.requirements"


__all__ = ["agree", "check_python", "excludes", "lacks", "remade"]
