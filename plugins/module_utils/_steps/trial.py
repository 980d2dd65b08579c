# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The step trial: the candidate is loaded beside the live generation, and the verdict says whether it may go live."""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, TypedDict

from .._declaration.app import Plain
from .._declaration.origin import is_remote
from .._declaration.patience import answer_seconds
from .._generation import generations, store
from .._generation.failures import StepFailed
from .._load.h2load import LoadError
from .._os.http import Ask, lacking
from .._os.procfs import read_text
from .._verdict.judge import Verdict, decide, words_of_revert
from .._verdict.pooling import Pool
from .._verdict.toldchecks import fewer_bytes_of
from .._verdict.types import PASS, Check
from .app import AppOnHost
from .compare import Arm, Evidence, Live, arm, missing_tool, try_candidate, weighed_more
from .excepting import Said, excepting, wanted, with_exceptions
from .likeness import unlike
from .uncounted import only_redirects, sent_elsewhere
from .watchdog import memory_bounded
from .weigh import fail_if_lost


class Tried(TypedDict):
    """A candidate that may go live: the verdict on it, and what is kept of its trial."""

    verdict: Dict[str, object]
    evidence: Dict[str, object]


def trial(app: AppOnHost, number: int, pool: Pool | None = None) -> Tried:
    """Load the candidate beside the live generation and judge it. Returns {verdict, evidence} when it may go live.

    `pool`: what hosts of its class found of the same release, for which its first load may be shorter.

    StepFailed, with the verdict's cause, when it may not; the candidate is stopped either way.
    """
    with app.step("trial", number):
        lacking = missing_tool()
        if lacking:
            raise StepFailed("trial", lacking)
        record = app.record(number)
        declared, plan = record.app, record.plan
        live = generations.live(app.layout)
        begin = app.clock()
        why_broken = broken(app, live)
        baseline = _arm(app, live, trial=False, begin=begin) if live is not None and not why_broken else None
        try:
            boot = app.candidates.start(number, declared["health"])
            fail_if_unlike(app, number, declared, live if baseline is not None else None)
            with memory_bounded("trial"):
                verdict, evidence = try_candidate(
                    declared,
                    plan,
                    _arm(app, number, trial=True, begin=begin),
                    baseline,
                    record.measured,
                    record.cores,
                    live=live_of(app, number, live) if live is not None and not why_broken else None,
                    pool=pool,
                )
            fail_if_lost(app, number, declared, "trial")
            lacks = lacking_now(app, number, declared)
            verdict = beside_live(app, number, live if baseline is not None else None, verdict, evidence, begin)
        except LoadError as error:
            raise StepFailed("trial", str(error)) from error
        finally:
            app.candidates.stop(number)
        if why_broken:
            evidence["notes"].append(why_broken)
            verdict = verdict.without([f"latency and CPU ({why_broken})"])
            evidence["verdict"] = verdict.to_dict()
        evidence["notes"] += app.refused(number, begin)
        if is_remote(record.load):
            evidence["notes"].append(f"load.from is {record.load.origin}, which this host cannot ask by itself")
        evidence["boot_seconds"] = round(boot, 2)
        evidence["against"] = live if baseline is not None else None
        return ruled(app, number, declared, verdict, evidence, lacks)


def fail_if_unlike(app: AppOnHost, number: int, declared: Plain, live: int | None) -> None:
    """StepFailed, before any load, when a path of it only ever redirects, so that nothing would be measured of it, or
    answers without what it must contain. `live`: the generation that it is compared with."""
    address, paths = app.layout.trial_socket(number), [Ask.of_path(path) for path in declared["load"]["paths"]]
    beside = app.layout.private_socket(live) if live is not None else None
    wrong = only_redirects(address, paths, answer_seconds(declared), beside) or lacking_now(app, number, declared)
    if wrong:
        raise StepFailed("trial", wrong)


def beside_live(
    app: AppOnHost, number: int, live: int | None, verdict: Verdict, evidence: Evidence, begin: float
) -> Verdict:
    """The verdict on a candidate with what is told of its answers, where it passed, and of its log, beside those of
    `live` (None: that was not loaded). `begin`: of the trial, in seconds of the epoch."""
    if not wanted(verdict):
        return verdict
    found = [*not_tried(app, number), *unlike_live(app, number, live, verdict)] if verdict.outcome == PASS else []
    logged = complaints(app, number, live, verdict, evidence, begin)
    verdict = with_exceptions(verdict.telling(found), logged)
    evidence["verdict"] = verdict.to_dict()
    return verdict


def not_tried(app: AppOnHost, number: int) -> list[Check]:
    """Which of what the candidate is asked for leads away from itself, as is declared (sent_elsewhere())."""
    declared = app.record(number).app
    health = replace(Ask.of_health(declared["health"]), status=tuple(declared["health"]["status"]))
    paths = [Ask.of_path(path) for path in declared["load"]["paths"]]
    asked = paths if any(path.path == health.path for path in paths) else [health, *paths]
    return sent_elsewhere(app.layout.trial_socket(number), asked, answer_seconds(declared))


def unlike_live(app: AppOnHost, number: int, live: int | None, verdict: Verdict) -> list[Check]:
    """What of the candidate's answers is of another kind than that of what is live (likeness.unlike())."""
    if live is None:
        return []
    declared = app.record(number).app
    sockets = app.layout.trial_socket(number), app.layout.private_socket(live)
    paths = [Ask.of_path(path) for path in declared["load"]["paths"]]
    return unlike(*sockets, paths, answer_seconds(declared), shorter=fewer_bytes_of(verdict.checks))


def complaints(
    app: AppOnHost, number: int, live: int | None, verdict: Verdict, evidence: Evidence, begin: float
) -> list[Check]:
    """What the candidate logs again and again, and the live generation does not (excepting())."""

    def log(unit: str) -> Said:
        return lambda since, most: app.systemd.said(unit, since, most)

    other = log(app.layout.service_unit(live)) if live is not None else None
    mine = log(app.layout.trial_service_unit(number))
    return excepting(mine, other, verdict, evidence.get("load") or {}, begin, app.clock())


def lacking_now(app: AppOnHost, number: int, declared: Plain) -> str:
    """Which path of the load the candidate answers without what it must contain, in a sentence; else empty."""
    paths = [Ask.of_path(path) for path in declared["load"]["paths"]]
    return lacking(app.layout.trial_socket(number), paths, answer_seconds(declared))


def ruled(app: AppOnHost, number: int, declared: Plain, verdict: Verdict, evidence: Evidence, lacks: str = "") -> Tried:
    """Keep the evidence of generation `number`. {verdict, evidence} when it may go live, else StepFailed.

    `lacks`: which path answered without what it must contain, after the load (lacking_now()).
    """
    kept = store.set_evidence(app.layout, number, evidence)
    if decide(verdict, declared["on_inconclusive"]) != "promote":
        raise StepFailed("trial", words_of_revert(verdict, declared["on_inconclusive"]), kept)
    if lacks:
        raise StepFailed("trial", f"after the load {lacks}", kept)
    return {"verdict": verdict.to_dict(), "evidence": kept}


def broken(app: AppOnHost, live: int | None) -> str:
    """Why the live generation is no yardstick for a candidate, in a sentence; empty where it is, or there is none.

    One that does not serve its users well is not loaded on top of that, and holds up no rollout.
    """
    if live is None:
        return ""
    seen = app.instances.look(live)
    if seen.well and app.instances.private_open(live):
        return ""
    if seen.well:
        return (
            f"the live generation {live} was not loaded beside the candidate, because "
            f"{app.layout.private_socket(live)}, which reaches it alone, is gone or is another's; judged by the "
            "absolute limits alone"
        )
    return (
        f"the live generation {live} was not loaded beside the candidate, because it is broken itself "
        f"({seen.told()}); judged by the absolute limits alone"
    )


def _arm(app: AppOnHost, number: int, trial: bool, begin: float) -> Arm:
    unit = app.layout.trial_service_unit(number) if trial else app.layout.service_unit(number)
    socket = app.layout.trial_socket(number) if trial else app.layout.private_socket(number)
    files = app.layout.instance_files(number, trial)
    found = arm(app.systemd, unit, socket, memory_max(app, number), begin, files, beats=beats(app, number))
    return found if trial else replace(found, listen=app.record(number).listen)


def live_of(app: AppOnHost, number: int, live: int) -> Live:
    """What candidate `number` is held against.

    Of the same code with the same environment more CPU, weighed at another time, is the host's: it has changed.
    """
    new, old = app.record(number), app.record(live)
    environments = [read_text("/", app.layout.environment(of)) for of in (number, live)]
    same = new.release == old.release and environments[0] == environments[1]
    return Live(old.plan, "" if same else weighed_more(new, old))


def beats(app: AppOnHost, number: int) -> bool:
    """Whether the workers of generation `number` show once a second that they go on, also while they serve."""
    return bool(app.record(number).settings.get("worker_class") != "sync")


def memory_max(app: AppOnHost, number: int) -> float:
    """MemoryMax of generation `number` in MiB."""
    return app.record(number).memory_max_mib
