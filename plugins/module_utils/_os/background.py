# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Work that waits more than it computes, done beside something else."""

from __future__ import annotations

import errno
import os
import threading
from typing import Callable, Generic, TypeVar

T = TypeVar("T")


def begin_thread(thread: threading.Thread) -> threading.Thread:
    """Start `thread`, and return it. OSError (EAGAIN) where this host has no thread left, as for a process."""
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, f"this host could not begin a thread: {os.strerror(errno.EAGAIN)}") from error
    return thread


class Background(Generic[T]):
    """`work`, under way in a thread of its own from now on."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._found: list[T] = []
        self._failed: list[BaseException] = []
        self._thread = begin_thread(threading.Thread(target=self._run, daemon=True))

    def _run(self) -> None:
        try:
            self._found.append(self._work())
        except BaseException as error:
            self._failed.append(error)

    def result(self) -> T:
        """What it returned, once it has ended; raises what it raised."""
        self._thread.join()
        if self._failed:
            raise self._failed[0]
        return self._found[0]
