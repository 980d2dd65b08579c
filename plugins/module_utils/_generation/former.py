# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What serves an app's address before Headcount does, where that is declared (`former`), and how it can be taken over.

Read only: the probe tells it to the plan, and promote reads it anew before it takes anything over (takeover).
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Iterable, Mapping, TypedDict

from .._declaration.socketmode import OPEN, mode_of
from .._facts.unitgroups import unit_pids
from .._former.masters import declared
from .._former.slots import spoken, undecided
from .._os.listeners import SYSTEM_MANAGER, Listener, alike, for_users, held, hold, listening, normal
from .._os.paths import Layout, under
from .._os.socketfile import reach
from .._os.sockets import leads_to
from .._os.systemd import Systemd, UnitState
from .._os.taken import who_has
from . import formerboot, formerplaces, formerprograms, formerunits, phases
from .volatile import scratch_of

if TYPE_CHECKING:
    from .._former.slots import FormerSlots

ABSENT, BESIDE, SHARED, JOINED, RENAMED, STOPPED = "absent", "beside", "shared", "joined", "renamed", "stopped"
"""How an address is taken over: there is nothing to take over; what runs does not listen there, and stays; its socket
unit becomes the app's own, with the open socket in it; a second socket on the same port; a second unix socket that is
renamed over the first; or what serves is stopped before, which users notice."""


class _Told(TypedDict):
    unit: str
    way: str
    words: str
    problem: str


class FormerTold(_Told, total=False):
    """The former service, as the probe tells it: its `unit`, the `way` (above) that its address is taken over, and
    that in `words`; `problem`: why it cannot be, else empty; `held`: what it can have in flight, where that is known.
    """

    held: FormerSlots


@dataclass(frozen=True)
class Former:
    """The former service on this host. `sockets`: the socket units that start it; `holder`: the socket at the app's
    address and who has it; `why`: why the way is no better one; `problem`: why it cannot be taken over; `notes`: what
    else a person is to know. `inherits`: whether its main process is a Gunicorn that has that socket, so that
    systemd could hand it one."""

    unit: str
    way: str = ABSENT
    sockets: tuple[str, ...] = ()
    holder: Listener | None = None
    why: str = ""
    problem: str = ""
    inherits: bool = False
    notes: tuple[str, ...] = ()

    @property
    def serves(self) -> bool:
        """Whether the app's address has to be taken over from it."""
        return self.way not in (ABSENT, BESIDE)


def read(layout: Layout, app: Mapping[str, object], systemd: Systemd) -> Former:
    """What the service `former` of `app` has of the app's address `listen`. `listen_group`, `listen_mode`: who reaches
    a unix socket then. `unit` is the service's own name, also where it was declared by another one (Alias=)."""
    declared, listen = str(app["former"]), str(app["listen"])
    found = _read(layout, systemd.properties(declared, "Id").get("Id") or declared, app, systemd)
    if found.problem or not found.serves or not listen.startswith("unix:"):
        return found
    problem, note = _reached(layout, found.unit, app)
    return replace(found, problem=problem, notes=(*found.notes, note) if note else found.notes)


def _reached(layout: Layout, unit: str, app: Mapping[str, object]) -> tuple[str, str]:
    """Whether more, or others, reach the app's unix socket than that of `unit`: (why that is refused, what is only
    told), a sentence each; empty where that is not so."""
    path = str(app["listen"])[len("unix:") :]
    before = reach(under(layout.root, path))
    if before is None:
        return "", ""
    mode, group = mode_of(app), app.get("listen_group")
    was = f"{path} of {unit} lets in {before.words} (mode {before.mode})"
    if mode == OPEN and not before.everybody:
        if app.get("listen_mode"):
            return "", f"{was}, and the app's everybody"
        names = [*before.groups, *before.users.values()]
        narrow = f"listen_group: {names[0]}" if names else "listen_mode: '0600'"
        return f"{was}, and the app's would let in everybody: declare `{narrow}`, or `listen_mode: '{OPEN}'`", ""
    if group and not (before.groups == (str(group),) or (before.everybody and mode == OPEN)):
        return "", f"{was}, and the app's {'everybody' if mode == OPEN else f'the group {group}'}"
    return "", f"{was}, and the app's root alone" if mode == "0600" and before.words != "root alone" else ""


def _read(layout: Layout, unit: str, app: Mapping[str, object], systemd: Systemd) -> Former:
    listen = str(app["listen"])
    state = systemd.state(unit)
    told = systemd.properties(unit, "TriggeredBy")
    sockets = tuple(sorted(name for name in told.get("TriggeredBy", "").split() if name.endswith(".socket")))
    up = tuple(name for name, one in systemd.states(*sockets).items() if one.running)
    if state.gone and not up:
        return Former(unit, sockets=sockets, problem=_sleeping(layout, [unit, *sockets], systemd))
    if layout.public_socket_unit in sockets:
        found = _of_its_name(layout, unit, listen, sockets, systemd)
        holders = []
    else:
        holders = _holders(layout.root, _pids(state, layout.root), up, systemd)
        found = _by_address(layout, Former(unit, BESIDE, sockets), listen, holders)
        mine = {one.inode for one in held([state.main_pid], layout.root)}
        found = replace(found, inherits=found.holder is not None and found.holder.inode in mine)
    found = replace(found, problem=found.problem or _shared(layout, found, listen, holders, systemd))
    return _of_all(layout, found, app, state, systemd) if found.serves else found


def _sleeping(layout: Layout, units: list[str], systemd: Systemd) -> str:
    """That a boot starts a service that does not run, in a sentence with the fix; empty where none does, and while a
    takeover has not ended, which the next run sees to."""
    started = [unit for unit in units if formerboot.links(layout, [unit])]
    if not started or phases.unfinished(layout):
        return ""
    return (
        f"{units[0]} does not run, but a boot starts {' and '.join(started)}, which would take the address from the "
        f"app: `systemctl disable {' '.join(started)}`, or start it, so that it is taken over"
    )


def _of_all(layout: Layout, former: Former, app: Mapping[str, object], state: UnitState, systemd: Systemd) -> Former:
    """`former`, which serves the address, with what taking that over would do beside: why it is not to be, else what a
    person is to know."""
    unit, listen, root = former.unit, str(app["listen"]), layout.root
    # Before all else: the fixes of other problems would make ready for the takeover of what the host needs.
    foreign = formerprograms.foreign(root, unit, state, former.holder) if former.holder else ""
    if foreign:
        return replace(former, problem=foreign)
    reached = formerunits.reach(layout, unit, former.sockets, systemd)
    problem = reached.problem or _by_boot(layout, former, systemd) or _unserved(former, listen, state, systemd, root)
    if problem or former.holder is None:
        return replace(former, problem=former.problem or problem)
    words, undecided = _spoken(unit, systemd, root)
    beside, started = formerprograms.further(root, unit, state, former.holder)
    pid = state.main_pid or next(iter(_pids(state, root)), 0)
    lost, told = formerplaces.lost(unit, state, pid, scratch_of(app), systemd, root)
    gunicorn = formerprograms.by_gunicorn(root, state, former.holder.address)
    other = "" if gunicorn or state.gone else _OTHER_SERVER.format(unit=unit)
    notes = (*former.notes, *reached.notes, *filter(None, (other, started, undecided, told)))
    former = replace(former, inherits=former.inherits and gunicorn, notes=notes)
    return replace(former, problem=former.problem or words or beside or lost)


def _by_boot(layout: Layout, former: Former, systemd: Systemd) -> str:
    """Why it cannot be had that no boot starts its units; empty where that can be had."""
    units = [former.unit, *former.sockets]
    return next(filter(None, (formerboot.problem(layout, one, systemd, units) for one in units)), "")


def _spoken(unit: str, systemd: Systemd, root: str) -> tuple[str, str]:
    """That its Gunicorns speak something else with their users than an app does: (why that is refused, what is only
    told); empty where that is not so."""
    try:
        found = [one for _, one in declared(unit, os.cpu_count() or 1, root, systemd)]
    except OSError:  # no /proc that can be read
        return "", ""
    problems = (spoken(unit, one.settings, one.conf.hooks) for one in found)
    return next(filter(None, problems), ""), next((undecided(unit, one.conf.unread) for one in found), "")


_OTHER_SERVER = (
    "the server of {unit} is no Gunicorn: what it is answering when it is stopped may be cut off, and its address is "
    "given back with a gap"
)


# -- what it listens on -----------------------------------------------------------------------------------------------


def _unserved(former: Former, listen: str, state: UnitState, systemd: Systemd, root: str) -> str:
    """What it serves at other addresses, where nobody would answer any more, in a sentence with the fix; empty where
    there is nothing."""
    others = _elsewhere(listen, former.sockets, _pids(state, root), systemd, root)
    wider = next((one for one in others if not one.endswith(")") and _serves(one, normal(listen))), "")
    if wider:
        return (
            f"{former.unit} listens on {wider}, and the app would on {listen} alone, so that nobody would answer the "
            f"rest of its users: declare `listen: {wider!r}`, or have it listen on {listen} alone first"
        )
    if not others:
        return ""
    port = listen.rpartition(":")[2]
    near = not listen.startswith("unix:") and any(one.endswith(f":{port}") for one in others)
    every = f"declare `listen: '[::]:{port}'`, which is every address of the host, or " if near else ""
    return (
        f"{former.unit} listens on {' and '.join(others)} too, where nobody would answer once it is stopped: {every}"
        "have another service answer there, and take that out of its units or its command line first"
    )


def _elsewhere(listen: str, sockets: Iterable[str], pids: list[int], systemd: Systemd, root: str) -> list[str]:
    """The addresses of these processes and socket units that `listen` does not answer; of other kinds than streams as
    systemctl prints them, with their kind in brackets."""
    held_there = _holders(root, formerprograms.without_starters(pids, root), sockets, systemd)
    found = sorted({one.address for one in held_there if not _serves(listen, one.address)})
    controls = formerprograms.controls(pids, root)
    found = [one for one in found if all(for_users(one, control) for control in controls)]
    lines = [line for unit in sockets for line in systemd.property_lines(unit, "Listen")]
    return [*found, *(line for line in lines if not line.endswith(" (Stream)"))]


def _shared(layout: Layout, former: Former, listen: str, holders: list[Listener], systemd: Systemd) -> str:
    """Who else listens at the app's address beside the service (SO_REUSEPORT), and would go on answering its users, in
    a sentence with the fix; empty where nobody does, or what does may be the app's own."""
    if listen.startswith("unix:") or former.holder is None or not former.holder.inode or phases.unfinished(layout):
        return ""
    if former.way != SHARED and not systemd.state(layout.public_socket_unit).gone:
        return ""
    wanted, held_there = normal(listen), [former.holder, *holders]
    own = {one.inode for one in held_there}
    others = [one for one in listening(layout.root) if one.inode not in own]
    others = [one for one in others if _serves(listen, one.address) or _serves(one.address, wanted)]
    return _others_words(former.unit, others, layout.root) if others else ""


def _others_words(unit: str, others: list[Listener], root: str) -> str:
    who = who_has({f"socket:[{one.inode}]" for one in others}, root)
    return (
        f"{', '.join(who[:3]) or 'something else'} listens on {others[0].address} beside {unit}, and would go "
        "on answering users there: end that first, or have it listen elsewhere"
    )


def _pids(state: UnitState, root: str) -> list[int]:
    """The processes of a service."""
    return unit_pids(state.control_group, root) if state.control_group else []


def _serves(listen: str, address: str) -> bool:
    """Whether who listens on `listen` answers all who come to `address`; [::] takes IPv4 too."""
    wanted = normal(listen)
    if wanted.startswith("unix:") or address.startswith("unix:") or wanted == address:
        return alike(wanted, address)
    host, _, port = wanted.rpartition(":")
    to, _, at = address.rpartition(":")
    return port == at and (host == "[::]" or (host == "0.0.0.0" and not to.startswith("[")))


def _holders(root: str, pids: Iterable[int], sockets: Iterable[str], systemd: Systemd) -> list[Listener]:
    """The sockets that its processes listen on, and those that systemd holds for its socket units."""
    own = held(pids, root)
    wanted = {address for unit in sockets for address in _addresses(unit, systemd)}
    if not wanted:
        return own
    by_systemd = [one for one in held([SYSTEM_MANAGER], root) if one.address in wanted]
    inodes = {one.inode for one in by_systemd}
    return [*by_systemd, *(one for one in own if one.inode not in inodes)]


def _addresses(unit: str, systemd: Systemd) -> list[str]:
    """What a socket unit listens on, as Listener has it; Listen= of systemctl has an address and its kind a line."""
    found = []
    for line in systemd.property_lines(unit, "Listen"):
        text, _, kind = line.rpartition(" ")
        if kind != "(Stream)":
            continue
        with contextlib.suppress(ValueError):
            found.append(f"unix:{text}" if text.startswith("/") else normal(text))
    return found


def _of_its_name(layout: Layout, unit: str, listen: str, sockets: tuple[str, ...], systemd: Systemd) -> Former:
    """Its socket unit has the name that the app's own is to have: then that is shared, or nothing is."""
    name = layout.public_socket_unit
    if systemd.state(name).gone:
        problem = f"{name} of {unit} is not active, but {unit} is: start {name}, or stop both"
        return Former(unit, STOPPED, sockets, problem=problem)
    addresses = _addresses(name, systemd)
    if addresses != [normal(listen)]:
        there = " and ".join(addresses) or "nothing that is a stream"
        problem = f"{name} of {unit} listens on {there}: declare that as `listen`, or give the app another `name`"
        return Former(unit, STOPPED, sockets, problem=problem)
    if len(sockets) > 1:
        problem = f"{unit} has further sockets ({', '.join(one for one in sockets if one != name)}): take them away"
        return Former(unit, STOPPED, sockets, problem=problem)
    holder = next((one for one in held([SYSTEM_MANAGER], layout.root) if one.address == normal(listen)), None)
    return Former(unit, SHARED, sockets, holder or Listener(normal(listen), 0))


def _by_address(layout: Layout, former: Former, listen: str, holders: list[Listener]) -> Former:
    """The way for a former service whose units have other names than the app's."""
    wanted, unit, sockets = normal(listen), former.unit, former.sockets
    same = [one for one in holders if alike(one.address, wanted)]
    if wanted.startswith("unix:"):
        same = [one for one in same if layout.root != "/" or leads_to(wanted[len("unix:") :], [one.inode])]
        return Former(unit, RENAMED, sockets, same[0]) if same else former
    port = wanted.rpartition(":")[2]
    near = [one for one in holders if not one.address.startswith("unix:") and one.address.rpartition(":")[2] == port]
    if not near:
        return former
    if len(near) > 1:
        return Former(unit, STOPPED, sockets, near[0], f"{len(near)} sockets listen on its port")
    if not same:
        return Former(unit, STOPPED, sockets, near[0], f"it listens on {near[0].address}")
    if not _can_hold(same[0]):
        return Former(unit, STOPPED, sockets, same[0], "this kernel does not let its socket be held (pidfd_getfd)")
    return Former(unit, JOINED, sockets, same[0])


def _can_hold(listener: Listener) -> bool:
    try:
        hold(listener).close()
    except (OSError, AttributeError):
        return False
    return True


_WORDS = {
    SHARED: "its socket unit becomes the app's own, open as it is",
    JOINED: "a second socket listens beside its own, and gets the new connections once the app is verified",
    RENAMED: "a second socket is renamed over its own once the app is verified",
}


def spared(layout: Layout, former: Former | None) -> frozenset[str]:
    """Unit names that the app needs and that its former service has: they are taken over, and in nobody's way."""
    return frozenset({layout.public_socket_unit} if former is not None and former.way == SHARED else ())


def told(former: Former, listen: str) -> FormerTold:
    """What the plan tells of the former service."""
    unit = former.unit
    if former.way == ABSENT:
        words = f"{unit} does not run: there is nothing to take over"
    elif former.way == BESIDE:
        words = f"{unit} does not listen on {listen}: it is left as it is"
    elif former.way == STOPPED:
        words = (
            f"takes {listen} over from {unit}, which is stopped before, as {former.why or 'there is no other way'}: "
            "users meet a gap, as long as its last requests and the start of the app take"
        )
    else:
        promise = "connection is refused" if "no Gunicorn" in str(former.notes) else "request is lost"
        words = f"takes {listen} over from {unit}: {_WORDS[former.way]}: no {promise}"
    words = "; ".join([words, *former.notes])
    return {"unit": unit, "way": former.way, "words": words, "problem": former.problem}
