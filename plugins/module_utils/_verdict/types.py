# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a verdict is made of: samples, memory evidence, the policy, checks and the verdict, and numbers for people.

Latencies are in milliseconds; a request without a good answer has an infinite latency. Rates are per second, shares
0..1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from .._declaration.shortfall import ALPHA, MIN_REQUESTS
from .pooling import Pool

PASS = "pass"
FAIL = "fail"
INCONCLUSIVE = "inconclusive"
NOT_COMPARED: Final = "; not compared: "
WORST: Final = {PASS: 0, INCONCLUSIVE: 1, FAIL: 2}
"""Outcomes by how bad they are."""


@dataclass(frozen=True)
class Samples:
    """What one arm of a load run answered: one entry per planned request, in the order in which they were due.

    `start_s` is the second after the start of the run at which a request was due; `latency_ms` counts from then, and is
    infinite for a failure; `status` is the HTTP status or 0 where no answer came; `path` the index of the load's path.
    `lag_ms` is the longest wait for a connection that was added to a latency, `drift_ms` how far the generator fell
    behind. `complete` is False when the run is no measurement, and `why` says for what reason. `kinds`: in what ways
    requests failed, and how many each ("answered 503", "timed out"); `path_kinds`: the same by the index of the path.
    Where both arms get the same requests at different times, `turned_s` tells by how much later than the schedule this
    arm begins, and `run_s` after how long it begins again at its beginning (0: it is not known which requests are the
    same). `origin_s`: at which second of the epoch the first request was due, by the clock of the machine that asked
    (0: not known). `whole` is False where the load was ended before its time. `loaded` are the times in which this arm
    was asked, and `quiet` one in which nobody asked: (begin, end), in seconds after the warm-up; empty where that is
    not known. `sizes` are (index of the path, answers, bytes of their bodies) of each process that asked and got good
    answers alone; `before` (ms, index of the path) of each request that came before, in order: of the warm-up and
    of an earlier run.
    """

    start_s: Sequence[float]
    latency_ms: Sequence[float]
    status: Sequence[int]
    planned: int
    period_s: float
    failures: int
    achieved_rate: float
    lag_ms: float = 0.0
    complete: bool = True
    why: str = ""
    path: Sequence[int] = ()
    planned_rate: float = 0.0
    drift_ms: float = 0.0
    cpu_seconds: float = 0.0
    notes: Sequence[str] = ()
    kinds: Mapping[str, int] = field(default_factory=dict)
    turned_s: float = 0.0
    run_s: float = 0.0
    path_kinds: Sequence[Mapping[str, int]] = ()
    loaded: Sequence[tuple[float, float]] = ()
    quiet: Sequence[float] = ()
    whole: bool = True
    origin_s: float = 0.0
    sizes: Sequence[tuple[int, int, int]] = ()
    before: Sequence[tuple[float, int]] = ()

    def after(self, first: Samples) -> Samples:
        """The same, which was asked after another run: all of that one's requests were before it."""
        return replace(self, before=[*first.before, *zip(first.latency_ms, first.path), *self.before])

    def how_failed(self) -> str:
        """In what ways its requests failed, the most frequent first, as part of a sentence; empty when not known."""
        ways = sorted(self.kinds.items(), key=lambda item: (-item[1], item[0]))
        return ", ".join(f"{count} {how}" for how, count in ways)

    def sorted_latencies(self) -> list[float]:
        """Ascending latencies of all planned requests, failures (infinite) last."""
        return sorted(self.latency_ms)

    def to_dict(self) -> dict[str, object]:
        """Plain data that JSON can hold; a failure's latency is null."""
        return {
            "start_s": [round(value, 6) for value in self.start_s],
            "latency_ms": [finite(value, 3) for value in self.latency_ms],
            "status": list(self.status),
            "path": list(self.path),
            "notes": list(self.notes),
            "kinds": dict(self.kinds),
            "path_kinds": [dict(kinds) for kinds in self.path_kinds],
            "loaded": [[round(begin, 3), round(end, 3)] for begin, end in self.loaded],
            "quiet": [round(second, 3) for second in self.quiet],
            "sizes": [list(one) for one in self.sizes],
            "before": [[finite(latency, 3), path] for latency, path in self.before],
            **{name: getattr(self, name) for name in _PLAIN},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Samples:
        """The inverse of `to_dict`."""
        return cls(
            start_s=list(data["start_s"]),
            latency_ms=[math.inf if value is None else float(value) for value in data["latency_ms"]],
            status=list(data["status"]),
            path=list(data.get("path", ())),
            notes=list(data.get("notes", ())),
            kinds=dict(data.get("kinds", {})),
            path_kinds=[dict(kinds) for kinds in data.get("path_kinds", ())],
            loaded=[(float(begin), float(end)) for begin, end in data.get("loaded", ())],
            quiet=[float(second) for second in data.get("quiet", ())],
            sizes=[(int(path), int(answers), int(size)) for path, answers, size in data.get("sizes", ())],
            before=[(math.inf if ms is None else float(ms), int(path)) for ms, path in data.get("before", ())],
            **{name: data[name] for name in _PLAIN if name in data},
        )


_PLAIN = (
    "planned", "period_s", "failures", "achieved_rate", "lag_ms", "complete", "why", "planned_rate", "drift_ms",
    "cpu_seconds", "turned_s", "run_s", "whole", "origin_s",
)  # fmt: skip


@dataclass(frozen=True)
class MemoryEvidence:
    """Memory of one unit over a load window, in MiB; None is what could not be measured.

    `peak_mib` and `source` come from the cgroup where there is one; `limit_mib` is the limit that the peak is
    held against before `memory_percent` (usually MemoryMax). `restarts` are workers lost without having been recycled
    on purpose, `deaths` how they ended, where that is known. `use`: what was used second by second (use.COLUMNS).
    """

    peak_mib: float | None
    source: str
    pss_mib: float | None = None
    after_warmup_mib: float | None = None
    oom_kills: int | None = 0
    restarts: int = 0
    workers: Sequence[Mapping[str, object]] = ()
    limit_mib: float | None = None
    recycled: int = 0
    cpu_seconds: float | None = None
    uss_mib: float | None = None
    seconds: float = 0.0
    notes: Sequence[str] = ()
    deaths: str = ""
    use: Mapping[str, Sequence[float | None]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """Plain data that JSON can hold."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**plain, "workers": [dict(worker) for worker in self.workers], "notes": list(self.notes)}


@dataclass(frozen=True)
class Thresholds:
    """How strictly to judge.

    alpha: the chance of a wrong fail that a single check may have; comparisons: by how many hosts (or other verdicts of
    the same question) it is divided (Bonferroni); margin and floor_ms: a relative slowdown counts only above both;
    suspicion: a slowdown that is not proven, but would be chance less often than this, is inconclusive (the retry looks
    again, for twice as long); path_suspicion: the same for all paths together; relative: what is held against the live
    generation (without any, slow requests are not counted against its own either); stall_ms: a standstill of this
    length is a fault (None: not looked for); min_requests: fewer are no measurement; min_rate_share: nor is a rate
    below this share of the planned one; memory_margin: a PSS above this many times the live one's fails (None: it is
    only said); fail_share: how much of alpha a fail of this judgement may use, where others look too; pool: what other
    hosts of the class found of the same release, where this load is shorter for it.
    """

    alpha: float = ALPHA
    comparisons: int = 1
    margin: float = 1.2
    floor_ms: float = 5.0
    suspicion: float = 0.2
    path_suspicion: float = 0.05
    relative: tuple[str, ...] = ("p50", "p95")
    min_requests: int = MIN_REQUESTS
    min_rate_share: float = 0.95
    stall_ms: float | None = 500.0
    memory_margin: float | None = None
    memory_floor_mib: float = 8.0
    on_inconclusive: str = "revert"
    fail_share: float = 1.0
    pool: Pool | None = None

    @property
    def fail_level(self) -> float:
        """The part of the level that a fail of this judgement may use: looks before it have used the others."""
        return self.level * self.fail_share

    @property
    def level(self) -> float:
        """alpha after the correction for several comparisons."""
        return self.alpha / max(1, self.comparisons)

    @property
    def confidence(self) -> str:
        """The level as a person reads it: "99 %"."""
        return f"{100 * (1 - self.level):.6g} %"


USUAL: Final = Thresholds()


@dataclass(frozen=True)
class Check:
    """One question of the verdict: its answer, the value, the limit, confidence bounds, and a sentence that says it.

    `name` is the question, and of one path of the load the path behind a colon: "error_rate:GET /e". `firm`: where the
    question's fail is one that a retry must not undo, this one is.
    """

    name: str
    outcome: str
    value: float | None
    limit: float | None
    bounds: tuple[float | None, float | None]
    sentence: str
    firm: bool = True

    @property
    def question(self) -> str:
        """The name without its path."""
        return self.name.partition(":")[0]

    def to_dict(self) -> dict[str, object]:
        """Plain data that JSON can hold."""
        return {
            "name": self.name,
            "outcome": self.outcome,
            "value": finite(self.value),
            "limit": finite(self.limit),
            "bounds": [finite(bound) for bound in self.bounds],
            "sentence": self.sentence,
        }


@dataclass(frozen=True)
class Verdict:
    """The outcome (pass, fail or inconclusive), the first cause in one sentence, every check, and what is only said.

    `uncompared`: what was not held against the live generation although there is one, or not asked at all. `hard`: a
    fail that a retry must not undo. `stopped`: the load was ended because the live generation suffered, so that there
    must be no retry. `cold_seconds`: the first seconds of the run, whose good answers are in no latency. `told`: what
    decides nothing and a person should read all the same, in sentences.
    """

    outcome: str
    cause: str
    checks: Sequence[Check] = ()
    warnings: Sequence[str] = ()
    hard: bool = False
    attempts: int = 1
    stopped: bool = False
    facts: Mapping[str, object] = field(default_factory=dict)
    cold_seconds: float = 0.0
    uncompared: Sequence[str] = ()
    told: Sequence[str] = ()

    def to_dict(self) -> dict[str, object]:
        """Plain data that JSON can hold."""
        return {
            "outcome": self.outcome,
            "cause": self.cause,
            "checks": [check.to_dict() for check in self.checks],
            "warnings": list(self.warnings),
            "uncompared": list(self.uncompared),
            "told": list(self.told),
            "hard": self.hard,
            "attempts": self.attempts,
            "stopped": self.stopped,
            "cold_seconds": round(self.cold_seconds, 3),
            "facts": dict(self.facts),
        }

    def also(self, check: Check) -> Verdict:
        """The same with one more check, which is its cause where it is worse than the others."""
        worse = WORST[check.outcome] > WORST[self.outcome]
        cause = f"{check.sentence}; {self.cause}" if worse else self.cause
        return replace(
            self, outcome=check.outcome if worse else self.outcome, cause=cause, checks=(*self.checks, check)
        )

    def telling(self, checks: Sequence[Check]) -> Verdict:
        """The same with checks that decide nothing and are to be read, in its cause too where it is a pass."""
        if not checks:
            return self
        said = [check.sentence for check in checks]
        cause = self.cause
        if self.outcome == PASS:
            begin, sep, end = cause.partition(NOT_COMPARED)
            cause = "; ".join([begin, *said]) + sep + end
        return replace(
            self, cause=cause, checks=(*self.checks, *checks), warnings=(*self.warnings, *said),
            told=(*self.told, *said),
        )  # fmt: skip

    def without(self, uncompared: Sequence[str]) -> Verdict:
        """The same, which says what was not compared, in its cause too where it is a pass."""
        if not uncompared:
            return self
        words = ("; " if NOT_COMPARED in self.cause else NOT_COMPARED) + "; ".join(uncompared)
        cause = f"{self.cause}{words}" if self.outcome == PASS else self.cause
        return replace(self, cause=cause, uncompared=(*self.uncompared, *uncompared))

    def check(self, name: str) -> Check:
        """The check of that name; KeyError where it was not made."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)


def finite(value: float | None, digits: int = 6) -> float | None:
    """The value rounded, None where it is infinite or no number: JSON has no infinity."""
    if value is None or not math.isfinite(value):
        return None
    return round(value, digits)


def short(value: float) -> str:
    """A measured number as a person reads it: three significant digits."""
    if not math.isfinite(value):
        return "unanswered"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def milliseconds(value: float) -> str:
    """A latency as a person reads it; "unanswered" for an infinite one."""
    return f"{short(value)} ms" if math.isfinite(value) else "unanswered"
