# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""One benchmark measures at a time: those of one machine take turns, a minute or so each.

Figures that are taken while another benchmark loads the machine are none. The lanes of one benchmark measure side by
side within its turn; when the turn is over, no lane begins another cell until the others had theirs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from headcount_scripts.console import say

LOCK = Path("/run/lock/headcount-bench.lock")
TURN_SECONDS = 60.0
_POLL_SECONDS = 0.2
_YIELD_SECONDS = 1.0


class Turns:
    """The turns of one benchmark on this machine."""

    def __init__(self, name: str, path: Path = LOCK) -> None:
        self._name, self._path = name, path
        self._changed = threading.Condition()
        self._inside = 0
        self._handle: int | None = None
        self._began = 0.0
        self._entering = False

    @contextlib.contextmanager
    def mine(self) -> Iterator[None]:
        """Held while a cell is measured; waits for this benchmark's turn first."""
        self._enter()
        try:
            yield
        finally:
            self._leave()

    def _enter(self) -> None:
        with self._changed:
            while self._entering or (self._handle is not None and self._over()):
                self._changed.wait(_POLL_SECONDS)
            if self._handle is not None:
                self._inside += 1
                return
            self._entering = True
        handle = self._acquire()
        with self._changed:
            self._handle, self._began, self._entering = handle, time.monotonic(), False
            self._inside += 1
            self._changed.notify_all()

    def _over(self) -> bool:
        return time.monotonic() - self._began > TURN_SECONDS

    def _acquire(self) -> int:
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not told:
                    holder = os.pread(handle, 200, 0).decode(errors="replace").strip() or "another benchmark"
                    say(f".. waiting: {holder} measures on this machine; the benchmarks take turns")
                    told = True
                time.sleep(_POLL_SECONDS)
            else:
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"scripts/bench {self._name} (process {os.getpid()})".encode(), 0)
                return handle

    def _leave(self) -> None:
        with self._changed:
            self._inside -= 1
            if self._inside == 0 and self._handle is not None and self._over():
                os.close(self._handle)
                time.sleep(_YIELD_SECONDS)  # so that one which waits gets it
                self._handle = None
            self._changed.notify_all()

    def close(self) -> None:
        """Give the turn back."""
        with self._changed:
            if self._handle is not None:
                os.close(self._handle)
                self._handle = None
