# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The host's part of a trial whose load comes from another machine (`load.from`): begin it, finish it.

Between the two the load host makes the load (modules/load.py). Meanwhile the candidate has a TCP port beside its
private socket, a sampler reads the memory, a timer stops the candidate should nobody come back, and the run's lease
lasts as long as that timer. Whatever ends the trial ends all of them: finish(), abandon and heal.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypedDict

from .._declaration.app import Limits, Load, Plain
from .._declaration.origin import is_remote, reachable, target, trial_listen, words
from .._declaration.patience import answer_seconds
from .._generation import generations
from .._generation.failures import StepFailed
from .._generation.lock import LEASE_SECONDS
from .._generation.record import GenerationRecord
from .._load.trialload import Attempt, TrialLoad, longest_seconds
from .._os.files import read_mapping, write_json
from .._verdict.judge import RETRY_FACTOR, MemoryEvidence, combine, needs_retry
from .._verdict.pooling import Pool
from . import sampler
from .app import AppOnHost
from .compare import Judging, arrangement, asks, capacity, conclude, lowered
from .loadhost import LoadRequest
from .sampler import CANDIDATE, LIVE
from .trial import Tried, beats, beside_live, broken, fail_if_unlike, lacking_now, live_of, memory_max, ruled, trial
from .weigh import fail_if_lost
from .why import Candidate, why_failed


class Wanted(TypedDict):
    """A trial that waits for a load."""

    load: LoadRequest


class Loaded(TypedDict):
    """One run of the load as it is kept until it is judged: TrialLoad.pack(), and the memory of each arm meanwhile."""

    load: str
    memory: dict[str, Plain | None]


@dataclass(frozen=True)
class Begun:
    """A trial that waits for its load, as it is kept on the host (`trial_state`).

    `run`: the one that it belongs to; `begin`: seconds since the epoch; `live`: the generation that is loaded beside
    the candidate, if any, and `notes` why not; `smaller`, `alone`, `weighed`: as Judging has them;
    `boot_seconds`: until the candidate answered; `attempts`: what came of the load so far.
    """

    number: int
    run: str
    begin: float
    live: int | None
    notes: list[str]
    smaller: str
    alone: str
    weighed: str
    request: LoadRequest
    boot_seconds: float
    attempts: list[Loaded] = field(default_factory=list)


def try_from(
    app: AppOnHost, number: int, address: str = "", loaded: str | None = None, pool: Pool | None = None
) -> Tried | Wanted:
    """What is done on the host for the trial of generation `number`, wherever its load comes from.

    From the host itself: the whole trial, with `pool`. Remote: without `loaded` begin(), with it finish().
    """
    record = app.known(number)
    if record is None or not is_remote(record.load):
        return trial(app, number, pool)
    return begin(app, number, address) if loaded is None else finish(app, number, loaded)


def begin(app: AppOnHost, number: int, address: str) -> Wanted:
    """Start candidate `number` with a port of its own.

    `address` is where the host is reached, unless the app says so itself (`load.address`).
    """
    with app.step("trial", number):
        record = app.record(number)
        declared, load = record.app, record.load
        source, listen = load.origin, trial_listen(declared["listen"], load)
        if listen is None:
            raise StepFailed("trial", f"{words(source)} cannot reach {declared['listen']}: load.from needs a TCP port")
        live = generations.live(app.layout)
        start = app.clock()
        against, in_turn, why, grown = _yardstick(app, number, live, record)
        beside = app.record(against) if against is not None else None
        public = beside.listen if beside is not None else None
        smaller = lowered(record.plan, beside.plan, Limits.from_dict(declared["limits"])) if beside is not None else ""
        notes = [note for note in (why, smaller) if note]
        request: LoadRequest = {
            "from": source,
            "candidate": target(listen, load, address),
            "baseline": target(public, load, address) if public is not None else None,
            "load": declared["load"],
            "limits": declared["limits"],
            "health": declared["health"],
            "workers": int(record.settings["workers"]),
            "capacity_rps": capacity(record.plan, record.measured, record.cores),
            "answer_seconds": answer_seconds(declared),
            "swap": False,
            "factor": 1.0,
            "in_turn": in_turn,
            "compared": not smaller,
        }
        app.candidates.seconds = 0.0  # it outlives this step: a timer ends it (_watch)
        try:
            boot = app.candidates.start(number, declared["health"], listen=listen)
            fail_if_unlike(app, number, declared, against)
            begun = Begun(
                number=number,
                run=app.run.id,
                begin=start,
                live=against,
                notes=notes,
                smaller=smaller,
                alone=why if against is None else "",
                weighed=grown,
                request=request,
                boot_seconds=round(boot, 2),
            )
            _watch(app, begun, declared)
        except BaseException:
            app.candidates.stop(number)
            raise
    return {"load": request}


def _yardstick(
    app: AppOnHost, number: int, live: int | None, record: GenerationRecord
) -> tuple[int | None, bool, str, str]:
    """The live generation that is loaded beside the candidate, if any, whether in turn with it, why so or not, and that
    a request takes more CPU than one of it by what was weighed."""
    why_broken = broken(app, live)
    if live is None or why_broken:
        return None, False, why_broken, ""
    how = arrangement(record.app, record.measured, record.cores)
    listen, grown = app.record(live).listen, live_of(app, number, live).weighed
    if not how.alone and not reachable(listen):
        source = words(record.load.origin)
        why = (
            f"the live generation was not loaded beside the candidate: {source} does not reach "
            f"{listen}, where it listens; judged by the absolute limits alone"
        )
        return None, False, why, grown
    return (None if how.alone else live), how.in_turn, how.why, grown


def _watch(app: AppOnHost, begun: Begun, declared: Plain) -> None:
    """Begin a window of memory samples and note the trial; the lease and the candidate outlast the load."""
    arms = {CANDIDATE: _watched(app, begun.number, trial=True)}
    if begun.live is not None:
        arms[LIVE] = _watched(app, begun.live, trial=False)
    in_turn = begun.request["in_turn"]
    longest = longest_seconds(Load.from_dict(declared["load"]), answer_seconds(declared), in_turn=in_turn)
    app.lock.seconds = LEASE_SECONDS + longest
    write_json(app.layout.trial_state, vars(begun), 0o600)
    app.candidates.begin_watch(begun.number, sampler.request(arms, begun.begin), sys.executable, app.lock.seconds)


def _watched(app: AppOnHost, number: int, trial: bool) -> tuple[str, float, str, bool]:
    unit = app.layout.trial_service_unit(number) if trial else app.layout.service_unit(number)
    return unit, memory_max(app, number), app.layout.instance_files(number, trial), beats(app, number)


def finish(app: AppOnHost, number: int, loaded: str) -> Tried | Wanted:
    """Judge what came of the load (`loaded`: JSON {load: TrialLoad.pack(), since_warm_seconds}).

    Where the load is wanted once more the candidate stays up. StepFailed, with the verdict's cause, when it may not go
    live.
    """
    with app.step("trial", number):
        stays = False
        try:
            kept = read_mapping(app.layout.trial_state)
            if kept.get("number") != number or kept.get("run") != app.run.id:
                raise StepFailed("trial", "the candidate was put away before it was known what came of its load")
            begun = Begun(**kept)
            record = app.record(number)
            declared = record.app
            begun.attempts.append(_attempt(app, json.loads(loaded)))
            judging = Judging(declared, 1, begun.smaller, begun.alone, begun.weighed)
            attempts = _judged(judging, begun.attempts)
            if len(attempts) == 1 and needs_retry(attempts[0].verdict):
                begun.request["swap"], begun.request["factor"] = True, RETRY_FACTOR
                _watch(app, begun, declared)
                stays = True
                return {"load": begun.request}
            verdict = attempts[0].verdict if len(attempts) == 1 else combine(*(one.verdict for one in attempts))
            fail_if_lost(app, number, declared, "trial")
            unit = app.layout.trial_service_unit(number)
            journal = app.systemd.journal(unit, begun.begin, lines=2000)
            source = Load.from_dict(declared["load"]).origin
            note = f"the load came from {words(source)}: latencies include the network between it and this host"
            asked = Candidate(
                app.layout.trial_socket(number), asks(declared), answer_seconds(declared), app.instances.log_of(unit)
            )
            samples = replace(attempts[-1].load.candidate, origin_s=0.0)  # by the clock of another machine
            why = why_failed(samples, verdict, asked, begun.begin)
            notes = [*begun.notes, note, *app.refused(number, begun.begin)]
            verdict, evidence = conclude(
                declared, verdict, attempts[-1], journal, notes, source=source, why=why, measured=record.measured
            )
            evidence["boot_seconds"], evidence["against"] = begun.boot_seconds, begun.live
            lacks = lacking_now(app, number, declared)
            verdict = beside_live(app, number, begun.live, verdict, evidence, begun.begin)
        except (ValueError, KeyError, TypeError) as error:
            raise StepFailed("trial", f"what came of the load cannot be read: {error}") from error
        finally:
            if not stays:
                app.candidates.stop(number)
        return ruled(app, number, declared, verdict, evidence, lacks)


def _attempt(app: AppOnHost, loaded: Plain) -> Loaded:
    """What came of one run of the load, with the memory that was sampled meanwhile."""
    found = app.candidates.end_sampling()
    warm_at = time.monotonic() - float(loaded["since_warm_seconds"])
    memory = {name: sampler.evidence(found, name, warm_at) for name in (CANDIDATE, LIVE)}
    if memory[CANDIDATE] is None:
        raise StepFailed("trial", "the memory of the candidate was not sampled to the end of the load")
    return {
        "load": str(loaded["load"]),
        "memory": {name: one.to_dict() if one is not None else None for name, one in memory.items()},
    }


def _judged(judging: Judging, runs: Sequence[Loaded]) -> list[Attempt]:
    """The runs with their verdicts, each of which knows the requests of the one before it."""
    found: list[Attempt] = []
    for one in runs:
        memory = {name: MemoryEvidence(**plain) if plain else None for name, plain in one["memory"].items()}
        load = TrialLoad.unpack(one["load"])
        load = load.after(found[-1].load) if found else load
        found.append(judging.judged(load, memory[CANDIDATE], memory[LIVE]))
    return found
