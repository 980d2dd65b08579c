# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What one generation answers: its health path and the GET paths of its load, with their declared headers.

One place for everybody who has to know whether a generation serves its users: status and probe, the baseline of a
trial, the verification of a switch, and the choice between two generations when one of them is broken. They ask the
generation's private socket, which no other instance answers; the public socket only while nobody else holds it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from math import comb
from typing import Any, Callable, Mapping, Sequence

from .._declaration.patience import answer_seconds
from .._os.http import (
    KEPT_BYTES,
    Answer,
    Ask,
    Bounds,
    in_brackets,
    request,
    unhealthy,
    unwell,
)

Address = Any
"""(host, port) or the path of a unix socket."""

Request = Callable[[Any, Ask, Bounds], Answer]
"""As _http.request()."""

Why = Callable[[str, float, float], str]
"""What the log of a generation says of requests for a path that failed between two times (seconds since the epoch), as
a part of a sentence; empty where it says nothing."""


def unknown(path: str, begin: float, end: float) -> str:
    """The answer of a log that nobody reads."""
    return ""


AppRecord = Mapping[str, Any]
"""An app as generation.json has it."""

LOOKS = 18
LOOK_SECONDS = 0.5
"""One look asks each path once, and goes on up to so often while it has not lasted so long: some requests may fail. A
third that does is missed once in 1478 times."""

GLANCE_SECONDS = 0.05
"""The same for the look of a probe, which every run on every host waits for: quick paths are asked as often."""

AGAIN = 20
AGAIN_SECONDS = 2.0
"""A path that failed is asked up to so often more, within so long, until it is clear how much of it fails."""

SURE = 0.001
"""A path is broken where its failures would be less likely than this, did it fail as seldom as its limit wants."""

DEFAULT_ERROR_RATE = 0.01
MOST_ERROR_RATE = 0.5
"""No limit makes a path well that fails more often than this."""

WELL, PATH, HEALTH, SILENT = range(4)
"""How bad it is: nothing is wrong; a load path fails; the health path does; there is no answer at all."""


@dataclass(frozen=True)
class Answers:
    """What came of asking. `rank`: WELL to SILENT; `wrong`: a sentence for each path that fails; `detail`: in short.

    `why` asks the log why it fails, which may take its time: whoever has users to see to asks that afterwards.
    """

    rank: int
    wrong: tuple[str, ...]
    detail: str
    why: Callable[[], str] = field(default=str, compare=False, repr=False)

    def told(self) -> str:
        """In short, with what the log says of it."""
        return self.detail + self.why()

    @property
    def well(self) -> bool:
        return self.rank == WELL


@dataclass
class Count:
    """Requests for one path, those that failed, and what the last failure was: in words, what came with it, and when
    it was (seconds since the epoch, from its begin to its end)."""

    asked: int = 0
    failed: int = 0
    last: str = ""
    came: str = ""
    when: tuple[float, float] = (0.0, 0.0)
    silent: bool = False

    def broken(self, allowed: float) -> bool:
        """Whether it fails more often than the share `allowed`, beyond chance."""
        # The upper tail of the binomial distribution, in place: every module that this one needs goes out with a probe.
        fewer = (comb(self.asked, k) * allowed**k * (1 - allowed) ** (self.asked - k) for k in range(self.failed))
        return self.failed > 0 and 1.0 - sum(fewer) < SURE

    def words(self) -> str:
        """What is wrong, in a sentence."""
        told = [f"{self.failed} of {self.asked} requests"] if self.asked > 1 else []
        told += [self.came] if self.came else []
        return self.last + in_brackets("; ".join(told))


@dataclass
class Asker:
    """Asks one generation at `address`, again and again; counts add up. `app`: as generation.json has it.

    No answer is waited for longer than `within` seconds (None: as long as the app is declared to take at most).
    `log` is asked why a request failed.
    """

    address: Address
    app: AppRecord
    within: float | None = None
    ask: Request = request
    monotonic: Callable[[], float] = time.monotonic
    log: Why = unknown
    counts: dict[int, Count] = field(default_factory=dict)
    elapsed_ms: float = 0.0

    def __post_init__(self) -> None:
        most = float("inf") if self.within is None else self.within
        self._health = (0.0, 0.0)
        self.timeout = min(most, float(self.app["health"]["timeout_seconds"]))
        self.path_timeout = min(most, answer_seconds(self.app))
        self.paths = get_paths(self.app)
        limits = self.app.get("limits") or {}
        rate = limits.get("error_rate")
        self.allowed = min(MOST_ERROR_RATE, DEFAULT_ERROR_RATE if rate is None else float(rate))
        # A path that may take longer than it is waited for here is not broken because it has not answered by then.
        slowest = [float(limits[key]) for key in ("p50_ms", "p95_ms", "p99_ms") if limits.get(key)]
        self.patient = max(slowest, default=0.0) >= 1000 * self.path_timeout

    def health(self) -> tuple[str | None, bool]:
        """(why the health path is not well, whether it did not answer at all)."""
        health, begin = self.app["health"], time.time()
        answer = self.ask(self.address, Ask.of_health(health), Bounds(self.timeout, keep_bytes=KEPT_BYTES))
        self.elapsed_ms = answer.elapsed_ms
        self._health = (begin, time.time())
        return unhealthy(answer, dict(health)), answer.status == 0

    def why(self) -> str:
        """What the log says of what wrong() or else health() has told, to stand behind it; empty where nothing."""
        broken = [(self.paths[index].path, count.when) for index, count in self._broken()]
        path, when = broken[0] if broken else (self.app["health"]["path"], self._health)
        said = self.log(path, *when)
        return f"; {said}" if said else ""

    def round(self) -> None:
        """Ask each path once; one that fails more often, until it is clear. After one without an answer: no more."""
        for index in range(len(self.paths)):
            count = self.counts.setdefault(index, Count())
            failures = count.failed
            self._once(index, count)
            begin, more = self.monotonic(), 0
            while (
                count.failed > failures
                and not count.silent
                and more < AGAIN
                and not count.broken(self.allowed)
                and self.monotonic() - begin < AGAIN_SECONDS
            ):
                self._once(index, count)
                more += 1
            if count.silent:
                return

    def _once(self, index: int, count: Count) -> None:
        path, begin = self.paths[index], time.time()
        answer = self.ask(self.address, path, path.within(self.path_timeout))
        count.asked += 1
        declared = bool(path.status or path.contains)  # without a word, what is not the server's fault is well
        wrong = unwell(path, answer) if declared and answer.status else ""
        if answer.status > 0 and (not wrong if declared else answer.status < 500):
            return
        late = answer.status == 0 and answer.elapsed_ms >= 950 * self.path_timeout
        if late and self.patient:
            return
        count.failed += 1
        count.silent = late
        count.when = (begin, time.time())
        count.last = wrong or answer.failure("GET", path.path) or f"GET {path.path} answered {answer.status}"
        count.came = answer.words() if answer.status and not wrong else ""

    @property
    def failed(self) -> int:
        """Requests for load paths that failed so far."""
        return sum(count.failed for count in self.counts.values())

    def wrong(self) -> list[str]:
        """A sentence for each path that is broken by what was counted so far."""
        return [count.words() for _, count in self._broken()]

    def _broken(self) -> list[tuple[int, Count]]:
        counts = sorted(self.counts.items())
        return [(index, count) for index, count in counts if count.silent or count.broken(self.allowed)]


def get_paths(app: AppRecord) -> list[Ask]:
    """The requests of the load that change nothing."""
    asked = [Ask.of_path(path) for path in (app.get("load") or {}).get("paths", [])]
    return [ask for ask in asked if ask.method == "GET"]


def look(
    address: Address,
    app: AppRecord,
    within: float | None = None,
    ask: Request = request,
    monotonic: Callable[[], float] = time.monotonic,
    log: Why = unknown,
    seconds: float = LOOK_SECONDS,
) -> Answers:
    """Ask the generation at `address` for its health and its load paths. Never raises for what a server can do.

    `within`: seconds that one answer is waited for at most. Bounded: after one without an answer no more are asked.
    `seconds`: for how long paths are asked again. `log`: is asked why a request failed, once somebody wants to know.
    """
    asker = Asker(address, app, within, ask, monotonic, log)
    begin = monotonic()
    reason, silent = asker.health()
    if silent:
        return Answers(SILENT, (str(reason),), str(reason), asker.why)
    for _ in range(LOOKS if asker.paths else 0):
        asker.round()
        if asker.wrong() or monotonic() - begin >= seconds:
            break
    wrong = [reason] if reason is not None else []
    wrong += asker.wrong()
    if wrong:
        rank = HEALTH if reason is not None else PATH
        return Answers(rank, tuple(wrong), "; ".join(wrong), asker.why)
    paths = "" if not asker.paths else f", {_listed(asker.paths)} without an error"
    return Answers(WELL, (), f"GET {app['health']['path']} answered in {asker.elapsed_ms:.0f} ms{paths}")


def _listed(paths: Sequence[Ask]) -> str:
    return f"GET {paths[0].path}" if len(paths) == 1 else f"{len(paths)} GET paths of its load"
