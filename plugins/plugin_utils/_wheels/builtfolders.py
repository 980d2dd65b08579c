# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""May an app have for itself, in each generation, the folders that it declares so? By what was gathered of its code."""

from __future__ import annotations

from collections.abc import Iterable

from ...module_utils._declaration.app import Data
from ...module_utils._declaration.built import code_in
from .._edge import Json
from .entrypoint import places
from .gathered import WheelSet


def problem_of(app: Json, found: WheelSet) -> str:
    """What is wrong with a folder of `data.built` of a normalised app, in a sentence with the fix; "" where nothing is,
    or cannot be told."""
    declared = Data.from_dict(app.get("data") or {}).built
    names = _own_names(found) if declared else ()
    for one in declared:
        if one.path in names:
            return f"data.built: {one.path!r} is no folder in the project: name the one that it is in"
        inside = sorted(name[len(one.path) + 1 :] for name in names if name.startswith(f"{one.path}/"))
        if words := "" if one.code else code_in(one.path, inside):
            return words
    return ""


def _own_names(found: WheelSet) -> Iterable[str]:
    """The files that paths of the code begin at: those of the tree, or of all wheels together."""
    codes = [code for code, folder in places(found, ()) if not folder]
    return codes[0].names if found.tree is not None else {name for code in codes for name in code.names}
