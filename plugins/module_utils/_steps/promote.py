# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The step promote: users come to the generation that was tried, and what is kept for nothing goes."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from datetime import datetime

from .._declaration.app import Plain
from .._generation import data, generations, ledger, store, truth, volatile
from .._generation import former as formers
from .._generation.clashes import Host, drop_in_problems
from .._generation.failures import StepFailed, Untouched, sentence
from .._generation.meanwhile import Meanwhile, meanwhile_words
from .._generation.reloads import fail_if_no_room, try_reload
from .._generation.switch import same_address, switch, told
from .._generation.unmet import not_shared
from .._generation.verify import Seen
from .._generation.writable import unwritable
from .._os.systemd import SystemdError
from .._plan.types import plan_changes
from . import guarding
from .app import AppOnHost


def promote(app: AppOnHost, number: int, verdict: Plain | None = None) -> dict[str, object]:
    """Give the public socket to generation `number`, which must be finished, and verify it there.

    Returns {from, to, verified, pruned, told, guarded}. StepFailed when it does not hold: the generation before serves.
    """
    with app.step("promote", number):
        record = app.record(number)
        old = generations.live(app.layout)
        _fail_if_lost(app, old)
        wrong = generations.problems(app.layout, number) + changed_by_drop_ins(app, number)
        if wrong:
            raise StepFailed("promote", f"generation {number} is not what was tried: {wrong[0]}")
        unwritten = unwritable(app.layout)
        if unwritten:
            raise StepFailed("promote", unwritten[0])
        fail_if_no_room(app.systemd, "promote")
        _fail_if_users_lose(app, old, record.app)
        if old is not None:
            _fail_if_closed(app, record.created)
        former = _former(app, old, record.app)
        before, was = app.known(old), guarding.before(app, old)
        seen = switch_counted(app, old, number, record.app, former=former)
        # It is live and verified: what goes wrong from here on is told, and is made up for by the next heal.
        pruned: list[int] = []
        untold: list[str] = []
        guarded = False
        try:
            app.log(
                "promoted",
                **{"from": old, "to": number},
                release=record.release,
                source_id=record.source_id,
                digest=record.digest,
                plan_changes=plan_changes(before.plan if before is not None else None, record.plan),
                verdict=(verdict or {}).get("outcome"),
                evidence=(verdict or {}).get("cause"),
                verified=seen,
                told=told(old, seen) or None,
            )
            store.set_outcome(app.layout, number, "good")
            app.write_local_fact()
            pruned = prune(app, old)
            unguarded = guarding.begin(app, number, old, record.app, was)
            untold += filter(None, [unguarded])
            guarded = guarding.wanted(record.app, old) and not unguarded
        except (OSError, SystemdError) as error:
            untold.append(f"generation {number} is live, but not all of it could be written down: {sentence(error)}")
        with contextlib.suppress(OSError):
            app.lock.release(app.run)
    words = [*told(old, seen), *untold]
    return {"from": old, "to": number, "verified": seen, "pruned": pruned, "told": words, "guarded": guarded}


def _fail_if_users_lose(app: AppOnHost, old: int | None, declared: Plain) -> None:
    """StepFailed where the live generation keeps a database that would be gone with it."""
    found = app.keeps_lost(old, False, data.declared(declared).scratch) if old is not None else []
    if found:
        pid = f"$(systemctl show --value --property MainPID {app.layout.service_unit(int(old or 0))})"
        raise StepFailed(
            "promote",
            f"users would lose what they gave to generation {old}, which is live: {volatile.words(found)}. To bring it "
            f"along, stop the app's writing and `cp /proc/{pid}/root{found[0]} {app.layout.data}/`",
        )


def _fail_if_closed(app: AppOnHost, staged: str | None) -> None:
    """StepFailed where somebody stopped the public socket since the generation was `staged`: users are kept out for a
    reason that this run knows nothing of. One that was closed before was opened by the stage, which said so."""
    unit, name = app.layout.public_socket_unit, "InactiveEnterTimestampMonotonic"
    found = app.systemd.properties(unit, "ActiveState", name)
    stopped = found.get(name, "")
    if staged is None or found.get("ActiveState") != "inactive" or not stopped.isdigit():
        return
    ago = time.monotonic() - int(stopped) / 1e6
    if int(stopped) and datetime.fromisoformat(staged.replace("Z", "+00:00")).timestamp() < time.time() - ago:
        raise StepFailed(
            "promote",
            f"{unit} was stopped {ago:.0f} s ago, while this run was under way: whoever did keeps users out, so that "
            f"it is not opened; start it (`systemctl start {unit}`), or run again, which opens it and says so before",
        )


def changed_by_drop_ins(app: AppOnHost, number: int, shared: bool = True) -> list[str]:
    """How drop-ins change what starts as generation `number`: users are to meet what was tried.

    `shared`: also by those that the host has for all services.
    """
    record = generations.record(app.layout, number) if shared else {}
    return drop_in_problems(app.layout, number, record, Host.read(app.root, app.systemd.runner).files)


def _fail_if_lost(app: AppOnHost, old: int | None) -> None:
    """A first deployment that fails is taken down: StepFailed where this would be one by a lost link or folder only."""
    if old is not None:
        return
    running = app.instances.running()
    found = truth.live(app.layout, running)
    if found is not None:
        raise StepFailed(
            "promote",
            f"generation {found.number} is live ({found.why}), but `live` leads {generations.astray(app.layout)} by "
            "now: roll out again, which begins by healing that",
        )
    if running or app.instances.own(app.layout.public_socket_unit):
        lost = truth.lost(app.layout)
        if lost:
            raise StepFailed("promote", lost)


def _former(app: AppOnHost, old: int | None, declared: Plain) -> formers.Former | None:
    """The service that has the app's address before its first generation; None where none is declared."""
    unit = declared.get("former")
    if old is not None or not unit:
        return None
    former = formers.read(app.layout, declared, app.systemd)
    if former.problem:
        raise Untouched("promote", f"former: {former.problem}")
    apart, note = not_shared(app.layout, declared, app.systemd)  # what came since the generation was staged
    if apart:
        raise Untouched("promote", "; ".join(apart.values()))
    if note:
        former = replace(former, notes=(*former.notes, note))
    return former


def switch_counted(
    app: AppOnHost,
    old: int | None,
    new: int,
    declared: Plain,
    lenient: bool | str = False,
    former: formers.Former | None = None,
) -> Seen:
    """switch(), with what users got meanwhile: counted in its result, and in the cause when it failed."""
    record = app.known(old)
    before = (record.app or None) if record is not None else None
    shared = same_address(app.instances, old, new) if old is not None else former is not None and former.serves
    losing = app.losing(old, declared) if old is not None else ""
    with Meanwhile(declared["listen"] if shared else None, declared) as users:
        try:
            seconds = float(declared["verify_seconds"])
            seen = switch(app.instances, old, new, declared, seconds, before, lenient, former)
        except StepFailed as failure:
            words = meanwhile_words(users.told())
            failure.cause += f"; {words}" if words else ""
            raise
    got = users.told()
    if got:
        seen = {**seen, "users": got}
    return {**seen, "losing": losing} if losing else seen


def prune(app: AppOnHost, predecessor: int | None) -> list[int]:
    """Remove generations and releases that are kept for nothing."""
    live = generations.live(app.layout)
    keep = int(app.record(live).app["retain"]["good"]) if live is not None else 1
    known = [generations.describe(app.layout, number) for number in generations.numbers(app.layout)]
    left = ledger.deserted(ledger.read(app.layout.ledger))
    gone = store.to_prune(known, live, predecessor, keep, left)
    for number in gone:
        app.remove_generation(number)
    app.prune_releases()
    if gone:
        try_reload(app.systemd)
        app.log("pruned", generations=gone)
    return gone
