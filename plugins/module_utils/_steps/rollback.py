# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The step rollback: back to a generation that was good, with nothing but this host."""

from __future__ import annotations

import contextlib
import os
from typing import List, Optional, TypedDict

from .._declaration.app import Plain
from .._generation import dataaccounts, generations, hoarding, store, truth
from .._generation.aside import save_aside
from .._generation.beginnable import leaves_first
from .._generation.failures import StepFailed, sentence
from .._generation.reloads import reload_for
from .._generation.switch import told
from .._generation.verify import Seen
from .._os.paths import installed_apps
from .._os.systemd import SystemdError
from .app import AppOnHost
from .heal import heal, make_account, make_built
from .promote import changed_by_drop_ins, switch_counted

RolledBack = TypedDict(
    "RolledBack",
    {"from": Optional[int], "to": int, "verified": Seen, "healed": List[str], "told": List[str]},
)
"""What came of a rollback; `told` are sentences for people."""


def rollback_target(app: AppOnHost, wanted: int | None, live_too: bool = False) -> int:
    """The generation to go back to; StepFailed, with the list of what there is, when it cannot be.

    `live_too`: one that is live already is no mistake.
    """
    found, serves, there = _found(app)
    live = found.number
    if wanted is None and found.why == truth.NEWEST:
        return live  # what was live is gone from the disk: this is the good one before it
    if wanted is None:
        wanted = truth.rollback_target(app.layout, live)
        if wanted is None and not serves:
            return live  # it was taken down, or its link was lost: nothing is before it, and it can serve again
        if wanted is None:
            raise StepFailed("rollback", f"{app.name} has no good generation before {live}; there are: {there}")
    if wanted == live and serves and not live_too:
        raise StepFailed("rollback", f"generation {wanted} of {app.name} is live already; there are: {there}")
    if generations.describe(app.layout, wanted).status != "good":
        raise StepFailed("rollback", f"generation {wanted} of {app.name} cannot be gone back to; there are: {there}")
    return wanted


def _found(app: AppOnHost) -> tuple[truth.Live, bool, str]:
    """What is live, whether it is linked as such and serves, and what there is, in words. StepFailed where none is."""
    apps = installed_apps(app.root)
    if app.name not in apps:
        raise StepFailed(
            "rollback", f"there is no app {app.name!r} on this host; there are: {', '.join(apps) or 'none'}"
        )
    running = app.instances.running()
    found = truth.live(app.layout, running)
    there = truth.listed(app.layout, found.number if found else None)
    if found is None:
        lost = truth.lost(app.layout)
        raise StepFailed("rollback", lost or f"{app.name} has no live generation on this host; there are: {there}")
    serves = found.number in running and app.systemd.state(app.layout.public_socket_unit).running
    return found, serves and not found.why, there


def rollback(
    app: AppOnHost, wanted: int | None = None, event: str = "rolled_back", hoards: str = "", leave: int | None = None
) -> RolledBack:
    """Go back to generation `wanted` (default: the good one before the live). Needs nothing but this host.

    `leave`: the one that is to be left; where another one is live, somebody else wanted that, and nothing is changed.

    A target that does not come up healthy is not kept: what is live stays live. A live one that is broken is waited
    for no longer than its drain takes. Where who looked at it for longer says that it `hoards` (takes all processes of
    the host, in a sentence), it leaves first. A person's rollback does not wait for a weigh or a trial of another run:
    it ends it. Any other step at work is waited for, and what there is to go back to is what that leaves.
    """
    reverts = event == "reverted"  # the guard of the host may have been quicker
    found, before = _hoard(app), generations.live(app.layout)
    number = before if found else app.foreseen(lambda: rollback_target(app, wanted, reverts))
    with app.alone("rollback", number, urgent=not reverts):
        made = _end(app, found, wanted)
        target = rollback_target(app, wanted, reverts)
        old, healed = generations.live(app.layout), list[str]()
        _fail_if_another(old, before, target, wanted, leave)
        try:
            healed = [*made, *heal(app, start=False)]
            old = generations.live(app.layout)
            if old == target:  # only the link to it was lost, or somebody went back meanwhile
                healed += heal(app)
                if not app.systemd.state(app.layout.service_unit(target)).running:
                    raise StepFailed("rollback", f"generation {target} does not run")
                return {"from": old, "to": target, "verified": {}, "healed": healed, "told": healed}
            healed += make_account(app, target) + make_built(app, target) + _reclaim(app, target)
            wrong = generations.problems(app.layout, target)
            if wrong:
                raise StepFailed("rollback", f"generation {target} is not intact: {wrong[0]}")
            record = app.record(target)
            changed = changed_by_drop_ins(app, target)
            if old is not None:
                hoards = hoards or dataaccounts.would_take(app.layout, target)
                _spare_users(app, old, target, record.app, hoards)
            seen = switch_counted(app, old, target, record.app, lenient=hoards or True)
        except (StepFailed, SystemdError, OSError) as error:
            cause = error.cause if isinstance(error, StepFailed) else sentence(error)
            app.log("rollback_failed", **{"from": old, "to": target}, cause=cause, told=healed or None)
            raise StepFailed(
                "rollback", f"generation {target} was not kept, {old} stays live: {'; '.join([cause, *healed])}"
            ) from error
        words = [*told(old, seen), *changed, *healed]
        with contextlib.suppress(OSError):
            # It serves; what cannot be written down on a full disk is made up for by the next heal.
            app.log(
                event,
                **{"from": old, "to": target},
                release=record.release,
                verified=seen,
                told=words or None,
            )
            app.write_local_fact()
    return {"from": old, "to": target, "verified": seen, "healed": healed, "told": words}


def _fail_if_another(old: int | None, before: int | None, target: int, wanted: int | None, leave: int | None) -> None:
    """What is live once the lock is held (`old`) is to be what whoever goes back wanted to leave, else StepFailed."""
    if leave is not None and old not in (leave, target, None):
        why = f"generation {old} became live meanwhile and stays: this run promoted {leave}, not that"
        raise StepFailed("rollback", why)
    if wanted is None and old != before:
        raise StepFailed(
            "rollback",
            f"generation {old} became live while this waited (it was {before or 'none'}): roll back again if that "
            "is what to leave",
        )


def _hoard(app: AppOnHost) -> hoarding.Hoard | None:
    """What is live, where it has taken the last process of this host: systemd cannot even be asked. Else None."""
    found = hoarding.hoard(app.layout, generations.live(app.layout))
    return found if found is not None and hoarding.nothing_begins(app.systemd) else None


def _end(app: AppOnHost, found: hoarding.Hoard | None, wanted: int | None) -> list[str]:
    """Have what took the last process leave, for the generation that is gone back to. Returns what was done."""
    live = generations.live(app.layout)
    target = wanted if wanted is not None else truth.rollback_target(app.layout, live)
    if found is None or live is None or target in (None, live):
        return []
    if generations.describe(app.layout, target).status != "good" or generations.problems(app.layout, target):
        return []
    app.say(f"{found.words()}: it leaves first, and requests wait meanwhile")
    return [hoarding.end(app.instances, found, live, target)]


def _spare_users(app: AppOnHost, old: int, target: int, declared: Plain, hoards: str) -> None:
    """Users of a live one that is well are not to meet what was never tried, nor what is broken: StepFailed. That it
    has to leave first, as there is no room for both, is told; then the other one cannot be proven beside it."""
    well = app.instances.look(old).well
    first = hoards or leaves_first(app.instances, target, old, well)
    if first:
        app.say(first)
    # What the host has for all services is its own affair; what is for this app was never tried.
    untried = changed_by_drop_ins(app, target, shared=False) if well else []
    if untried:
        raise StepFailed("rollback", f"generation {target} is not what was tried: {untried[0]}")
    if well and not first:
        _prove(app, target, declared)


def _reclaim(app: AppOnHost, number: int) -> list[str]:
    """Give generation `number` its own units again where somebody edited them, or took away the links to them
    (`systemctl disable`, or `unmask` after a mask): it is gone back to as it was tried. Raises Foreign where a unit is
    masked, or led elsewhere."""
    units = generations.units_of(app.layout, number)
    missing = [unit for unit in units if not os.path.lexists(app.layout.unit(unit))]
    did = [words for words in (save_aside(app.layout, unit, app.clock) for unit in units) if words]
    if generations.unlinked(app.layout, number):
        store.link_units(app.layout, number)
        # What somebody edited may have been read, and systemd does not say so of a file that is older.
        app.systemd.reload() if did else reload_for(app.systemd, *units)
    return did + [f"linked {unit} again, whose unit file was gone" for unit in missing]


def _prove(app: AppOnHost, number: int, declared: Plain) -> None:
    """Start generation `number` beside a live one that is well, and look at it: users are not to meet a broken one.

    Where the live one is broken there is nothing to spare them, and no time to lose.
    """
    try:
        app.candidates.start(number, declared["health"], back=True)
        seen = app.instances.look(number, declared, app.layout.trial_socket(number))
    finally:
        app.candidates.stop(number)
    if not seen.well:
        raise StepFailed("rollback", seen.told)
