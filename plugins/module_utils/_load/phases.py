# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The phases of a trial's load, each watched on behalf of the live generation: it is asked alone first, and whatever
follows stops as soon as it suffers."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from .._declaration.app import Limits
from .._os.addresses import local_address
from .._os.http import Answer, Ask, request, well
from .._os.http import Bounds as AnswerBounds
from .._verdict.types import Samples
from . import h2load as h2
from .early import Early, EarlyWatch, Ended
from .livewatch import Bounds, Calm, LiveWatch
from .newpaths import WAIT_S, answers, one_by_one, rare_lanes, unknown, without
from .rate import DerivedRate

CALM, RARE, PULSE = "calm", "rare", "pulse"
CALM_SHARE, CALM_LEAST_RATE, CALM_REQUESTS, CALM_MOST_S = 0.25, 4.0, 10, 3.0
"""The live generation alone: at this share of load.rate, or this rate, for so many requests, or so many seconds."""

LEAST_TOLD_S = 0.05
PULSE_RATE = 4.0
"""Requests a second by which a live generation is watched that is not loaded beside the candidate."""


def after(seconds: float) -> str:
    """When a load was stopped, for people."""
    return "as it began" if seconds < LEAST_TOLD_S else f"after {seconds:.1f} s"


@dataclass(frozen=True)
class Protected:
    """The live generation as it is kept from suffering: where it is asked, the limits of the app, and how many users'
    connections wait for it (None: nobody can tell)."""

    target: h2.Target
    limits: Limits
    queue: Callable[[], int | None] = lambda: None


@dataclass(frozen=True)
class Running:
    """How h2load is run: how long one answer is waited for and how long a warm-up may take, in seconds, what runs its
    processes, which program it is, and how seconds are waited for in which nobody is asked. `early`: how it is judged
    while it is under way (None: at its end alone); `ask`: how one request is made."""

    timeout_seconds: float = 10.0
    warmup_max_seconds: float = 30.0
    runner: h2.Runner = h2.run_processes
    program: str = "h2load"
    rest: Callable[[float], object] = time.sleep
    early: Early | None = None
    ask: Callable[[str | tuple[str, int], Ask, AnswerBounds], Answer] = request


USUAL: Final = Running()


@dataclass(frozen=True)
class Generator:
    """How h2load is run in this trial: what is asked, and where it writes."""

    paths: Sequence[h2.PathLoad]
    directory: str
    running: Running

    def launches(
        self, label: str, lanes: Sequence[h2.Lane], target: h2.Target, delay_s: float = 0.0
    ) -> list[h2.Launch]:
        return h2.prepare(
            self.paths, lanes, target, directory=self.directory, label=label, delay_s=delay_s,
            timeout_s=self.running.timeout_seconds, program=self.running.program,
        )  # fmt: skip

    def lanes(self, rate: float, seconds: float, left_out: Collection[int] = ()) -> list[h2.Lane]:
        """Even lanes of all paths, each at its share of `rate`, but for those that are left out."""
        asked = [replace(path, weight=0.0) if place in left_out else path for place, path in enumerate(self.paths)]
        weights = sum(path.weight for path in asked)
        rate *= weights / sum(path.weight for path in self.paths)
        heaviest = max((path.weight for path in asked), default=1.0)
        least = 0.5 * weights / heaviest / rate  # one request, of the heaviest path
        return h2.plan_lanes(asked, rate, max(seconds, 1.01 * least))

    def ask(self, place: int, target: h2.Target) -> int:
        """What one request for the path at a place is answered with: the status where it does not mean well, else 0."""
        path = self.paths[place]
        headers = dict(path.headers)
        if "host" not in map(str.lower, headers):
            headers["Host"] = target.authority or target.url_base.partition("://")[2]
        asked = Ask(path.path, path.method, headers, path.body, path.status)
        answer = self.running.ask(local_address(target.address), asked, AnswerBounds(WAIT_S))
        return 0 if well(answer.status, path.status) else answer.status


@dataclass
class Phase:
    """One part of the load: lanes by the name of whom they ask, and what came of them. `cut`: when it began and ended
    (seconds since the epoch) where that was before its time, because the candidate had failed; `seen`: the samples of
    the look that saw it, from which the verdict is made: by what came in until all had stopped it might be no fail."""

    lanes: dict[str, list[h2.Lane]]
    ended: dict[str, list[h2.Finished]] = field(default_factory=dict)
    cut: tuple[float, float] | None = None
    seen: Mapping[str, Samples] = field(default_factory=dict)
    timeout_seconds: float = Running.timeout_seconds

    def samples(self, name: str) -> Samples:
        if name in self.seen:
            return replace(self.seen[name], cpu_seconds=sum(end.cpu_seconds for end in self.ended[name]))
        runs = [h2.LaneRun(lane, end) for lane, end in zip(self.lanes[name], self.ended[name])]
        if self.cut is not None:
            return h2.account_so_far(runs, *self.cut, self.timeout_seconds)
        return h2.account(runs, timeout_seconds=self.timeout_seconds)

    @property
    def cpu_seconds(self) -> float:
        return sum(end.cpu_seconds for ends in self.ended.values() for end in ends)


@dataclass
class Guarded:
    """Runs the phases of a load, and stops it when the live generation suffers. `targets`: whom it asks, by arm;
    `new`: the places of the paths that the live generation does not know, and what it answers to them."""

    generator: Generator
    targets: dict[str, h2.Target]
    protected: Protected | None
    phases: list[Phase] = field(default_factory=list)
    calm: Calm | None = None
    new: dict[int, int] = field(default_factory=dict)
    stopped: str = ""
    seconds: float = 0.0
    rate: float = 0.0
    ended: Ended | None = None
    looks: int = 0
    _queued: list[int] = field(default_factory=list)

    def calm_down(self, rate: float) -> None:
        """Measure the live generation alone, where it is protected, at a fraction of the rate of the load, and find the
        paths that it does not know."""
        if self.protected is None:
            return
        alone = max(CALM_SHARE * rate, min(rate, CALM_LEAST_RATE))
        seconds = min(CALM_MOST_S, max(1.0, CALM_REQUESTS / alone))
        calm = self.generator.lanes(alone, seconds)
        rare = rare_lanes(self.generator.paths, calm, rate, seconds)
        phase = Phase({CALM: calm, RARE: rare})
        launches = {
            name: self.generator.launches(name, some, self.protected.target) for name, some in phase.lanes.items()
        }
        ended = self.generator.running.runner([*launches[CALM], *launches[RARE]], self._count_queue)
        phase.ended = {CALM: ended[: len(calm)], RARE: ended[len(calm) :]}
        whole = Phase({CALM: [*calm, *rare]}, {CALM: ended}).samples(CALM)
        target = self.protected.target
        heard = one_by_one(answers(whole), self.generator.paths, lambda place: self.generator.ask(place, target))
        self.new = unknown(heard)
        known = [without(samples, self.new) for samples in (phase.samples(CALM), whole)]
        self.calm = Calm.of(known[0] if known[0].planned else known[1], max(self._queued, default=None))

    def leave_out_the_sick(self) -> str:
        """Neither load nor protect a live generation that is sick alone. A sentence that says so; else empty."""
        if self.protected is None or self.calm is None or not self.calm.sick(self.protected.limits):
            return ""
        self.targets.pop("baseline", None)
        self.protected = None
        self.new = {}
        return f"the live generation is sick itself ({self.calm.sentence()}): it is no yardstick and was not loaded"

    def lanes(self, name: str, rate: float, seconds: float) -> list[h2.Lane]:
        """Even lanes for whom `name` says: only the candidate is asked for what the live generation does not know."""
        return self.generator.lanes(rate, seconds, () if name == "candidate" else self.new)

    def named(self) -> dict[str, int]:
        """The new paths by their names."""
        paths = self.generator.paths
        return {f"{paths[place].method} {paths[place].path}": status for place, status in self.new.items()}

    def _count_queue(self) -> str:
        waiting = self.protected.queue() if self.protected is not None else None
        if waiting is not None:
            self._queued.append(waiting)
        return ""

    def run(self, prefix: str, lanes: Mapping[str, Sequence[h2.Lane]], early: Early | None = None) -> None:
        """The next phase: load at once whom `lanes` name; a live generation that is not among them is asked now and
        then. `early`: end it as soon as the candidate has failed."""
        waits = self.generator.running.timeout_seconds
        phase = Phase({name: list(some) for name, some in lanes.items()}, timeout_seconds=waits)
        seconds = max((lane.lasts_s for some in lanes.values() for lane in some), default=0.0)
        launches = {
            name: self.generator.launches(prefix + name, some, self.targets[name]) for name, some in phase.lanes.items()
        }
        self.rate = h2.lanes_rate(next(iter(phase.lanes.values())))
        watch = None
        if self.protected is not None and self.calm is not None:
            if "baseline" not in phase.lanes:
                phase.lanes[PULSE] = self.lanes(PULSE, min(self.rate, PULSE_RATE), seconds)
                launches[PULSE] = self.generator.launches(prefix + PULSE, phase.lanes[PULSE], self.protected.target)
            live = "baseline" if "baseline" in phase.lanes else PULSE
            bounds = Bounds.of(self.protected.limits, self.calm)
            watch = LiveWatch(launches[live], phase.lanes[live], bounds, self.protected.queue)
        every = [launch for some in launches.values() for launch in some]
        begin = time.time()
        looking = self._looking(early, launches, phase.lanes, seconds) if early is not None else None
        ended = self._run(every, watch, looking)
        if looking is not None:
            self.looks += looking.looks
            self.ended = looking.ended
            if looking.ended is not None:
                phase.cut, phase.seen = (begin, begin + looking.ended.at_s), looking.seen
        for name, some in launches.items():
            phase.ended[name], ended = ended[: len(some)], ended[len(some) :]
        self.phases.append(phase)

    def _looking(
        self,
        early: Early,
        launches: Mapping[str, Sequence[h2.Launch]],
        lanes: Mapping[str, Sequence[h2.Lane]],
        seconds: float,
    ) -> EarlyWatch:
        arms = {name: list(zip(launches[name], lanes[name])) for name in self.targets if name in launches}
        early = replace(early, rule=replace(early.rule, new=self.named()))
        return EarlyWatch(arms, seconds, self.generator.running.timeout_seconds, early)

    def _run(
        self, launches: Sequence[h2.Launch], watch: LiveWatch | None, looking: EarlyWatch | None = None
    ) -> list[h2.Finished]:
        if watch is None:
            return self.generator.running.runner(launches, looking)
        begin = watch.clock()

        def stop() -> str:
            why = watch()
            if why and not watch.clock_set:
                self.stopped, self.seconds = why, watch.clock() - begin
            return why or (looking() if looking is not None else "")

        return self.generator.running.runner(launches, stop)

    @property
    def cut(self) -> bool:
        """Whether it was ended before its time, for whatever reason."""
        return bool(self.stopped) or self.ended is not None

    def told_of_end(self) -> Mapping[str, object]:
        """Why it was ended because the candidate had failed, for the evidence; empty where it was not."""
        return self.ended.to_dict() if self.ended is not None else {}

    def told_of_calm(self) -> Mapping[str, object]:
        """What the live generation did alone, for the evidence; empty where it was not asked."""
        return self.calm.to_dict() if self.calm is not None else {}

    def sentence(self, rate: DerivedRate, notes: Sequence[str]) -> str:
        """Why the load was stopped, for people. `notes`: on what was sent."""
        if not self.stopped or self.calm is None:
            return ""
        asked = set(self.phases[-1].lanes) & set(self.targets)
        each = "to the candidate and to the live generation each" if len(asked) > 1 else "to the candidate"
        each = "to it alone" if asked == {"baseline"} else each
        fix = "lower load.rate" if rate.origin == "declared" else "declare a load.rate below that"
        paused = next((note.partition(": ")[2] for note in notes if "the generator stood still" in note), "")
        whose = "The host had not that much to give beside what is live (it is too small, or was busy: then try again)"
        if paused:
            whose, fix = f"It may be the machine itself: {paused}", f"try again when it is calm, or {fix}"
        return (
            f"the live generation suffered under the load, which was stopped {after(self.seconds)} at "
            f"{self.rate:.3g} requests a second {each}: {self.stopped}; {self.calm.sentence()}. {whose}, so that "
            f"nothing is said of how fast the candidate is: {fix}"
        )
