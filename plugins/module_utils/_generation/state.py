# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What is on this host of each app: read only, one call, for the probe, for drift and for people."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .._os.files import as_mapping, read_mapping
from .._os.http import address_taken, local_address, request
from .._os.paths import Layout
from .._os.procfs import listens
from .._os.secrecy import clean, learn_from
from .._os.systemd import ABSENT, Systemd, UnitState
from .._release.contents import verify
from . import access, generations, ledger, truth
from .answers import Address, look
from .clashes import Host, clashes, drop_in_problems, shared_drop_ins
from .lock import AppLock, boot_id, stale_reason
from .names import owned


def app_state(app: dict[str, Any], root: str = "/", systemd: Systemd | None = None) -> dict[str, Any]:
    """State of one app. `app` needs `name`; `listen` is looked at unless the app is live there, `trial_listen` (where
    its candidate will listen beside its private socket) unless a candidate runs, `user` where it is given.

    Returns {live: {generation, release, digest, source_id, settings, ...} or None, intact, problems, healthy,
    health_detail, leftovers, open (what other users of the host can read), lease, generations, measured,
    port_taken, trial_port_taken, clashes, drop_ins, rollback_hint (in words)}.
    """
    layout = Layout(app["name"], root)
    learn_from(layout.state)
    state: dict[str, Any] = clean(_app_state(app, layout, systemd or Systemd()))
    return state


def _app_state(app: dict[str, Any], layout: Layout, systemd: Systemd) -> dict[str, Any]:
    root = layout.root
    home = os.path.isdir(layout.home)
    host = Host.read(root, systemd.runner)
    everything = systemd.matching(*_units(layout))
    units = owned(layout, everything)
    found = truth.live(layout, layout.instances(_up(units))) if home else None
    number = found.number if found else None
    known = [generations.describe(layout, one) for one in generations.numbers(layout)]
    state: dict[str, Any] = {
        "live": None,
        "intact": False,
        "problems": [],
        "healthy": False,
        "health_detail": "nothing is deployed",
        "leftovers": [],
        "open": [],
        "lease": _lease(layout),
        "generations": [one.to_dict() for one in known],
        "measured": None,
        "port_taken": None,
        "trial_port_taken": None,
        "last_failure": _last_failure(layout),
        "rollback_hint": "",
    }
    state["clashes"] = clashes(layout, everything, app, host)
    state["drop_ins"] = sorted(shared_drop_ins(layout, host.files))
    if home:
        state["leftovers"] = _leftovers(layout, units, found, known)
    candidate = app.get("trial_listen")
    if candidate and all(units[unit].gone for unit in layout.candidates(units)):
        state["trial_port_taken"] = address_taken(candidate)
    if number is None:
        # A first deployment that was cut short holds its port itself; the next one takes that down first.
        state["health_detail"] = truth.lost(layout) or state["health_detail"]
        own = layout.public_socket_unit in _up(units) or bool(layout.instances(_up(units)))
        state["port_taken"] = None if own else address_taken(app.get("listen"))
        return state
    record = generations.record(layout, number)
    problems = generations.problems(layout, number) + generations.public_problems(layout)
    problems += drop_in_problems(layout, number, record, host.files)
    if units.get(layout.service_unit(number), ABSENT).running:
        problems += [words for words in (private_problem(layout, number),) if words]
    problems += verify(Path(layout.release(str(record.get("release")))))
    problems += access.account_problems(layout, number)
    healthy, detail = _health(layout, everything, units, number, record)
    if _moves((record.get("app") or {}).get("listen"), app.get("listen")):
        state["port_taken"] = address_taken(app["listen"])
    state.update(
        live={
            "generation": number,
            "release": record.get("release"),
            "digest": record.get("digest"),
            "source_id": record.get("source_id"),
            "created": record.get("created"),
            "facts": as_mapping(record.get("planning")).get("facts"),
            "plan": record.get("plan"),
            "listen": (record.get("app") or {}).get("listen"),
            "trial": _trial(layout, number),
        },
        intact=not problems,
        problems=problems,
        healthy=healthy,
        health_detail=detail,
        rollback_hint="" if healthy else truth.rollback_hint(layout, number),
        open=access.problems(layout),
        measured=record.get("measured"),
    )
    return state


def _moves(before: str | None, after: str | None) -> bool:
    """Whether the app is to move to an address at which it is not itself in the way."""
    if not before or not after or before == after:
        return False
    unix = before.startswith("unix:") or after.startswith("unix:")
    return unix or before.rpartition(":")[2] != after.rpartition(":")[2]


def _trial(layout: Layout, number: int) -> dict[str, Any] | None:
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


def _health(
    layout: Layout, everything: dict[str, UnitState], units: dict[str, UnitState], number: int, record: dict[str, Any]
) -> tuple[bool, str]:
    """Whether the live generation serves its users, and what it answers: its health and the GET paths of its load."""
    for unit in (layout.public_socket_unit, layout.service_unit(number)):
        state = units.get(unit, ABSENT)
        if unit not in units and everything.get(unit, ABSENT).running:
            return False, f"{unit} runs, but from {everything[unit].fragment or 'no file'}, which is not Headcount's"
        if not state.running:
            return False, f"{unit} is {state.active or 'unknown'}"
    app = record.get("app")
    if not app:
        return False, f"generation {number} has no record that can be read (generation.json)"
    if listens(1, app["listen"], layout.root) is False:
        return False, f"{layout.public_socket_unit} is active, but systemd does not listen on {app['listen']} any more"
    address: Address = layout.private_socket(number)
    if private_problem(layout, number) and set(layout.instances(_up(units))) == {number}:
        address = local_address(app["listen"])  # nobody else answers there
    seen = look(address, app, float(app["health"]["timeout_seconds"]), request)
    return seen.well, seen.detail


def private_problem(layout: Layout, number: int) -> str:
    """Why generation `number`, which runs, cannot be asked by itself, in a sentence; empty where it can.

    systemd does not open its socket again while the service runs: that would cost a restart, for which nothing calls.
    """
    path = layout.private_socket(number)
    if listens(1, f"unix:{path}", layout.root) is not False:
        return ""
    return f"{path} is gone or is another's: generation {number} cannot be asked by itself; the next one is whole again"


def _leftovers(
    layout: Layout, units: dict[str, UnitState], live: truth.Live | None, known: list[generations.Generation]
) -> list[str]:
    """What a broken run left: candidates, instances that are not live, unfinished generations."""
    up, number = _up(units), live.number if live else None
    found = [f"{unit} runs" for unit in layout.candidates(up)]
    found += [f"{unit} runs, but is not live" for one, unit in layout.instances(up).items() if one != number]
    found += [f"generation {one.number} is unfinished" for one in known if one.status == "unfinished"]
    if live is not None and live.why:
        found.append(f"`live` leads {generations.astray(layout)}; generation {number} is live ({live.why})")
    recorded = number is None or (
        ledger.last_live(ledger.read(layout.ledger)) == number
        and all(one.status == "good" for one in known if one.number == number)
    )
    if not recorded:
        found.append(f"generation {number} is live, but the run that made it live could not write that down")
    return found


def _lease(layout: Layout) -> dict[str, Any] | None:
    lock = AppLock(layout)
    lease = lock.lease()
    if lease is None:
        return None
    return {**lease, "stale": stale_reason(lease, boot_id(layout.root), lock.clock(), lock.since_boot())}


def _last_failure(layout: Layout) -> dict[str, Any] | None:
    entry: dict[str, Any]
    for entry in reversed(ledger.read(layout.ledger, last=50)):
        if entry.get("event") == "failed":
            return entry
        if entry.get("event") in ("promoted", "rolled_back"):
            return None
    return None
