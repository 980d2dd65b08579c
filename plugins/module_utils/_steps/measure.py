# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Weigh a candidate that runs with one worker: memory per worker and per slot, CPU time against wall time per request.

A weigh takes a few seconds: requests one after another tell the time that one request takes when nothing else is
asked; then a crowd of requests, which grows to as many as one worker may have in flight, tells what a slot costs in
memory. The crowd stops growing where its next size would not fit in the memory, so that a weigh does not kill what it
weighs. The requests come from this process, whose own CPU time is not counted: only the candidate's processes are.

Every request is bounded, and so is every phase: longest_seconds() says how long a weigh can take at most. A path that
never ends by itself ends the weigh at once, with its name.
"""

from __future__ import annotations

import itertools
import math
import os
import statistics
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Callable, Iterator, Mapping, Sequence, TypedDict

from .._declaration.app import LoadPath
from .._os.background import begin_thread
from .._os.http import Answer, Ask, request, unwell, well
from .endings import NOT_COUNTED, Endings, broke
from .leaking import leaking
from .uncounted import told, with_fix
from .weighed import Weighed, queued_seconds

WARM_SECONDS = 1.0
SOLO_SECONDS = 2.0
GROW_SECONDS = 0.5
CROWD_SECONDS = 1.5
LEAST_REQUESTS = 5
LEAST_SLOW = 2
PATH_REQUESTS = 5
SLOW_SECONDS = 30.0
"""Where answers take so long that LEAST_REQUESTS of them do not fit into this many seconds, LEAST_SLOW are enough. Each
path is asked PATH_REQUESTS times, however small its weight: how its times vary decides over the worker class."""

ASKER_STACK_BYTES = 512 * 1024
CROWD_FIRST = 2
CROWD_FACTOR = 4
CROWD_LIMIT = 64
WARM_TIMES = 3
"""So often a worker is warmed that ends meanwhile."""
WATCH_SECONDS = 0.1
ENOUGH_FAILURES = 100
FAILING_SHARE = 0.1
"""Requests are made no longer once so many, and so large a share of them, have failed: more tell nothing new, and what
the app logs of each would use up the lines that the journal takes of one unit, or take the place of other logs."""

FILLED_SHARE = 0.85
"""The crowd does not grow to where it would fill more than this share of MemoryMax."""


def too_many_failed(asked: int, failures: int) -> bool:
    """Whether `failures` of `asked` requests are enough to make no more."""
    return failures >= ENOUGH_FAILURES and failures >= FAILING_SHARE * asked


class NotMeasured(Exception):
    """The candidate could not be weighed; the message says why in one sentence. `path`: whose requests failed, if that
    is why."""

    def __init__(self, sentence: str, path: str = "") -> None:
        super().__init__(sentence)
        self.path = path


@dataclass(frozen=True)
class Asked:
    """What a phase of requests came to: wall milliseconds of each good answer, failures, and its length in seconds.

    `example`: what the first failure was, and `path` of what; `endless`: what a request did that did not end by itself;
    `broken`: how many requests of each name broke off without an answer.
    """

    wall_ms: list[float]
    failures: int
    seconds: float
    example: str = ""
    endless: str = ""
    path: str = ""
    broken: Counter[str] = field(default_factory=Counter)


def ask(
    address: str,
    paths: Sequence[LoadPath],
    seconds: float,
    at_once: int,
    least: int,
    timeout_seconds: float,
    monotonic: Callable[[], float] = time.monotonic,
) -> Asked:
    """Ask `address` (a unix socket) for `seconds`, with `at_once` requests in flight, at least `least` from each asker.

    Paths are taken by weight, in a fixed order. Bounded: no request begins later than `seconds` + SLOW_SECONDS, and
    none takes longer than `timeout_seconds`. All stop at the first request that does not end by itself, where too many
    have failed (too_many_failed()), and, asked one after another, at a path that was silent twice and never answered.
    """
    order = [asked_of(path) for path in weighted_order(paths)]
    begin = monotonic()
    results: list[list[float]] = [[] for _ in range(at_once)]
    failures = [0] * at_once
    examples: list[tuple[str, str]] = []
    endless: list[str] = []
    silent: Counter[str] = Counter()
    broken: Counter[str] = Counter()
    answered: set[str] = set()

    def work(slot: int) -> None:
        turn = slot
        while monotonic() - begin < seconds or (turn - slot) // at_once < least:
            if endless or monotonic() - begin > seconds + SLOW_SECONDS:
                return
            failed = sum(failures)
            if too_many_failed(failed + sum(map(len, results)), failed):
                return
            asked = order[turn % len(order)]
            answer = request(address, asked, asked.within(timeout_seconds))
            turn += at_once
            error = unwell(asked, answer)
            answered.update([asked.path] if answer.status else [])
            silent[asked.path] += answer.timed_out
            broken.update([named(asked)] if broke(answer) else [])
            if answer.endless or (at_once == 1 and silent[asked.path] > 1 and asked.path not in answered):
                endless.append(error)
            if error:
                failures[slot] += 1
                examples.append((error, asked.path))
            else:
                results[slot].append(answer.elapsed_ms)

    before = threading.stack_size(ASKER_STACK_BYTES)
    try:
        threads = [threading.Thread(target=work, args=(slot,), daemon=True) for slot in range(at_once)]
        for thread in threads:
            begin_thread(thread)
    finally:
        threading.stack_size(before)
    for thread in threads:
        thread.join()
    wall_ms = [value for slot in results for value in slot]
    example, path = examples[0] if examples else ("", "")
    return Asked(wall_ms, sum(failures), monotonic() - begin, example, endless[0] if endless else "", path, broken)


def longest_seconds(timeout_seconds: float) -> float:
    """Seconds that a weigh can take at most, of which one request may take `timeout_seconds`."""
    sizes, size = 1, CROWD_FIRST
    while size < CROWD_LIMIT:
        sizes, size = sizes + 1, size * CROWD_FACTOR
    phases = [WARM_SECONDS, SOLO_SECONDS, *[CROWD_SECONDS] * sizes]
    return sum(seconds + SLOW_SECONDS + timeout_seconds for seconds in phases)


def asked_of(path: LoadPath) -> Ask:
    """One request for a path of the load."""
    return Ask(path.path, path.method, path.headers, path.body, path.status or (), path.contains or "")


def named(asked: Ask) -> str:
    """A request as people are told of it: "GET /x"."""
    return f"{asked.method} {asked.path}"


def weighted_order(paths: Sequence[LoadPath]) -> list[LoadPath]:
    """Paths in a repeating order of at most 100 that follows their weights."""
    least = min(path.weight for path in paths)
    counts = [max(1, round(path.weight / least)) for path in paths]
    scale = max(1.0, sum(counts) / 100)
    return [path for path, count in zip(paths, counts) for _ in range(max(1, round(count / scale)))]


class Weighing(TypedDict):
    """What a weigh found, as the generation keeps it. Memory is in MiB; times are ms, means by the paths' weights.

    `worker_pss_mib`: warm and idle; `worker_loaded_mib`: the most USS under load, with `crowd` requests in flight;
    `slot_mib`: growth for each of them; `kept_mib`: growth for each request that has ended; `master_mib`: PSS.
    `wall_ms` is without `lost_ms`, what a request took longer because the CPU served others, or the asker itself;
    `wait_ratio`: waiting over CPU. `paths`: the times of each path, as OnePath tells them; 0 requests of one that never
    answered well. `uncounted`: a sentence for each path whose answers do not count, or not all, and before them one
    of the workers that ended meanwhile.
    """

    worker_pss_mib: float
    worker_loaded_mib: float
    crowd: int
    slot_mib: float
    kept_mib: float
    master_mib: float
    cpu_ms: float
    wall_ms: float
    lost_ms: float
    wait_ratio: float
    paths: list[PathFigures]
    uncounted: list[str]
    requests: int
    failures: int
    seconds: float


def weigh(
    unit: Weighed,
    address: str,
    paths: Sequence[LoadPath],
    slots: int,
    timeout_seconds: float = 10.0,
    memory_max_mib: float | None = None,
    keeping: Callable[[float, Mapping[str, Sequence[float]]], None] = lambda rest_mib, grown: None,
) -> Weighing:
    """Weigh the running candidate `unit`, which answers on the unix socket `address`.

    `slots` is how many requests its one worker may have in flight, `memory_max_mib` what all its processes together may
    take (None: no bound), `timeout_seconds` how long one request may take (patience.answer_seconds). `keeping` gets
    what the worker took at rest, and by how many MiB it grew with each request, by its name.

    Raises NotMeasured when too few requests are answered, when one does not end by itself, or when the worker leaks
    memory so fast that no plan holds.
    """
    begin = time.monotonic()
    candidate = _Candidate(unit, address, paths, timeout_seconds, Endings(unit.ends))
    rest = _warmed(candidate)
    solo = _solo(candidate)
    _fail_if_few(solo, candidate.endings)
    asked = solo.answered + solo.failures
    after_mib = candidate.uss_mib(rest.workers)
    grown = {path.name: path.grown_mib for path in solo.paths}
    leak = leaking(rest.uss_mib, after_mib, asked, memory_max_mib, grown)
    if leak:
        raise NotMeasured(leak)
    keeping(rest.uss_mib, grown)
    room = math.inf if memory_max_mib is None else FILLED_SHARE * memory_max_mib - rest.master_mib
    crowd = _crowd(replace(candidate, paths=solo.well(paths)), min(slots, CROWD_LIMIT), rest.uss_mib, room)
    cpu_ms, wait_ms, lost_ms = (solo.mean(name) for name in ("cpu_ms", "wait_ms", "lost_ms"))
    return {
        "worker_pss_mib": round(rest.pss_mib, 2),
        "worker_loaded_mib": round(crowd.peak_mib, 2),
        "crowd": crowd.size,
        "slot_mib": round((crowd.peak_mib - rest.uss_mib) / crowd.size, 4),
        "kept_mib": round(max(0.0, after_mib - rest.uss_mib) / asked, 4),
        "master_mib": round(rest.master_mib, 2),
        "cpu_ms": round(cpu_ms, 3),
        "wall_ms": round(cpu_ms + wait_ms, 3),
        "lost_ms": round(lost_ms, 3),
        "wait_ratio": round(wait_ms / max(cpu_ms, 0.01), 3),
        "paths": [path.to_dict() for path in solo.paths],
        "uncounted": _uncounted(solo, candidate.endings),
        "requests": solo.answered + crowd.answered,
        "failures": solo.failures + crowd.failures,
        "seconds": round(time.monotonic() - begin, 2),
    }


def _uncounted(solo: Solo, endings: Endings) -> list[str]:
    """A sentence of the workers that ended, and one for each path whose answers do not count, or not all."""
    ended = endings.sentence()
    of_paths = [told(len(path.cpu_ms), path.wrong(endings.under_way[path.name])) for path in solo.paths]
    said = [f"{ended}{NOT_COUNTED}" if ended else "", *of_paths]
    return list(filter(None, said))


@dataclass(frozen=True)
class _Candidate:
    """What is weighed: its processes, the unix socket that it answers on, the load's paths, how long one request may
    take, and the workers of it that end meanwhile."""

    unit: Weighed
    address: str
    paths: Sequence[LoadPath]
    timeout_seconds: float
    endings: Endings

    def uss_mib(self, pids: Sequence[int]) -> float:
        """Memory of those of `pids` that are there, now."""
        return sum(memory.uss_mib for pid, memory in self.unit.memory().items() if pid in pids)


@dataclass(frozen=True)
class _Rest:
    """A warm candidate that is asked nothing: its workers' process ids, and MiB of them and of the master (PSS)."""

    workers: tuple[int, ...]
    pss_mib: float
    uss_mib: float
    master_mib: float


def _warmed(candidate: _Candidate) -> _Rest:
    """The memory of a candidate that has answered for WARM_SECONDS. Raises NotMeasured when it answers nothing."""
    paths, unit = candidate.paths, candidate.unit
    for _ in range(WARM_TIMES):
        warm = ask(candidate.address, paths, WARM_SECONDS, 1, LEAST_REQUESTS, candidate.timeout_seconds)
        _fail_if_endless(warm.endless)
        ended = candidate.endings.among(warm.broken)
        if not warm.wall_ms:
            why = "; ".join(filter(None, (with_fix(warm.example), candidate.endings.sentence())))
            raise NotMeasured(f"no request of the load was answered while it was weighed: {why}", warm.path)
        if not ended:
            break
    idle = unit.memory()
    workers = tuple(pid for pid in idle if pid != unit.main_pid)
    if not workers:
        raise NotMeasured("the candidate has no worker process to weigh")
    return _Rest(
        workers=workers,
        pss_mib=sum(idle[pid].pss_mib for pid in workers),
        uss_mib=sum(idle[pid].uss_mib for pid in workers),
        master_mib=idle[unit.main_pid].pss_mib if unit.main_pid in idle else 0.0,
    )


def _fail_if_few(solo: Solo, endings: Endings) -> None:
    """Raise NotMeasured where too few requests were answered, one after another, to tell anything."""
    if solo.answered < (LEAST_REQUESTS if solo.seconds < SLOW_SECONDS else LEAST_SLOW):
        ended = endings.sentence()
        few = f"only {solo.answered} requests were answered while it was weighed"
        few = f"{ended}; only {solo.answered} requests were answered by one that was warm" if ended else few
        failed = f"; {solo.failures} failed: {solo.example}" if solo.failures else ""
        raise NotMeasured(f"{few}{failed}", solo.failing)


def _fail_if_endless(endless: str) -> None:
    if endless:
        slow = (
            ""
            if "still sends" in endless or "sent more" in endless
            else ("; if it only is slow, say so with limits.p95_ms or settings.timeout")
        )
        raise NotMeasured(
            f"{endless}; what never ends can be neither weighed nor tried: declare other load.paths, and leave "
            f"streams, server-sent events and long polls out of them{slow}"
        )


class PathFigures(TypedDict):
    """The times of one path as the plan takes them: means and standard deviations in ms (of a single answer, 0).

    `refused`: they are of refusals (403) or redirects alone, which the path's `status` lets in beside a page.
    """

    path: str
    weight: float
    requests: int
    cpu_ms: float
    cpu_sd_ms: float
    wait_ms: float
    wait_sd_ms: float
    refused: bool


@dataclass(frozen=True)
class OnePath:
    """What a path took when nothing else was asked: milliseconds of each good answer, on a CPU, waiting, and lost to
    others."""

    path: str
    weight: float
    cpu_ms: list[float]
    wait_ms: list[float]
    lost_ms: list[float]
    errors: list[str] = field(default_factory=list)
    """What was wrong with each answer that was not good."""
    method: str = "GET"
    broken: list[str] = field(default_factory=list)
    """The same, of requests that broke off without an answer."""
    grown_mib: list[float] = field(default_factory=list)
    """By how much the worker grew with each request."""
    lets_in: Sequence[int] = ()
    statuses: set[int] = field(default_factory=set)
    """The `status` that is declared, and those of its good answers."""

    @property
    def name(self) -> str:
        """As people are told of it."""
        return f"{self.method} {self.path}"

    def wrong(self, ends: int) -> list[str]:
        """What was wrong with its answers, where so many of its requests were under way as a worker ended: of those
        that is told."""
        return [*self.errors, *self.broken[ends:]]

    def to_dict(self) -> PathFigures:
        """As the generation keeps them."""
        return {
            "path": self.path,
            "weight": self.weight,
            "requests": len(self.cpu_ms),
            "cpu_ms": round(_mean(self.cpu_ms), 3),
            "cpu_sd_ms": round(statistics.pstdev(self.cpu_ms) if self.cpu_ms else 0.0, 3),
            "wait_ms": round(_mean(self.wait_ms), 3),
            "wait_sd_ms": round(statistics.pstdev(self.wait_ms) if self.wait_ms else 0.0, 3),
            "refused": bool(self.statuses) and not any(map(well, self.statuses)) and any(map(well, self.lets_in)),
        }


@dataclass(frozen=True)
class Solo:
    """Requests one after another: each path, failures, and the length of the phase in seconds. `example`: what the
    first failure was, `failing`: the path of it."""

    paths: list[OnePath]
    failures: int
    seconds: float
    example: str = ""
    failing: str = ""

    @property
    def answered(self) -> int:
        """Good answers."""
        return sum(len(path.cpu_ms) for path in self.paths)

    def well(self, paths: Sequence[LoadPath]) -> list[LoadPath]:
        """Those of `paths`, which are in the same order, that answered well at all."""
        return [path for path, found in zip(paths, self.paths) if found.cpu_ms]

    def mean(self, name: str) -> float:
        """The mean of cpu_ms, wait_ms or lost_ms over the paths that answered, by their weights."""
        answering = [path for path in self.paths if path.cpu_ms]
        whole = sum(path.weight for path in answering)
        return sum(path.weight * _mean(getattr(path, name)) for path in answering) / whole if whole else 0.0


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else 0.0


def _turns(paths: Sequence[LoadPath]) -> Iterator[int]:
    """Which of the paths is asked next: each PATH_REQUESTS times in turn, then by weight without an end."""
    for _ in range(PATH_REQUESTS):
        yield from range(len(paths))
    places = {id(path): index for index, path in enumerate(paths)}
    yield from itertools.cycle([places[id(path)] for path in weighted_order(paths)])


def _unasked(path: LoadPath) -> OnePath:
    return OnePath(path.path, float(path.weight), [], [], [], method=path.method, lets_in=path.status or ())


def _solo(candidate: _Candidate) -> Solo:
    """Each path PATH_REQUESTS times in turn, then by weight until SOLO_SECONDS are over.

    Bounded as ask() is, and ended as it is by a path that never ends or never answers. What a worker does after an
    answer (closing, its log) counts for the next request; what it waits for another worker, for none.
    """
    found = list(map(_unasked, candidate.paths))
    least = max(PATH_REQUESTS * len(found), LEAST_REQUESTS)
    silent: Counter[int] = Counter()
    begin, failures, example, failing, took = time.monotonic(), 0, "", "", 0.0
    for asked, index in enumerate(_turns(candidate.paths)):
        took = time.monotonic() - begin
        enough = asked >= least and too_many_failed(asked, failures)
        if enough or took > SOLO_SECONDS + (0.0 if asked >= least else SLOW_SECONDS):
            break
        path, one = found[index], _alone(candidate, candidate.paths[index])
        silent[index] += one.answer.timed_out
        if one.answer.endless or (silent[index] > 1 and not path.cpu_ms):
            _fail_if_endless(one.error)
        met = candidate.endings.met(path.name, one.answer)
        if one.error:
            failures, example, failing = failures + 1, example or one.error, failing or path.path
            (path.broken if broke(one.answer) else path.errors).append(one.error)
            continue
        if met:
            continue
        path.grown_mib.append(one.grown_mib)
        path.statuses.add(one.answer.status)
        path.cpu_ms.append(one.cpu_ms)
        path.lost_ms.append(one.lost_ms)
        path.wait_ms.append(max(0.0, one.answer.elapsed_ms - one.cpu_ms - one.lost_ms))
    return Solo(found, failures, took, example, failing)


@dataclass(frozen=True)
class _One:
    """One request: the answer, what is wrong with it, milliseconds on the candidate's CPU and lost to others, and the
    MiB that the worker grew by."""

    answer: Answer
    error: str
    cpu_ms: float
    lost_ms: float
    grown_mib: float


def _alone(candidate: _Candidate, path: LoadPath) -> _One:
    """One request while nothing else is asked.

    Lost is the time that the candidate and the asker were ready to run while others had the CPU, and the asker's own
    time: a host that is weighed serves its users meanwhile, and without this a request that only computes seems to
    wait. What takes long to read is read outermost, so that reading it is not taken for a loss.
    """
    asker, unit, asked = [os.getpid()], candidate.unit, asked_of(path)
    before = unit.own_mib()
    cpu, queued, late, own = unit.cpu_seconds(), unit.queued_seconds(), queued_seconds(asker), time.process_time()
    answer = request(candidate.address, asked, asked.within(candidate.timeout_seconds))
    own, late = time.process_time() - own, queued_seconds(asker) - late
    queued, cpu = unit.queued_seconds() - queued, unit.cpu_seconds() - cpu
    grown = unit.own_mib() - before
    return _One(answer, unwell(asked, answer), 1000 * max(0.0, cpu), 1000 * max(0.0, queued + late + own), grown)


@dataclass(frozen=True)
class Crowd:
    """What the growing crowd came to: its last size, the most memory (USS, MiB) that the workers had, and requests."""

    size: int
    peak_mib: float
    answered: int
    failures: int


def next_crowd(size: int, most: int, idle_mib: float, peak_mib: float, room_mib: float) -> int | None:
    """The size of the crowd after `size` requests at once; None when it is to grow no more.

    `idle_mib` and `peak_mib`: memory of the workers without load and with `size` in flight; `room_mib`: what they may
    take. Memory is taken to grow by as much with each request as it did so far.
    """
    slot = max(0.0, peak_mib - idle_mib) / size
    fits = most if slot == 0 else int(min(most, (room_mib - idle_mib) / slot))
    larger = min(size * CROWD_FACTOR, most, fits)
    return larger if larger > size else None


def _crowd(candidate: _Candidate, most: int, idle_mib: float, room_mib: float) -> Crowd:
    """Requests at once, from a few to `most` or to as many as `room_mib` holds; the last crowd stays longest."""
    peak, answered, failures = idle_mib, 0, 0
    size: int | None = max(1, min(most, CROWD_FIRST))
    last = 1
    while size is not None:
        last = size
        seconds = CROWD_SECONDS if size >= most else GROW_SECONDS
        seen, asked = _watched(candidate, size, seconds)
        _fail_if_endless(asked.endless)
        candidate.endings.among(asked.broken)
        peak = max(peak, seen)
        answered, failures = answered + len(asked.wall_ms), failures + asked.failures
        too_many = too_many_failed(answered + failures, failures)
        size = None if too_many else next_crowd(size, most, idle_mib, peak, room_mib)
    return Crowd(last, peak, answered, failures)


def _watched(candidate: _Candidate, size: int, seconds: float) -> tuple[float, Asked]:
    """The most memory (USS, MiB) that the workers had while `size` requests were in flight, and the requests."""
    peaks, unit = [0.0], candidate.unit
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen = unit.memory()
            peaks.append(sum(memory.uss_mib for pid, memory in seen.items() if pid != unit.main_pid))
            done.wait(WATCH_SECONDS)

    watcher = begin_thread(threading.Thread(target=watch, daemon=True))
    try:
        asked = ask(candidate.address, candidate.paths, seconds, size, 1, candidate.timeout_seconds)
    finally:
        done.set()
        watcher.join()
    return max(peaks), asked
