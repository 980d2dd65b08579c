# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a project says to Gunicorn in a configuration file of its own, which the plan's takes the place of."""

from __future__ import annotations

import ast
from collections.abc import Collection
from pathlib import Path

FILES = ("gunicorn.conf.py", "gunicorn_config.py", "gunicorn_conf.py")


def unread(folder: Path, planned: Collection[str]) -> list[str]:
    """What of the configuration of Gunicorn in the folder of a project does not hold, in a sentence; [] without one.

    `planned`: the settings that a plan has; those have a key in `settings` of the app.
    """
    path = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if path is None:
        return []
    names = _set_in(path)
    ours = [f"settings.{name}" for name in names if name in planned]
    others = [name for name in names if name not in planned]
    words = f"{path.name} is not read: the plan writes Gunicorn's settings"
    words += f"; what it sets is for the inventory to say: {', '.join(ours)}" if ours else ""
    return [words + (f"; without effect here: {', '.join(others)}" if others else "")]


def _set_in(path: Path) -> list[str]:
    """The names that a file of Python sets or defines at its top, without private and imported ones."""
    try:
        body = ast.parse(path.read_text(encoding="utf-8")).body
    except (OSError, SyntaxError, ValueError):
        return []
    found: dict[str, None] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = None
        for target in node.targets if isinstance(node, ast.Assign) else ():
            if isinstance(target, ast.Name):
                found[target.id] = None
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = None
    return [name for name in found if not name.startswith("_")]


__all__ = ["FILES", "unread"]
