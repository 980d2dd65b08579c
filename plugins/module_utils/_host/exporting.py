# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The exporter's unit is put on a host, and taken off."""

from __future__ import annotations

import os
import time

from .._generation.reloads import Manager, fail_if_full, try_reload
from .._generation.shared import is_own_text
from .._os.exporterunit import UNIT, installed, masked, unit
from .._os.files import make_directory, remove_file, replace_link, write_file
from .._os.paths import UNITS
from .._os.sockets import listens
from .._os.systemd import Systemd, SystemdError
from .._os.taken import address_taken

LOOKS, LOOK_SECONDS = 100, 0.2
"""It is looked so often, at most, whether one that was started listens."""


def install(listen: str, root: str = "/", systemd: Systemd | None = None) -> bool:
    """Have the exporter listen there, now and after each boot. True when anything changed; one that is masked is left.

    The caller has put the host's tool there, which has to know how to export. Raises SystemdError where it does not
    come up, or does not stay up.
    """
    if masked(root):
        return False
    manager, begin = systemd or Manager(), time.time()
    changed = installed(root) != listen
    if changed:
        fail_if_full(manager)
        write_file(os.path.join(root, UNITS, UNIT), unit(listen))
    link = os.path.join(root, UNITS, "multi-user.target.wants", UNIT)
    make_directory(os.path.dirname(link))
    changed = replace_link(link, f"/{UNITS}/{UNIT}") or changed
    if changed:
        manager.reload()
        manager.stop(UNIT)
    if not manager.state(UNIT).running:
        manager.start(UNIT)
        changed = True
    _look_after(manager, listen, root, begin)
    return changed


def _look_after(manager: Systemd, listen: str, root: str, begin: float) -> None:
    """Return once it listens, or where nobody can tell and it stays up; SystemdError, with the cause, where it ends.

    systemd calls it up as soon as its process is there, and starts one that ends again, for ever.
    """
    for _ in range(LOOKS):
        state = manager.state(UNIT)
        there = listens(state.main_pid, listen, root) if state.running else False
        if there:
            return
        if not state.running:
            raise SystemdError(f"it does not stay up: {_why(manager, listen, begin)}")
        manager.sleep(LOOK_SECONDS)
    if there is False:
        raise SystemdError(f"it runs, but does not listen on {listen} after {LOOKS * LOOK_SECONDS:.0f} s")


def _why(manager: Systemd, listen: str, begin: float) -> str:
    taken = address_taken(listen)
    if taken:
        return f"{taken}; have headcount_exporter_listen name a free address of this host, or end what has it"
    said = [line.text.strip() for line in manager.said(UNIT, begin) if line.pid != 1 and line.text.strip()]
    return f"{said[-1] if said else 'it logged nothing'} (journalctl -u {UNIT})"


def uninstall(root: str = "/", systemd: Systemd | None = None) -> bool:
    """Take the exporter off the host. True when it was there; one that is masked, or somebody else's, is left."""
    path = os.path.join(root, UNITS, UNIT)
    if not os.path.lexists(path) or masked(root) or not is_own_text(path):
        return False
    manager = systemd or Manager()
    manager.stop(UNIT)
    remove_file(os.path.join(root, UNITS, "multi-user.target.wants", UNIT))
    remove_file(path)
    try_reload(manager)
    return True
