# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The load of a trial: a warm-up that is thrown away, then candidate and live generation at once, each asked the same
at random times, half a run apart."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from .._declaration.app import Limits, Load
from .._declaration.shortfall import RETRY_FACTOR
from .._verdict.judge import combine, needs_retry
from .._verdict.types import Samples, Verdict
from . import h2load as h2
from .early import Early, EarlyWatch, Ended
from .inturn import Part, arms_lanes, in_turn, one_after_another
from .livewatch import Bounds, Calm, LiveWatch
from .memory import MemoryEvidence
from .rate import DerivedRate, choose_rate

WARMUP_PER_WORKER = 100
CALM, PULSE = "calm", "pulse"
CALM_SHARE, CALM_LEAST_RATE, CALM_REQUESTS, CALM_MOST_S = 0.25, 4.0, 10, 3.0
"""The live generation alone: at this share of load.rate, or this rate, for so many requests, or so many seconds."""

RAMP_SHARE, RAMP_SECONDS = 0.5, 1.0
REST_SECONDS = 2.0
"""So long nobody is asked after the load: what a generation uses then it uses for itself."""

WARM_SHARE = 1.5
PULSE_RATE = 4.0
"""Requests a second by which a live generation is watched that is not loaded beside the candidate."""


@dataclass(frozen=True)
class TrialLoad:
    """What came of the load: both arms, the rate per arm, the generator's CPU seconds and its share of one core.

    `stopped` says why it was ended before its time, in a sentence: the live generation suffered. `calm` is what that
    one did alone. `in_turn`: the arms were loaded one after another (A B B A), not at once. `sick`: why the live
    generation was not loaded although it was asked for, in a sentence. `looks`: how often it was looked whether the
    candidate had failed already, and `ended` what came of that where it had (Ended.to_dict()).
    """

    candidate: Samples
    baseline: Samples | None
    rate: DerivedRate
    cost_cpu_seconds: float
    cost_core_share: float
    swapped: bool
    warmup: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()
    stopped: str = ""
    calm: Mapping[str, object] = field(default_factory=dict)
    in_turn: bool = False
    sick: str = ""
    ended: Mapping[str, object] = field(default_factory=dict)
    looks: int = 0

    def after(self, first: TrialLoad) -> TrialLoad:
        """The same, whose samples know the requests of the run before it."""
        baseline = self.baseline
        if baseline is not None and first.baseline is not None:
            baseline = baseline.after(first.baseline)
        return replace(self, candidate=self.candidate.after(first.candidate), baseline=baseline)

    def pack(self) -> str:
        """Everything, the samples too, as short text that goes from one machine to another; the inverse of unpack()."""
        arms = {"candidate": self.candidate, "baseline": self.baseline}
        plain = {
            **{name: getattr(self, name) for name in ("cost_cpu_seconds", "cost_core_share", "swapped", "in_turn")},
            **{name: arm.to_dict() if arm is not None else None for name, arm in arms.items()},
            "rate": asdict(self.rate),
            "warmup": dict(self.warmup),
            "notes": list(self.notes),
            "stopped": self.stopped,
            "calm": dict(self.calm),
            "sick": self.sick,
            "ended": dict(self.ended),
            "looks": self.looks,
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
            "stopped": self.stopped,
            "calm": dict(self.calm),
            "in_turn": self.in_turn,
            "ended": dict(self.ended),
            "looks": self.looks,
        }


def longest_seconds(
    load: Load, timeout_seconds: float = 10.0, warmup_max_seconds: float = 30.0, in_turn: bool = False
) -> float:
    """Seconds that one run of the load can take at most, warm-up and time-outs included; the retry is the longest.

    `in_turn`: the arms may be loaded one after another.
    """
    if in_turn:
        more = float(load.seconds) * RETRY_FACTOR + 2 * (timeout_seconds + h2.GRACE_S) + REST_SECONDS
        return longest_seconds(load, timeout_seconds, warmup_max_seconds) + more
    beginning = CALM_MOST_S + RAMP_SECONDS + 2 * (timeout_seconds + h2.GRACE_S)
    return beginning + warmup_max_seconds + float(load.seconds) * RETRY_FACTOR + 2 * (timeout_seconds + h2.GRACE_S)


def warmup_requests(load: Load, workers: int) -> int:
    """How many requests warm an arm up: load.warmup_requests, or 100 for each worker."""
    declared = load.warmup_requests
    return WARMUP_PER_WORKER * max(1, workers) if declared is None else int(declared)


@dataclass(frozen=True)
class Protected:
    """The live generation as it is kept from suffering: where it is asked, the limits of the app, and how many users'
    connections wait for it (None: nobody can tell)."""

    target: h2.Target
    limits: Limits
    queue: Callable[[], int | None] = lambda: None


@dataclass(frozen=True)
class Capacity:
    """What the candidate was planned for: its workers (of the larger arm), and the requests a second that they can
    serve by the weigh (None: not weighed)."""

    workers: int = 1
    rps: float | None = None


@dataclass(frozen=True)
class Turn:
    """Which run of a trial: it lasts `factor` times load.seconds, and with `swap` the baseline begins, not the
    candidate. `in_turn`: the arms are loaded one after another (A B B A), each for that long, not at once; `warm`: they
    were loaded just before, and need no warm-up."""

    swap: bool = False
    factor: float = 1.0
    in_turn: bool = False
    warm: bool = False

    def warmup(self, load: Load, workers: int) -> int | None:
        """The requests that warm an arm up; None where it is warm."""
        return None if self.warm else warmup_requests(load, workers)


@dataclass(frozen=True)
class Running:
    """How h2load is run: how long one answer is waited for and how long a warm-up may take, in seconds, what runs its
    processes, which program it is, and how seconds are waited for in which nobody is asked. `early`: how it is judged
    while it is under way (None: at its end alone)."""

    timeout_seconds: float = 10.0
    warmup_max_seconds: float = 30.0
    runner: h2.Runner = h2.run_processes
    program: str = "h2load"
    rest: Callable[[float], object] = time.sleep
    early: Early | None = None


@dataclass(frozen=True)
class _Generator:
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

    def lanes(self, rate: float, seconds: float) -> list[h2.Lane]:
        heaviest = max((path.weight for path in self.paths), default=1.0)
        least = 0.5 * sum(path.weight for path in self.paths) / heaviest / rate  # one request, of the heaviest path
        return h2.plan_lanes(self.paths, rate, max(seconds, 1.01 * least))


@dataclass
class _Phase:
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
class _Guarded:
    """Runs the phases of a load, and stops it when the live generation suffers. `targets`: whom it asks, by arm."""

    generator: _Generator
    targets: dict[str, h2.Target]
    protected: Protected | None
    phases: list[_Phase] = field(default_factory=list)
    calm: Calm | None = None
    stopped: str = ""
    seconds: float = 0.0
    rate: float = 0.0
    ended: Ended | None = None
    looks: int = 0
    _queued: list[int] = field(default_factory=list)

    def calm_down(self, rate: float) -> Samples | None:
        """Measure the live generation alone, at a fraction of the rate of the load. None where it is not protected."""
        if self.protected is None:
            return None
        alone = max(CALM_SHARE * rate, min(rate, CALM_LEAST_RATE))
        phase = _Phase({CALM: self.generator.lanes(alone, min(CALM_MOST_S, max(1.0, CALM_REQUESTS / alone)))})
        launches = self.generator.launches(CALM, phase.lanes[CALM], self.protected.target)
        phase.ended[CALM] = self.generator.running.runner(launches, self._count_queue)
        samples = phase.samples(CALM)
        self.calm = Calm.of(samples, max(self._queued, default=None))
        return samples

    def leave_out_the_sick(self) -> str:
        """Neither load nor protect a live generation that is sick alone. A sentence that says so; else empty."""
        if self.protected is None or self.calm is None or not self.calm.sick(self.protected.limits):
            return ""
        self.targets.pop("baseline", None)
        self.protected = None
        return f"the live generation is sick itself ({self.calm.sentence()}): it is no yardstick and was not loaded"

    def _count_queue(self) -> str:
        waiting = self.protected.queue() if self.protected is not None else None
        if waiting is not None:
            self._queued.append(waiting)
        return ""

    def run(self, prefix: str, lanes: Mapping[str, Sequence[h2.Lane]], early: Early | None = None) -> None:
        """The next phase: load at once whom `lanes` name; a live generation that is not among them is asked now and
        then. `early`: end it as soon as the candidate has failed."""
        waits = self.generator.running.timeout_seconds
        phase = _Phase({name: list(some) for name, some in lanes.items()}, timeout_seconds=waits)
        seconds = max((lane.lasts_s for some in lanes.values() for lane in some), default=0.0)
        launches = {
            name: self.generator.launches(prefix + name, some, self.targets[name]) for name, some in phase.lanes.items()
        }
        self.rate = h2.lanes_rate(next(iter(phase.lanes.values())))
        watch = None
        if self.protected is not None and self.calm is not None:
            if "baseline" not in phase.lanes:
                phase.lanes[PULSE] = self.generator.lanes(min(self.rate, PULSE_RATE), seconds)
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
            f"the live generation suffered under the load, which was stopped after {self.seconds:.1f} s at "
            f"{self.rate:.3g} requests a second {each}: {self.stopped}; {self.calm.sentence()}. {whose}, so that "
            f"nothing is said of how fast the candidate is: {fix}"
        )


def run_trial_load(
    candidate: h2.Target,
    baseline: h2.Target | None,
    load: Load,
    *,
    capacity: Capacity = Capacity(),
    turn: Turn = Turn(),
    running: Running = Running(),
    on_warm: Callable[[], None] | None = None,
    protected: Protected | None = None,
) -> TrialLoad:
    """Loads the candidate and, where there is one, the live generation at the same time, with the load of the app.

    on_warm is called between the warm-up and the load (MemorySampler.mark_warm).

    protected: the live generation, also where it is no arm. It is measured alone first; the load then begins with a
    ramp, and stops as soon as the live generation suffers (`TrialLoad.stopped`). One that is sick alone is not loaded.

    running.early: the load ends as soon as the candidate has failed (`TrialLoad.ended`); arms in turn are loaded to the
    end.
    Raises LoadError where the load cannot be run as declared; a load that ran badly is told in `Samples.complete`.
    """
    paths = [h2.PathLoad.of(path) for path in load.paths]
    arms = {"candidate": candidate} if baseline is None else {"candidate": candidate, "baseline": baseline}
    rate = choose_rate(load, capacity.rps, len(arms))
    span = float(load.seconds) * turn.factor
    parts = _parts(paths, list(arms), rate.rate, span, turn)
    _allow_files(h2.nofile_needed(h2.plan_lanes(paths, rate.rate, span), running.timeout_seconds))
    directory = tempfile.mkdtemp(prefix="headcount-load-")
    guarded = _Guarded(_Generator(paths, directory, running), arms, protected)
    loaded = _Loaded(guarded, time.monotonic())
    try:
        guarded.calm_down(rate.rate)
        sick = guarded.leave_out_the_sick()
        # The warm-up asks both at once, also where the host has no room for the load of both.
        warm = rate.rate / len(arms) if turn.in_turn else rate.rate
        warmup, cut = _warm_up(guarded, turn.warmup(load, capacity.workers), warm, capacity.rps)
        if not guarded.stopped:
            loaded = _Loaded(guarded, _told(on_warm))
            loaded.run(parts, REST_SECONDS if on_warm is not None else 0.0)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    samples = loaded.by_arm(len(arms), list(parts[0].lanes), span)
    told = [f"{name}: {note}" for name, arm in samples.items() for note in arm.notes]
    return TrialLoad(
        candidate=samples["candidate"],
        baseline=samples.get("baseline"),
        rate=replace(rate, rate=round(h2.lanes_rate(next(iter(parts[0].lanes.values()))), 6)),
        cost_cpu_seconds=sum(phase.cpu_seconds for phase in guarded.phases),
        cost_core_share=loaded.cpu_seconds / loaded.seconds if loaded.seconds else 0.0,
        swapped=turn.swap,
        warmup=warmup,
        notes=[note for note in (sick, *told, cut) if note],
        stopped=guarded.sentence(rate, told),
        calm=guarded.told_of_calm(),
        in_turn=turn.in_turn and len(guarded.targets) > 1,
        sick=sick,
        ended=guarded.told_of_end(),
        looks=guarded.looks,
    )


def _told(on_warm: Callable[[], None] | None) -> float:
    """The monotonic second at which the warm-up was over, and was told to be."""
    if on_warm is not None:
        on_warm()
    return time.monotonic()


def _parts(paths: Sequence[h2.PathLoad], arms: Sequence[str], rate: float, seconds: float, turn: Turn) -> list[Part]:
    if turn.in_turn and len(arms) > 1:
        return in_turn(paths, arms, rate, seconds, turn.swap)
    return [Part(arms_lanes(paths, arms, rate, seconds, turn.swap), seconds)]


@dataclass
class _Loaded:
    """The load after the warm-up, which was over at the monotonic second `warm_at`: its parts and when each was."""

    guarded: _Guarded
    warm_at: float
    phases: list[_Phase] = field(default_factory=list)
    times: list[tuple[float, float]] = field(default_factory=list)
    quiet: tuple[float, ...] = ()

    def by_arm(self, arms: int, order: Sequence[str], seconds: float) -> dict[str, Samples]:
        """The samples of each arm that was loaded, of `arms` that were to be for `seconds`; `order`: who came first."""
        found = {name: self.samples(name) for name in self.guarded.targets}
        return _turned(found, order, seconds) if arms > 1 and not self.guarded.cut else found

    def run(self, parts: Sequence[Part], rest_seconds: float) -> None:
        """Load part after part, then nobody for some seconds."""
        early = self.guarded.generator.running.early if len(parts) == 1 else None
        for number, part in enumerate(parts):
            lanes = {name: mine for name, mine in part.lanes.items() if name in self.guarded.targets}
            if not lanes or self.guarded.stopped:
                continue
            begin = time.monotonic() - self.warm_at
            self.guarded.run(f"{number}-" if number else "", lanes, early)
            self.phases.append(self.guarded.phases[-1])
            ended = self.guarded.ended
            lasted = part.seconds if ended is None else max(0.001, ended.at_s - h2.UNSETTLED_S)
            self.times.append((begin, begin + lasted))  # whose requests count
        if rest_seconds and not self.guarded.stopped and self.guarded.ended is None:
            begin = time.monotonic() - self.warm_at
            self.guarded.generator.running.rest(rest_seconds)
            self.quiet = (begin, time.monotonic() - self.warm_at)

    @property
    def cpu_seconds(self) -> float:
        """Of the generator."""
        return sum(phase.cpu_seconds for phase in self.phases)

    @property
    def seconds(self) -> float:
        """That it was loaded."""
        ended = self.guarded.ended
        return sum(end - begin for begin, end in self.times) if ended is None else ended.at_s

    def samples(self, name: str) -> Samples:
        """Of one arm; those of the warm-up where the load was stopped before it began."""
        mine = [(phase, when) for phase, when in zip(self.phases, self.times) if name in phase.lanes]
        if not mine:
            last = self.guarded.phases[-1]
            return last.samples(name) if name in last.lanes else h2.account([])
        times = [when for _, when in mine]
        whole = one_after_another([phase.samples(name) for phase, _ in mine], [end - begin for begin, end in times])
        return replace(whole, loaded=times, quiet=self.quiet, before=self._before(name))

    def _before(self, name: str) -> list[tuple[float, int]]:
        """(ms, place of its path) of each request of the warm-up to an arm, in their order."""
        load = {id(phase) for phase in self.phases}
        warming = [phase for phase in self.guarded.phases if name in phase.lanes and id(phase) not in load]
        found = [phase.samples(name) for phase in warming]
        return [one for samples in found for one in zip(samples.latency_ms, samples.path)]


def _allow_files(needed: int) -> None:
    problem = h2.raise_nofile(needed)
    if problem:
        raise h2.LoadError(problem)


def _turned(samples: Mapping[str, Samples], order: Sequence[str], span: float) -> dict[str, Samples]:
    """The samples with how far each arm's requests are turned against the others': half a run for each place. Of arms
    that are loaded in turn, the same requests are at the same second of both."""
    turns = {name: order.index(name) * span / 2.0 if len(order) > 1 else 0.0 for name in samples}
    return {name: replace(arm, turned_s=turns[name], run_s=span) for name, arm in samples.items()}


def _warm_rate(rate: float, capacity_rps: float | None, arms: int, wanted: int, most_seconds: float) -> float:
    """Faster than the load where that is needed to end in time, but below the weighed capacity where that is known."""
    fastest = 4.0 * rate if capacity_rps is None else max(rate, 0.7 * capacity_rps / arms)
    return min(fastest, max(rate, wanted / most_seconds))


def _warm_up(
    guarded: _Guarded, wanted: int | None, rate: float, capacity_rps: float | None
) -> tuple[dict[str, float], str]:
    """Warm the candidate up with `wanted` requests: what was sent, and a note where that was less.

    Beside a protected live generation it begins with a ramp, and asks that one less, so that both together never get
    more than in the load itself.
    """
    told, wanted = wanted is not None, wanted or 0
    if told and wanted <= 0 and guarded.protected is None:
        return {"requests": 0, "rate": 0.0, "seconds": 0.0}, "no warm-up: load.warmup_requests is 0"
    sent = _ramp(guarded, rate) if guarded.protected is not None else 0
    found: dict[str, float] = {"requests": sent, "rate": RAMP_SHARE * rate, "seconds": RAMP_SECONDS}
    left, most = max(0, wanted - sent), guarded.generator.running.warmup_max_seconds
    if left and not guarded.stopped:
        lanes, seconds = _warm_lanes(guarded, left, wanted, rate, capacity_rps)
        guarded.run("warm-", lanes)
        sent += sum(lane.planned for lane in lanes["candidate"])
        found.update(requests=sent, rate=round(h2.lanes_rate(lanes["candidate"]), 3), seconds=round(seconds, 3))
    for name in guarded.targets:
        found[f"{name}_failures"] = sum(phase.samples(name).failures for phase in guarded.phases)
    if sent < wanted - len(guarded.generator.paths) and not guarded.stopped:
        cut = f"the warm-up was cut to {sent} of {wanted} requests: more would have taken longer than {most:g} s"
        return found, cut
    return found, ""


def _ramp(guarded: _Guarded, rate: float) -> int:
    """Ask all arms at a part of the rate, for a moment. Returns the requests to each."""
    ramp = guarded.generator.lanes(RAMP_SHARE * rate, RAMP_SECONDS)
    guarded.run("ramp-", dict.fromkeys(guarded.targets, ramp))
    return sum(lane.planned for lane in ramp)


def _warm_lanes(
    guarded: _Guarded, left: int, wanted: int, rate: float, capacity_rps: float | None
) -> tuple[dict[str, list[h2.Lane]], float]:
    """The lanes of the warm-up for the `left` of its `wanted` requests, and the seconds that they take."""
    generator, most = guarded.generator, guarded.generator.running.warmup_max_seconds
    warm_rate = _warm_rate(rate, capacity_rps, len(guarded.targets), wanted, most)
    if guarded.protected is not None:
        warm_rate = min(warm_rate, WARM_SHARE * rate)
    seconds = min(most, left / warm_rate)
    lanes = {"candidate": generator.lanes(warm_rate, seconds)}
    if "baseline" in guarded.targets:
        slower = min(warm_rate, 2 * rate - warm_rate) if guarded.protected is not None else warm_rate
        lanes["baseline"] = generator.lanes(slower, seconds)
    return lanes, seconds


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
