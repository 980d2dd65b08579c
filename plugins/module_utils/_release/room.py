# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How much room on the disk a release takes, by the files that it is made of."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Iterable, Tuple

from .contents import ReleaseError
from .trees import FILENAME, size_of

MIB = 1024 * 1024
_RESERVE_MIB = 64


class DiskFull(ReleaseError):
    """There is too little room for a release."""


def room_for(files: Iterable[Path]) -> Tuple[int, int]:
    """(MiB, files) that wheels and a tree will take when unpacked and compiled (bytecode is as large again), with a
    reserve."""
    size = count = 0
    for path in files:
        if path.name == FILENAME:
            tree = size_of(path)
            size, count = size + tree[0], count + tree[1]
            continue
        try:
            with zipfile.ZipFile(path) as archive:
                for item in archive.infolist():
                    blocks = -(-item.file_size // 4096) * 4096
                    twice = 2 if item.filename.endswith(".py") else 1
                    size += twice * blocks
                    count += twice
        except (zipfile.BadZipFile, OSError) as error:
            raise ReleaseError(
                f"wheel {path.name} is broken on this host ({error}): remove {path} and run again"
            ) from None
    return size // MIB + 1 + _RESERVE_MIB, count + 200


def need_room(path: Path, need_mib: int, need_files: int, what: str) -> None:
    """Raise DiskFull when the file system of `path` (or of the folder it will be in) has too little left."""
    folder = path
    while not folder.exists():
        folder = folder.parent
    left = os.statvfs(folder)
    free_mib = left.f_bavail * left.f_frsize // MIB
    if free_mib < need_mib:
        raise DiskFull(
            f"{need_mib} MiB are needed at {folder} for {what}, and {free_mib} MiB are free: free some room there"
        )
    if left.f_files and left.f_favail < need_files:
        raise DiskFull(
            f"{need_files} files are needed at {folder} for {what}, and {left.f_favail} can be made: remove files there"
        )


def disk_error(error: OSError, folder: Path, what: str) -> ReleaseError:
    """The error of a disk, in words."""
    kind = DiskFull if error.errno in (28, 122) else ReleaseError
    return kind(f"{what} failed at {error.filename or folder}: {error.strerror or error}")
