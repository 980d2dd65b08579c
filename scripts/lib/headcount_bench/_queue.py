# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A small simulation of Gunicorn's workers as queues: what response times a mixture of requests gets from a shape.

Each core has a run queue of its own, as in CFS and EEVDF: those of one core share it evenly, and a core takes a process
from a fuller one when it looks for work. Three that compute on two cores do so at 1, 1/2 and 1/2, and not at 2/3 each.
A process that wakes goes to the core with the fewest. Where clients run on the same cores (`beside`) it is as good as
chance which one: the client that connects is on one of them just then, so the kernel finds none idle. Within a process
one thing computes at a time: the interpreter lock hands over at most every `switch_ms` (gthread) or only when the
request waits or ends (a sync worker has one request; of a gevent hub see below). New connections wait in one shared
queue, from which a process with a free slot takes them as soon as its accepting thread gets to run. Milliseconds
throughout.

A gevent hub runs all that is ready before it looks at its timers and sockets again (`_run_callbacks` of gevent's loop).
Then it takes HUB_ACCEPTS connections in a go where it is the only worker (`max_accept` of gevent's BaseServer), and one
where there are others (Gunicorn's gevent worker sets that). A request that has computed lets all others go first that
are ready: it waits for something, and where that is for 0 ms, as in the sample app's route, `gevent.sleep(0)` goes to
the end of what is ready. So of those that a hub takes together all compute before the first one is answered.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, Iterator, Sequence

OVERHEAD_MS: Final = 0.7
"""CPU of Gunicorn and Flask for a request, beside the route's own."""

ACCEPT_MS: Final = 0.1
"""Part of the overhead that accepting takes, in a thread of its own under gthread and in the hub under gevent."""

HUB_ACCEPTS: Final = 100
"""Connections that the only gevent worker takes in a go."""

HOPS: Final = 2
"""How often another thread has the interpreter lock while one reads a request, and again while it answers. It lets the
lock go four times each, and has it back at once unless the thread that was woken gets to run before that."""

TURN_MS: Final = 0.0025
"""CPU that each thread takes which waits for the interpreter lock, when one is made to hand it over: the wait of each
runs out (`take_gil` of CPython), and it wakes. 5 ms of CPU took 5.7, 5.9 and 6.5 ms in sixteen threads that take
turns each 1, 0.5 and 0.2 ms (docs/planner.md, levers), which is 0.04 ms for a turn of sixteen."""

WAKE_MS: Final = 0.05
"""CPU that a connection costs each idle process of threads that it wakes in vain (docs/planner.md, levers)."""

SWITCH_MS: Final = 5.0
"""sys.getswitchinterval(): a thread that computes hands the interpreter lock over after so long, when another waits."""


IDLE_BALANCE_MS: Final = 8.0
BUSY_BALANCE_MS: Final = 64.0
"""When a core looks for work on a fuller one. With nothing to do two ticks later (CONFIG_HZ=250): an idle core has no
tick of its own, so the fuller one notices first. Else sixteen times (Linux' `busy_factor`) each 4 ms, to which the 2 ms
of a domain of two cores grow where they are mostly found even."""


@dataclass(frozen=True)
class Kind:
    """A kind of request: CPU time of its own, then what it waits, and how often it comes
    (relative to the other kinds)."""

    name: str
    cpu_ms: float
    wait_ms: float = 0.0
    weight: float = 1.0

    @property
    def alone_ms(self) -> float:
        """What it takes when nothing else is asked."""
        return self.cpu_ms + OVERHEAD_MS + self.wait_ms


@dataclass(frozen=True)
class Queues:
    """What is simulated: processes with so many slots each (math.inf: no bound), and how long one thing may compute
    while another waits in the same process (math.inf: until it waits or ends)."""

    processes: int
    slots: float
    switch_ms: float = math.inf

    @property
    def hub(self) -> bool:
        """Whether a process holds many requests, of which one computes until it waits: gevent."""
        return self.slots > 1 and math.isinf(self.switch_ms)

    @classmethod
    def of(cls, worker_class: str, workers: int, per_worker: int = 1, switch_ms: float = SWITCH_MS) -> Queues:
        """The queues of a worker class."""
        if worker_class == "sync":
            return cls(workers, 1)
        return cls(workers, per_worker, switch_ms if worker_class == "gthread" else math.inf)


@dataclass
class _Request:
    kind: int
    arrived: float
    stages: list[tuple[float, float]]
    """CPU, then a wait (0: the lock is only let go), each in turn."""


_ACCEPT: Final = -1


@dataclass
class _Process:
    free: float
    ready: deque[tuple[_Request | None, float]] = field(default_factory=deque)
    running: _Request | None = None
    busy: bool = False
    ends: float = 0.0
    token: int = 0
    core: int = 0
    accepting: bool = False
    taken: list[_Request] = field(default_factory=list)
    """What is being accepted."""
    back: deque[_Request] = field(default_factory=deque)
    """What has waited, and the hub has not seen yet."""


@dataclass
class _Core:
    """A run queue: its speed when one computes, the processes that do, and the work that each has been given."""

    speed: float
    computing: set[int] = field(default_factory=set)
    given: float = 0.0
    bursts: list[tuple[float, int, int, int]] = field(default_factory=list)
    """(what will have been given when it ends, order, process, token); stale where the process moved on since."""

    @property
    def each(self) -> float:
        """The speed of each."""
        return self.speed / len(self.computing) if self.computing else 0.0


class _Simulation:
    def __init__(self, queues: Queues, cores: float, kinds: Sequence[Kind], beside: bool = False) -> None:
        self.queues, self.kinds = queues, kinds
        self.chance = random.Random(0) if beside else None
        self.looking = False
        whole = max(1, math.ceil(cores))
        self.cores = [_Core(cores / whole) for _ in range(whole)]
        self.processes = [_Process(queues.slots) for _ in range(queues.processes)]
        self.now = 0.0
        self.computed = 0.0
        self.by_time: list[tuple[float, int, str, Any]] = []
        self.waiting: deque[_Request] = deque()
        self.order = itertools.count()
        self.done: list[tuple[int, float, float]] = []
        self.idle = list(range(queues.processes))

    def at(self, when: float, what: str, data: Any) -> None:
        heapq.heappush(self.by_time, (when, next(self.order), what, data))

    def stages(self, kind: Kind) -> list[tuple[float, float]]:
        """The bursts of a request; between two of them a thread lets the interpreter lock go, to read or to write."""
        own = OVERHEAD_MS if self.queues.slots == 1 else OVERHEAD_MS - ACCEPT_MS
        if self.queues.hub:
            return [(own / 2 + kind.cpu_ms, kind.wait_ms), (own / 2, 0.0)]
        around = [(own / (2 * HOPS), 0.0)] * HOPS
        if kind.wait_ms <= 0:
            return [*around, (kind.cpu_ms, 0.0), *around]
        return [*around, (kind.cpu_ms, kind.wait_ms), *around]

    def run(self, arrivals: Iterator[tuple[float, int]], until: float) -> list[tuple[int, float, float]]:
        def next_arrival() -> None:
            item = next(arrivals, None)
            if item is not None and item[0] < until:
                self.at(item[0], "arrive", item[1])

        next_arrival()
        while True:
            first, core = min((self.next_end(core), number) for number, core in enumerate(self.cores))
            when = min(first, self.by_time[0][0] if self.by_time else math.inf)
            if when > 4 * until:
                break
            for each in self.cores:
                each.given += (when - self.now) * each.each
                self.computed += (when - self.now) * each.speed if each.computing else 0.0
            self.now = when
            if first <= when:
                _, _, index, _ = heapq.heappop(self.cores[core].bursts)
                self.burst_ended(index)
                continue
            _, _, what, data = heapq.heappop(self.by_time)
            if what == "arrive":
                kind = self.kinds[data]
                self.waiting.append(_Request(data, self.now, self.stages(kind)))
                self.wake()
                next_arrival()
            elif what == "back":
                self.back(*data)
            elif what == "balance":
                self.balance()
            else:
                index, token = data
                process = self.processes[index]
                if process.token == token and process.ready:
                    self.switch(index)
        return self.done

    def next_end(self, core: _Core) -> float:
        """When the first burst of a core ends."""
        while core.bursts:
            ends, _, index, token = core.bursts[0]
            if self.processes[index].token == token and self.cores[self.processes[index].core] is core:
                return self.now + (ends - core.given) / core.each
            heapq.heappop(core.bursts)
        return math.inf

    def begin(self, index: int, work: float) -> None:
        """Lets a process compute: where it does already, else on a core of the kernel's choice."""
        process = self.processes[index]
        if not process.busy:
            process.core = self.place(process.core)
            process.busy = True
            self.cores[process.core].computing.add(index)
            self.look()
        self.give(process, index, work)

    def place(self, last: int) -> int:
        """The core for a process that wakes: the one with the fewest, its last one if it can be; see above."""
        if self.chance is not None:
            return self.chance.randrange(len(self.cores))
        return min(range(len(self.cores)), key=lambda at: (len(self.cores[at].computing), at != last))

    def give(self, process: _Process, index: int, work: float) -> None:
        core = self.cores[process.core]
        process.ends = core.given + work
        heapq.heappush(core.bursts, (process.ends, next(self.order), index, process.token))

    def leave(self, index: int) -> None:
        """A process has nothing to compute any more."""
        process = self.processes[index]
        process.busy = False
        process.token += 1
        self.cores[process.core].computing.discard(index)
        self.look()

    def uneven(self) -> tuple[_Core, int] | None:
        """The fullest core, and the place of the one with the fewest, where that has at least two less."""
        most = max(self.cores, key=lambda core: len(core.computing))
        least = min(range(len(self.cores)), key=lambda at: len(self.cores[at].computing))
        return (most, least) if len(most.computing) >= len(self.cores[least].computing) + 2 else None

    def look(self) -> None:
        """Has the cores looked at again soon, where they are uneven."""
        found = self.uneven()
        if found is not None and not self.looking:
            self.looking = True
            soon = IDLE_BALANCE_MS if not self.cores[found[1]].computing else BUSY_BALANCE_MS
            self.at(self.now + soon, "balance", None)

    def balance(self) -> None:
        """Moves a process from the fullest core to the emptiest: that which has most to do yet."""
        self.looking = False
        found = self.uneven()
        if found is None:
            return
        most, number = found
        moved = max(most.computing, key=lambda at: self.processes[at].ends)
        process = self.processes[moved]
        work = max(0.0, process.ends - most.given)
        most.computing.discard(moved)
        self.cores[number].computing.add(moved)
        process.core = number
        self.give(process, moved, work)
        self.look()

    def wake(self) -> None:
        """A connection waits: every process with a free slot gets to know; the first that runs takes it."""
        if self.queues.slots == 1:
            if self.idle:
                index = self.idle.pop()
                self.processes[index].free -= 1
                self.enqueue(index, self.waiting.popleft())
            return
        for index, process in enumerate(self.processes):
            if process.free >= 1 and not process.accepting:
                process.accepting = True
                if not self.queues.hub:
                    self.enqueue(index, None)
                elif not process.busy:
                    process.ready.append((None, self.now))
                    self.start(index)

    def back(self, index: int, request: _Request) -> None:
        """A request has waited."""
        process = self.processes[index]
        if not self.queues.hub:
            self.enqueue(index, request)
            return
        process.back.append(request)
        if not process.busy:
            self.start(index)

    def enqueue(self, index: int, request: _Request | None) -> None:
        process = self.processes[index]
        process.ready.append((request, self.now))
        if not process.busy:
            self.start(index)
        elif len(process.ready) == 1 and math.isfinite(self.queues.switch_ms):
            self.at(self.now + self.queues.switch_ms, "switch", (index, process.token))

    def start(self, index: int) -> None:
        """Lets the next of a process's threads (or greenlets) compute."""
        process = self.processes[index]
        if self.queues.hub and not process.ready:
            self.poll(process)
        if not process.ready:
            if process.busy:
                self.leave(index)
            return
        request, _ = process.ready.popleft()
        process.token += 1
        process.running = request
        self.begin(index, self.accept(process) if request is None else request.stages[0][0])
        if process.ready and math.isfinite(self.queues.switch_ms):
            self.at(self.now + self.queues.switch_ms, "switch", (index, process.token))

    def poll(self, process: _Process) -> None:
        """A hub looks at its timers and sockets."""
        process.ready.extend((request, self.now) for request in process.back)
        process.back.clear()
        process.accepting = bool(self.waiting) and process.free >= 1
        if process.accepting:
            process.ready.append((None, self.now))

    def accept(self, process: _Process) -> float:
        """Takes connections; CPU ms that it costs."""
        most = HUB_ACCEPTS if self.queues.hub and self.queues.processes == 1 else 1
        process.accepting = False
        while self.waiting and process.free >= 1 and len(process.taken) < most:
            process.taken.append(self.waiting.popleft())
            process.free -= 1
        return len(process.taken) * ACCEPT_MS or WAKE_MS

    def burst_ended(self, index: int) -> None:
        process = self.processes[index]
        request = process.running
        process.running = None
        if request is None:
            process.ready.extend((taken, self.now) for taken in process.taken)
            process.taken.clear()
            if self.waiting and process.free >= 1 and not self.queues.hub:
                process.accepting = True
                process.ready.append((None, self.now))
        else:
            _, wait = request.stages.pop(0)
            if not request.stages:
                self.finish(index, request)
            elif wait > 0:
                self.at(self.now + wait, "back", (index, request))
            else:
                process.ready.append((request, self.now))
        self.start(index)

    def finish(self, index: int, request: _Request) -> None:
        process = self.processes[index]
        self.done.append((request.kind, request.arrived, self.now - request.arrived))
        process.free += 1
        if not self.waiting:
            self.idle.append(index)
            return
        if self.queues.slots == 1:
            process.free -= 1
            process.ready.append((self.waiting.popleft(), self.now))
        elif not process.accepting and not self.queues.hub:
            process.accepting = True
            process.ready.append((None, self.now))

    def switch(self, index: int) -> None:
        process = self.processes[index]
        request = process.running
        if request is None:
            return
        left = max(0.0, process.ends - self.cores[process.core].given)
        _, wait = request.stages[0]
        request.stages[0] = (left + TURN_MS * len(process.ready), wait)
        process.ready.append((request, self.now))
        process.running = None
        self.start(index)


def arrivals(kinds: Sequence[Kind], rate: float, burst: float, rng: random.Random) -> Iterator[tuple[float, int]]:
    """Times (ms) and kinds of requests: Poisson at `rate` a second, in groups of a geometric size with the mean `burst`
    (1: no groups) that come together."""
    weights = list(itertools.accumulate(kind.weight for kind in kinds))
    now = 0.0
    while True:
        now += rng.expovariate(rate / burst) * 1000.0
        size = 1
        while burst > 1 and rng.random() > 1 / burst:
            size += 1
        for _ in range(size):
            yield now, rng.choices(range(len(kinds)), cum_weights=weights)[0]


def simulate(
    queues: Queues, cores: float, kinds: Sequence[Kind], rate: float, seconds: float, seed: int = 1, burst: float = 1.0
) -> dict[str, list[float]]:
    """Response times by kind of request, of those that arrived after the first tenth."""
    found = _Simulation(queues, cores, kinds).run(arrivals(kinds, rate, burst, random.Random(seed)), seconds * 1000.0)
    result: dict[str, list[float]] = {kind.name: [] for kind in kinds}
    for index, arrived, took in found:
        if arrived >= 100.0 * seconds:
            result[kinds[index].name].append(took)
    return result


def replay(
    queues: Queues, cores: float, kinds: Sequence[Kind], due: Sequence[tuple[float, int]], beside: bool = False
) -> list[tuple[int, float, float]]:
    """The same for requests that are due at given times (seconds, in order; the place of the kind): for each that was
    answered its kind, when it came and what it took, in ms, in the order of the answers. `beside`: the clients run on
    the same cores."""
    return replayed(queues, cores, kinds, due, beside)[0]


def replayed(
    queues: Queues, cores: float, kinds: Sequence[Kind], due: Sequence[tuple[float, int]], beside: bool = False
) -> tuple[list[tuple[int, float, float]], float]:
    """replay(), and the CPU time in ms that it all took."""
    last = due[-1][0] if due else 0.0
    simulation = _Simulation(queues, cores, kinds, beside)
    found = simulation.run(((at * 1000.0, kind) for at, kind in due), (last + 1.0) * 1000.0)
    return found, simulation.computed


def quantile(values: Sequence[float], share: float) -> float:
    """The least value that this share of them does not exceed; infinite of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.inf


def slowdowns(kinds: Sequence[Kind], times: dict[str, list[float]]) -> dict[str, float]:
    """p95 of each kind's response time, divided by what it takes alone."""
    return {kind.name: quantile(times[kind.name], 0.95) / kind.alone_ms for kind in kinds}
