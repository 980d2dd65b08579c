# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Making folders as root where accounts without rights may write too; which ones it may make: `folders`."""

from __future__ import annotations

import os

from .folders import Place, Unsafe, lowest


def make_folder(path: str, mode: int, owner: tuple[int, int] | None = None) -> bool:
    """Make the folder at the absolute `path` with exactly `mode`, for the user and group id `owner` (None, and without
    root: for who makes it), and the missing ones above it with 0755; each durable. False where it was there, and is
    left as it is. Raises Unsafe, and OSError where the disk does not let it."""
    made = False
    with lowest(path) as (place, missing):
        for index, name in enumerate(missing):
            last = index == len(missing) - 1
            made = _make(place, name, mode if last else 0o755, owner if last else None)
    return made


def _make(place: Place, name: str, mode: int, owner: tuple[int, int] | None) -> bool:
    """Make the folder `name` and enter it; False where somebody made it meanwhile: it is left as it is."""
    above = os.dup(place.handle)
    try:
        try:
            os.mkdir(name, 0o700, dir_fd=above)
        except FileExistsError:
            place.go(name)
            return False
        place.go(name)
        if os.listdir(place.handle):  # one that was moved into its place
            raise Unsafe(place.at, "was swapped while it was made")
        os.fchmod(place.handle, mode)
        if owner is not None and os.geteuid() == 0:
            os.fchown(place.handle, *owner)
        os.fsync(above)
    finally:
        os.close(above)
    return True
