# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The load of a trial: a warm-up that is thrown away, then candidate and live generation at once, half a period
apart."""

from __future__ import annotations

import base64
import json
import math
import shutil
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .._verdict.judge import RETRY_FACTOR, Samples, Verdict, combine, needs_retry
from . import h2load as h2
from .memory import MemoryEvidence

WARMUP_PER_WORKER = 100
MOST_DERIVED = 200.0
"""Requests a second of one arm that are never exceeded where no rate is declared."""


@dataclass(frozen=True)
class DerivedRate:
    """A rate of load in requests per second and arm, and where it comes from: declared or derived, in a sentence."""

    rate: float
    origin: str
    reason: str


@dataclass(frozen=True)
class TrialLoad:
    """What came of the load: both arms, the rate per arm, the generator's CPU seconds and its share of one core."""

    candidate: Samples
    baseline: Samples | None
    rate: DerivedRate
    cost_cpu_seconds: float
    cost_core_share: float
    swapped: bool
    warmup: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def pack(self) -> str:
        """Everything, the samples too, as short text that goes from one machine to another; the inverse of unpack()."""
        arms = {"candidate": self.candidate, "baseline": self.baseline}
        plain = {
            **{name: getattr(self, name) for name in ("cost_cpu_seconds", "cost_core_share", "swapped")},
            **{name: arm.to_dict() if arm is not None else None for name, arm in arms.items()},
            "rate": asdict(self.rate),
            "warmup": dict(self.warmup),
            "notes": list(self.notes),
        }
        text = json.dumps(plain, separators=(",", ":"), allow_nan=False)
        return base64.b64encode(zlib.compress(text.encode(), 6)).decode()

    @classmethod
    def unpack(cls, text: str) -> TrialLoad:
        """From pack(). ValueError when it is something else."""
        try:
            plain = json.loads(zlib.decompress(base64.b64decode(text, validate=True)))
            arms = {name: plain.pop(name) for name in ("candidate", "baseline")}
            return cls(
                candidate=Samples.from_dict(arms["candidate"]),
                baseline=Samples.from_dict(arms["baseline"]) if arms["baseline"] is not None else None,
                **{**plain, "rate": DerivedRate(**plain["rate"])},
            )
        except (zlib.error, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not what came of a load: {error}") from error

    def to_dict(self) -> dict[str, object]:
        """Plain data for the evidence, without the samples themselves."""
        return {
            "rate": self.rate.rate,
            "rate_origin": self.rate.origin,
            "rate_reason": self.rate.reason,
            "cost_cpu_seconds": round(self.cost_cpu_seconds, 3),
            "cost_core_share": round(self.cost_core_share, 4),
            "swapped": self.swapped,
            "warmup": dict(self.warmup),
            "notes": list(self.notes),
        }


def derive_rate(
    capacity_rps: float, *, arms: int = 2, utilisation: float = 0.5, least: float = 1.0, most: float = MOST_DERIVED
) -> DerivedRate:
    """The rate of one arm where none is declared: `utilisation` of the weighed capacity, shared by the arms.

    The weighed capacity (requests per second that the plan's workers can serve) is shared because both arms run on the
    same cores; half of it leaves room for users' own traffic on the live generation.
    """
    if not capacity_rps > 0 or not math.isfinite(capacity_rps):
        raise h2.LoadError(f"no load.rate is declared and the weighed capacity is {capacity_rps}: declare load.rate")
    rate = min(most, max(least, capacity_rps * utilisation / max(1, arms)))
    bound = ""
    if rate == most:
        bound = f", bounded to {most:g}"
    elif rate == least:
        bound = f", raised to {least:g}"
    shared = f", shared by {arms} arms" if arms > 1 else ""
    return DerivedRate(
        rate,
        "derived",
        f"derived, not declared: {100 * utilisation:.0f} % of the weighed capacity of {capacity_rps:.3g} a second"
        f"{shared}{bound}",
    )


def choose_rate(load: Mapping[str, Any], capacity_rps: float | None, arms: int) -> DerivedRate:
    """load.rate where it is declared, else `derive_rate`."""
    declared = load.get("rate")
    if declared is not None:
        return DerivedRate(float(declared), "declared", "declared as load.rate")
    if capacity_rps is None:
        raise h2.LoadError("no load.rate is declared and no capacity was weighed: declare load.rate")
    return derive_rate(capacity_rps, arms=arms)


def files_needed(load: Mapping[str, Any], timeout_seconds: float = 10.0) -> int:
    """Open files that the busiest h2load process of a trial may need, its retry included.

    Where no rate is declared, it is counted with the most that is ever derived.
    """
    rate = MOST_DERIVED if load.get("rate") is None else float(load["rate"])
    paths = [h2.PathLoad.from_dict(entry) for entry in load["paths"]]
    lanes = h2.plan_lanes(paths, rate, min(float(load["seconds"]) * RETRY_FACTOR, h2.MAX_REQUESTS / rate))
    return h2.nofile_needed(lanes, timeout_seconds)


def longest_seconds(load: Mapping[str, Any], timeout_seconds: float = 10.0, warmup_max_seconds: float = 30.0) -> float:
    """Seconds that one run of the load can take at most, warm-up and time-outs included; the retry is the longest."""
    return warmup_max_seconds + float(load["seconds"]) * RETRY_FACTOR + 2 * (timeout_seconds + h2.GRACE_S)


def warmup_requests(load: Mapping[str, Any], workers: int) -> int:
    """How many requests warm an arm up: load.warmup_requests, or 100 for each worker."""
    declared = load.get("warmup_requests")
    return WARMUP_PER_WORKER * max(1, workers) if declared is None else int(declared)


def run_trial_load(
    candidate: h2.Target,
    baseline: h2.Target | None,
    load: Mapping[str, Any],
    *,
    workers: int = 1,
    capacity_rps: float | None = None,
    timeout_seconds: float = 10.0,
    warmup_max_seconds: float = 30.0,
    swap: bool = False,
    factor: float = 1.0,
    on_warm: Callable[[], None] | None = None,
    runner: h2.Runner = h2.run_processes,
    program: str = "h2load",
) -> TrialLoad:
    """Loads the candidate and, where there is one, the live generation at the same time.

    load: the normalised app's `load` ({paths, rate, seconds, warmup_requests}); workers: of the larger arm; factor:
    how many times load.seconds to run (a retry runs twice as long). The arm that begins is the candidate, with `swap`
    the baseline. on_warm is called between the
    warm-up and the load (MemorySampler.mark_warm). Raises LoadError where the load cannot be run as declared; a load
    that ran badly is told in
    `Samples.complete`.
    """
    paths = [h2.PathLoad.from_dict(entry) for entry in load["paths"]]
    arms = {"candidate": candidate} if baseline is None else {"candidate": candidate, "baseline": baseline}
    order = list(reversed(arms)) if swap else list(arms)
    rate = choose_rate(load, capacity_rps, len(arms))
    lanes = h2.plan_lanes(paths, rate.rate, float(load["seconds"]) * factor)
    problem = h2.raise_nofile(h2.nofile_needed(lanes, timeout_seconds))
    if problem:
        raise h2.LoadError(problem)
    directory = tempfile.mkdtemp(prefix="headcount-load-")
    try:
        wanted = warmup_requests(load, workers)
        warm_rate = _warm_rate(rate.rate, capacity_rps, len(arms), wanted, warmup_max_seconds)
        warmup, warm_cpu = _warm_up(
            paths, arms, wanted=wanted, rate=warm_rate, most=warmup_max_seconds, directory=directory,
            timeout_s=timeout_seconds, runner=runner, program=program,
        )  # fmt: skip
        if on_warm is not None:
            on_warm()
        half = min(lane.period_ms for lane in lanes) / 2000.0
        launches: list[h2.Launch] = []
        for place, name in enumerate(order):
            launches += h2.prepare(
                paths, lanes, arms[name], directory=directory, label=name, delay_s=place * half,
                timeout_s=timeout_seconds, program=program,
            )  # fmt: skip
        ended = runner(launches)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    samples = {
        name: h2.account(
            [h2.LaneRun(lane, end) for lane, end in zip(lanes, ended[place * len(lanes) : (place + 1) * len(lanes)])]
        )
        for place, name in enumerate(order)
    }
    cpu = sum(end.cpu_seconds for end in ended)
    span = max(lane.planned * lane.period_ms / 1000.0 for lane in lanes)
    notes = [f"{name}: {note}" for name, arm in samples.items() for note in arm.notes]
    notes += [note for note in [warmup.pop("note", "")] if note]
    return TrialLoad(
        candidate=samples["candidate"],
        baseline=samples.get("baseline"),
        rate=replace(rate, rate=h2.lanes_rate(lanes)),
        cost_cpu_seconds=cpu + warm_cpu,
        cost_core_share=cpu / span,
        swapped=swap,
        warmup=warmup,
        notes=notes,
    )


def _warm_rate(rate: float, capacity_rps: float | None, arms: int, wanted: int, most_seconds: float) -> float:
    """Faster than the load where that is needed to end in time, but below the weighed capacity where that is known."""
    fastest = 4.0 * rate if capacity_rps is None else max(rate, 0.7 * capacity_rps / arms)
    return min(fastest, max(rate, wanted / most_seconds))


def _warm_up(
    paths: Sequence[h2.PathLoad], arms: Mapping[str, h2.Target], *, wanted: int, rate: float, most: float,
    directory: str, timeout_s: float, runner: h2.Runner, program: str,
) -> tuple[dict[str, Any], float]:  # fmt: skip
    if wanted <= 0:
        return {"requests": 0, "rate": 0.0, "seconds": 0.0, "note": "no warm-up: load.warmup_requests is 0"}, 0.0
    seconds = min(most, wanted / rate)
    lanes = h2.plan_lanes(paths, rate, max(seconds, 0.5 / rate))
    launches: list[h2.Launch] = []
    for name, target in arms.items():
        launches += h2.prepare(
            paths, lanes, target, directory=directory, label=f"warm-{name}", timeout_s=timeout_s, program=program
        )
    ended = runner(launches)
    sent = sum(lane.planned for lane in lanes)
    found: dict[str, Any] = {"requests": sent, "rate": round(h2.lanes_rate(lanes), 3), "seconds": round(seconds, 3)}
    for place, name in enumerate(arms):
        part = ended[place * len(lanes) : (place + 1) * len(lanes)]
        arm = h2.account([h2.LaneRun(lane, end) for lane, end in zip(lanes, part)])
        found[f"{name}_failures"] = arm.failures
    if sent < wanted - len(lanes):
        found["note"] = (
            f"the warm-up was cut to {sent} of {wanted} requests: more would have taken longer than {most:g} s"
        )
    return found, sum(end.cpu_seconds for end in ended)


@dataclass(frozen=True)
class Attempt:
    """One run of a trial: its load, the memory evidence of the candidate (and of the live one), and its verdict."""

    load: TrialLoad
    memory: MemoryEvidence | None
    verdict: Verdict
    baseline_memory: MemoryEvidence | None = None


def with_retry(attempt: Callable[[bool, float], Attempt]) -> tuple[Verdict, list[Attempt]]:
    """The verdict of a trial with its one retry, and the attempts behind it.

    attempt(swap, factor) runs the load with the arms swapped or not, `factor` times load.seconds long, and judges it.
    The second run is twice as long, so that a slowdown that was seen once is hardly ever missed the second time.
    """
    attempts = [attempt(False, 1.0)]
    if not needs_retry(attempts[0].verdict):
        return attempts[0].verdict, attempts
    attempts.append(attempt(True, RETRY_FACTOR))
    return combine(attempts[0].verdict, attempts[1].verdict), attempts
