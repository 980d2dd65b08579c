# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What of a release leads to the app's data: links in the place of files and folders that the app writes to.

A release is read-only and is replaced. A link survives that, holds for everything that runs of the release, and may
stand for a single file: SQLite follows it, and keeps its journal beside the file itself.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterable

from .contents import TREE, ReleaseError

INSTANCE = "instance"
"""Flask's folder for what an app keeps: beside the code; of an installed package, in the `var` of its environment."""

CODE = "code"
"""Where a release with folders that generations have for themselves leads to what they are in."""

SEED = "seed"
"""Where a release keeps what it came with in the place of such a link, for the first start."""


def lay_leads(release: Path, paths: Iterable[str], data: str) -> None:
    """Make each of `paths`, which are inside the code of a release that is being built, a link into the folder `data`.

    What is there goes to `seed`. Flask's folder is such a link too, unless the code has one of its own. Raises
    ReleaseError.
    """
    for path in paths:
        place = place_of(release, path)
        _check_passable(release, place, path)
        if os.path.lexists(place):
            kept = release / SEED / path
            kept.parent.mkdir(parents=True, exist_ok=True)
            os.rename(place, kept)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(f"{data}/{path}")
    place = place_of(release, INSTANCE)
    if not os.path.lexists(place):
        place.symlink_to(f"{data}/{INSTANCE}")


def lay_built(release: Path, paths: Iterable[str]) -> None:
    """Have a folder at each of `paths`, which are inside the code of a release that is being built: in its place each
    generation has its own. `code` leads to what they are in, as units do not know the version of Python. Raises
    ReleaseError.
    """
    for path in paths:
        place = place_of(release, path)
        if place.is_symlink() or (os.path.lexists(place) and not place.is_dir()):
            raise ReleaseError(f"data.built: {path!r} is no folder in the project: name the one that it is in")
        _check_passable(release, place, path, "data.built", "be a generation's own")
        place.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(release / CODE):
            (release / CODE).symlink_to(os.path.relpath(code_of(release), release))


def place_of(release: Path, path: str) -> Path:
    """Where `path` lies in a release: in its tree, or beside the installed packages."""
    code = code_of(release)
    if path == INSTANCE and code != release / TREE and not os.path.lexists(code / path):
        return release / "venv/var"  # where Flask has the folders of what is installed, each with a name of its own
    return code / path


def code_of(release: Path) -> Path:
    """The folder that a release's code is in."""
    if (release / TREE).is_dir():
        return release / TREE
    found = sorted(release.glob("venv/lib/python3*/site-packages"))
    return found[0] if found else release / "venv"


def _check_passable(
    release: Path, place: Path, path: str, key: str = "data.paths", what: str = "lead to the data"
) -> None:
    for folder in place.parents:
        if folder == release:
            return
        if folder.is_symlink() or (os.path.lexists(folder) and not folder.is_dir()):
            raise ReleaseError(f"{key}: {path!r} cannot {what}, because {folder} is no folder")
