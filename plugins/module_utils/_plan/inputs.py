# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The numbers that a plan starts from, each with its origin: measured before declared, declared before assumed.

Also the division of a host among its apps, and the comparison of a declared profile with what was weighed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Mapping, Sequence

from .._declaration.app import App, MemoryNeed, Sandbox
from .._declaration.mixture import declared_kinds, spread_of
from .._declaration.profiles import PROFILE_WAIT_RATIO, profile_of
from .mix import Mix, mix_of
from .reserve import Reserve, reserve_of
from .types import MEASURED_REQUESTS_MIN, Host, Measured, Number, PlanError, Policy, number, share, up

MEMORY_HIGH_SHARE: Final = 0.90
"""MemoryHigh throttles and never kills: it lies below MemoryMax, and the plan's sum below it."""

ASSUMED_WORKER_MIB: Final[Mapping[str, float]] = {"sync": 48.0, "gthread": 50.0, "gevent": 56.0, "eventlet": 56.0}
"""A loaded worker that nobody has measured: a bare Flask app (next table) and about 30 MiB of its own libraries and
data."""

BARE_WORKER_MIB: Final[Mapping[str, float]] = {"sync": 17.0, "gthread": 18.0, "gevent": 23.0, "eventlet": 23.0}
"""The least a worker takes: USS of a bare Flask 3.1 app under Gunicorn 27, Python 3.11, rounded up."""

ASSUMED_MASTER_MIB: Final[Mapping[str, float]] = {"sync": 13.0, "gthread": 14.0, "gevent": 19.0, "eventlet": 19.0}
"""PSS of the master beside one bare Flask worker; with more workers its part of the shared pages shrinks."""

ASSUMED_SLOT_MIB: Final = 0.25
"""A request in flight on top of its worker: ten times what a bare one takes (thread 0.04, greenlet 0.015 MiB), for its
objects."""

BARE_SLOT_MIB: Final = 0.04
"""The least a request in flight takes: a thread of gthread that waits in a bare Flask app."""

ASSUMED_CPU_MS: Final = 5.0
"""CPU time of a request that nobody has declared or measured: only for latency and rate estimates, never for a limit
of memory."""

RATIO_MAX: Final = 1e6
CPU_MS_MIN: Final = 0.001
"""No request takes less CPU than a microsecond, nor waits a million times as long as it computes."""

ASSUMED_CONCURRENCY_PER_CORE: Final = 64
ASSUMED_CONCURRENCY_MIN: Final = 128
"""Requests in flight that a host is planned for when neither concurrency nor rate is declared."""

WAIT_BOUNDS: Final[Mapping[str, tuple[float, float]]] = {"cpu": (0.0, 0.2), "mixed": (0.2, 9.0), "io": (4.0, math.inf)}
"""What a bare profile leaves open: the least and the most waiting it is planned for (workers for the least, slots for
the most)."""

GONE_BY: Final[Mapping[str, tuple[float, float]]] = {**WAIT_BOUNDS, "cpu": (0.0, PROFILE_WAIT_RATIO["cpu"])}
"""Wait ratios that a plan goes by where a profile is declared and another one is measured. An app that is said to
compute gets no more for a little waiting than it gets unmeasured: else much waiting would take that away again."""

CPU_IS_CONTRADICTED: Final = 0.5
IO_IS_CONTRADICTED: Final = 2.0
MIXED_IS_CONTRADICTED: Final = (0.1, 20.0)
RATIO_IS_CONTRADICTED: Final = 3.0
"""Where the measured wait ratio contradicts the declaration: half-way out of the profile's range, so that noise does
not; for a declared ratio a factor of 3 (and a fifth of the request's time)."""


RATIO_FREE: Final = 0.25
"""Up to a fifth of its time an app that was declared never to wait may wait without contradicting that."""


@dataclass(frozen=True)
class Mismatch:
    """A declared profile and a measurement that exclude each other. `severity`: warn, fail or use_measured."""

    sentence: str
    severity: str
    declared_ratio: float
    measured_ratio: float


@dataclass(frozen=True)
class Allotment:
    """An app's part of a host: cores, and MiB for one generation, each with the words of how it came about."""

    cores: float
    cores_reason: str
    budget_mib: float
    budget_reason: str
    usable_share: float
    generations: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inputs:
    """All numbers of one app on one host. `least_ratio` and `most_ratio` bound the waiting that is planned for.
    `peak`: the declared concurrency. `buffered`: whether a proxy keeps slow clients away."""

    app: str
    host: Host
    allotment: Allotment
    profile: str
    mix: Mix
    wait_ratio: Number
    least_ratio: float
    most_ratio: float
    cpu_ms: Number
    wall_ms: Number
    times_known: bool
    concurrency: Number
    peak: int | None
    buffered: bool
    rate: float | None
    worker_mib: Number | None
    slot_mib: Number
    master_mib: Number | None
    mismatch: Mismatch | None
    warnings: tuple[str, ...]


def wait_share(ratio: float) -> float:
    """The part of a request's time that it waits: W/C = r gives r / (1 + r)."""
    return 1.0 if math.isinf(ratio) else ratio / (1.0 + ratio)


def _declared_times(app: App) -> tuple[float | None, float | None]:
    """CPU time and waiting of a request as declared, in ms: the app's own, or the mean of its paths'."""
    kinds = declared_kinds(app.load.paths)
    if kinds:
        spread = spread_of(kinds)
        return spread.cpu_ms, spread.wait_ms
    cpu_ms, wait_ms = app.cpu_ms, app.wait_ms
    return None if cpu_ms is None else float(cpu_ms), None if wait_ms is None else float(wait_ms)


@dataclass(frozen=True)
class _Said:
    """What the declaration says of the waiting: the ratio, the variable that says it and its value. `a_word`: it is
    only what a profile's name, or no declaration at all, stands for."""

    ratio: Number
    variable: str
    value: str
    a_word: bool = False

    @property
    def words(self) -> str:
        """The middle of a sentence: what is declared."""
        if self.a_word:
            return f"profile {self.value}"
        return self.ratio.source.split(": ", 1)[-1]


def _said(app: App) -> _Said:
    """The wait ratio of the declaration, and what was declared for it."""
    cpu_ms, wait_ms = _declared_times(app)
    if cpu_ms and wait_ms is not None:
        of_paths = bool(declared_kinds(app.load.paths))
        where = "by load.paths " if of_paths else ""
        words = f"declared: {where}{number(wait_ms)} ms of waiting on {number(cpu_ms)} ms of CPU"
        ratio = Number(min(RATIO_MAX, float(wait_ms) / float(cpu_ms)), "declared", words)
        variable = "load.paths" if of_paths else "wait_ms"
        value = f"{number(wait_ms)} ms of waiting on {number(cpu_ms)} ms of CPU" if of_paths else number(wait_ms)
        return _Said(ratio, variable, value)
    profile, ratio_said = app.profile, app.wait_ratio
    if ratio_said is not None and (profile is None or float(ratio_said) != PROFILE_WAIT_RATIO[profile]):
        value = number(float(ratio_said))
        ratio = Number(min(RATIO_MAX, float(ratio_said)), "declared", f"declared: wait_ratio {value}")
        return _Said(ratio, "wait_ratio", value)
    if profile is not None:
        ratio = Number(PROFILE_WAIT_RATIO[profile], "assumed", f"assumed for the declared profile {profile}")
        return _Said(ratio, "profile", profile, a_word=True)
    ratio = Number(PROFILE_WAIT_RATIO["mixed"], "assumed", "assumed: no profile is declared, taken as mixed")
    return _Said(ratio, "profile", "mixed", a_word=True)


def settled_ratio(low: float, high: float, seen: float, requests: int, by_measurement: bool, words: str) -> Number:
    """The wait ratio a plan goes by, where the declaration (`words`) allows `low` to `high`, and `seen` is measured.

    The measurement, but never beyond what is declared, unless `by_measurement` (profile_mismatch: use_measured): so it
    follows the measurement without a jump, and a little more waiting never gives a plan for less.
    """
    told = f"measured: {requests} requests, wait ratio {number(seen)}"
    bounded = seen if by_measurement else min(high, max(low, seen))
    if bounded == seen:
        return Number(seen, "measured", told)
    side = "most" if seen > high else "least"
    return Number(bounded, "declared", f"{told}; the plan goes by {number(bounded)}, the {side} that {words} allows")


def profile_mismatch(app: App, measured: Measured | None, policy: str = "use_measured") -> Mismatch | None:
    """Whether the weighed app contradicts what was declared.

    `policy` is warn, fail or use_measured and becomes the severity. None when they agree, when nothing was declared,
    or when too few requests were measured to say.
    """
    if measured is None or not measured.times_count or measured.wait_ratio is None:
        return None
    said, profile, seen = _said(app), app.profile, measured.wait_ratio
    if said.a_word:
        if profile is None:
            return None
        contradicted = {
            "cpu": seen > CPU_IS_CONTRADICTED,
            "io": seen < IO_IS_CONTRADICTED,
            "mixed": not MIXED_IS_CONTRADICTED[0] <= seen <= MIXED_IS_CONTRADICTED[1],
        }[str(profile)]
    else:
        low, high = sorted((seen, said.ratio.value))
        far = high > RATIO_IS_CONTRADICTED * low
        contradicted = far and wait_share(high) - wait_share(low) > 0.2
    if not contradicted:
        return None
    figures = f"waiting {share(wait_share(seen))} of its time (wait ratio {number(seen)})"
    if measured.cpu_ms is not None and measured.wall_ms is not None:
        figures = f"{number(measured.cpu_ms)} ms of CPU in {number(measured.wall_ms)} ms, {figures}"
    what = {
        "warn": "the plan goes by the declaration, as profile_mismatch: warn asks; correct the declaration",
        "fail": "correct the declaration",
        "use_measured": "the plan goes by the measurement; correct the declaration",
    }[policy]
    verb = "are" if said.words.startswith("by ") else "is"
    sentence = (
        f"{app.name}: {said.words} {verb} declared (waiting {share(wait_share(said.ratio.value))} of a request, wait"
        f" ratio {number(said.ratio.value)}), but {measured.requests} weighed requests took {figures}: that is"
        f" {profile_of(seen)}; {what}"
    )
    return Mismatch(sentence, policy, said.ratio.value, seen)


def _around(declared: float) -> tuple[float, float]:
    """What a declared ratio leaves open: what does not contradict it."""
    return declared / RATIO_IS_CONTRADICTED, max(declared * RATIO_IS_CONTRADICTED, RATIO_FREE)


@dataclass(frozen=True)
class Division:
    """A host divided among its apps: `memory` (MiB) and `cores` of each by name, with the words of how that came about.

    `reserve`: what is kept for others.
    """

    host: Host
    policy: Policy
    reserve: Reserve
    memory: Mapping[str, tuple[float, str]]
    cores: Mapping[str, tuple[float, str]]

    def of(self, app: App) -> Allotment:
        """The part of one of the apps. PlanError where its own further processes leave nothing of that."""
        host, kept = self.host, self.reserve
        memory, memory_words = self.memory[app.name]
        cores, cores_words = self.cores[app.name]
        beside = _beside(app, memory, cores)
        side = (
            "/ 2 generations side by side"
            if self.policy.rollout_headroom
            else "for one generation, headcount_rollout_headroom is off"
        )
        generations = 2 if self.policy.rollout_headroom else 1
        percent = 100.0 if app.limits.memory_percent is None else float(app.limits.memory_percent)
        return Allotment(
            cores=cores - beside.cores,
            cores_reason=f"{number(host.cores)} effective cores ({host.cores_limited_by}){cores_words}"
            + beside.cores_words,
            budget_mib=(memory - beside.memory_mib) / generations,
            budget_reason=(
                f"{host.memory_mib} MiB ({host.memory_limited_by}) - {number(kept.mib)} MiB ({kept.why})"
                f"{memory_words}{beside.memory_words} {side}"
            ),
            usable_share=min(MEMORY_HIGH_SHARE, percent / 100.0),
            generations=generations,
            warnings=kept.warnings,
        )


def divide(host: Host, apps: Sequence[App], policy: Policy) -> Division:
    """Cores and memory for each app: what an app names for itself first, the rest by weight.

    Two generations of an app stand side by side during a rollout, so one may use half of the app's memory, unless the
    policy says otherwise. Raises PlanError when the apps ask for more than there is.
    """
    kept = reserve_of(host, policy)
    reserve, why = kept.mib, kept.why
    memory_left = host.memory_mib - reserve
    if memory_left <= 0 and policy.reserve_memory_mib is None:
        from .unfit import nothing_left

        raise nothing_left(host, why)
    if memory_left <= 0:
        from .unfit import all_reserved

        raise all_reserved(host, reserve)
    memory = _parts(apps, "memory_mib", memory_left, "MiB")
    cores = _parts(apps, "cores", host.cores, "cores")
    return Division(host, policy, kept, memory, cores)


@dataclass(frozen=True)
class _Beside:
    """What the further processes of an app take of its part, in MiB and cores, and in words."""

    memory_mib: float = 0.0
    cores: float = 0.0
    memory_words: str = ""
    cores_words: str = ""


def _beside(app: App, memory_mib: float, cores: float) -> _Beside:
    """What an app's further processes take. They never run twice, so that a rollout does not double them.

    Raises PlanError where they leave nothing for its server.
    """
    if not app.processes:
        return _Beside()
    wanted = sum(process.instances * process.memory_mib for process in app.processes.values())
    computing = sum(process.instances * process.cores for process in app.processes.values())
    for key, need, there, unit in (("memory_mib", wanted, memory_mib, "MiB"), ("cores", computing, cores, "cores")):
        if need >= there:
            from .unfit import processes_take_all

            raise processes_take_all(app, key, f"{number(need)} {unit}", f"{number(there)} {unit}")
    told = f" for {', '.join(app.processes)}"
    return _Beside(
        wanted, computing, f" - {number(wanted)} MiB{told}", f" - {number(computing)}{told}" if computing else ""
    )


def _parts(apps: Sequence[App], key: str, total: float, unit: str) -> dict[str, tuple[float, str]]:
    """Each app's part of `total`, in words too: what `share.KEY` names, and the rest by weight."""
    asked_for = {app.name: app.share.cores if key == "cores" else app.share.memory_mib for app in apps}
    named = {name: float(value) for name, value in asked_for.items() if value is not None}
    others = [app for app in apps if app.name not in named]
    asked = sum(named.values())
    if asked > total * (1 + 1e-9) or (others and asked >= total):
        from .unfit import asked_too_much

        raise asked_too_much(named, [app.name for app in others], key, f"{number(total)} {unit}")
    result = {name: (value, f", of which share.{key} gives {number(value)}") for name, value in named.items()}
    whole = sum(float(app.share.weight) for app in others)
    for app in others:
        part = float(app.share.weight) / whole
        words = "" if len(apps) == 1 else f", shared: {share(part)} by weight of {number(total - asked)} {unit}"
        result[app.name] = ((total - asked) * part, words)
    return result


@dataclass(frozen=True)
class _Waiting:
    """The wait ratio that a plan goes by, and the `least` and the `most` waiting that it is planned for."""

    ratio: Number
    least: float
    most: float


def _waiting(app: App, timed: Measured | None) -> _Waiting:
    """What is known of the waiting: `timed` is the measurement, where it has enough requests to go by."""
    said = _said(app)
    declared = said.ratio.value
    if timed is None or timed.wait_ratio is None:
        least, most = WAIT_BOUNDS[app.profile or "mixed"] if said.a_word else (declared, declared)
        return _Waiting(said.ratio, least, most)
    low, high = GONE_BY[app.profile or "mixed"] if said.a_word else _around(declared)
    words = f"profile {app.profile}" if said.a_word else said.words
    contradicts_nothing = said.a_word and app.profile is None
    by_measurement = contradicts_nothing or app.profile_mismatch == "use_measured"
    seen = min(RATIO_MAX, timed.wait_ratio)
    ratio = settled_ratio(low, high, seen, timed.requests, by_measurement, words)
    return _Waiting(ratio, ratio.value, ratio.value)


def _refusal(app: App, mismatch: Mismatch) -> PlanError:
    """The error of a declaration that the measurement contradicts, with `profile_mismatch: fail`."""
    said = _said(app)
    return PlanError(
        app.name,
        said.variable,
        said.value,
        mismatch.sentence.split(": ", 1)[-1].rsplit("; ", 1)[0],
        "a declaration that the app bears out",
        "correct it, or go by the measurement (profile_mismatch: use_measured, the default)",
    )


def of_other_paths(app: App, measured: Measured) -> list[str]:
    """The paths of an earlier weigh where they are not those of the declared load; none where they are the same, or
    where the weigh did not tell paths apart."""
    weighed = {path.path for path in measured.paths}
    return sorted(weighed) if weighed and weighed != {path.path for path in app.load.paths} else []


def _counted(app: App, measured: Measured | None) -> tuple[Measured | None, list[str]]:
    """The measurement as far as it counts for what is planned, and what a person has to know of that."""
    name = app.name
    if measured is None or not measured.earlier:
        return measured, [] if measured is None else [f"{name}: {said}" for said in measured.uncounted]
    others = of_other_paths(app, measured)
    if not others:
        return measured, []
    told = ", ".join(others[:4]) + (f" and {len(others) - 4} more" if len(others) > 4 else "")
    return measured.without_times(), [
        f"{name}: the live generation was weighed with other paths ({told}): the plan keeps to the declaration until"
        " the next weigh"
    ]


def _contradiction(app: App, measured: Measured | None) -> Mismatch | None:
    """What the measurement contradicts. PlanError where the app says so (`profile_mismatch: fail`), unless it is of an
    earlier generation, which refuses nothing."""
    mismatch = profile_mismatch(app, measured, app.profile_mismatch)
    if mismatch is None or mismatch.severity != "fail":
        return mismatch
    if measured is None or not measured.earlier:
        raise _refusal(app, mismatch)
    told = mismatch.sentence.rsplit("; ", 1)[0]
    decides = "that was an earlier generation: the weigh of the next one decides (profile_mismatch: fail)"
    return replace(mismatch, sentence=f"{told}; {decides}")


def gather(app: App, host: Host, allotment: Allotment, measured: Measured | None) -> Inputs:
    """Chooses each number: a measurement before a declaration before an assumption.

    A measurement that contradicts the declared profile replaces it, unless `profile_mismatch: warn` keeps to the
    declaration; with fail it raises PlanError. One of an earlier generation refuses nothing, and its times count only
    where they are of the declared paths.
    """
    measured, warnings = _counted(app, measured)
    if measured is not None and any(path.refused or not path.requests for path in measured.paths):
        from .unasked import completed

        measured, told = completed(app, measured)
        warnings += told
    mismatch = _contradiction(app, measured)
    timed = measured if measured is not None and measured.times_count else None
    warnings += [] if mismatch is None else [mismatch.sentence]
    if measured is not None and measured.wait_ratio is not None and timed is None:
        warnings.append(
            f"{app.name}: {measured.requests} weighed requests are too few to go by (at least {MEASURED_REQUESTS_MIN}):"
            " the plan keeps to the declaration"
        )
    waiting = _waiting(app, timed)
    cpu, wall, known = _times(app, waiting.ratio, timed)
    mix = mix_of(app, timed)
    return Inputs(
        app=app.name,
        host=host,
        allotment=allotment,
        profile=profile_of(waiting.ratio.value),
        mix=mix,
        wait_ratio=waiting.ratio,
        least_ratio=waiting.least,
        most_ratio=waiting.most,
        cpu_ms=cpu,
        wall_ms=wall,
        times_known=known,
        concurrency=_concurrency(app, allotment, wall),
        peak=app.concurrency,
        buffered=app.buffering_proxy,
        rate=None if app.rate is None else float(app.rate),
        worker_mib=_worker(app.memory, measured),
        slot_mib=_slot(app.memory, measured),
        master_mib=_master(measured),
        mismatch=mismatch,
        warnings=(
            *(f"{app.name}: {sentence}" for sentence in allotment.warnings),
            *warnings,
            *mix.warnings,
            *(f"{app.name}: {words}" for words in _costs(app)),
        ),
    )


def _costs(app: App) -> list[str]:
    """What is open to the app beside what every one has, in sentences."""
    if app.sandbox == Sandbox() and not app.data.built:
        return []
    from .._generation.exposure import costs

    return costs(app)


def _times(app: App, ratio: Number, measured: Measured | None) -> tuple[Number, Number, bool]:
    if measured is not None and measured.cpu_ms and measured.wall_ms is not None:
        wall = max(measured.wall_ms, measured.cpu_ms, CPU_MS_MIN)
        return (
            Number(max(CPU_MS_MIN, measured.cpu_ms), "measured", "measured: CPU time of a request"),
            Number(wall, "measured", "measured: wall time of a request"),
            True,
        )
    cpu_ms, wait_ms = _declared_times(app)
    if cpu_ms:
        cpu = Number(max(CPU_MS_MIN, float(cpu_ms)), "declared", "declared: cpu_ms")
        waits = float(wait_ms) if wait_ms is not None else cpu.value * ratio.value
        origin = "declared" if ratio.origin == "declared" else ratio.origin
        return cpu, Number(cpu.value + waits, origin, f"cpu_ms x (1 + wait ratio {number(ratio.value)})"), True
    if wait_ms and ratio.value >= 0.001:
        value = max(CPU_MS_MIN, float(wait_ms) / ratio.value)
        cpu = Number(value, ratio.origin, f"wait_ms / wait ratio {number(ratio.value)}")
        return cpu, Number(value + float(wait_ms), ratio.origin, "wait_ms + wait_ms / wait ratio"), True
    value = ASSUMED_CPU_MS if ratio.value < 9.0 else 1.0
    cpu = Number(value, "assumed", f"assumed: {number(value)} ms of CPU")
    return cpu, Number(value * (1 + ratio.value), "assumed", "assumed: CPU time x (1 + wait ratio)"), False


def _concurrency(app: App, allotment: Allotment, wall: Number) -> Number:
    declared, rate = app.concurrency, app.rate
    little = None
    if rate is not None:
        flight = max(1.0, float(rate) * wall.value / 1000.0)
        words = f"Little: {number(float(rate))}/s x {number(wall.value)} ms ({wall.origin})"
        little = Number(flight, wall.origin if wall.origin != "declared" else "declared", words)
    if declared is not None:
        given = Number(float(declared), "declared", f"declared: {declared} requests in flight")
        return little if little is not None and little.value > given.value else given
    if little is not None:
        return little
    value = max(ASSUMED_CONCURRENCY_MIN, ASSUMED_CONCURRENCY_PER_CORE * up(allotment.cores - 0.1))
    words = f"assumed: {value} requests in flight, as neither concurrency nor rate is declared"
    return Number(float(value), "assumed", words)


def _master(measured: Measured | None) -> Number | None:
    if measured is None or not measured.master_mib:
        return None
    return Number(measured.master_mib, "measured", "measured: PSS of the master")


def _worker(memory: MemoryNeed, measured: Measured | None) -> Number | None:
    """Memory of a worker without the requests it is serving, so that the slots' memory is not counted twice."""
    if measured is not None and (measured.worker_loaded_mib or measured.worker_pss_mib):
        idle = measured.worker_pss_mib or 0.0
        loaded = measured.worker_loaded_mib or 0.0
        base = max(idle, loaded - measured.crowd * (measured.slot_mib or 0.0))
        flight = f" of {measured.crowd} requests" if measured.crowd > 1 else ""
        words = f"measured: {number(loaded)} MiB under load{flight}, {number(idle)} MiB idle"
        return Number(base, "measured", words)
    if memory.worker_mib:
        return Number(float(memory.worker_mib), "declared", "declared: memory.worker_mib")
    return None


def _slot(memory: MemoryNeed, measured: Measured | None) -> Number:
    if measured is not None and measured.slot_mib is not None:
        return Number(measured.slot_mib, "measured", "measured: growth per request in flight")
    if memory.slot_mib is not None:
        return Number(float(memory.slot_mib), "declared", "declared: memory.slot_mib")
    return Number(ASSUMED_SLOT_MIB, "assumed", "assumed per request in flight")
