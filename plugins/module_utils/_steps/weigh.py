# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The step weigh: one worker of the candidate is measured, and its plan and the generation are finished with that."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Mapping, Sequence

from .._declaration.app import Plain
from .._declaration.patience import answer_seconds
from .._facts import contention, workerthreads
from .._generation import data, volatile
from .._generation.failures import StepFailed
from .._generation.record import GenerationRecord
from .._plan.replan import replan, with_measured, with_release
from . import measure
from .app import AppOnHost
from .leaking import filling
from .measure import NotMeasured
from .stage import finish
from .watchdog import memory_bounded
from .weighed import Unit
from .why import SILENT

ALONE = "--workers 1 --max-requests 0 --max-requests-jitter 0"
"""One worker, which is not replaced: what would wait for the next one is no measure of its requests."""


def fail_if_lost(app: AppOnHost, number: int, declared: Plain, phase: str) -> None:
    """StepFailed where candidate `number`, which was asked a while, keeps a database where it is lost."""
    found = app.keeps_lost(number, True, data.declared(declared).scratch)
    if found:
        raise StepFailed(phase, volatile.words(found))


def weigh(app: AppOnHost, number: int) -> dict[str, object]:
    """Measure generation `number` with one worker, finish its plan with that, and finish the generation.

    Returns {measured, plan, mismatch, warnings_told}. A profile that the app contradicts fails here when the app
    says so (`profile_mismatch: fail`); the sentence has both figures.
    """
    with app.step("weigh", number):
        record = app.record(number)
        declared, planned = record.app, record.settings
        service, begin = app.layout.trial_service_unit(number), app.clock()
        slots = max(1, int(record.plan["slots"]) // max(1, int(planned["workers"])))
        try:
            boot = app.candidates.start(number, declared["health"], ALONE)
            state = app.systemd.state(service)
            unit = Unit(state.control_group, state.main_pid, files=app.layout.instance_files(number, True))
            slice_ = str(declared.get("slice") or "system.slice")
            before, started = contention.read(slice_, app.root), time.monotonic()
            with memory_bounded("weigh"):
                weighing = measure.weigh(
                    unit,
                    app.layout.trial_socket(number),
                    record.load.paths,
                    slots,
                    timeout_seconds=answer_seconds(declared),
                    memory_max_mib=record.memory_max_mib,
                    keeping=lambda rest_mib, grown: _tell_of_kept(app, record, rest_mib, grown),
                )
            fail_if_lost(app, number, declared, "weigh")
            threads = workerthreads.own_threads(app.layout.instance_files(number, True))
        except NotMeasured as error:
            log = app.instances.log_of(service)
            said = (log(error.path, begin, app.clock()) or SILENT) if error.path else ""
            raise StepFailed("weigh", f"{error}; {said}" if said else str(error)) from error
        finally:
            app.candidates.stop(number)
        for sentence in contention.words(before, contention.read(slice_, app.root), time.monotonic() - started):
            app.say(f"weigh: {sentence}")
        measured = {**weighing, "boot_seconds": round(boot, 2)}
        planning = with_measured(record.planning, app.name, measured)
        planning = with_release(planning, app.name, app.layout.release(str(record.release)), declared)
        plan, mismatch = replan(planning, app.name)
        if mismatch is not None and mismatch.severity == "fail":
            raise StepFailed("weigh", mismatch.sentence)
        finished = replace(record, planning=planning, plan=plan, measured=measured)
        of_its_own = workerthreads.words(threads, int(finished.settings["workers"]))
        for words in filter(None, [of_its_own, *app.refused(number, begin)]):
            app.say(words)
        finish(app, number, finished)
    return {
        "measured": measured,
        "plan": plan,
        "mismatch": mismatch.sentence if mismatch else None,
        "warnings_told": plan["warnings"],
    }


def _tell_of_kept(
    app: AppOnHost, record: GenerationRecord, rest_mib: float, grown: Mapping[str, Sequence[float]]
) -> None:
    """Say that memory which its worker keeps would be full before long, where it would."""
    replaced = sum(int(record.settings[name]) for name in ("max_requests", "max_requests_jitter"))
    words = filling(rest_mib, grown, record.memory_max_mib, record.load.rate, replaced)
    if words:
        app.say(f"weigh: {words}")
