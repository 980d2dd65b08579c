# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The trial: load the running candidate, and the live generation beside it, and judge what came of it."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Callable, TypedDict

from .._declaration.app import Limits, Load, Plain
from .._declaration.origin import HOST
from .._declaration.patience import answer_seconds
from .._facts.unitgroups import unit_pids
from .._facts.unitusage import oom_kills_around, unit_memory
from .._facts.workerends import WorkerEnd, read_ends
from .._generation.record import GenerationRecord
from .._generation.units import MAX_BLOCKING_SECONDS
from .._load.early import Early
from .._load.h2load import Target
from .._load.memory import MemoryEvidence, MemorySampler
from .._load.phases import Protected, Running
from .._load.trialload import (
    Attempt,
    Capacity,
    TrialLoad,
    Turn,
    run_trial_load,
    with_retry,
)
from .._load.use import UseLog, asked, rested
from .._load.workers import WorkerLog
from .._os.acceptqueue import accept_queue
from .._os.http import Ask
from .._os.lastwords import last_of_the_dead
from .._os.lines import says
from .._os.logged import Log
from .._os.systemd import Systemd, UnitState
from .._release.hubmonitor import parse_reports
from .._verdict.bypath import NO_GOOD_ANSWER, names_of, path_evidence, slow_path
from .._verdict.costchecks import CPU_FLOOR_MS
from .._verdict.early import SPENT, Rule
from .._verdict.failed import failures_by_path
from .._verdict.halves import NewPaths
from .._verdict.histogram import Histogram, digest
from .._verdict.judge import Samples, Thresholds, Verdict, judge, judge_stopped
from .._verdict.pathchecks import confirmed
from .._verdict.pooling import SUSPICION, Pool, Shorter, shorter
from .._verdict.stability import trimmed
from .._verdict.types import FAIL, INCONCLUSIVE, PASS, USUAL, Check, short
from .endings import words_of_the_dead
from .uncounted import never_well
from .weighed import Unit
from .why import NOTHING_FAILED, Candidate, Why, why_failed

INSTALLS = ", or let Headcount do it with headcount_install_packages: true"

CROWDED_SHARE = 0.8
"""Above this share of the host's cores, loading both generations would measure their fight for the CPU."""


LEAST_WAITING = 5
"""So many requests that wait as the load is ended are told."""

WEIGHED_MARGIN = 1.5
"""So many times the live generation's CPU, by what was weighed of both at different times, is a difference."""


@dataclass(frozen=True)
class Arm:
    """One generation under load: the unix socket that reaches it, how its unit is read, the directory of its files,
    where its users reach it (empty: nowhere), its log, which is asked why requests failed, and whether its workers show
    once a second that they go on (workers.WorkerLog)."""

    socket: str
    state: Callable[[], UnitState]
    journal: Callable[[], list[str]]
    memory_max_mib: float
    root: str = "/"
    files: str = ""
    listen: str = ""
    log: Log | None = None
    beats: bool = False

    def sampler(self) -> MemorySampler:
        """Reads the memory of its processes, and what becomes of its workers, while a load runs."""
        use, workers = UseLog(_CpuCounter(self), lambda: asked(self.files)), WorkerLog(self.files, self.beats)
        return MemorySampler(
            self.pids, self.cgroup, journal_fn=self.journal, ends_fn=self.ends, use=use, workers=workers
        )

    def ends(self) -> list[WorkerEnd] | None:
        """How its workers ended so far; None where it does not write that down."""
        return read_ends(self.files) if self.files else None

    def pids(self) -> list[int]:
        """Process ids, the master first; empty when it is gone."""
        state = self.state()
        return sorted(unit_pids(state.control_group, self.root), key=lambda pid: pid != state.main_pid)

    def cgroup(self) -> dict[str, object]:
        """What the kernel counted, as MemorySampler reads it."""
        state = self.state()
        counted = unit_memory(state.control_group, self.root)
        found: dict[str, object] = {
            "limit_mib": self.memory_max_mib,
            "cpu_seconds": Unit(state.control_group, state.main_pid, self.root).cpu_seconds(),
        }
        if counted is None:
            found["oom_kills_around"] = oom_kills_around(state.main_pid, self.root)
        else:
            found.update(peak_mib=counted.peak_mib, source=counted.peak_source, oom_kills=counted.oom_kills)
        return found


class _CpuCounter:
    """CPU seconds of an arm so far. Its control group is asked for once: that takes a systemctl."""

    def __init__(self, arm: Arm) -> None:
        self._arm = arm
        self._unit: Unit | None = None

    def __call__(self) -> float | None:
        if self._unit is None:
            state = self._arm.state()
            if not state.control_group:
                return None
            self._unit = Unit(state.control_group, state.main_pid, self._arm.root)
        return self._unit.cpu_seconds()


class Evidence(TypedDict, total=False):
    """What is kept of a trial, as evidence.json has it.

    Each arm's samples in compact form (`beside`: of a candidate with paths that the live generation does not know,
    while both were asked for the others), memory of both, how the load was run, seconds until the candidate answered,
    and the live generation that it was compared `against` (None: none). `failed`: of each path that was asked again
    because its requests failed, its answer and what was logged (why.Failed). `pooled`: the other hosts for whose sake
    its first load was shorter (Pool), its seconds, and those that are declared.
    """

    verdict: dict[str, object]
    load: dict[str, object]
    memory: dict[str, object] | None
    live_memory: dict[str, object] | None
    candidate: dict[str, object]
    live: dict[str, object] | None
    beside: dict[str, object] | None
    cpu_ms_per_request: float | None
    notes: list[str]
    boot_seconds: float
    against: int | None
    failed: list[dict[str, object]]
    pooled: dict[str, float]


def capacity(plan: Plain, measured: Plain | None, cores: float) -> float | None:
    """Requests per second that the plan can serve by what was weighed: bound by CPU, or by slots (Little's law)."""
    if not measured or not measured.get("wall_ms"):
        return None
    by_slots = 1000.0 * float(plan["slots"]) / float(measured["wall_ms"])
    by_cpu = 1000.0 * cores / max(float(measured["cpu_ms"]), 0.05)
    return min(by_slots, by_cpu)


@dataclass(frozen=True)
class Arrangement:
    """How the live generation is loaded beside the candidate: at once, in turn, or not at all (`alone`). `why` is a
    sentence, empty where both are loaded at once."""

    in_turn: bool = False
    alone: bool = False
    why: str = ""


def arrangement(app: Plain, measured: Plain | None, cores: float) -> Arrangement:
    """At once where the declared rate fits on the host's cores twice by what was weighed of the candidate, in turn
    where it fits once."""
    rate = app["load"]["rate"]
    if rate is None or not measured:
        return Arrangement()
    share = float(rate) * float(measured["cpu_ms"]) / 1000.0 / cores
    if 2 * share <= CROWDED_SHARE:
        return Arrangement()
    if share <= CROWDED_SHARE:
        return Arrangement(
            in_turn=True,
            why=f"the candidate and the live generation were loaded in turn (A B B A): {rate:g} requests a second to "
            f"both at once would take {200 * share:.0f} % of the host's {cores:g} cores",
        )
    return Arrangement(
        alone=True,
        why=f"the live generation was not loaded beside the candidate: {rate:g} requests a second to one alone would "
        f"take {100 * share:.0f} % of the host's {cores:g} cores",
    )


def weighed_more(new: GenerationRecord, live: GenerationRecord) -> str:
    """That a request of generation `new` takes more CPU than one of the live generation by what was weighed of both;
    empty where it does not, or where that is not known.

    Both are weighed alone, request after request, on this host. Of other paths it would be the load that changed.
    """
    if new.app["load"]["paths"] != (live.app.get("load") or {}).get("paths"):
        return ""
    value, usual = (float((found.measured or {}).get("cpu_ms") or 0.0) for found in (new, live))
    if not usual or value <= WEIGHED_MARGIN * usual or value - usual <= CPU_FLOOR_MS:
        return ""
    return (
        f"weighed alone, a request takes {short(value)} ms of CPU against {short(usual)} of the live generation "
        f"({100 * (value / usual - 1):+.0f} %); declare limits.cpu_ms where the release is meant to take more"
    )


def lowered(plan: Plain, live: Plain, limits: Limits) -> str:
    """Why a candidate with `plan` need not be as fast as the live generation with the plan `live`; empty when it must.

    Its part of the host has become smaller (another app shares it, or the host shrank), and so it has fewer workers or
    slots than the live one, which still has those of the larger part. Fewer by a changed declaration are compared.
    """

    def part(of: Plain, name: str) -> float:
        return float(((of.get("inputs") or {}).get(name) or {}).get("value") or 0.0)

    def size(of: Plain) -> tuple[int, int]:
        workers = (of.get("settings") or {}).get("workers") or {}
        return int(workers.get("value") or 0), int(of.get("slots") or 0)

    shrunk = [
        f"{words} {part(live, name):.4g} -> {part(plan, name):.4g}"
        for name, words in (("cores", "cores"), ("budget_mib", "MiB"))
        if 0 < part(plan, name) < part(live, name)
    ]
    (workers, slots), (live_workers, live_slots) = size(plan), size(live)
    if not shrunk or (workers >= live_workers and slots >= live_slots):
        return ""
    open_ended = [name for name in USUAL.relative if limits.latency_ms(name) is None]
    unjudged = f"; not judged, for want of a limit: {', '.join(open_ended)}" if open_ended else ""
    return (
        f"its latency was not held against that of the live generation, which still has {live_workers} workers and "
        f"{live_slots} slots where this one has {workers} and {slots}, because its part of the host is smaller now "
        f"({', '.join(shrunk)}){unjudged}"
    )


@dataclass(frozen=True)
class Live:
    """The live generation that a candidate is held against: its plan, and that the CPU of a request grew by what was
    weighed of both (weighed_more())."""

    plan: Plain
    weighed: str = ""


def try_candidate(
    app: Plain,
    plan: Plain,
    candidate: Arm,
    baseline: Arm | None,
    measured: Plain | None,
    cores: float,
    live: Live | None = None,
    pool: Pool | None = None,
) -> tuple[Verdict, Evidence]:
    """Load and judge; returns the verdict and the evidence. LoadError when the load cannot be run as declared.

    `live`: the generation that `baseline` reaches. `pool`: what hosts of its class found of the same release: the first
    load is shorter for it, where both generations are loaded at once.
    """
    spec, limits = Load.from_dict(app["load"]), Limits.from_dict(app["limits"])
    protected = _protected(baseline, limits) if baseline is not None else None
    how = arrangement(app, measured, cores) if baseline is not None else Arrangement()
    notes = [how.why] if how.why else []
    if how.alone:
        baseline = None
    smaller = lowered(plan, live.plan, limits) if baseline is not None and live else ""
    notes += [smaller] if smaller else []
    judging = Judging(app, 1, smaller, how.why if how.alone else "", live.weighed if live else "")
    at_once = baseline is not None and not (how.in_turn or smaller)
    short = shorter(pool if at_once else None, spec, limits)

    earlier: list[TrialLoad] = []

    def attempt(swap: bool, factor: float) -> Attempt:
        first = short if not swap else None
        judged = replace(judging, pool=first.pool) if first else judging
        sampler = candidate.sampler()
        other = baseline.sampler() if baseline is not None else None

        both = [one for one in (sampler, other) if one is not None]

        def rest(seconds: float) -> None:
            rested(seconds, both[-1].use.requests)  # of the live generation, where there is one

        def warm() -> None:
            for one in both:
                one.mark_warm()

        with contextlib.ExitStack() as sampled:
            for one in both:
                sampled.enter_context(one)
            load = run_trial_load(
                Target(f"unix:{candidate.socket}"),
                Target(f"unix:{baseline.socket}") if baseline is not None else None,
                spec,
                capacity=Capacity(int(plan["settings"]["workers"]["value"]), capacity(plan, measured, cores)),
                turn=Turn(swap, first.part if first else factor, how.in_turn, warm=swap),
                running=Running(answer_seconds(app), rest=rest, early=Early(judged.rule(), sampler.died)),
                on_warm=warm,
                protected=protected,
            )
        load = load.after(earlier[-1]) if earlier else load
        earlier.append(load)
        return judged.judged(load, sampler.evidence(), other.evidence() if other is not None else None)

    began = time.time()
    verdict, attempts = with_retry(attempt)
    asked = Candidate(candidate.socket, asks(app), answer_seconds(app), candidate.log)
    why = why_failed(attempts[-1].load.candidate, verdict, asked, began)
    verdict = verdict.without([short.words()] if short and len(attempts) == 1 else [])
    verdict, found = conclude(app, verdict, attempts[-1], candidate.journal(), notes, why=why, measured=measured)
    return verdict, _with_pool(found, short)


def _with_pool(found: Evidence, short: Shorter | None) -> Evidence:
    if short:
        found["pooled"] = short.to_dict()
    return found


def _protected(live: Arm, limits: Limits) -> Protected:
    """The live generation, whose users' connections are counted where they come in."""
    public = live.listen
    return Protected(Target(f"unix:{live.socket}"), limits, lambda: accept_queue(public) if public else None)


def asks(app: Plain) -> list[Ask]:
    """The requests of the load of a normalised app, in its order."""
    return [Ask.of_path(path) for path in app["load"]["paths"]]


@dataclass(frozen=True)
class Judging:
    """How the runs of a trial's load are judged. `smaller`: why its latency is not held against the live generation's
    (lowered()), `alone`: why that one was not loaded; `weighed`: that the CPU of a request grew by what was weighed
    (weighed_more()), which counts where it cannot be compared under load; `pool`: for whose sake this load is shorter
    than declared."""

    app: Plain
    comparisons: int = 1
    smaller: str = ""
    alone: str = ""
    weighed: str = ""
    pool: Pool | None = None

    @property
    def policy(self) -> Thresholds:
        """How strictly it is judged."""
        usual = Thresholds(comparisons=self.comparisons, on_inconclusive=self.app["on_inconclusive"])
        if self.pool is not None:
            usual = replace(usual, pool=self.pool, suspicion=SUSPICION)
        return replace(usual, relative=()) if self.smaller else usual

    def rule(self) -> Rule:
        """How it is judged while its load is under way."""
        names = names_of(Load.from_dict(self.app["load"]).paths)
        return Rule(Limits.from_dict(self.app["limits"]), self.policy, names, answer_seconds(self.app))

    def judged(self, load: TrialLoad, memory: MemoryEvidence | None, other: MemoryEvidence | None) -> Attempt:
        """One run of the load with its verdict. `memory` is the candidate's, `other` the live generation's."""
        app = self.app
        limits, names = Limits.from_dict(app["limits"]), names_of(Load.from_dict(app["load"]).paths)
        if load.stopped:
            verdict = judge_stopped(load.stopped, load.candidate, load.baseline, limits, memory, names, other)
            return Attempt(load, memory, verdict, other)
        policy = replace(self.policy, fail_share=_left_of_alpha(load))
        verdict = judge(
            load.candidate, load.baseline, limits, memory, policy,
            baseline_memory=other, names=names, new=NewPaths(load.new, load.beside, load.meanwhile),
        )  # fmt: skip
        verdict = cut_short(verdict, load)
        unheld = [f"latency ({self.smaller})"] if self.smaller else []
        unheld += [f"latency and CPU under load ({why})" for why in (self.alone, load.sick) if why]
        unheld += load.uncompared()
        counted = any(check.question in ("cpu_relative", "cpu_ms") for check in verdict.checks)
        if self.weighed and not counted and not load.sick:  # what is sick holds up nobody who cures it
            check = Check("cpu_weighed", INCONCLUSIVE, None, None, (None, None), self.weighed)
            verdict = verdict.also(check)
        return Attempt(load, memory, verdict.without(unheld), other)


def _left_of_alpha(load: TrialLoad) -> float:
    """The share of alpha that a fail may use: what the looks while it was under way have left of it, or, where it was
    ended by one, what that look could use."""
    if load.ended:
        return float(str(load.ended["share"]))
    return 1.0 - SPENT if load.looks else 1.0


def cut_short(verdict: Verdict, load: TrialLoad) -> Verdict:
    """The verdict on a load that was ended because the candidate had failed says so, and never passes; others as they
    are."""
    if not load.ended:
        return verdict
    seconds = f"the load was ended after {float(str(load.ended['at_s'])):.1f} of {float(str(load.ended['of_s'])):g} s"
    waiting = sum(
        not status and math.isfinite(ms) for status, ms in zip(load.candidate.status, load.candidate.latency_ms)
    )
    if waiting >= LEAST_WAITING:
        seconds += f", when {waiting} of {load.candidate.planned} requests had no answer yet"
    verdict = verdict.without(["idle CPU, and what piles up over a whole load (it was ended)"])
    if verdict.outcome == FAIL:
        return replace(verdict, cause=f"{verdict.cause}; {seconds}")
    check = Check("ended", INCONCLUSIVE, None, None, (None, None), f"{seconds}: {load.ended['why']}")
    cause = f"{check.sentence}; {verdict.cause}" if verdict.outcome == PASS else verdict.cause
    return replace(verdict, outcome=INCONCLUSIVE, cause=cause, checks=(*verdict.checks, check))


def conclude(
    app: Plain,
    verdict: Verdict,
    last: Attempt,
    journal: list[str],
    notes: list[str],
    source: str = HOST,
    why: Why = NOTHING_FAILED,
    measured: Plain | None = None,
) -> tuple[Verdict, Evidence]:
    """The verdict with the path that was slow, the code that blocked the hub and what made requests fail named in its
    cause, and the evidence.

    `journal`: what the candidate logged; `source`: where the load came from, as `load.from` says it; `why`: what made
    requests fail (why_failed()); `measured`: what was weighed.
    """
    notes = list(notes)
    names = names_of(Load.from_dict(app["load"]).paths)
    again = [one.request for one in why.paths if not one.well]
    verdict = confirmed(verdict, last.load.candidate, names, again, Limits.from_dict(app["limits"]).error_rate)
    told = _what_failed(verdict, journal, why, words_of_the_dead(last.load.candidate, names, _uncounted(measured)))
    if told:
        notes.append(told)
        verdict = verdict if verdict.outcome == PASS else replace(verdict, cause=f"{verdict.cause}; {told}")
    cold, live = verdict.cold_seconds, last.load.baseline
    slow = slow_path(verdict, trimmed(last.load.compared(verdict), cold), trimmed(live, cold) if live else None, names)
    if slow and not (why.words and NO_GOOD_ANSWER in slow):
        notes.append(slow)
        verdict = replace(verdict, cause=f"{verdict.cause}; {slow}")
    package = app["entry_point"].partition(":")[0].partition(".")[0]
    blocked = parse_reports("\n".join(journal), MAX_BLOCKING_SECONDS, (package,))
    if blocked:
        notes += [line.text() for line in blocked]
        if verdict.outcome != "pass":
            verdict = replace(verdict, cause=f"{verdict.cause}; {blocked[0].text()}")
    verdict = _never_well_first(verdict, last.load, names, measured)
    found = evidence(verdict, last, notes, source, names)
    if why.paths:
        found["failed"] = [one.to_dict() for one in why.paths]
    return verdict, found


def _never_well_first(verdict: Verdict, load: TrialLoad, names: Sequence[str], measured: Plain | None) -> Verdict:
    """A verdict that is inconclusive names first what the candidate answered wrongly each time in the weigh, unless it
    does already: a load that says little may have asked for that page once, or not at all. Left out is what the load
    got a good answer to, and what the live generation answers no better."""
    if verdict.outcome != INCONCLUSIVE or not measured:
        return verdict
    left_out = _answered_well(load.candidate, names) | _never_answered(load.baseline, names)
    known = {name for name in names if f"{name} answered" in verdict.cause or f" {name}: " in f" {verdict.cause}"}
    told = [never_well(_uncounted(measured), name) for name in names if name not in left_out | known]
    first = "; ".join(filter(None, told))
    return replace(verdict, cause=f"{first}; {verdict.cause}") if first else verdict


def _answered_well(samples: Samples, names: Sequence[str]) -> set[str]:
    return {one.name for one in failures_by_path(samples, names) if one.requests > one.failures}


def _never_answered(samples: Samples | None, names: Sequence[str]) -> set[str]:
    if samples is None:
        return set()
    return {one.name for one in failures_by_path(samples, names) if one.requests and one.failures == one.requests}


def _uncounted(measured: Plain | None) -> Sequence[str]:
    """What the weigh told of answers that do not count."""
    return (measured or {}).get("uncounted") or []


def _what_failed(verdict: Verdict, journal: list[str], why: Why, lost: str) -> str:
    """Why requests failed, and of a worker that died which those were (`lost`), and what it said before; empty where
    neither did."""
    dead = any(check.name == "restarts" and check.outcome == FAIL for check in verdict.checks)
    died = last_of_the_dead(journal) if dead else ""
    words = says(died) if died and died not in why.words else ""
    return "; ".join(filter(None, (lost if dead else "", words, why.words)))


def evidence(
    verdict: Verdict, last: Attempt, notes: list[str], source: str = HOST, names: Sequence[str] = ()
) -> Evidence:
    """What is kept of a trial: the verdict, how the load was run, memory, and a compact histogram of each arm.

    `names`: of the load's paths, to tell what each of them took.
    """
    return {
        "verdict": verdict.to_dict(),
        "load": {"from": source, **last.load.to_dict()},
        "memory": last.memory.to_dict() if last.memory else None,
        "live_memory": last.baseline_memory.to_dict() if last.baseline_memory else None,
        "candidate": arm_evidence(last.load.candidate, names, verdict.cold_seconds),
        "live": arm_evidence(last.load.baseline, names, verdict.cold_seconds) if last.load.baseline else None,
        "beside": arm_evidence(last.load.beside, names, verdict.cold_seconds) if last.load.beside else None,
        "cpu_ms_per_request": cpu_per_request(last.load, last.memory),
        "notes": [*notes, *last.load.notes],
    }


def cpu_per_request(load: TrialLoad, memory: MemoryEvidence | None) -> float | None:
    """CPU milliseconds of the candidate per request, warm-up included; None when the CPU was not counted."""
    requests = load.candidate.planned + int(load.warmup.get("requests", 0))
    requests += load.beside.planned if load.beside is not None else 0
    if memory is None or memory.cpu_seconds is None or not requests:
        return None
    return round(1000 * memory.cpu_seconds / requests, 3)


def arm_evidence(samples: Samples, names: Sequence[str] = (), cold_seconds: float = 0.0) -> dict[str, object]:
    """An arm's samples in compact form: HdrHistogram (V2, base64, microseconds), counts, their digest, and what each
    path of `names` took.

    The paths are told without the good answers of the first `cold_seconds`, as they were judged; the rest is whole.
    """
    return {
        "paths": path_evidence(trimmed(samples, cold_seconds), names),
        "histogram": Histogram.of_milliseconds(samples.latency_ms).encode(),
        "samples_sha256": digest(samples),
        "planned": samples.planned,
        "failures": samples.failures,
        "achieved_rate": round(samples.achieved_rate, 3),
        "complete": samples.complete,
        "why": samples.why,
    }


def missing_tool(search: str | None = None, where: str = "this host", fix: str = INSTALLS) -> str | None:
    """Why no load can be made here, with the fix; None when it can. `where` names this machine."""
    if shutil.which("h2load", path=search if search is not None else os.environ.get("PATH", "/usr/bin:/bin")):
        return None
    return (
        f"h2load is not on {where}, so that no trial can be run: install the package nghttp2-client (Debian, Ubuntu) "
        f"or nghttp2 (Fedora, RHEL){fix}"
    )


def arm(
    systemd: Systemd,
    unit: str,
    socket: str,
    memory_max_mib: float,
    begin: float,
    files: str,
    root: str = "/",
    beats: bool = False,
) -> Arm:
    """The arm of a unit that runs on this host; `begin` (epoch seconds) is where its log of the trial begins, `files`
    the directory where it says how its workers ended and counts its requests, `beats` as Arm has it."""
    return Arm(
        socket=socket,
        state=lambda: systemd.state(unit),
        journal=lambda: systemd.journal(unit, begin, lines=2000),
        memory_max_mib=memory_max_mib,
        root=root,
        files=files,
        log=Log(lambda since: systemd.said(unit, since)),
        beats=beats,
    )
