# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Folders of the release that each generation has for itself (`data.built`), as they may be declared. Pure.

Loaded only for an app that declares one.
"""

from __future__ import annotations

import os
from typing import Final, Iterable

from .app import Data
from .data import INSTANCE, UNTOLD, below, inside
from .fields import Context, Invalid, Part


def built_folder(text: str) -> str:
    """A folder of the release, as systemd can be told of it."""
    path = inside(text).rstrip("/")
    if UNTOLD.search(path) or " " in path:
        raise Invalid("systemd cannot be told of it as it is", None, "give the folder another name in the project")
    return path


def check_built(data: Data, entry_point: str, parts: tuple[Part, ...], context: Context) -> None:
    """What is made anew for each generation is neither kept, nor the code itself."""
    kept = [*(path.rstrip("/") for path in data.paths), INSTANCE]
    module = entry_point.partition(":")[0].replace(".", "/")
    for index, one in enumerate(data.built):
        others = [other.path for at, other in enumerate(data.built) if at < index or other.path != one.path]
        wrong = _unbuildable(one.path, others, kept, module)
        if wrong is not None:
            context.add((*parts, "data", "built", index), *wrong)


def _unbuildable(path: str, others: list[str], kept: list[str], module: str) -> tuple[str, str, str] | None:
    """Why a folder is not each generation's own: (what it is, what is allowed, the fix). None where it may be."""
    near = next((other for other in others if below(path, (other,))), None)
    if near is not None:
        return f"is {path!r}, which lies in {near!r}", "folders beside one another", "remove it"
    meets = next((other for other in kept if below(path, (other,)) or below(other, (path,))), None)
    if meets is not None:
        what = f"is {path!r}, and {meets!r} leads to the app's data: it cannot both be kept and go with a generation"
        return what, "a folder that has nothing to do with data.paths", "remove one of them"
    if module and (below(module, (path,)) or path == f"{module}.py"):
        what = f"is {path!r}, where the code of the entry point is: the app could change what it is"
        return what, "what the app makes, not what it is", f"{path}/static/build"
    return None


def check_created(path: str, data: Data, parts: tuple[Part, ...], context: Context) -> None:
    """A command makes something of the release where each generation has that for itself."""
    if any(below(path, (folder.path,)) for folder in data.built):
        return
    context.add(
        (*parts, "prepare"),
        f"has a command that creates {path}, which is neither in the app's data nor in a folder of data.built",
        "a path that begins with {data}/, or one in a folder of data.built",
        f'creates: "{{data}}/{path}", or data: {{built: [{os.path.dirname(path) or path}]}}',
    )


CODE_ENDINGS: Final = (".py", ".pyc", ".so", ".pth")
"""What Python runs, or has run, of what it finds on its path."""


def code_in(path: str, names: Iterable[str]) -> str:
    """That the folder `path`, with the files `names` in it, holds code, in a sentence with the fix; "" where it holds
    none."""
    found = next((name for name in names if name.endswith(CODE_ENDINGS)), "")
    return found and (
        f"data.built: {path!r} holds code ({found}), which the app could change: name the folder below it that the app "
        f"fills, or say `{{path: {path}, code: true}}`"
    )
