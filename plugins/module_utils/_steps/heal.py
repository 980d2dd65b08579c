# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The step heal: one whole generation serves, whatever a killed run left.

Every rollout and every rollback begins with it.
"""

from __future__ import annotations

from .._generation import access, builtfolders, dataaccounts, generations, ledger, store, takeover, truth
from .._generation.answers import HEALTH
from .._generation.aside import save_aside
from .._generation.failures import StepFailed, Untouched
from .._generation.processes import Processes
from .._generation.reloads import try_reload
from .._generation.switch import restore, take_down
from .._os.systemd import SystemdError
from .._os.users import UserError, ensure_user
from . import guarding
from .app import AppOnHost


def heal(app: AppOnHost, start: bool = True) -> list[str]:
    """Heal what a killed run left: one whole generation serves afterwards. Returns what was done.

    `start`: start the live generation where it does not run; not before a rollback, which is to wait for nothing.
    """
    did: list[str] = []
    candidates = app.candidates.running()
    app.candidates.put_away(*candidates)
    did += [f"stopped the candidate {unit} that a broken run left" for unit in candidates]
    app.candidates.forget()
    did += takeover.resume(app.instances, lambda: take_down(app.instances))
    did += _heal_live(app, start)
    did += guarding.conclude(app)
    if generations.live(app.layout) is not None:
        did += app.close()
    for number in generations.numbers(app.layout):
        if not generations.finished(app.layout, number) and number != generations.live(app.layout):
            app.remove_generation(number)
            did.append(f"removed generation {number}, which was never finished")
    if did:
        unread = try_reload(app.systemd)
        did += [unread] if unread else []
        app.log("healed", did=did, generation=generations.live(app.layout))
    return did


def _heal_live(app: AppOnHost, start: bool) -> list[str]:
    """One generation is live, whole and alone. Returns what was done."""
    running = app.instances.running()
    found = truth.live(app.layout, running)
    if found is None:
        return _heal_without_live(app, bool(running))
    did = _lay_out(app, found)
    processes = Processes(app.instances)
    did += [f"stopped {unit}, which is not of the live generation" for unit in processes.stop_others(found.number)]
    if start:
        did += _serve(app, found.number)
        did += [f"started {unit}" for unit in processes.start(found.number)]
    if app.systemd.state(app.layout.service_unit(found.number)).running:
        # Where the live one does not come up, whatever else serves users goes on doing so.
        # Asked anew: what had to open the public socket again may have stopped them.
        for other in sorted(set(app.instances.running()) - {found.number}):
            app.instances.leave(other)
            did.append(f"stopped generation {other}, which is not live")
    return did + _complete_promote(app, found.number)


def _heal_without_live(app: AppOnHost, running: bool) -> list[str]:
    """Take down what a first deployment left that never became live. What was live, and is lost, raises Untouched."""
    up = running or app.instances.own(app.layout.public_socket_unit)
    lost = truth.lost(app.layout) if up else ""
    if lost:
        raise Untouched("heal", lost)
    if up or app.instances.public_loaded():
        take_down(app.instances)
        return ["took down a first deployment that never became live"]
    return []


def _lay_out(app: AppOnHost, found: truth.Live) -> list[str]:
    """Everything of the live generation is on disk where it belongs: account, public socket, units, the link `live`."""
    number = found.number
    did = [*make_account(app, number), *make_built(app, number)]
    saved = save_aside(app.layout, app.layout.public_socket_unit, app.clock)
    did += [saved] if saved else []
    linked = store.link_public(app.layout)
    did += store.relink_units(app.layout, number)
    if found.why:
        led = generations.astray(app.layout)
        store.activate(app.layout, number)
        did.append(f"made generation {number} live again ({found.why}): `live` led {led}")
    if linked:
        did.append("linked the public socket to the live generation")
    if did:
        unread = try_reload(app.systemd, app.layout.public_socket_unit, *generations.units_of(app.layout, number))
        did += [unread] if unread else []
    return did


def _serve(app: AppOnHost, number: int) -> list[str]:
    """The live generation runs and users reach it; it is started where that is not so."""
    record, did = app.known(number), []
    listen = str(record.app.get("listen") or "") if record is not None else ""
    opened = app.instances.public_open(listen)
    runs = app.systemd.state(app.layout.service_unit(number)).running
    if opened and runs:
        return []
    if runs:
        did.append(f"opened {app.layout.public_socket_unit} again, which was closed: users met a short gap")
    return [*did, _start_live(app, number)]


def make_account(app: AppOnHost, number: int) -> list[str]:
    """Make the account that generation `number` runs as where it is gone from the host. Returns what was done."""
    gone = access.account_gone(app.layout, number)
    if not gone:
        return []
    try:
        ensure_user(gone, app.systemd.runner)
    except UserError as error:
        return [str(error)]
    return [f"made the account {gone} again, which was gone"]


def make_built(app: AppOnHost, number: int) -> list[str]:
    """Make the folders that generation `number` has for itself where they are gone, so that it can start. Returns what
    was done."""
    record, service = app.known(number), app.layout.service_unit(number)
    try:
        made = builtfolders.make(app.layout, number, record.app) if record is not None else []
        seen = f"; what runs of it sees that once it is started again (`systemctl restart {service}`)"
        return [words + (seen if app.systemd.state(service).running else "") for words in made]
    except OSError as error:
        return [f"the folders of data.built of generation {number} could not be made: {error}"]


def _start_live(app: AppOnHost, number: int) -> str:
    """Start the live generation and wait for it. One that does not come up must not hinder the next deployment."""
    given = dataaccounts.given_away(app.layout, number)
    if given:
        return (
            f"did not start the live generation {number}: {app.layout.data} belongs to {given} by now, and systemd "
            "would give it back to the account that this one runs as"
        )
    record = app.known(number)
    health = record.app.get("health") if record is not None else None
    begin = app.clock()
    try:
        restore(app.instances, number, None)
        if health:
            service = app.layout.service_unit(number)
            app.instances.wait_ready(service, app.layout.private_socket(number), health, begin)
    except (StepFailed, SystemdError) as error:
        return f"tried to start the live generation {number}, which does not come up: {error}"
    return f"started the live generation {number}"


def _complete_promote(app: AppOnHost, number: int) -> list[str]:
    """Write down what a run could not that ended (killed, disk full) after it had made `number` live."""
    status = generations.describe(app.layout, number).status
    before = ledger.last_live(ledger.read(app.layout.ledger))
    if (status == "good" and before == number) or app.known(number) is None:
        return []
    if app.instances.look(number).rank >= HEALTH:
        return []
    if before != number:
        app.log(
            "rolled_back" if status == "good" else "promoted",
            **{"from": before, "to": number},
            release=app.record(number).release,
            completed="the run that made it live ended before it could write that down",
        )
    store.set_outcome(app.layout, number, "good")
    app.write_local_fact()
    return [f"wrote down that generation {number} was made live"]
