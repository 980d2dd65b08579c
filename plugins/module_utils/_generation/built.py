# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Folders of a release that each generation has for itself (`data.built`): what an app makes of its own code when it
starts, or has a command make.

They lie in the generation, and are mounted in the place of the release's own for whatever runs of the generation: two
generations of one release have two, and no other one sees either. They go with their generation. How they are made:
`builtfolders`.
"""

from __future__ import annotations

import os

from .._declaration.app import Data, Plain
from .._os.paths import Layout
from .._release.contents import TREE
from .._release.leads import CODE
from .generations import BUILT


def paths(app: Plain) -> list[str]:
    """The folders of a normalised app, or of the record of one."""
    return [folder.path for folder in Data.from_dict(app.get("data") or {}).built]


def folder(layout: Layout, number: int, path: str) -> str:
    """Where generation `number` has its own in the place of `path`."""
    return os.path.join(layout.generation(number), BUILT, path)


def unit_lines(app: Plain, number: int, layout: Layout) -> list[str]:
    """Lines of [Service] that mount what is generation `number`'s own in the place of what its release has."""
    code = TREE if (app.get("source") or {}).get("as") == TREE else CODE
    release = f"{layout.generation(number)}/release/{code}"
    return [f"BindPaths={folder(layout, number, path)}:{release}/{path}" for path in paths(app)]
