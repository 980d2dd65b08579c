# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Looks at a load while it is under way, and ends it as soon as the candidate has failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .._verdict.early import EVERY_SECONDS, LEAST_SECONDS, Rule, failed_already, spent
from .._verdict.types import Samples
from . import h2load as h2
from .livewatch import read_log

LATER_SHARE = 0.1
"""A look comes after at least this part of the time that has passed."""

Arms = Mapping[str, Sequence["tuple[h2.Launch, h2.Lane]"]]


@dataclass(frozen=True)
class Early:
    """How a load is judged while it is under way, to be ended as soon as the candidate has failed. `alarm`: what it did
    to itself so far, in a sentence (a worker died); else empty."""

    rule: Rule
    alarm: Callable[[], str] = lambda: ""

    def by_limits_alone(self) -> Early:
        """The same, where the live generation is not asked for the same."""
        return replace(self, rule=replace(self.rule, policy=replace(self.rule.policy, relative=())))


@dataclass(frozen=True)
class Ended:
    """A load that was ended because the candidate had failed: why, the seconds that it ran and was to run, and the
    share of alpha that the look which saw it could use. `dead`: the candidate lost a process."""

    why: str
    at_s: float
    of_s: float
    share: float
    dead: bool = False

    def to_dict(self) -> dict[str, object]:
        """Plain data for the evidence, with the seconds that were saved."""
        return {**vars(self), "at_s": round(self.at_s, 2), "saved_s": round(max(0.0, self.of_s - self.at_s), 2)}


@dataclass
class EarlyWatch:
    """Call it, many times a second: it returns why the load may end, or "".

    arms: the processes that ask each arm ("candidate", "baseline") and their lanes; seconds: of the load;
    timeout_seconds: how long an answer is waited for. `seen`: the samples of the look that ended the load, by arm.
    """

    arms: Arms
    seconds: float
    timeout_seconds: float
    early: Early
    clock: Callable[[], float] = time.time
    read: Callable[[str], str] = read_log
    ended: Ended | None = None
    looks: int = 0
    seen: Mapping[str, Samples] = field(default_factory=dict)
    _begin: float | None = None
    _before: float = 0.0
    _next: float = LEAST_SECONDS
    _next_alarm: float = EVERY_SECONDS

    def __call__(self) -> str:
        now = self.clock()
        if self._begin is None:
            self._begin = now
        passed = now - self._begin
        if self.ended is not None or passed >= self.seconds:
            return ""
        if passed >= self._next_alarm:
            self._next_alarm = passed + EVERY_SECONDS
            self._end(self.early.alarm(), passed, 0.0, True)
        if self.ended is None and passed >= self._next:
            self._look(now, passed)
        return self.ended.why if self.ended is not None else ""

    def _look(self, now: float, passed: float) -> None:
        # Later looks read more, and are less often: all together cost the host little.
        self._next = passed + max(EVERY_SECONDS, LATER_SHARE * passed)
        share = spent(self._before, passed / self.seconds)
        self._before = passed / self.seconds
        self.looks += 1
        samples = {name: self._so_far(name, now) for name in self.arms}
        why = failed_already(samples["candidate"], samples.get("baseline"), self.early.rule, share)
        self._end(why, passed, share, False)
        if self.ended is not None:
            self.seen = samples

    def _end(self, why: str, passed: float, share: float, dead: bool) -> None:
        if why:
            self.ended = Ended(why, passed, self.seconds, share, dead)

    def _so_far(self, name: str, now: float) -> Samples:
        begin = self._begin if self._begin is not None else now
        runs = []
        for launch, lane in self.arms[name]:
            started = begin + launch.delay_s
            if started < now:
                log = self.read(launch.log_file)
                end = h2.Finished(None, "", "", log, 0.0, started, stopped=now)
                runs.append(h2.LaneRun(lane, end))
        return h2.account_so_far(runs, begin, now, self.timeout_seconds)
