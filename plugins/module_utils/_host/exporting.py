# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The exporter's unit is put on a host, and taken off."""

from __future__ import annotations

import os

from .._os.exporterunit import UNIT, installed, unit
from .._os.files import make_directory, remove_file, replace_link, write_file
from .._os.paths import UNITS
from .._os.systemd import Systemd


def install(listen: str, root: str = "/", systemd: Systemd | None = None) -> bool:
    """Have the exporter listen there, now and after each boot. True when anything changed.

    The caller has put the host's tool there, which has to know how to export. Raises SystemdError where it does not
    come up.
    """
    manager = systemd or Systemd()
    changed = installed(root) != listen
    if changed:
        write_file(os.path.join(root, UNITS, UNIT), unit(listen))
    link = os.path.join(root, UNITS, "multi-user.target.wants", UNIT)
    make_directory(os.path.dirname(link))
    changed = replace_link(link, f"/{UNITS}/{UNIT}") or changed
    if changed:
        manager.reload()
        manager.stop(UNIT)
    if not manager.state(UNIT).running:
        manager.start(UNIT)
        return True
    return changed


def uninstall(root: str = "/", systemd: Systemd | None = None) -> bool:
    """Take the exporter off the host. True when it was there."""
    path = os.path.join(root, UNITS, UNIT)
    if not os.path.lexists(path):
        return False
    manager = systemd or Systemd()
    manager.stop(UNIT)
    remove_file(os.path.join(root, UNITS, "multi-user.target.wants", UNIT))
    remove_file(path)
    manager.reload()
    return True
