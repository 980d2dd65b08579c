# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Can what an app has on this host be written? A switch writes little, but what it writes is what the next boot goes
by."""

from __future__ import annotations

import os

from .._os.paths import Layout

FREE_MIB = 4
"""Free room (MiB) that a promote wants to see before it begins."""


def unwritable(layout: Layout) -> list[str]:
    """What is read-only or full of the folders of its generations and of its state, in sentences with the fix."""
    folders = [path for path in (layout.home, layout.state) if os.path.isdir(path)]
    return [words for words in map(_wrong, folders) if words]


def _wrong(path: str) -> str:
    left = os.statvfs(path)
    if left.f_flag & os.ST_RDONLY:
        return (
            f"{path} is read-only: the kernel makes a file system so after an error (`dmesg`), or somebody did "
            "(`findmnt -T` names its mount); have it writable again (`mount -o remount,rw`)"
        )
    free_mib = left.f_bavail * left.f_frsize / 2**20
    if free_mib < FREE_MIB:
        return f"{free_mib:.1f} MiB are free at {path}, and {FREE_MIB} MiB are needed: free some room there"
    if left.f_files and not left.f_favail:
        return f"no more file can be made at {path} (`df -i`): remove some there"
    return ""
