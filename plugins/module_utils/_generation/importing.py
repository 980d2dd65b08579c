# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether the workers of an instance that does not answer have begun at all, or still import the app.

Gunicorn's master makes the file that a worker touches just before it forks the worker, and the worker touches it first
when it has imported the app and begins to serve.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Final

from .._os.paths import Layout, under
from .._os.procfs import BEAT_FILE, descriptor_of
from . import ledger

MADE_S: Final = 0.05
"""The file is as old as its worker up to so much: clocks of the kernel tick."""

FIX: Final = "where that is how long it takes, raise health.boot_seconds"


def importing(workers: Iterable[tuple[int, float]], touched: Callable[[int], float | None]) -> bool:
    """Whether none of these workers (process id, seconds of the epoch at which it began) has begun to serve. `touched`:
    when the file of a process was last touched; None where that is not known."""
    found = [(touched(pid), began) for pid, began in workers]
    return bool(found) and all(at is not None and at <= began + MADE_S for at, began in found)


def words(layout: Layout, number: int, workers: Iterable[tuple[int, int]]) -> str:
    """That the workers of generation `number` (process id, start in clock ticks since the boot) still import the app,
    as a part of a sentence; empty where they do not. With what its prepare took, which may import it, too."""
    tick = 1.0 / os.sysconf("SC_CLK_TCK")
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    if not importing([(pid, booted + ticks * tick) for pid, ticks in workers], lambda pid: touched(pid, layout.root)):
        return ""
    took = prepared(layout, number)
    beside = f" (of its prepare `{took[0]}` took {took[1]:.1f} s)" if took else ""
    return f"; its workers still import the app{beside}: {FIX}"


def touched(pid: int, root: str = "/") -> float | None:
    """When a worker's file was last touched, in seconds of the epoch; None where it has none, or is gone."""
    proc = under(root, "/proc")
    number = descriptor_of(pid, BEAT_FILE, proc)
    try:
        return os.stat(os.path.join(proc, str(pid), "fd", number)).st_ctime if number else None
    except OSError:
        return None


def prepared(layout: Layout, number: int) -> tuple[str, float] | None:
    """The command of the generation's prepare that took longest, with its seconds; None where it had none."""
    commands: list[tuple[str, float]] = []
    for entry in ledger.read(layout.ledger):
        ran = entry.get("commands") if entry.get("event") == "prepared" and entry.get("generation") == number else None
        for command in ran if isinstance(ran, list) else []:
            commands.append((str(command.get("run")), float(command.get("seconds") or 0.0)))
    return max(commands, key=lambda command: command[1], default=None)
