# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The grid of scripts/bench mixtures, its arrivals, what is searched in each cell, and what comes out: pure functions.

All times are in milliseconds, but for those of a schedule, which are seconds. An entry of a schedule is (second, kind):
when a request is due, and its place among the traffic's kinds.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.mixture import Kind as DeclaredKind
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.mixture import spread_of

from ._plan_grid import Config, Contender, Host

Schedule = list[tuple[float, int]]

BURST_SIZE: Final = 4.0
BURST_GAP_SECONDS: Final = 0.01
"""A burst has this many requests on average (geometric), exponential gaps of this mean between them."""

LIMIT_FACTOR: Final = 10.0
"""An answer counts for the goodput within so many times what its kind takes alone."""

TIMED: Final = "headcount, with times"
"""The role of what is planned from a declaration that also says what each path computes and waits."""

GEVENT_CONNECTIONS: Final = 256

SHORT_SWITCH_MS: Final = 0.5

OVERHEAD_MS: Final = 0.6
"""CPU of Gunicorn and Flask for a request, beside what its kind computes."""


@dataclass(frozen=True)
class Kind:
    """One kind of request: its share of the requests, what it computes, and how long it waits."""

    name: str
    share: float
    cpu_ms: float
    wait_ms: float = 0.0

    @property
    def path(self) -> str:
        """The sample app's route: it computes first, then waits; the kind tells alike ones apart."""
        return f"/mixed?cpu_ms={self.cpu_ms:g}&wait_ms={self.wait_ms:g}&kind={self.name}"


@dataclass(frozen=True)
class Traffic:
    """A mixture of kinds; the shares add up to 1. The first kind is the short one. `profile`: as one declares it."""

    name: str
    profile: str
    kinds: tuple[Kind, ...]

    @property
    def words(self) -> str:
        """For people: "95 % 5 ms, 5 % 300 ms"."""
        parts = []
        for kind in self.kinds:
            wait = f" + {kind.wait_ms:g} ms wait" if kind.wait_ms else ""
            parts.append(f"{100 * kind.share:g} % {kind.cpu_ms:g} ms{wait}")
        return ", ".join(parts)

    @property
    def mix(self) -> str:
        """As one declares it: whether requests take about the same CPU time, by the planner's own measure of that."""
        kinds = [
            DeclaredKind(kind.name, kind.share, kind.cpu_ms, kind.wait_ms, kind.cpu_ms**2, kind.wait_ms**2)
            for kind in self.kinds
        ]
        return "mixed" if spread_of(kinds).mixed else "uniform"

    def mean(self, times: Sequence[float]) -> float:
        """The mean over the kinds of one figure for each."""
        return sum(kind.share * time for kind, time in zip(self.kinds, times, strict=True))

    def variation(self, times: Sequence[float]) -> float:
        """C2 of one figure for each kind: its variance over the square of its mean; 0 for a mean of 0."""
        mean = self.mean(times)
        return self.mean([time * time for time in times]) / mean**2 - 1.0 if mean else 0.0


def _traffic(name: str, profile: str, *kinds: tuple[str, float, float, float]) -> Traffic:
    return Traffic(name, profile, tuple(Kind(*kind) for kind in kinds))


TRAFFIC: Final = {
    traffic.name: traffic
    for traffic in (
        _traffic("alike", "cpu", ("read", 0.5, 8, 0), ("write", 0.5, 8, 0)),
        _traffic("mild", "cpu", ("page", 0.7, 4, 0), ("list", 0.25, 12, 0), ("search", 0.05, 40, 0)),
        _traffic("report", "cpu", ("page", 0.95, 5, 0), ("report", 0.05, 300, 0)),
        _traffic("extreme", "cpu", ("page", 0.99, 1.5, 0), ("export", 0.01, 600, 0)),
        _traffic("backend", "mixed", ("page", 0.97, 2, 20), ("report", 0.03, 400, 0)),
        _traffic("waiting", "io", ("page", 0.98, 1, 50), ("report", 0.02, 200, 0)),
        _traffic("stalled", "mixed", ("page", 0.95, 5, 0), ("partner", 0.05, 1, 1000)),
        _traffic(
            *("shop", "mixed", ("page", 0.6, 3, 0), ("basket", 0.25, 5, 30)),
            *(("search", 0.12, 20, 0), ("report", 0.03, 250, 100)),
        ),
    )
}

GRID: Final = (
    ("2c", "report", 0.6, "poisson"),
    ("2c", "backend", 0.6, "poisson"),
    ("2c", "waiting", 0.5, "poisson"),
    ("1c", "report", 0.6, "poisson"),
    ("1c", "stalled", 0.6, "poisson"),
    ("2c", "alike", 0.6, "poisson"),
    ("2c", "mild", 0.6, "poisson"),
    ("2c", "shop", 0.6, "poisson"),
    ("2c", "extreme", 0.6, "poisson"),
    ("2c", "stalled", 0.6, "poisson"),
    ("2c", "report", 0.3, "poisson"),
    ("2c", "report", 0.9, "poisson"),
    ("2c", "report", 0.6, "bursts"),
    ("2c", "backend", 0.3, "bursts"),
    ("2c", "backend", 0.9, "poisson"),
    ("2c", "shop", 0.3, "bursts"),
    ("2c-512m", "report", 0.6, "poisson"),
    ("2c-512m", "backend", 0.6, "poisson"),
    ("2c-512m", "shop", 0.6, "bursts"),
    ("1c", "backend", 0.6, "poisson"),
    ("1c", "mild", 0.9, "poisson"),
    ("1c", "shop", 0.6, "poisson"),
    ("1c", "shop", 0.3, "bursts"),
    ("1c", "extreme", 0.6, "poisson"),
    ("1c-256m", "report", 0.6, "poisson"),
    ("1c-256m", "stalled", 0.6, "poisson"),
    ("1c-256m", "waiting", 0.6, "bursts"),
)
"""Host, traffic, load (the share of the cores that the requests' CPU takes) and arrivals of every cell."""

QUICK: Final = (GRID[0], GRID[4])


def plain(traffic: Traffic) -> dict[str, Any]:
    """As plain data; the inverse of traffic_of()."""
    return {**asdict(traffic), "kinds": [asdict(kind) for kind in traffic.kinds]}


def traffic_of(data: Mapping[str, Any]) -> Traffic:
    """From plain()."""
    return Traffic(str(data["name"]), str(data["profile"]), tuple(Kind(**kind) for kind in data["kinds"]))


def rate_of(traffic: Traffic, cores: int, load: float) -> float:
    """Requests a second whose CPU time, Gunicorn and Flask included, takes the share `load` of the cores."""
    mean = traffic.mean([kind.cpu_ms + OVERHEAD_MS for kind in traffic.kinds])
    return float(f"{load * cores * 1000.0 / mean:.3g}")


@dataclass(frozen=True)
class Lengths:
    """The lengths of the runs: simulated, screened for real, and in each round of the final."""

    simulated: float
    screen: float
    final: float


RARE_LEAST: Final = 12
"""A run of the final has so many requests of the rarest kind, if that takes no more than FINAL_MOST seconds. Each run
begins with an idle server: with exports of 600 ms among pages of 1.5, sync 5 on two cores takes 3.2 times the time
alone in runs of 5 s, in which there are seven of them, and 5.3 times in runs of 15 s, sync 14 3.1 and 3.6 (simulated).
"""

FINAL_MOST: Final = 15.0


def lengths_of(rate: float, traffic: Traffic) -> Lengths:
    """So long that there are enough requests of the rare kinds, within what a cell may take."""
    rare = RARE_LEAST / (rate * min(kind.share for kind in traffic.kinds))
    return Lengths(
        simulated=min(12.0, max(6.0, 480.0 / rate)),
        screen=min(4.0, max(2.5, 120.0 / rate)),
        final=round(min(FINAL_MOST, max(min(7.0, max(5.0, 240.0 / rate)), rare)), 1),
    )


def schedule(traffic: Traffic, rate: float, seconds: float, arrivals: str, seed: str) -> Schedule:
    """When which request is due: the same for the same arguments.

    Poisson arrivals given their number (rate x seconds, rounded), and bursts of them; every kind has its exact share
    of the requests, in random order. So that runs differ by chance as little as possible, and only the order of things
    is random.
    """
    chance = random.Random(f"{traffic.name} {rate:.4f} {seconds:g} {arrivals} {seed}")
    count = max(len(traffic.kinds), round(rate * seconds))
    if arrivals == "bursts":
        times: list[float] = []
        while len(times) < count:
            at = chance.uniform(0.0, seconds)
            while True:
                times.append(at)
                at += chance.expovariate(1.0 / BURST_GAP_SECONDS)
                if chance.random() < 1.0 / BURST_SIZE or at > seconds:
                    break
        times = sorted(times[:count])
    else:
        times = sorted(chance.uniform(0.0, seconds) for _ in range(count))
    kinds = shares(traffic, count)
    chance.shuffle(kinds)
    return list(zip(times, kinds, strict=True))


def shares(traffic: Traffic, count: int) -> list[int]:
    """`count` requests shared out among the kinds by largest remainder, each at least once."""
    wanted = [kind.share * count for kind in traffic.kinds]
    numbers = [max(1, int(part)) for part in wanted]
    order = sorted(range(len(wanted)), key=lambda index: int(wanted[index]) - wanted[index])
    for index in order:
        if sum(numbers) < count:
            numbers[index] += 1
    numbers[0] += count - sum(numbers)
    return [index for index, number in enumerate(numbers) for _ in range(number)]


def rules(host: Host) -> dict[str, Config]:
    """The rules of thumb, as in scripts/bench plan, with Gunicorn's defaults but for keep-alive.

    Every request of this load has a connection of its own, so a rule keeps its keep-alive and gains nothing by it.
    """
    n = host.cores
    return {
        "2n+1": Config("sync", 2 * n + 1),
        "heroku": Config("sync", max(1, min(2 * n + 1, host.memory_mib // 256))),
        "debops": Config("sync", n + 1),
        "cloud run": Config("gthread", 1, 8),
    }


def search_space(cores: int) -> list[Config]:
    """sync from 1 to 16 for each core; gthread of n to 8n processes with about 4n to 64n threads in all, with Python's
    switch interval and with a tenth of it; gevent from 1 to 2n+1."""
    n = cores
    counts = sorted({1, n, n + 1, 2 * n, 2 * n + 1, 3 * n, 4 * n, 6 * n, 8 * n, 12 * n, 16 * n})
    found = [Config("sync", workers) for workers in counts]
    found += [
        _gthread(workers, threads, switch)
        for switch in (0.0, SHORT_SWITCH_MS)
        for workers in sorted({n, n + 1, 2 * n, 3 * n, 4 * n, 8 * n})
        for threads in sorted(
            {2 ** round(math.log2(slots / workers)) for slots in (4 * n, 8 * n, 16 * n, 32 * n, 64 * n)}
        )
        if threads > 1
    ]
    found += [Config("gevent", workers, 1, GEVENT_CONNECTIONS, 0) for workers in range(1, 2 * n + 2)]
    return list(dict.fromkeys(found))


def _gthread(workers: int, threads: int, switch_ms: float) -> Config:
    return Config("gthread", workers, threads, threads, 0, switch_ms=switch_ms)


def saturated(config: Config, cores: int, rate: float, cpu_ms: float, wall_ms: float) -> bool:
    """Whether a shape cannot serve `rate` a second for long: by its slots and the mean time of a request (Little's
    law), or by its processes, of which each computes one thing at a time."""
    return rate * wall_ms / 1000.0 >= config.slots or rate * cpu_ms / 1000.0 >= min(config.workers, cores)


def plain_number(value: float) -> float | None:
    """Rounded to a thousandth; what is infinite or nothing is null."""
    return round(value, 3) if math.isfinite(value) else None


def quantile(values: Sequence[float], share: float) -> float:
    """By linear interpolation between ordered values; what never came is infinite; NaN of nothing."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    if ordered[low] == ordered[high] or place == low:
        return ordered[low]
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


@dataclass(frozen=True)
class Told:
    """What came of one kind: its number, latencies in ms, and p95 as a multiple of what it takes alone."""

    n: int
    p50_ms: float
    p95_ms: float
    slowdown: float
    lost: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data; what is infinite is null."""
        figures = {key: plain_number(value) for key, value in vars(self).items()}
        return {**figures, "n": self.n, "lost": self.lost}


def told(latencies_ms: Sequence[Sequence[float]], alone_ms: Sequence[float]) -> list[Told]:
    """Each kind of one run or of several together; an answer that never came, or was no good one, is infinite."""
    return [
        Told(
            n=len(mine),
            p50_ms=quantile(mine, 0.5),
            p95_ms=quantile(mine, 0.95),
            slowdown=quantile(mine, 0.95) / alone,
            lost=sum(not math.isfinite(value) for value in mine),
        )
        for mine, alone in zip(latencies_ms, alone_ms, strict=True)
    ]


def worst(kinds: Sequence[Told]) -> float:
    """The objective: the largest p95 slowdown over the kinds."""
    return max(kind.slowdown for kind in kinds)


def within(latencies_ms: Sequence[Sequence[float]], alone_ms: Sequence[float]) -> int:
    """Answers within the limit of their kind."""
    return sum(
        value <= LIMIT_FACTOR * alone for mine, alone in zip(latencies_ms, alone_ms, strict=True) for value in mine
    )


def foreign(final: Sequence[Mapping[str, Any]]) -> float:
    """The share of the server's CPUs that went to other work: the mean of a contender's runs, the most of all those
    that ran in more than one round."""
    runs = [entry["runs"] for entry in final]
    near = [mine for mine in runs if len(mine) > 1] or runs
    return round(max(statistics.fmean(float(run["foreign"]) for run in mine) for mine in near), 3)


CLOSE: Final = 1.25
"""What differs by no more than this ratio is too close to call by a final: with the rare kind of request asked for some
fifty times its p95 differs by a tenth from run to run."""

NEAR: Final = 1.15
NEAR_GOODPUT: Final = 0.03
"""A plan is too close to its bound to call where its slowdown, to the least found, differs from that by no more than
the first, or its goodput, as a share of the best's, by no more than the second."""


@dataclass(frozen=True)
class Bound:
    """What is stated of a plan: its slowdown as a multiple of the least found, its goodput as a share of the best's."""

    slowdown: float
    goodput: float

    def near(self, slowdown: float, goodput: float) -> bool:
        """Whether figures are too close to it to call, on either side."""
        close = self.slowdown / NEAR <= slowdown <= self.slowdown * NEAR
        return close or abs(goodput - self.goodput) <= NEAR_GOODPUT


def undecided(
    figures: Mapping[Contender, tuple[float, float]],
    bounds: Mapping[str, Bound],
    plans: Sequence[str],
    fits: Collection[Contender],
) -> list[Contender]:
    """Who goes on after some rounds of a final, of those that ran in all: nobody, unless a plan is too close to its
    bound to call, on either side; then the `plans` (roles), and what is close to the best.

    `figures`: slowdown and goodput of each. `bounds`: by role. `fits`: those within the memory, of which the best is
    one; of the others only plans go on.
    """
    least, most = min((figures[one] for one in figures if one in fits), default=(math.inf, 0.0))
    if not math.isfinite(least) or not any(
        bounds[role].near(slowdown / least, goodput / most)
        for one, (slowdown, goodput) in figures.items()
        for role in one.roles
        if role in bounds
    ):
        return []
    return [
        one
        for one, (slowdown, _) in figures.items()
        if (one in fits and slowdown <= CLOSE * least) or set(one.roles) & set(plans)
    ]


SCREENED: Final = 8
OF_CLASS: Final = 2
HOPELESS: Final = 2.0
"""What has more than so many times the least simulated slowdown is not tried: where measured, the simulation said at
most 1.4 times too much."""


def promising(simulated: Mapping[Config, float], most: int = SCREENED, of_class: int = OF_CLASS) -> list[Config]:
    """What is tried for real, of what was simulated (slowdown by shape), the best first: the best two of each class and
    then the best of all, but nothing hopeless. What the simulation takes for equal goes by its number of processes."""
    least = min(simulated.values())
    hopeful = [shape for shape, slowdown in simulated.items() if slowdown <= HOPELESS * least]
    order = sorted(hopeful, key=lambda shape: (round(math.log(simulated[shape] / least) / 0.05), shape.workers))
    first = [
        shape
        for kind in ("sync", "gthread", "gevent")
        for shape in [each for each in order if each.worker_class == kind][:of_class]
    ]
    return list(dict.fromkeys([*first, *order]))[:most]
