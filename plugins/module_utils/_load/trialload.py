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

from .._declaration.app import Load
from .._declaration.shortfall import RETRY_FACTOR
from .._verdict.judge import combine, needs_retry
from .._verdict.types import PASS, Samples, Verdict
from . import h2load as h2
from .inturn import Part, arms_lanes, in_turn, one_after_another
from .memory import MemoryEvidence
from .newpaths import LONGEST_S, in_two_halves, why_left_out, words
from .phases import USUAL, Generator, Guarded, Phase, Protected, Running
from .rate import DerivedRate, choose_rate

WARMUP_PER_WORKER = 100
RAMP_SHARE, RAMP_SECONDS = 0.5, 1.0
REST_SECONDS = 2.0
"""So long nobody is asked after the load: what a generation uses then it uses for itself."""

WARM_SHARE = 1.5


_ARMS = ("candidate", "baseline", "beside", "meanwhile")


@dataclass(frozen=True)
class TrialLoad:
    """What came of the load: both arms, the rate per arm, the generator's CPU seconds and its share of one core.

    `stopped` says why it was ended before its time, in a sentence: the live generation suffered. `calm` is what that
    one did alone. `in_turn`: the arms were loaded one after another (A B B A), not at once. `sick`: why the live
    generation was not loaded although it was asked for, in a sentence. `looks`: how often it was looked whether the
    candidate had failed already, and `ended` what came of that where it had (Ended.to_dict()). `new`: the paths that
    the live generation does not know ("GET /x"), with the status that it answers (0: there was no time to ask for it
    alone). Where it was loaded nevertheless, `candidate` was asked for all paths, and `beside` is the candidate while
    both were asked for those that both know; `baseline` is the live generation at that time, `meanwhile` while the
    candidate was asked for all paths (None: it was not loaded then). `few` says why it was not loaded at
    all.
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
    new: Mapping[str, int] = field(default_factory=dict)
    beside: Samples | None = None
    meanwhile: Samples | None = None
    few: str = ""

    def uncompared(self) -> list[str]:
        """What of the paths was not held against the live generation, although it was asked for."""
        told = words(self.new) if self.baseline is not None else []
        return [*told, f"latency and CPU ({self.few})"] if self.few else told

    def compared(self, verdict: Verdict) -> Samples:
        """The samples of the candidate that decided a verdict on its latency."""
        relative = any(check.question.endswith("_relative") and check.outcome != PASS for check in verdict.checks)
        return self.beside if relative and self.beside is not None else self.candidate

    def after(self, first: TrialLoad) -> TrialLoad:
        """The same, whose samples know the requests of the run before it."""
        baseline = self.baseline
        if baseline is not None and first.baseline is not None:
            baseline = baseline.after(first.baseline)
        return replace(self, candidate=self.candidate.after(first.candidate), baseline=baseline)

    def pack(self) -> str:
        """Everything, the samples too, as short text that goes from one machine to another; the inverse of unpack()."""
        arms = {name: getattr(self, name) for name in _ARMS}
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
            "new": dict(self.new),
            "few": self.few,
        }
        text = json.dumps(plain, separators=(",", ":"), allow_nan=False)
        return base64.b64encode(zlib.compress(text.encode(), 6)).decode()

    @classmethod
    def unpack(cls, text: str) -> TrialLoad:
        """From pack(). ValueError when it is something else."""
        try:
            plain = json.loads(zlib.decompress(base64.b64decode(text, validate=True)))
            arms = {name: plain.pop(name) for name in _ARMS}
            samples = {name: Samples.from_dict(arm) if arm is not None else None for name, arm in arms.items()}
            return cls(**{**samples, **plain, "rate": DerivedRate(**plain["rate"])})
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
            "new": dict(self.new),
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
    waits = timeout_seconds + h2.GRACE_S
    beginning = LONGEST_S + RAMP_SECONDS + 2 * waits + warmup_max_seconds
    # Both are asked for what both know, then the candidate for everything.
    return beginning + 2 * (float(load.seconds) * RETRY_FACTOR + waits) + waits


def warmup_requests(load: Load, workers: int) -> int:
    """How many requests warm an arm up: load.warmup_requests, or 100 for each worker."""
    declared = load.warmup_requests
    return WARMUP_PER_WORKER * max(1, workers) if declared is None else int(declared)


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


def run_trial_load(
    candidate: h2.Target,
    baseline: h2.Target | None,
    load: Load,
    *,
    capacity: Capacity = Capacity(),
    turn: Turn = Turn(),
    running: Running = USUAL,
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
    guarded = Guarded(Generator(paths, directory, running), arms, protected)
    loaded = _Loaded(guarded, time.monotonic())
    try:
        guarded.calm_down(rate.rate)
        sick = guarded.leave_out_the_sick()
        parts, few = _for_new_paths(guarded, parts, rate.rate, span)
        # The warm-up asks both at once, also where the host has no room for the load of both.
        warm = rate.rate / len(arms) if turn.in_turn else rate.rate
        warmup, cut = _warm_up(guarded, turn.warmup(load, capacity.workers), warm, capacity.rps)
        if not guarded.stopped:
            loaded = _Loaded(guarded, _told(on_warm))
            loaded.run(parts, REST_SECONDS if on_warm is not None else 0.0)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    samples = loaded.by_arm(len(arms), list(parts[0].lanes), span)
    new = words(guarded.named()) if "baseline" in samples else []
    told = [f"{name}: {note}" for name, arm in samples.items() for note in arm.notes]
    return TrialLoad(
        candidate=samples["candidate"],
        baseline=samples.get("baseline"),
        rate=replace(rate, rate=round(h2.lanes_rate(next(iter(parts[-1].lanes.values()))), 6)),
        cost_cpu_seconds=sum(phase.cpu_seconds for phase in guarded.phases),
        cost_core_share=loaded.cpu_seconds / loaded.seconds if loaded.seconds else 0.0,
        swapped=turn.swap,
        warmup=warmup,
        notes=[note for note in (sick, few, *new, *told, cut) if note],
        stopped=guarded.sentence(rate, told),
        calm=guarded.told_of_calm(),
        in_turn=turn.in_turn and len(guarded.targets) > 1,
        sick=sick,
        ended=guarded.told_of_end(),
        looks=guarded.looks,
        new=guarded.named(),
        beside=samples.get("beside"),
        meanwhile=samples.get("meanwhile"),
        few=few,
    )


def _for_new_paths(guarded: Guarded, parts: list[Part], rate: float, seconds: float) -> tuple[list[Part], str]:
    """The parts of a load whose paths the live generation may not all know, and why that one is not loaded for them."""
    if not guarded.new or "baseline" not in guarded.targets:
        return parts, ""
    halves = in_two_halves(parts, guarded.generator.paths, rate, seconds, guarded.new)
    if halves:
        return halves, ""
    guarded.targets.pop("baseline")
    return parts, (
        f"the live generation was not loaded beside the candidate: {why_left_out(guarded.named())}, and of the other "
        "paths the load has too few requests"
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

    guarded: Guarded
    warm_at: float
    phases: list[Phase] = field(default_factory=list)
    times: list[tuple[float, float]] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    quiet: tuple[float, ...] = ()

    def by_arm(self, arms: int, order: Sequence[str], seconds: float) -> dict[str, Samples]:
        """The samples of each arm that was loaded, of `arms` that were to be for `seconds`; `order`: who came first.
        Where the candidate was asked for more paths than the live generation in the end, that is "candidate", and what
        both answered then and before is told apart as TrialLoad has it.
        """
        found = self._part(False, arms, order, seconds)
        if not any(self.whole):
            return found
        last = self._part(True, arms, order, seconds)
        told = {"candidate": last["candidate"], "beside": found["candidate"], "baseline": found["baseline"]}
        if "baseline" not in last:
            return told
        # Of a load that was stopped it is told what it was stopped for.
        return {**told, "meanwhile": last["baseline"], **(last if self.guarded.stopped else {})}

    def _part(self, whole: bool, arms: int, order: Sequence[str], seconds: float) -> dict[str, Samples]:
        phases = [phase for phase, all_paths in zip(self.phases, self.whole) if all_paths == whole]
        names = [name for name in self.guarded.targets if not whole or any(name in phase.lanes for phase in phases)]
        found = {name: self.samples(name, whole) for name in names}
        return _turned(found, order, seconds) if arms > 1 and not self.guarded.cut else found

    def run(self, parts: Sequence[Part], rest_seconds: float) -> None:
        """Load part after part, then nobody for some seconds."""
        one_each = sum(not part.whole for part in parts) == 1  # arms in turn are loaded to the end
        early = self.guarded.generator.running.early if one_each else None
        for number, part in enumerate(parts):
            lanes = {name: mine for name, mine in part.lanes.items() if name in self.guarded.targets}
            if not lanes or self.guarded.cut:
                continue
            begin = time.monotonic() - self.warm_at
            if part.whole and early is not None:
                early = early.by_limits_alone()
            self.guarded.run(f"{number}-" if number else "", lanes, early)
            self.phases.append(self.guarded.phases[-1])
            self.whole.append(part.whole)
            ended = self.guarded.ended
            lasted = part.seconds if ended is None else max(0.001, ended.at_s - h2.UNSETTLED_S)
            self.times.append((begin, begin + lasted))  # whose requests count
        if rest_seconds and not self.guarded.cut:
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
        unsettled = h2.UNSETTLED_S if self.guarded.ended is not None else 0.0
        return sum(end - begin for begin, end in self.times) + unsettled

    def samples(self, name: str, whole: bool) -> Samples:
        """Of one arm in the parts that are `whole`, or are not; those of the warm-up where the load was stopped before
        it began."""
        parts = zip(self.phases, self.times, self.whole)
        mine = [(phase, when) for phase, when, all_paths in parts if name in phase.lanes and all_paths == whole]
        if not mine:
            last = self.guarded.phases[-1]
            return last.samples(name) if name in last.lanes else h2.account([])
        times = [when for _, when in mine]
        found = one_after_another([phase.samples(name) for phase, _ in mine], [end - begin for begin, end in times])
        return replace(found, loaded=times, quiet=self.quiet, before=self._before(name, mine[0][0]))

    def _before(self, name: str, first: Phase) -> list[tuple[float, int]]:
        """(ms, place of its path) of each request to an arm before a phase, in their order."""
        place = next(place for place, phase in enumerate(self.guarded.phases) if phase is first)
        found = [phase.samples(name) for phase in self.guarded.phases[:place] if name in phase.lanes]
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
    guarded: Guarded, wanted: int | None, rate: float, capacity_rps: float | None
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


def _ramp(guarded: Guarded, rate: float) -> int:
    """Ask all arms at a part of the rate, for a moment. Returns the requests to each."""
    ramp = {name: guarded.lanes(name, RAMP_SHARE * rate, RAMP_SECONDS) for name in guarded.targets}
    guarded.run("ramp-", ramp)
    return sum(lane.planned for lane in ramp["candidate"])


def _warm_lanes(
    guarded: Guarded, left: int, wanted: int, rate: float, capacity_rps: float | None
) -> tuple[dict[str, list[h2.Lane]], float]:
    """The lanes of the warm-up for the `left` of its `wanted` requests, and the seconds that they take."""
    most = guarded.generator.running.warmup_max_seconds
    warm_rate = _warm_rate(rate, capacity_rps, len(guarded.targets), wanted, most)
    if guarded.protected is not None:
        warm_rate = min(warm_rate, WARM_SHARE * rate)
    seconds = min(most, left / warm_rate)
    lanes = {"candidate": guarded.lanes("candidate", warm_rate, seconds)}
    if "baseline" in guarded.targets:
        slower = min(warm_rate, 2 * rate - warm_rate) if guarded.protected is not None else warm_rate
        lanes["baseline"] = guarded.lanes("baseline", slower, seconds)
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
