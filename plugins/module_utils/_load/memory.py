# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Memory of a Gunicorn instance over a load window: cgroup peak, PSS and USS of its processes, spikes, lost workers.

RSS counts shared pages once for every worker, so sums are made of PSS (shared pages divided by their users) and USS
(pages of one process alone). A spike between two samples is caught by the kernel: writing 5 to /proc/PID/clear_refs
sets the process's high-water mark back, and VmHWM then tells the highest resident size since.
"""

from __future__ import annotations

import contextlib
import re
import resource
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._facts.workerends import Deaths, WorkerEnd, deaths, last_serial
from .._os.background import begin_thread
from .._os.lines import UNREAD
from .._verdict.types import MemoryEvidence
from .use import UseLog
from .workers import WorkerLog
from .workers import moved as moved_workers

__all__ = ["LogCounts", "MemoryEvidence", "MemorySampler", "ProcessMemory", "count_restarts", "read_process"]

_KIB = 1024.0
ENDS_LOOKS, ENDS_WAIT_S = 20, 0.1
LOOK_AGAIN_EVERY = 4
"""Every how many samples the list of processes is asked for anew."""


@dataclass(frozen=True)
class ProcessMemory:
    """Memory of one process in MiB. `started` (clock ticks since boot) tells a reused process id from the same
    process."""

    pid: int
    started: int
    rss_mib: float
    pss_mib: float
    uss_mib: float
    hwm_mib: float
    parent: int = 0

    @property
    def key(self) -> tuple[int, int]:
        """What tells it from all other processes."""
        return self.pid, self.started


@dataclass(frozen=True)
class LogCounts:
    """What an instance's journal says of its workers: killed or died, recycled on purpose (max_requests), timed out."""

    died: int = 0
    recycled: int = 0
    timeouts: int = 0
    out_of_memory: int = 0


_DIED = re.compile(r"Worker \(pid:\d+\) (?:was sent SIG(?!TERM|QUIT|INT)\w+|exited with code (?!0\b)\d+)")
_RECYCLED = re.compile(r"Autorestarting worker after current request")
_TIMEOUT = re.compile(r"WORKER TIMEOUT \(pid:\d+\)")
_OOM = re.compile(
    r"oom-kill|Out of memory: Killed process|Memory cgroup out of memory|killed by the OOM killer", re.IGNORECASE
)


def count_restarts(lines: Iterable[str]) -> LogCounts:
    """Counts from an instance's journal lines. Gunicorn's "Perhaps out of memory?" is not taken for one: it is a
    guess."""
    died = recycled = timeouts = oom = 0
    for line in lines:
        died += bool(_DIED.search(line))
        recycled += bool(_RECYCLED.search(line))
        timeouts += bool(_TIMEOUT.search(line))
        oom += bool(_OOM.search(line))
    return LogCounts(died, recycled, timeouts, oom)


def parse_rollup(text: str) -> dict[str, float]:
    """Sums by field, in MiB, of a smaps_rollup or smaps file (every field that ends in kB)."""
    found: dict[str, float] = {}
    for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE):
        found[name] = found.get(name, 0.0) + int(kib) / _KIB
    return found


def read_process(pid: int, proc: str = "/proc") -> ProcessMemory | None:
    """Memory of a process, from smaps_rollup (Linux 4.14) or smaps; None when it is gone or may not be read."""
    root = Path(proc) / str(pid)
    try:
        stat = (root / "stat").read_text().rpartition(")")[2].split()
        started, parent = int(stat[19]), int(stat[1])
        status = parse_rollup((root / "status").read_text())
        rollup = root / "smaps_rollup"
        fields = parse_rollup((rollup if rollup.exists() else root / "smaps").read_text())
    except (OSError, ValueError, IndexError):
        return None
    if "Pss" not in fields:
        return None
    return ProcessMemory(
        pid=pid,
        started=started,
        rss_mib=fields.get("Rss", 0.0),
        pss_mib=fields["Pss"],
        uss_mib=fields.get("Private_Clean", 0.0)
        + fields.get("Private_Dirty", 0.0)
        + fields.get("Private_Hugetlb", 0.0),
        hwm_mib=status.get("VmHWM", fields.get("Rss", 0.0)),
        parent=parent,
    )


def own_mib(pid: int, proc: str = "/proc") -> float:
    """MiB that a process does not share with files, which is fast to read; 0 when it is gone."""
    try:
        fields = (Path(proc) / str(pid) / "statm").read_text().split()
        return (int(fields[1]) - int(fields[2])) * resource.getpagesize() / 2**20
    except (OSError, ValueError, IndexError):
        return 0.0


def reset_high_water(pid: int, proc: str = "/proc") -> bool:
    """Sets a process's VmHWM back to its present size; False when that is not allowed."""
    try:
        (Path(proc) / str(pid) / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


@dataclass
class _Seen:
    first: ProcessMemory
    last: ProcessMemory
    peak_pss: float
    peak_hwm: float


@dataclass(frozen=True)
class CgroupCounts:
    """What the kernel counted of a unit up to a moment: MiB, processes killed, seconds. None is: not known.

    `oom_kills_around`: those of others included, for a unit whose own are not counted.
    """

    peak_mib: float | None = None
    source: str = ""
    oom_kills: int | None = None
    oom_kills_around: int | None = None
    limit_mib: float | None = None
    cpu_seconds: float | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CgroupCounts:
        """From what a `cgroup_reader` gives; None is as good as missing."""
        return cls(**{key: value for key, value in data.items() if value is not None})


@dataclass
class MemorySampler:
    """Samples an instance's processes in a thread while a load runs; `with sampler: ...`, then `sampler.evidence()`.

    pids_fn: process ids of the instance, the master first (an empty list when it is gone). cgroup_reader: a mapping
    with the fields of CgroupCounts, each optional; called before and after, for counts are told as differences.
    journal_fn: the instance's journal lines of the window, called once at the end. ends_fn: how its workers ended
    (workerends), None where it does not write that down. A worker (a child of the master) that disappears is a
    restart, unless it was recycled on purpose: which its end tells, or, without ends, the journal.
    `mark_warm` is called when the warm-up is over; without it the level after the warm-up is not known, and the seconds
    of what was used (MemoryEvidence.use) are those of its clock. use, workers: what else is looked at with every
    sample.
    """

    pids_fn: Callable[[], Sequence[int]]
    cgroup_reader: Callable[[], Mapping[str, object]] | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    interval_s: float = 0.5
    journal_fn: Callable[[], Iterable[str]] | None = None
    ends_fn: Callable[[], list[WorkerEnd] | None] = lambda: None
    reader: Callable[[int], ProcessMemory | None] = read_process
    resetter: Callable[[int], bool] = reset_high_water
    use: UseLog = field(default_factory=UseLog)
    workers: WorkerLog | None = None
    _seen: dict[tuple[int, int], _Seen] = field(default_factory=dict)
    _gone: set[tuple[int, int]] = field(default_factory=set)
    _present: set[tuple[int, int]] = field(default_factory=set)
    _pids: list[int] = field(default_factory=list)
    _notes: list[str] = field(default_factory=list)
    _before: CgroupCounts = CgroupCounts()
    _after: CgroupCounts = CgroupCounts()
    _counts: LogCounts = field(default_factory=LogCounts)
    _first_end: int = 0
    _deaths: Deaths | None = None
    _peak_pss: float = 0.0
    _peak_uss: float = 0.0
    _settled_pss: float | None = None
    _samples: int = 0
    _began: float = 0.0
    _ended: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> MemorySampler:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begins the window: reads the cgroup, sets the high-water marks back and starts sampling."""
        self._began = self.clock()
        self._before = self._cgroup()
        self._first_end = last_serial(self.ends_fn())
        reset = [self.resetter(pid) for pid in self.pids_fn()]
        if not all(reset):
            self._note("high-water marks could not be set back: spikes may be older than the window")
        self.sample()
        self._thread = begin_thread(threading.Thread(target=self._loop, name="headcount-memory", daemon=True))

    def stop(self) -> None:
        """Ends the window."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10.0)
        self.sample()
        self._after = self._cgroup()
        self._ended = self.clock()
        self._deaths = self._ends()
        if self.journal_fn is not None:
            try:
                lines = list(self.journal_fn())
            except OSError as problem:
                lines = [f"{UNREAD}{problem}"]
            self._counts = count_restarts(lines)
            if lines and lines[0].startswith(UNREAD):
                self._note(lines[0])

    def sample(self, look_again: bool = True) -> None:
        """One sample of every process; look_again: ask for the processes anew (which may cost a systemctl)."""
        pids = list(self.pids_fn()) if look_again or not self._pids else self._pids
        self._pids = pids
        found = [memory for pid in pids if (memory := self.reader(pid)) is not None]
        # only the master and its children: a program that a request starts may come and go
        present = {memory.key for memory in found if pids[0] in (memory.pid, memory.parent)}
        unread = set(pids) - {memory.pid for memory in found}
        present |= {key for key in self._present if key[0] in unread}
        self._gone |= self._present - present
        self._present = present
        for memory in found:
            self._see(memory)
        pss = sum(memory.pss_mib for memory in found)
        self.use.look([memory.key for memory in found], pss if found else None)
        self._look_at_workers(pids, found)
        self._peak_pss = max(self._peak_pss, pss)
        self._peak_uss = max(self._peak_uss, sum(memory.uss_mib for memory in found))
        self._samples += 1

    def _look_at_workers(self, pids: Sequence[int], found: Sequence[ProcessMemory]) -> None:
        if self.workers is not None:
            self.workers.look([memory.key for memory in found if memory.parent == pids[0]])

    def _see(self, memory: ProcessMemory) -> None:
        seen = self._seen.setdefault(memory.key, _Seen(memory, memory, memory.pss_mib, memory.hwm_mib))
        seen.last = memory
        seen.peak_pss = max(seen.peak_pss, memory.pss_mib)
        seen.peak_hwm = max(seen.peak_hwm, memory.hwm_mib)

    def mark_warm(self) -> None:
        """Notes the present PSS of all processes as the level after the warm-up, and when that was."""
        self._settled_pss = self.level()
        self.use.mark_warm()

    def level(self) -> float | None:
        """The present PSS of all processes in MiB; None when none can be read."""
        found = [memory.pss_mib for pid in self.pids_fn() if (memory := self.reader(pid)) is not None]
        return round(sum(found), 3) if found else None

    def evidence(self) -> MemoryEvidence:
        """What the window showed. The peak is the cgroup's where it tells one, else the sum of PSS with spikes."""
        peak, source = self._after.peak_mib, self._after.source
        if peak is None:
            # every process's own spike at the same time: an upper bound of what sampling would have found
            spikes = sum(max(0.0, seen.peak_hwm - seen.last.rss_mib) for seen in self._seen.values())
            peak = self._peak_pss + spikes if self._seen else None
            source = "PSS of the processes plus their spikes (VmHWM)" if self._seen else "no process could be read"
        lost = len(self._gone)
        ends = self._deaths
        restarts = max(self._counts.died, lost - self._counts.recycled, 0)
        if ends is not None:
            restarts = ends.count
        elif self._counts.timeouts:
            self._note(f"{self._counts.timeouts} workers hit gunicorn's timeout")
        return MemoryEvidence(
            peak_mib=peak,
            source=source,
            pss_mib=round(self._peak_pss, 3) if self._seen else None,
            uss_mib=round(self._peak_uss, 3) if self._seen else None,
            after_warmup_mib=self._settled_pss,
            oom_kills=self._oom_kills(),
            restarts=restarts,
            recycled=ends.recycled if ends is not None else self._counts.recycled,
            limit_mib=self._after.limit_mib,
            cpu_seconds=_difference(self._before.cpu_seconds, self._after.cpu_seconds),
            seconds=round(self._ended - self._began, 3),
            workers=self._workers(),
            notes=tuple(self._notes),
            deaths=ends.ways() if ends is not None else "",
            use=self.use.columns(),
        )

    def _workers(self) -> tuple[Mapping[str, object], ...]:
        """What was seen of each process, the workers' signs of life among it."""
        told = self.workers.told() if self.workers is not None else {}
        found = [{**_worker(seen, key in self._gone), **told.get(key, {})} for key, seen in sorted(self._seen.items())]
        return tuple(moved_workers(found, self.use.warm_at))

    def died(self) -> str:
        """That a worker has died since the window began, in a sentence; empty where none has, or where nobody writes it
        down."""
        ends = self.ends_fn()
        found = deaths(ends, self._first_end, ()) if ends is not None else None
        if found is None or not found.died:
            return ""
        lost = "1 worker" if len(found.died) == 1 else f"{len(found.died)} workers"
        return f"{lost} of the candidate died under load ({found.ways()})"

    def _ends(self) -> Deaths | None:
        """The master writes an end down just after it has waited for the worker: a missing one is looked for again."""
        gone = {pid for pid, _ in self._gone}
        found = None
        for _ in range(ENDS_LOOKS):
            ends = self.ends_fn()
            found = deaths(ends, self._first_end, gone) if ends is not None else None
            if found is None or not found.missing:
                break
            self.sleep(ENDS_WAIT_S)
        return found

    def _oom_kills(self) -> int | None:
        counted = _difference(self._before.oom_kills, self._after.oom_kills)
        if counted is None and _difference(self._before.oom_kills_around, self._after.oom_kills_around) == 0:
            return self._counts.out_of_memory  # nobody's were killed, and so none of its
        if counted is None:
            return self._counts.out_of_memory or (0 if self.cgroup_reader is None and self.journal_fn else None)
        return max(int(counted), self._counts.out_of_memory)

    def _cgroup(self) -> CgroupCounts:
        if self.cgroup_reader is None:
            return CgroupCounts()
        try:
            return CgroupCounts.from_dict(self.cgroup_reader())
        except OSError as problem:
            self._note(f"the cgroup could not be read: {problem}")
            return CgroupCounts()

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    def _loop(self) -> None:
        turn = 0
        while not self._stop.wait(self.interval_s):
            turn += 1
            with contextlib.suppress(OSError):
                self.sample(turn % LOOK_AGAIN_EVERY == 0)


def _difference(before: float | None, after: float | None) -> float | None:
    return None if after is None else max(0.0, float(after) - float(before or 0.0))


def _worker(seen: _Seen, gone: bool) -> dict[str, object]:
    return {
        "pid": seen.first.pid,
        "pss_mib": round(seen.peak_pss, 3),
        "uss_mib": round(seen.last.uss_mib, 3),
        "first_uss_mib": round(seen.first.uss_mib, 3),
        "hwm_mib": round(seen.peak_hwm, 3),
        "gone": gone,
    }
