# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Somebody's unit is changed until the next boot, by a drop-in below /run."""

from __future__ import annotations

import os
import shutil

from .._os.files import make_directory, remove_file, write_file
from .._os.paths import RUNTIME_UNITS, under
from .._os.systemd import Systemd

DROP_IN = "zzz-headcount-takeover.conf"
"""systemd reads drop-ins of all folders in the order of their names, and the last one has the last word."""


def drop_in(systemd: Systemd, unit: str, text: str, root: str = "/") -> None:
    """Change a unit until the next boot, or until undrop(); systemd has to be reloaded."""
    folder = under(root, f"/{RUNTIME_UNITS}/{unit}.d")
    make_directory(folder)
    write_file(os.path.join(folder, DROP_IN), text)


def undrop(systemd: Systemd, *units: str, root: str = "/") -> bool:
    """Take back what drop_in() did to units, and reload systemd where there was anything. Whether there was."""
    found = [under(root, f"/{RUNTIME_UNITS}/{unit}.d") for unit in units]
    found = [folder for folder in found if os.path.lexists(os.path.join(folder, DROP_IN))]
    for folder in found:
        remove_file(os.path.join(folder, DROP_IN))
        if not os.listdir(folder):
            shutil.rmtree(folder, ignore_errors=True)
    if found:
        systemd.reload()
    return bool(found)
