# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the processes of an instance use beside memory: CPU, open descriptors, threads, and bytes that they write.

Bytes written are those of write(2) and its like (wchar of /proc/PID/io): the log and files, not what is sent through
sockets, which the server does by send(2).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .._recorder import counts
from .._verdict.use import COLUMNS

_MIB = 2.0**20


@dataclass(frozen=True)
class ProcessUse:
    """Of one process: open descriptors, threads, and bytes written so far; None is what may not be read."""

    descriptors: int | None
    threads: int | None
    written: int | None


def read_use(pid: int, proc: str = "/proc") -> ProcessUse | None:
    """What a process uses; None when it is gone."""
    root = Path(proc) / str(pid)
    try:
        threads = int((root / "stat").read_text().rpartition(")")[2].split()[17])
    except (OSError, ValueError, IndexError):
        return None
    return ProcessUse(_descriptors(root), threads, _written(root))


def _descriptors(root: Path) -> int | None:
    try:
        return len(os.listdir(root / "fd"))
    except OSError:
        return None


def _written(root: Path) -> int | None:
    try:
        lines = (root / "io").read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("wchar:")), None)
    except (OSError, ValueError, IndexError):
        return None


@dataclass
class UseLog:
    """Rows of what an instance used, each with the second of `clock` at which it was looked at.

    `cpu`: CPU seconds of the whole instance so far, those of its dead included; None where nobody counts them.
    `requests`: those that it was asked so far, by whomever, likewise (asked()).
    `warm_at`: the second at which the warm-up was over, from which columns() counts.
    """

    cpu: Callable[[], float | None] = lambda: None
    requests: Callable[[], float | None] = lambda: None
    reader: Callable[[int], ProcessUse | None] = read_use
    clock: Callable[[], float] = time.monotonic
    warm_at: float = 0.0
    rows: list[tuple[float | None, ...]] = field(default_factory=list)
    _written: dict[tuple[int, int], int] = field(default_factory=dict)
    _begun: set[tuple[int, int]] = field(default_factory=set)

    def look(self, processes: Sequence[tuple[int, int]], pss_mib: float | None) -> None:
        """Add a row. processes: (process id, when it was started) of each."""
        self._begun.update(processes)
        found = {key: use for key in processes if (use := self.reader(key[0])) is not None}
        for key, use in found.items():
            if use.written is not None:
                self._written[key] = use.written
        written = sum(self._written.values()) / _MIB if self._written else None
        some = list(found.values())
        second, cpu, requests = self.clock(), self.cpu(), self.requests()  # at once: they are held against each other
        row = (
            second,
            cpu,
            written,
            _total([use.descriptors for use in some]),
            _total([use.threads for use in some]),
            pss_mib,
            float(len(self._begun)),
            requests,
        )
        self.rows.append(row)

    def mark_warm(self) -> None:
        """The warm-up is over now."""
        self.warm_at = self.clock()

    def columns(self) -> dict[str, list[float | None]]:
        """The rows as columns (use.COLUMNS), the seconds counted from the end of the warm-up."""
        found: dict[str, list[float | None]] = {
            name: [None if (value := row[place]) is None else round(value, 4) for row in self.rows]
            for place, name in enumerate(COLUMNS)
        }
        return moved(found, self.warm_at)


def asked(directory: str, read: Callable[[str], counts.Counts | None] = counts.read) -> float | None:
    """How many requests the recorder in that directory has counted, those under way as halves; None where it is off,
    cannot be read, or did not count all of them."""
    try:
        found = read(directory) if directory else None
    except (counts.Unreadable, OSError):
        return None
    if found is None or found.uncounted:
        return None
    return (found.tally.begun + found.tally.ended + found.tally.lost) / 2.0


LONGER: Final = 3.0
"""So many times as long it is rested where somebody asked meanwhile."""


def rested(seconds: float, requests: Callable[[], float | None], sleep: Callable[[float], object] = time.sleep) -> None:
    """Rest after a load; longer where somebody else asks the instance, whose `requests` are counted: what theirs take
    is seen best while nothing else does."""
    before = requests()
    sleep(seconds)
    after = requests()
    if before is not None and after is not None and after - before >= 1.0:
        sleep((LONGER - 1.0) * seconds)


def _total(values: Sequence[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(sum(known)) if known and len(known) == len(values) else None


def moved(columns: dict[str, list[float | None]], by: float) -> dict[str, list[float | None]]:
    """The same columns with their seconds counted from a moment that is `by` later."""
    seconds = [None if at is None else round(at - by, 4) for at in columns.get("second", [])]
    return {**columns, "second": seconds} if columns else columns
