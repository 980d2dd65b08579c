# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How the processes of a candidate are read while it is weighed: their CPU, their waiting for one, and their memory."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .._facts.unitgroups import unit_pids
from .._facts.unitusage import unit_cpu_seconds
from .._facts.workerends import WorkerEnd, read_ends
from .._load.memory import ProcessMemory, own_mib, read_process


class Weighed(Protocol):
    """The processes of a server, one of them the main one; figures as `Unit` has them."""

    @property
    def main_pid(self) -> int:
        """The process that starts the workers."""

    def cpu_seconds(self) -> float:
        """CPU seconds used so far."""

    def queued_seconds(self) -> float:
        """Seconds that threads were ready to run without a CPU."""

    def memory(self) -> dict[int, ProcessMemory]:
        """Memory of each process, by pid."""

    def own_mib(self) -> float:
        """Memory of the processes that the main one has started, as fast as it can be read."""

    def ends(self) -> Sequence[WorkerEnd]:
        """How its workers ended so far."""


@dataclass(frozen=True)
class Unit:
    """Reads the candidate's processes: its cgroup (ControlGroup= of systemd), its main process, and the directory where
    it says how its workers ended (empty: nowhere)."""

    control_group: str
    main_pid: int
    root: str = "/"
    files: str = ""

    def cpu_seconds(self) -> float:
        """CPU seconds used so far: the cgroup's account, or the scheduler's of the living processes."""
        counted = unit_cpu_seconds(self.control_group, self.root)
        return counted if counted is not None else scheduled_seconds(self.pids(), self.root)

    def queued_seconds(self) -> float:
        """Seconds that its threads were ready to run, but others had the CPU."""
        return queued_seconds(self.pids(), self.root)

    def pids(self) -> list[int]:
        return unit_pids(self.control_group, self.root)

    def memory(self) -> dict[int, ProcessMemory]:
        """Memory of each process, by pid."""
        return {pid: memory for pid in self.pids() for memory in [read_process(pid)] if memory is not None}

    def own_mib(self) -> float:
        """What its workers, and what they started, do not share with files."""
        return sum(own_mib(pid) for pid in self.pids() if pid != self.main_pid)

    def ends(self) -> Sequence[WorkerEnd]:
        """How its workers ended so far."""
        return read_ends(self.files) or [] if self.files else []


def scheduled_seconds(pids: Sequence[int], root: str = "/") -> float:
    """Seconds on a CPU of all living threads of `pids`, from /proc/PID/task/TID/schedstat (nanoseconds)."""
    return _schedstat(pids, 0, root)


def queued_seconds(pids: Sequence[int], root: str = "/") -> float:
    """Seconds that all living threads of `pids` were ready to run but not on a CPU, from the same file."""
    return _schedstat(pids, 1, root)


def _schedstat(pids: Sequence[int], field: int, root: str) -> float:
    total = 0
    for pid in pids:
        for path in glob.glob(f"{root.rstrip('/')}/proc/{pid}/task/*/schedstat"):
            try:
                with open(path, encoding="ascii") as stream:
                    total += int(stream.read().split()[field])
            except (OSError, ValueError, IndexError):
                continue
    return total / 1e9
