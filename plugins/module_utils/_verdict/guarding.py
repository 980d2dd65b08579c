# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether a generation that was promoted is worse for its users than it may be, by the counts of the recorder. Pure.

Nothing is a breach that chance, a burst of traffic or a moment of a busy host explains. A share (of errors, of requests
beyond a declared limit) has to be surely above its limit, by the exact bound of Clopper and Pearson, and surely above
the share of the generation before, which served the same users; over the requests of the last WINDOW_S, or over all
since the promote; and it has to go on at AGREE looks in a row. So what was as slow or as faulty before is no reason to
go back to it, a short disturbance is none, and few requests are none either: then it says that it cannot tell.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from .._declaration.app import Limits
from .._recorder.counts import Tally
from .statistics import clopper_pearson
from .types import short

LOOK_EVERY_S = 5.0
WINDOW_S = 30.0
AGREE = 4
LEVEL = 1e-5
"""Of one bound at one look: some hundred looks at four shares are wrong by chance once in a thousand guards at most."""

BEFORE_LEVEL = 0.01
ENOUGH = 100
"""Requests from which on silence means that it is well."""

DEATHS = 3
DEATHS_WORSE = 5.0
QUANTILES = {"p50": 0.5, "p95": 0.05, "p99": 0.01}
"""The share of requests that may take longer than the limit of a quantile."""


@dataclass(frozen=True)
class Before:
    """The generation that served before: what it counted, and over how many seconds. Empty where that is not known."""

    tally: Tally = field(default_factory=Tally)
    seconds: float = 0.0


@dataclass(frozen=True)
class Reading:
    """One look: seconds since the promote, what was counted since then, and memory in MiB (None: not known)."""

    at: float
    tally: Tally
    memory_mib: float | None = None
    oom_kills: int = 0


@dataclass
class Watch:
    """What is remembered between looks at one generation. `memory_max_mib` is its MemoryMax."""

    limits: Limits
    before: Before
    memory_max_mib: float | None = None
    readings: deque[Reading] = field(default_factory=deque)
    agreed: int = 0

    def look(self, now: Reading) -> str:
        """Take a reading in; the breach in a sentence once it is sure, else empty."""
        latest = now.tally.since(self.readings[-1].tally) if self.readings else now.tally
        self.readings.append(now)
        while len(self.readings) > 1 and self.readings[1].at <= now.at - WINDOW_S:
            self.readings.popleft()
        window = now.tally.since(self.readings[0].tally) if len(self.readings) > 1 else now.tally
        words = self._dying(now) or self._memory(now) or self._share(latest, window, now.tally)
        if words or latest.ended + latest.lost:  # a look at which nothing was asked says nothing
            self.agreed = self.agreed + 1 if words else 0
        return words if self.agreed >= AGREE else ""

    def conclusion(self) -> str:
        """What is to be said when the time is over and nothing was a breach."""
        last = self.readings[-1].tally if self.readings else Tally()
        served = f"{last.ended} requests"
        return f"{served}, no breach" if last.ended >= ENOUGH else f"not enough traffic to tell ({served})"

    def _dying(self, now: Reading) -> str:
        ends = now.tally.ends
        dead = ends.get("killed", 0) + ends.get("died", 0) + ends.get("timed_out", 0)
        if dead < DEATHS or now.at <= 0:
            return ""
        was = self.before.tally.ends
        usual = was.get("killed", 0) + was.get("died", 0) + was.get("timed_out", 0)
        if self.before.seconds > 0 and dead / now.at <= DEATHS_WORSE * usual / self.before.seconds:
            return ""
        killed = f", {now.oom_kills} of its processes by the OOM killer" if now.oom_kills else ""
        return f"{dead} of its workers died within {short(now.at)} s{killed}"

    def _memory(self, now: Reading) -> str:
        percent, most = self.limits.memory_percent, self.memory_max_mib
        if now.memory_mib is None or percent is None or not most or now.memory_mib <= most * percent / 100:
            return ""
        return (
            f"it uses {short(now.memory_mib)} MiB, more than {short(percent)} % of the {short(most)} that it may have"
        )

    def _share(self, latest: Tally, window: Tally, whole: Tally) -> str:
        for tally, which in ((window, "the last"), (whole, "all")):
            words = (latest.errors and self._errors(tally, which)) or self._slow(latest, tally, which)
            if words:
                return words
        return ""

    def _errors(self, tally: Tally, which: str) -> str:
        count, old = tally.ended + tally.lost, self.before.tally
        most = max(self.limits.error_rate, upper(old.errors, old.ended + old.lost))
        if not surely_above(tally.errors, count, most):
            return ""
        share = f"{_percent(tally.errors / count)}, where at most {_percent(most)} may"
        return f"{tally.errors} of {which} {count} requests failed, {share}"

    def _slow(self, latest: Tally, tally: Tally, which: str) -> str:
        for name, share in QUANTILES.items():
            limit_ms, over, old = self.limits.latency_ms(name), tally.over.get(name, 0), self.before.tally
            if limit_ms is None or not latest.over.get(name, 0):
                continue
            most = max(share, upper(old.over.get(name, 0), old.ended))
            if surely_above(over, tally.ended, most):
                told = f"{_percent(over / tally.ended)}, where at most {_percent(most)} may"
                beyond = f"took longer than the {short(limit_ms)} ms of {name}"
                return f"{over} of {which} {tally.ended} requests {beyond}, {told}"
        return ""


def upper(count: int, total: int) -> float:
    """The share of the generation before at most; 0 where it is not known."""
    return clopper_pearson(count, total, BEFORE_LEVEL)[1] if count and total > 0 else 0.0


def surely_above(count: int, total: int, share: float) -> bool:
    """Whether a share is above a limit beyond chance."""
    return 0 < count <= total and clopper_pearson(count, total, 2 * LEVEL)[0] > share


def _percent(share: float) -> str:
    return f"{short(100 * share)} %"
