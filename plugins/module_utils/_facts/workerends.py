# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How the workers of an instance ended: recycled on purpose, or dead, and of what.

A log cannot tell: the app may silence it, or write so much that the line is lost. So the Gunicorn master itself writes
one line for each worker that it has waited for into the instance's runtime directory (HOOKS, a part of
gunicorn.conf.py). A worker that ends in order says beforehand, in memory that it shares with the master, whether
it was recycled (max_requests) or timed out; one that is killed or leaves with os._exit() says nothing, and is dead.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .._os.files import read_regular

FILE = "worker-ends"
MOST_BYTES = 256 * 1024
"""What is read of a file at most: the app could write to it."""

HOOKS = """\
import json as _json
import mmap as _mmap
import os as _os
import sys as _sys

# How each worker ended is written down for whoever watches: a log can be silenced, or too long to be read.
_marks = _mmap.mmap(-1, 4096)  # a byte for each worker, which it shares with the master
_ends = {"file": "", "count": 0}
_told = []  # who else is told how a worker ended
_folder = _os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
if _folder:
    try:
        open(_os.path.join(_folder, "worker-ends"), "w").close()
        _ends["file"] = _os.path.join(_folder, "worker-ends")
    except OSError as _error:
        print(f"The ends of workers are not written down: {_error}", file=_sys.stderr)


def worker_abort(worker):
    _marks[worker.age % len(_marks)] = ord("T")


def worker_exit(server, worker):
    place = worker.age % len(_marks)
    if not _marks[place]:
        _marks[place] = ord("R" if worker.nr >= worker.max_requests else "E")


def child_exit(server, worker):
    place = worker.age % len(_marks)
    mark, _marks[place] = chr(_marks[place] or 32), 0
    if getattr(worker, "aborted", False):
        mark = "T"
    status = _sys._getframe(1).f_locals.get("status")  # of the master's waitpid(): it is not handed on
    _ends["count"] += 1
    for told in _told:
        try:
            told(worker, mark, status)
        except Exception as error:
            server.log.warning("The end of worker %s was not counted: %r", worker.pid, error)
    if not _ends["file"]:
        return
    try:
        if _os.path.getsize(_ends["file"]) > 65536:
            _os.replace(_ends["file"], _ends["file"] + ".1")
        with open(_ends["file"], "a") as file:
            file.write(_json.dumps([_ends["count"], worker.pid, mark, status]) + "\\n")
    except OSError as error:
        server.log.warning("The end of worker %s could not be written down: %s", worker.pid, error)
"""
"""The last part of gunicorn.conf.py."""


@dataclass(frozen=True)
class WorkerEnd:
    """The end of one worker. `serial` counts the ends of an instance from 1; `how` is a part of a sentence: "killed by
    SIGKILL". `recycled`: it ended because it had answered max_requests."""

    serial: int
    pid: int
    recycled: bool
    how: str


@dataclass(frozen=True)
class Deaths:
    """What became of the workers of an instance over a time. `died`: how each one ended that was not recycled;
    `missing`: workers that are gone from /proc and whose end is not written down (yet)."""

    died: tuple[str, ...] = ()
    missing: int = 0
    recycled: int = 0

    @property
    def count(self) -> int:
        return len(self.died) + self.missing

    def ways(self) -> str:
        """How they died, the most frequent way first: "3 killed by SIGKILL, 1 exited with status 0"; else empty."""
        ways: dict[str, int] = {}
        for how in self.died:
            ways[how] = ways.get(how, 0) + 1
        if self.missing:
            ways["ended untold"] = self.missing
        if len(ways) == 1:
            return next(iter(ways))
        return ", ".join(f"{times} {how}" for how, times in sorted(ways.items(), key=lambda item: -item[1]))


def how_it_ended(mark: str, status: int | None) -> str:
    """In words, from the mark that the worker left and the status that its master was told by waitpid()."""
    if mark == "T":
        return "not heard of by its master within the time-out"
    if status is None:
        return "ended by itself" if mark == "E" else "ended without a word"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(number).name}"
        return f"killed by signal {number}"
    code = os.WEXITSTATUS(status)
    return f"exited with status {code}" if mark == "E" else f"exited at once with status {code}"


def parse(text: str) -> list[WorkerEnd]:
    """The ends in what HOOKS wrote, ascending; lines that are something else are passed over."""
    found = []
    for line in text.splitlines():
        try:
            serial, pid, mark, status = json.loads(line)
            end = WorkerEnd(int(serial), int(pid), mark == "R", how_it_ended(str(mark), status))
        except (ValueError, TypeError):
            continue
        found.append(end)
    return sorted(found, key=lambda end: end.serial)


def read_ends(directory: str) -> list[WorkerEnd] | None:
    """The ends of the instance whose runtime directory this is; None where it does not write them down."""
    newest = _read(os.path.join(directory, FILE))
    if newest is None:
        return None
    return parse((_read(os.path.join(directory, f"{FILE}.1")) or "") + newest)


def _read(path: str) -> str | None:
    """What a file of that directory says, which is the app's."""
    data = read_regular(path, MOST_BYTES)
    return None if data is None else data.decode("utf-8", "replace")


def last_serial(ends: Sequence[WorkerEnd] | None) -> int:
    """The serial of the newest end; 0 where there is none."""
    return ends[-1].serial if ends else 0


def deaths(ends: Iterable[WorkerEnd], since: int, gone: Iterable[int]) -> Deaths:
    """What became of the workers since the end with serial `since`. `gone`: process ids that vanished from /proc."""
    later = [end for end in ends if end.serial > since]
    told = {end.pid for end in later}
    return Deaths(
        died=tuple(end.how for end in later if not end.recycled),
        missing=len(set(gone) - told),
        recycled=sum(end.recycled for end in later),
    )
