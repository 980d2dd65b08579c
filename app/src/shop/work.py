# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The kinds of work a request can do: burn CPU, wait, hold memory, send piece by piece, or block the whole process."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import sqlite3
import sys
import time
from typing import Callable, Iterator, cast

MIB = 1024 * 1024
_PAGE = 4096
_BLOCK = b"headcount" * 64
_DATABASE = "records.db"


def burn(milliseconds: float) -> float:
    """Use `milliseconds` of this thread's CPU time, whatever the speed of the machine; return what was used.

    The clock is `time.thread_time`: time in which another thread or process has the core does not count.
    """
    start = time.thread_time()
    end = start + milliseconds / 1000.0
    while time.thread_time() < end:
        hashlib.sha256(_BLOCK).digest()
    return (time.thread_time() - start) * 1000.0


def wait(milliseconds: float) -> None:
    """Wait without using CPU. Under gevent or eventlet other requests are served meanwhile."""
    time.sleep(milliseconds / 1000.0)


def hold(nbytes: int) -> bytearray:
    """Memory of `nbytes` bytes of which every page was written, so that it is resident and not only reserved."""
    block = bytearray(nbytes)
    for offset in range(0, nbytes, _PAGE):
        block[offset] = 1
    return block


def pieces(nbytes: int, every_milliseconds: float, seconds: float) -> Iterator[bytes]:
    """`nbytes` line ends now and again every so many milliseconds, for `seconds`: a stream, or a flood."""
    end = time.monotonic() + seconds
    piece = b"\n" * nbytes
    while time.monotonic() < end:
        yield piece
        wait(every_milliseconds)


def block(milliseconds: float) -> None:
    """Wait as a library does that knows nothing of gevent or eventlet: the hub stands still meanwhile."""
    original_sleep()(milliseconds / 1000.0)


def freeze(seconds: float) -> None:
    """Stop the whole process, threads included: a sleep in C that keeps Python's interpreter lock."""
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


def original_sleep() -> Callable[[float], None]:
    """`time.sleep` as it was before a worker class replaced it."""
    if "gevent.monkey" in sys.modules:
        return cast("Callable[[float], None]", sys.modules["gevent.monkey"].get_original("time", "sleep"))
    if "eventlet.patcher" in sys.modules:
        return cast("Callable[[float], None]", sys.modules["eventlet.patcher"].original("time").sleep)
    return time.sleep


def records(folder: str) -> int:
    """How many records are kept in `folder`; 0 where there is no database yet."""
    path = os.path.join(folder, _DATABASE)
    if not os.path.exists(path):
        return 0
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection:
        return int(connection.execute("select count(*) from records").fetchone()[0])


def record(folder: str) -> int:
    """Keep one more record in `folder`, which is made; how many there are then."""
    os.makedirs(folder, exist_ok=True)
    with contextlib.closing(sqlite3.connect(os.path.join(folder, _DATABASE), timeout=10)) as connection, connection:
        connection.execute("create table if not exists records (at real)")
        connection.execute("insert into records values (?)", (time.time(),))
    return records(folder)
