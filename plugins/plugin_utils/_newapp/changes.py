# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What an app changed in a copy of its release, whatever it called for that."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

_MOST: Final = 200
_SQLITE: Final = b"SQLite format 3\0"
_NO_CODE: Final = ("__pycache__", ".git")


def of(folder: Path, copy: Path) -> dict[str, str]:
    """The files and folders that are new, changed or gone in `copy`, as paths in `folder` of which it was made: file,
    folder, sqlite, link (one that leads into the folder) or gone."""
    before, after = _seen(folder), _seen(copy)
    found = {}
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            found[str(folder / name)] = _kind(folder, copy, name) if name in after else "gone"
    return dict(list(found.items())[:_MOST])


def _seen(folder: Path) -> dict[str, tuple[object, ...]]:
    """All that is in a folder, with what tells whether it changed; of a folder that it is one."""
    found: dict[str, tuple[object, ...]] = {}
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _NO_CODE]
        for name in (*folders, *files):
            path = os.path.join(place, name)
            about = os.lstat(path)
            kind = stat.S_IFMT(about.st_mode)
            more = () if stat.S_ISDIR(about.st_mode) else (about.st_size, about.st_mtime_ns)
            found[os.path.relpath(path, folder)] = (kind, *more)
    return found


def _kind(folder: Path, copy: Path, name: str) -> str:
    path = copy / name
    if path.is_symlink():
        leads = os.path.normpath((folder / name).parent / os.readlink(path))
        return "link" if leads.startswith(f"{folder}/") else "file"
    if path.is_dir():
        return "folder"
    try:
        with path.open("rb") as stream:
            return "sqlite" if stream.read(len(_SQLITE)) == _SQLITE else "file"
    except OSError:  # it is no file
        return "file"
