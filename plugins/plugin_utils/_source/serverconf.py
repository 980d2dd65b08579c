# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a project says to Gunicorn in a configuration file of its own, which the plan's takes the place of."""

from __future__ import annotations

from pathlib import Path

from ...module_utils._declaration.gunicorn import belongs, hooks_in, settings_in

FILES = ("gunicorn.conf.py", "gunicorn_config.py", "gunicorn_conf.py")


def unread(folder: Path) -> list[str]:
    """What of the configuration of Gunicorn in the folder of a project does not hold, in a sentence; [] without one."""
    path = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if path is None:
        return []
    try:
        text = path.read_text(encoding="utf-8")
        names, hooks = settings_in(text), hooks_in(text)
    except (OSError, SyntaxError, ValueError):
        names, hooks = [], []
    places = [belongs(name) for name in names if belongs(name)]
    others = [name for name in names if not belongs(name)]
    words = f"{path.name} is not read: the plan writes Gunicorn's settings"
    words += f"; what it sets is for the inventory to say: {', '.join(places)}" if places else ""
    words += f"; its hooks ({', '.join(hooks)}) are taken from a file that gunicorn.hooks names" if hooks else ""
    return [words + (f"; without effect here: {', '.join(others)}" if others else "")]


__all__ = ["FILES", "unread"]
