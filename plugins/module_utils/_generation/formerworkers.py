# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether the workers of a former service's Gunicorn answer, once it has been started again. Read only."""

from __future__ import annotations

import contextlib
import os
import stat
import time

from .._facts.unitgroups import unit_pids
from .._os.listeners import alike, held
from .._os.paths import under
from .._os.procfs import parent
from .._os.systemd import UnitState
from .formerprograms import is_gunicorn


def imported(root: str, state: UnitState, address: str) -> bool:
    """Whether the workers of a service's Gunicorn at an address have imported the app and answer, as far as can be
    told: each has a file by which it tells its master, once it has come so far, that it is alive."""
    pids = unit_pids(state.control_group, root) if state.control_group else []
    holding = [pid for pid in pids if is_gunicorn(root, pid)]
    holding = [pid for pid in holding if any(alike(one.address, address) for one in held([pid], root))]
    masters = [pid for pid in holding if parent(pid, root) not in holding]
    return all(_has_told(file) for pid in masters for file in _told_by(root, pid))


def _told_by(root: str, pid: int) -> list[os.stat_result]:
    """The files by which the workers of a Gunicorn tell that they are alive; their master holds them all."""
    folder, found = under(root, f"/proc/{pid}/fd"), []
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            with contextlib.suppress(OSError):
                found += [os.stat(path)] if "/wgunicorn-" in os.readlink(path) else []
    return found


def _has_told(file: os.stat_result) -> bool:
    """A worker sets the time of its file to that of the monotonic clock, which began with the boot; before Gunicorn 20
    it changed the mode."""
    return file.st_mtime <= time.monotonic() + 1.0 or stat.S_IMODE(file.st_mode) in (0, 1)
