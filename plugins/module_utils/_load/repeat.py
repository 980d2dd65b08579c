# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The load of a trial once more, on the live generation alone and beside its users: it stops when they are hurt."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

from .._declaration.app import Load
from .._verdict.types import Samples
from . import h2load as h2
from .livewatch import Bounds, Calm, LiveWatch
from .phases import CALM_LEAST_RATE, CALM_MOST_S, CALM_REQUESTS, CALM_SHARE, Protected, Running

LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class Repeated:
    """What came of it: the samples (None where it was stopped), and when and why it was, else empty."""

    samples: Samples | None
    stopped: str = ""


def repeat_load(
    protected: Protected,
    load: Load,
    *,
    hurt: Callable[[], str],
    running: Running,
    clock: Callable[[], float] = time.monotonic,
) -> Repeated:
    """Ask the live generation for `load.seconds` at `load.rate` a moment at a fraction of that. It stops when
    its answers to the load get worse, when connections of users wait, or when `hurt` (asked once in a second) says why.

    Raises LoadError where the load cannot be made as declared.
    """
    if load.rate is None:
        raise h2.LoadError("a load test has a rate")
    paths = [h2.PathLoad.of(path) for path in load.paths]
    lanes = h2.plan_arrivals(paths, load.rate, float(load.seconds), seed="repeat")
    problem = h2.raise_nofile(h2.nofile_needed(lanes, running.timeout_seconds))
    if problem:
        raise h2.LoadError(problem)
    directory = tempfile.mkdtemp(prefix="headcount-load-")

    def launches(label: str, some: list[h2.Lane]) -> list[h2.Launch]:
        return h2.prepare(
            paths, some, protected.target, directory=directory, label=label,
            timeout_s=running.timeout_seconds, program=running.program,
        )  # fmt: skip

    try:
        calm = _calm(protected, paths, load.rate, launches, running)
        if calm.sick(protected.limits):
            return Repeated(None, f"the live generation is sick itself: {calm.sentence()}")
        why = hurt()
        if why:
            return Repeated(None, f"before its load began: {why}; {calm.sentence()}")
        every = launches("load", lanes)
        watch = LiveWatch(every, lanes, Bounds.of(protected.limits, calm), protected.queue)
        stop = _Stop(watch, hurt, clock)
        ended = running.runner(every, stop)
        if stop.why:
            return Repeated(None, f"after {stop.seconds:.1f} s: {stop.why}; {calm.sentence()}")
        return Repeated(h2.account([h2.LaneRun(lane, end) for lane, end in zip(lanes, ended)]))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _calm(
    protected: Protected,
    paths: list[h2.PathLoad],
    rate: float,
    launches: Callable[[str, list[h2.Lane]], list[h2.Launch]],
    running: Running,
) -> Calm:
    """What it does at a fraction of the rate."""
    alone = max(CALM_SHARE * rate, min(rate, CALM_LEAST_RATE))
    lanes = h2.plan_lanes(paths, alone, min(CALM_MOST_S, max(1.0, CALM_REQUESTS / alone)))
    ended = running.runner(launches("calm", lanes), None)
    samples = h2.account([h2.LaneRun(lane, end) for lane, end in zip(lanes, ended)])
    return Calm.of(samples, protected.queue())


class _Stop:
    """Says why the load must not go on; remembers the first reason, and after how many seconds it was."""

    def __init__(self, watch: LiveWatch, hurt: Callable[[], str], clock: Callable[[], float]) -> None:
        self.watch, self.hurt, self.clock = watch, hurt, clock
        self.why, self.seconds = "", 0.0
        self.begin = clock()
        self.next = self.begin + LOOK_EVERY_S

    def __call__(self) -> str:
        now = self.clock()
        why = self.watch()
        if not why and now >= self.next:
            self.next = now + LOOK_EVERY_S
            why = self.hurt()
        if why and not self.why:
            self.why, self.seconds = why, now - self.begin
        return why
