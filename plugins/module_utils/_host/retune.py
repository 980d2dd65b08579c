# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Tunes an app again on the host itself: the live release with a plan for what the host is now.

It goes the way of every rollout (weigh, trial, verdict, promote or keep), with what is on the host: the inputs of the
live plan lie in its generation. It needs no controller and no network. What it cannot do is build a release: after a
change of the host's Python or C library it says so, and leaves the rest to the next rollout.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional, TypedDict

from .._facts import hostfacts
from .._facts.hardware import fact_parts, join_parts, rebuild_reasons, settle, split_parts
from .._generation import generations
from .._generation.failures import StepFailed
from .._generation.ledger import Entry
from .._generation.ledger import read as read_ledger
from .._generation.record import GenerationRecord
from .._generation.reloads import fail_if_no_room
from .._os.files import as_mapping
from .._os.paths import Layout
from .._plan.replan import replan, with_release
from .._plan.types import plan_changes
from .._steps.app import AppOnHost
from .._steps.heal import heal
from .._steps.prepare import again
from .._steps.promote import promote
from .._steps.stage import lay_down, next_number
from .._steps.trial import trial
from .._steps.weigh import weigh

ReadFacts = Callable[[str, str, Optional[str]], "dict[str, object]"]


def read_facts(root: str, slice_: str, python: str | None = None) -> dict[str, object]:
    """Facts of this host for apps in `slice_` that run on the interpreter `python` (None: on the one of the tool)."""
    return hostfacts.read(root, slice_=slice_, python=python).to_dict()


def read_at_boot(root: str, slice_: str, python: str | None = None) -> dict[str, object]:
    """The same while a host boots: what others use is not looked at, for they have not all begun."""
    facts = hostfacts.read(root, slice_=slice_, python=python).to_dict()
    memory = as_mapping(facts["memory"])
    return {**facts, "memory": {**memory, "others_mib": None, "neighbours": []}}


Retuned = TypedDict(
    "Retuned",
    {
        "from": int,
        "to": Optional[int],
        "changes": List[str],
        "plan_changes": Dict[str, List[object]],
        "verdict": Optional[str],
    },
)
"""What came of a re-tune: `changes` of the hardware in words; `to` is None when the plan holds."""


@dataclass(frozen=True)
class Standing:
    """How a host stands to what its live generation `number` was planned for.

    `changes`: what the hardware did, in words; `rebuild`: those of them for which the release would have to be built
    anew; `facts`: what to plan with now.
    """

    number: int
    record: GenerationRecord
    facts: dict[str, object]
    changes: list[str] = field(default_factory=list)
    rebuild: list[str] = field(default_factory=list)


def standing(layout: Layout, read: ReadFacts = read_facts) -> Standing | None:
    """Compare the facts that the live generation was planned with to those of now; None when nothing is live."""
    number = generations.live(layout)
    if number is None:
        return None
    record = GenerationRecord.from_dict(generations.record(layout, number))
    stored = record.planning.get("facts")
    if not stored:
        return None
    python = as_mapping(stored.get("python")).get("declared")
    found = read(layout.root, str(record.app.get("slice") or "system.slice"), python or None)
    settled = settle(found, stored)
    return Standing(number, record, settled.facts, settled.changes, rebuild_reasons(found, stored))


def planning_now(stand: Standing, layouts: dict[str, Layout]) -> dict[str, object]:
    """The planner's inputs for what the host is now: facts, and what is live of each app of the plan (`layouts`)."""
    before = stand.record.planning
    measured, previous = dict(before.get("measured") or {}), dict(before.get("previous") or {})
    for name, layout in layouts.items():
        number = generations.live(layout)
        record = GenerationRecord.from_dict(generations.record(layout, number) if number is not None else {})
        if record.measured:
            measured[name] = record.measured
        if record.plan:
            previous[name] = record.settings
    return {**before, "facts": stand.facts, "measured": measured, "previous": previous}


def digest_now(digest: str, facts: dict[str, object]) -> str:
    """A generation's digest with the parts that the host contributes as they are now."""
    parts = split_parts(digest)
    return join_parts({**parts, **fact_parts(facts)}) if parts else digest


def retune(app: AppOnHost, read: ReadFacts = read_facts) -> Retuned:
    """Plan `app` for what the host is now, and roll that out here when it differs from what is live.

    StepFailed when the candidate was not good enough: what was live is live.
    """
    stand = standing(app.layout, read)
    if stand is None:
        raise StepFailed("retune", f"nothing of {app.name} is live on this host; a rollout deploys it")
    if stand.rebuild:
        raise StepFailed(
            "retune",
            f"{', '.join(stand.rebuild)}: the release has to be built again, which only a rollout (site.yml) does",
        )
    record = stand.record
    layouts = {item["name"]: Layout(item["name"], app.root) for item in record.planning["apps"]}
    release = str(record.release)
    planning = with_release(planning_now(stand, layouts), app.name, app.layout.release(release), record.app)
    plan, _ = replan(planning, app.name)
    changes = plan_changes(record.plan, plan)
    result: Retuned = {
        "from": stand.number,
        "to": None,
        "changes": stand.changes,
        "plan_changes": changes,
        "verdict": None,
    }
    if not changes:
        return result
    with app.step("retune"):
        fail_if_no_room(app.systemd, "retune")
        heal(app)
        number = next_number(app)
        environment = _text(app.layout.environment(stand.number))
        alone = app.layout.trial_environment(stand.number)
        trial_environment = _text(alone) if os.path.exists(alone) else ""
    new = GenerationRecord(
        release=release,
        app=record.app,
        plan=plan,
        planning=planning,
        digest=digest_now(str(record.digest), stand.facts),
        source_id=record.source_id,
    )
    lay_down(app, number, new, environment, trial_environment)
    again(app, number)
    weigh(app, number)
    tried = trial(app, number)
    promote(app, number, tried["verdict"])
    return {**result, "to": number, "verdict": str(tried["verdict"]["outcome"])}


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as stream:
        return stream.read()


def told_before(entries: list[Entry], number: int, changes: list[str]) -> bool:
    """Whether the ledger's last word on the hardware is this one already."""
    for entry in reversed(entries):
        if entry.get("event") in ("promoted", "rolled_back", "reverted"):
            return False
        if entry.get("event") == "hardware_changed":
            return bool(entry.get("generation") == number and entry.get("changes") == changes)
    return False


def note_hardware(app: AppOnHost, stand: Standing) -> bool:
    """Write into the ledger that the hardware changed, once for each change. True when it was written."""
    if not stand.changes or told_before(read_ledger(app.layout.ledger), stand.number, stand.changes):
        return False
    app.log("hardware_changed", generation=stand.number, changes=stand.changes)
    return True
