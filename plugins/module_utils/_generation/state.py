# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What is on this host of each app: read only, one call, for the probe, for drift and for people."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Mapping, TypedDict, cast

from .._os.addresses import local_address
from .._os.files import as_mapping, read_mapping
from .._os.http import request
from .._os.paths import Layout
from .._os.secrecy import clean
from .._os.secretfiles import learn_from
from .._os.sockets import listens
from .._os.systemd import ABSENT, Systemd, UnitState
from .._os.taken import address_taken
from .._release.contents import verify
from . import access, generations, goingback, ledger, loadtests, phases, truth, volatile
from .answers import LOOK_SECONDS, Address, AppRecord, look
from .asked import AppAsked, nothing
from .clashes import Host, clashes, drop_in_problems, shared_drop_ins
from .ledger import Entry
from .lock import AppLock, boot_id, stale_reason
from .names import owned
from .prepared import Begun, Prepared
from .processnames import down_of, left_of
from .unmet import not_shared

HISTORY = 12
"""So many events of a ledger go into a report."""

if TYPE_CHECKING:
    from .._former.slots import FormerSlots
    from .former import FormerTold


class LiveState(TypedDict):
    """The live generation: what its record holds, and what its own trial measured."""

    generation: int
    release: str | None
    digest: str | None
    source_id: str | None
    created: str | None
    facts: dict[str, object] | None
    plan: dict[str, object] | None
    listen: str | None
    trial: dict[str, object] | None


class AppState(TypedDict):
    """What is on the host of an app. Lists hold a sentence for each thing.

    `open`: what other users of the host can read; `port_taken`, `trial_port_taken`: who listens where the app and its
    candidate are to; `rollback_hint`: how a person goes back, or opens what was stopped (`closed`); `measured`: what
    the weigh of the live one found; `prepared`: keys of the commands that have prepared it, `preparing`: by key, those
    of whose end nothing is known; `taken_back`: what its guard went back from; `left`: how people went back since the
    last promote, with the `digest` of what they left; `losing`: which files users would lose with the live one, in a
    sentence; `former`: what there is to take over of its former service, where one is declared and nothing is live;
    `retired`: units that the live one was taken over from, and that have left;
    `load_tests`: the newest, oldest first; `history`: the newest events of its ledger, oldest first.
    """

    live: LiveState | None
    intact: bool
    problems: list[str]
    healthy: bool
    health_detail: str
    leftovers: list[str]
    open: list[str]
    lease: dict[str, object] | None
    generations: list[dict[str, object]]
    measured: dict[str, object] | None
    port_taken: str | None
    trial_port_taken: str | None
    last_failure: Entry | None
    rollback_hint: str
    closed: bool
    clashes: list[str]
    drop_ins: list[str]
    prepared: list[str]
    preparing: dict[str, Begun]
    taken_back: list[Entry]
    former: FormerTold | None
    load_tests: list[dict[str, object]]
    history: list[Entry]
    left: list[Entry]
    losing: str
    retired: list[str]


def app_state(
    app: AppAsked, root: str = "/", systemd: Systemd | None = None, look_seconds: float = LOOK_SECONDS
) -> AppState:
    """State of one app. `listen` is looked at unless the app is live there, `trial_listen` (where its candidate will
    listen beside its private socket) unless a candidate runs, `user` where it is given. `look_seconds`: for how long
    the live one is asked again and again."""
    layout = Layout(app["name"], root)
    learn_from(layout.state)
    state: AppState = clean(_app_state(app, layout, systemd or Systemd(), look_seconds))
    return state


@dataclass(frozen=True)
class _Seen:
    """What an app's state is made from: what systemd says of all units with the app's names (`everything`) and of those
    that are its own (`units`), which generation is live, the host's unit files, and for how long that one
    is asked."""

    layout: Layout
    host: Host
    everything: dict[str, UnitState]
    units: dict[str, UnitState]
    live: truth.Live | None
    systemd: Systemd
    look_seconds: float

    @classmethod
    def read(cls, layout: Layout, systemd: Systemd, look_seconds: float) -> _Seen:
        everything = systemd.matching(*_units(layout))
        units = owned(layout, everything)
        live = truth.live(layout, layout.instances(_up(units))) if os.path.isdir(layout.home) else None
        return cls(layout, Host.read(layout.root, systemd.runner), everything, units, live, systemd, look_seconds)

    @property
    def up(self) -> list[str]:
        """Own units that run."""
        return _up(self.units)


def _app_state(app: AppAsked, layout: Layout, systemd: Systemd, look_seconds: float) -> AppState:
    seen = _Seen.read(layout, systemd, look_seconds)
    known = [generations.describe(layout, one) for one in generations.numbers(layout)]
    entries = ledger.read(layout.ledger)
    state = cast(AppState, nothing())
    state.update(
        {
            "leftovers": _leftovers(seen, known) if os.path.isdir(layout.home) else [],
            "lease": _lease(layout),
            "generations": [one.to_dict() for one in known],
            "trial_port_taken": _trial_port_taken(app, seen),
            "last_failure": _last_failure(layout),
            "drop_ins": sorted(shared_drop_ins(layout, seen.host.files)),
            "prepared": Prepared(layout).keys(),
            "preparing": Prepared(layout).begun(),
            "taken_back": goingback.taken_back(layout, seen.live.number if seen.live else None),
            "history": [ledger.brief(one) for one in entries[-HISTORY:]],
            "load_tests": [one.to_dict() for one in loadtests.read(layout)[-loadtests.SHOWN :]],
            "left": _left(layout, entries),
        }
    )
    spared = (_tell_former(state, app, seen) if seen.live is None else frozenset[str]()) | phases.shared(layout)
    state["clashes"] = clashes(layout, seen.everything, app, seen.host, spared)
    if seen.live is None:
        # A first deployment that was cut short holds its port itself; the next one takes that down first.
        state["health_detail"] = truth.lost(layout) or state["health_detail"]
        own = layout.public_socket_unit in seen.up or bool(layout.instances(seen.up))
        free = own or (state["former"] is not None and state["former"]["way"] not in ("absent", "beside"))
        state["port_taken"] = None if free else address_taken(app.get("listen"))
    else:
        _tell_live(state, app, seen, seen.live.number)
    return state


def _former_again(layout: Layout) -> list[str]:
    """That a boot would start the service too that the app was taken over from."""
    record = phases.left(layout)
    if not record:
        return []
    from . import formerboot

    return formerboot.again(layout, record)


def _tell_former(state: AppState, app: AppAsked, seen: _Seen) -> frozenset[str]:
    """Fill in what there is to take over; the names of units that are, and are in nobody's way."""
    unit, listen = app.get("former"), app.get("listen")
    if not listen and not state["generations"]:  # nothing says yet whether a socket of its name is a former service's
        return frozenset({seen.layout.public_socket_unit})
    if not unit or not listen:
        return frozenset()
    from . import former

    found = former.read(seen.layout, app, seen.systemd)
    _, note = not_shared(seen.layout, app, seen.systemd)
    told = former.told(replace(found, notes=(*found.notes, *filter(None, [note]))), listen)
    if found.serves and (held := _held_by(found.unit, seen)):
        told["held"] = held
    state["former"] = told
    return former.spared(seen.layout, found)


def _held_by(unit: str, seen: _Seen) -> FormerSlots | None:
    """How many requests a service can have in flight that serves an app today; None where that is not known, or where
    several Gunicorns are its."""
    from .._former.masters import declared
    from .._former.slots import slots_of

    try:
        found = declared(unit, os.cpu_count() or 1, seen.layout.root, seen.systemd)
    except OSError:  # no /proc that can be read
        return None
    return slots_of(unit, found[0][0], found[0][1].settings) if len(found) == 1 else None


def _trial_port_taken(app: AppAsked, seen: _Seen) -> str | None:
    """Who listens where the candidate is to; looked at while no candidate runs."""
    wanted = app.get("trial_listen")
    if wanted and all(seen.units[unit].gone for unit in seen.layout.candidates(seen.units)):
        return address_taken(wanted)
    return None


def _tell_live(state: AppState, app: AppAsked, seen: _Seen, number: int) -> None:
    """Fill in what there is to say of the live generation `number`."""
    layout = seen.layout
    record = generations.record(layout, number)
    declared = record.get("app") or {}
    private = private_problem(layout, number)
    problems = _problems(seen, number, record, private)
    healthy, detail = _health(seen, number, declared, private)
    if _moves(declared.get("listen"), app.get("listen")):
        state["port_taken"] = address_taken(app["listen"])
    state["live"] = {
        "generation": number,
        "release": record.get("release"),
        "digest": record.get("digest"),
        "source_id": record.get("source_id"),
        "created": record.get("created"),
        "facts": as_mapping(record.get("planning")).get("facts"),
        "plan": record.get("plan"),
        "listen": declared.get("listen"),
        "trial": _trial(layout, number),
    }
    state["intact"], state["problems"] = not problems, problems
    state["healthy"], state["health_detail"] = healthy, detail
    state["closed"] = _closed(seen, number)
    opens = f"`systemctl start {layout.public_socket_unit}` on the host opens it to users again"
    state["rollback_hint"] = "" if healthy else opens if state["closed"] else truth.rollback_hint(layout, number)
    state["open"] = access.problems(layout)
    state["clashes"] += _former_again(layout)
    state["retired"] = phases.retired(layout)
    state["measured"] = record.get("measured")
    scratch = volatile.scratch_of(app, declared)
    pid = seen.units.get(layout.service_unit(number), ABSENT).main_pid
    state["losing"] = volatile.losing_words(number, volatile.kept_files(pid, scratch, layout.root))


def _problems(seen: _Seen, number: int, record: Mapping[str, object], private: str) -> list[str]:
    """How the live generation is not what it was when it was tried. `private`: what private_problem() says of it."""
    layout = seen.layout
    problems = generations.problems(layout, number) + generations.public_problems(layout)
    problems += drop_in_problems(layout, number, record, seen.host.files)
    if seen.units.get(layout.service_unit(number), ABSENT).running:
        problems += [private] if private else []
    problems += verify(Path(layout.release(str(record.get("release")))))
    return problems + access.account_problems(layout, number)


def _closed(seen: _Seen, number: int) -> bool:
    """Whether somebody stopped the app: neither its public socket nor generation `number` runs, and neither failed."""
    layout = seen.layout
    units = (layout.public_socket_unit, layout.service_unit(number))
    inactive = all(seen.units.get(unit, ABSENT).active == "inactive" for unit in units)
    return inactive and all(os.path.lexists(layout.unit(unit)) for unit in units)


def _moves(before: str | None, after: str | None) -> bool:
    """Whether the app is to move to an address at which it is not itself in the way."""
    if not before or not after or before == after:
        return False
    unix = before.startswith("unix:") or after.startswith("unix:")
    return unix or before.rpartition(":")[2] != after.rpartition(":")[2]


def _trial(layout: Layout, number: int) -> dict[str, object] | None:
    """What the generation's own trial measured, as far as a report shows it; None where it had none."""
    evidence = read_mapping(os.path.join(layout.generation(number), generations.EVIDENCE))
    if not evidence:
        return None
    memory, candidate = as_mapping(evidence.get("memory")), as_mapping(evidence.get("candidate"))
    return {
        "verdict": evidence.get("verdict"),
        "memory": {key: memory.get(key) for key in ("peak_mib", "limit_mib", "source")},
        "candidate": {"histogram": candidate.get("histogram")},
    }


def _units(layout: Layout) -> list[str]:
    """What systemd is asked for: everything that may run of the app."""
    return [layout.public_socket_unit, layout.instance_glob, layout.candidate_glob]


def _up(units: dict[str, UnitState]) -> list[str]:
    return [unit for unit, state in units.items() if not state.gone]


def _health(seen: _Seen, number: int, app: AppRecord, private: str) -> tuple[bool, str]:
    """Whether the live generation serves its users, and what it answers: its health and the GET paths of its load.

    `app`: as its record has it; empty where that cannot be read. `private`: what private_problem() says of it.
    """
    layout, everything, units = seen.layout, seen.everything, seen.units
    for unit in (layout.public_socket_unit, layout.service_unit(number)):
        state = units.get(unit, ABSENT)
        if unit not in units and everything.get(unit, ABSENT).running:
            return False, f"{unit} runs, but from {everything[unit].fragment or 'no file'}, which is not Headcount's"
        if not state.running:
            return False, f"{unit} is {state.active or 'unknown'}"
    down = down_of(layout, number, units)
    if down:
        return False, "; ".join(down)
    if not app:
        return False, f"generation {number} has no record that can be read (generation.json)"
    if listens(1, app["listen"], layout.root) is False:
        return False, f"{layout.public_socket_unit} is active, but systemd does not listen on {app['listen']} any more"
    address: Address = layout.private_socket(number)
    if private and set(layout.instances(seen.up)) == {number}:
        address = local_address(app["listen"])  # nobody else answers there
    unit = layout.service_unit(number)

    def why(path: str, begin: float, end: float) -> str:
        from .._os.logged import Log

        return Log(lambda since: seen.systemd.said(unit, since))(path, begin, end)

    within = float(app["health"]["timeout_seconds"])
    answers = look(address, app, within, request, log=why, seconds=seen.look_seconds)
    return answers.well, answers.told()


def private_problem(layout: Layout, number: int) -> str:
    """Why generation `number`, which runs, cannot be asked by itself, in a sentence; empty where it can.

    systemd does not open its socket again while the service runs: that would cost a restart, for which nothing calls.
    """
    path = layout.private_socket(number)
    if listens(1, f"unix:{path}", layout.root) is not False:
        return ""
    return f"{path} is gone or is another's: generation {number} cannot be asked by itself; the next one is whole again"


def _leftovers(seen: _Seen, known: list[generations.Generation]) -> list[str]:
    """What a broken run left: candidates, instances that are not live, unfinished generations."""
    layout, live, up = seen.layout, seen.live, seen.up
    number = live.number if live else None
    found = [f"{unit} runs" for unit in layout.candidates(up)]
    found += [f"{unit} runs, but is not live" for one, unit in layout.instances(up).items() if one != number]
    found += left_of(layout, number, up)
    found += [f"generation {one.number} is unfinished" for one in known if one.status == "unfinished"]
    found += phases.unfinished(layout)
    if live is not None and live.why:
        found.append(f"`live` leads {generations.astray(layout)}; generation {number} is live ({live.why})")
    recorded = number is None or (
        ledger.last_live(ledger.read(layout.ledger)) == number
        and all(one.status == "good" for one in known if one.number == number)
    )
    if not recorded:
        found.append(f"generation {number} is live, but the run that made it live could not write that down")
    return found


def _lease(layout: Layout) -> dict[str, object] | None:
    lock = AppLock(layout)
    lease = lock.lease()
    if lease is None:
        return None
    return {**lease, "stale": stale_reason(lease, boot_id(layout.root), lock.clock(), lock.since_boot())}


def _left(layout: Layout, entries: list[Entry]) -> list[Entry]:
    """ledger.left(), each with the digest of all that the generation was made of, as long as it is on disk."""
    found = ledger.left(entries)
    records = [generations.record(layout, int(str(entry["from"]))) for entry in found]
    return [{**entry, "digest": record.get("digest")} for entry, record in zip(found, records)]


def _last_failure(layout: Layout) -> Entry | None:
    for entry in reversed(ledger.read(layout.ledger, last=50)):
        if entry.get("event") == "failed":
            return entry
        if entry.get("event") in ("promoted", "rolled_back"):
            return None
    return None
