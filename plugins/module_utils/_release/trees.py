# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The tree of a release: a project that is no package, unpacked from one archive and never changed."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Tuple

from .contents import TREE, ReleaseError

FILENAME = "tree.tar"
"""How the archive of a tree is called, wherever it lies by its content."""


def tree_of(release: Path) -> Path:
    """Where the tree of a release lies; a release that is a package has none."""
    return release / TREE


def unpack_tree(archive: Path, release: Path) -> None:
    """Unpack the archive of a tree into a release that is being built. Raises ReleaseError, and OSError of the disk.

    Files get the time at which they are written: what a browser is told of a static file changes with each release.
    """
    target = tree_of(release)
    target.mkdir(mode=0o755)
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                _take(tar, member, target)
    except tarfile.TarError as error:
        raise ReleaseError(f"the tree {archive} is not a whole archive ({error}): ship it again") from None


def _take(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    parts = member.name.split("/")
    if member.name.startswith("/") or not all(parts) or {".", ".."}.intersection(parts):
        raise ReleaseError(f"{member.name!r} in the shipped tree leads out of it: ship it again")
    path = target.joinpath(*parts)
    if any(target.joinpath(*parts[:depth]).is_symlink() for depth in range(1, len(parts))):
        raise ReleaseError(f"{member.name!r} in the shipped tree lies behind a link: ship it again")
    path.parent.mkdir(parents=True, exist_ok=True)
    if member.issym():
        place = os.path.normpath(os.path.join(os.path.dirname(member.name), member.linkname))
        if os.path.isabs(member.linkname) or place.split("/")[0] == "..":
            raise ReleaseError(f"{member.name!r} in the shipped tree is a link out of it: ship it again")
        path.symlink_to(member.linkname)
        return
    stream = tar.extractfile(member) if member.isfile() else None
    if stream is None:
        raise ReleaseError(f"{member.name!r} in the shipped tree is neither a file nor a link: ship it again")
    with path.open("xb") as out:
        for block in iter(lambda: stream.read(1 << 20), b""):
            out.write(block)
    os.chmod(path, 0o755 if member.mode & 0o100 else 0o644)


def size_of(archive: Path) -> Tuple[int, int]:
    """(bytes, files) that a tree takes, unpacked and compiled. Raises ReleaseError for a broken archive."""
    size = count = 0
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                twice = 2 if member.name.endswith(".py") else 1
                size += twice * -(-member.size // 4096) * 4096
                count += twice
    except (tarfile.TarError, OSError) as error:
        raise ReleaseError(f"the tree {archive} is broken on this host ({error}): remove it and run again") from None
    return size, count
