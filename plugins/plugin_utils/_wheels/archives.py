# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What is sent to hosts as one file, the same bytes for the same content: the tree of a project, and many wheels."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from ansible_collections.headcount.gunicorn.plugins.module_utils._release.trees import FILENAME

from . import cache as cached
from .gathered import Wheel, WheelSet
from .sources import linked


def pack_tree(folder: Path, names: Sequence[str], out_dir: Path) -> Path:
    """Write the files `names` of the project in `folder` as an archive into `out_dir`; returns its path.

    Names in order, one time, one owner, two modes, no compression. A link to a folder of the project stays a link, one
    to a file becomes that file.
    """
    target = out_dir / FILENAME
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(names):
            path = folder / name
            member = tarfile.TarInfo(name)
            if path.is_dir():
                member.type, member.linkname, member.mode = tarfile.SYMTYPE, linked(folder, name), 0o777
                archive.addfile(member)
                continue
            status = path.stat()
            member.size, member.mode = status.st_size, 0o755 if status.st_mode & stat.S_IXUSR else 0o644
            with path.open("rb") as stream:
                archive.addfile(member, stream)
    return target


def missing(wheelset: WheelSet, present: set[str]) -> tuple[Wheel, ...]:
    """The files of `wheelset` that a host lacks which has those with the sha256 in `present`."""
    return tuple(item for item in wheelset.files if item.sha256 not in present)


def pack(wheels: Iterable[Wheel], path: str | Path) -> Path:
    """Write files as one tar, members SHA256/NAME; the same files give the same bytes. Returns `path`."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = cached.temporary(target)
    with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
        for item in sorted({wheel.sha256: wheel for wheel in wheels}.values(), key=lambda wheel: wheel.sha256):
            member = tarfile.TarInfo(f"{item.sha256}/{item.filename}")
            member.size, member.mode = item.size, 0o644
            with Path(item.path).open("rb") as stream:
                archive.addfile(member, stream)
    os.replace(temporary, target)
    return target


__all__ = ["missing", "pack", "pack_tree"]
