# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What serves an app's address before Headcount does, where that is declared (`former`), and how it can be taken over.

Read only: the probe tells it to the plan, and promote reads it anew before it takes anything over (takeover).
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Iterable, Mapping, Sequence, TypedDict

from .._declaration.socketmode import OPEN, mode_of
from .._facts.unitgroups import unit_pids
from .._os.files import read_text_file
from .._os.listeners import SYSTEM_MANAGER, Listener, held, hold, normal
from .._os.paths import Layout, under
from .._os.procfs import leads_to, read_text, to_int
from .._os.socketfile import reach
from .._os.systemd import Systemd, UnitState

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
    else a person is to know. `inherits`: whether its main process itself has that socket, so that systemd could hand it
    one."""

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
    found = _read(layout, systemd.properties(declared, "Id").get("Id") or declared, listen, systemd)
    if found.problem or not found.serves or not listen.startswith("unix:"):
        return found
    problem, note = _reached(layout, found.unit, app)
    return replace(found, problem=problem, notes=(note,) if note else ())


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


def _read(layout: Layout, unit: str, listen: str, systemd: Systemd) -> Former:
    state = systemd.state(unit)
    told = systemd.properties(unit, "TriggeredBy")
    sockets = tuple(sorted(name for name in told.get("TriggeredBy", "").split() if name.endswith(".socket")))
    up = tuple(name for name, one in systemd.states(*sockets).items() if one.running)
    if state.gone and not up:
        return Former(unit, sockets=sockets)
    entangled = _entangled(layout, unit, sockets, systemd)
    if entangled:
        return Former(unit, STOPPED, sockets, problem=entangled)
    if layout.public_socket_unit in sockets:
        found = _of_its_name(layout, unit, listen, sockets, systemd)
    else:
        holders = _holders(layout, state.control_group, up, systemd)
        found = _by_address(layout, Former(unit, BESIDE, sockets), listen, holders)
        mine = {one.inode for one in held([state.main_pid], layout.root)}
        found = replace(found, inherits=found.holder is not None and found.holder.inode in mine)
    if found.problem or not found.serves or found.holder is None:
        return found
    return replace(found, problem=_further(layout, unit, state, found.holder))


_LOGGERS = ("cat", "tee", "logger", "multilog", "svlogd", "cronolog", "rotatelogs", "systemd-cat")
"""Programs that a service's own lines go through, and that end with it."""


_SHELLS = ("sh", "bash", "dash")
_PYTHONS_OWN = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
"""What an app that uses multiprocessing starts without being asked, and starts anew."""


def _further(layout: Layout, unit: str, state: UnitState, holder: Listener) -> str:
    """Which programs a service runs beside the server that has the address, which would be stopped with it, in a
    sentence; empty where there are none. What started the server, and what its workers started, is no other program."""
    found = _beside(layout.root, state, holder)
    if found:  # what is just starting, or ending, is no program that runs
        time.sleep(AGAIN_SECONDS)
        found &= _beside(layout.root, state, holder)
    others = _named(sorted(found), layout.root)
    if not others:
        return ""
    more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
    return (
        f"{unit} runs {', '.join(others[:_SHOWN])}{more} beside it, which would be stopped with it: have that run by a "
        "service of its own first"
    )


def _beside(root: str, state: UnitState, holder: Listener) -> set[int]:
    """The processes of a service that are neither its server nor what started that, nor what its workers started.

    A program that a shell started before it became the server (exec) is a child of the master, as the workers are; but
    these have the socket. None where nobody has it: then nothing tells them apart.
    """
    pids = unit_pids(state.control_group, root) if state.control_group else []
    parents = {pid: _parent(root, pid) for pid in pids}
    servers = {pid for pid in pids if any(one.address == holder.address for one in held([pid], root))}
    if not servers:
        return set()
    workers = {pid for pid in servers if parents[pid] in servers}
    known = {state.main_pid, *servers, *(above for pid in servers for above in _above(pid, parents))}
    return {pid for pid in {*pids} - known if not _above(pid, parents) & workers}


def _named(pids: Iterable[int], root: str) -> list[str]:
    """Processes by the names of their programs; without those that a service's own lines go through, and those that
    Python starts by itself."""
    names = {pid: read_text(root, f"/proc/{pid}/comm") or "" for pid in pids}
    loggers = _loggers(names, {pid: _parent(root, pid) for pid in names})
    return [f"{name} ({pid})" for pid, name in names.items() if pid not in loggers and not _pythons_own(root, pid)]


def _loggers(names: Mapping[int, str], parents: Mapping[int, int]) -> set[int]:
    """Those of these processes that lines go through, and the shells that have started nothing else."""
    found = {pid for pid, name in names.items() if name in _LOGGERS}
    children = {pid: {child for child, parent in parents.items() if parent == pid} for pid in names}
    shells = [pid for pid, name in names.items() if name in _SHELLS]
    return found.union(pid for pid in shells if children[pid] and children[pid] <= found)


def _pythons_own(root: str, pid: int) -> bool:
    words = read_text(root, f"/proc/{pid}/cmdline") or ""
    return any(name in words for name in _PYTHONS_OWN)


def _parent(root: str, pid: int) -> int:
    fields = (read_text(root, f"/proc/{pid}/stat") or "").rpartition(")")[2].split()
    return to_int(fields[1]) or 0 if len(fields) > 1 else 0


def _above(pid: int, parents: Mapping[int, int]) -> set[int]:
    """The processes that a process descends from, as far as they are known."""
    found: set[int] = set()
    while parents.get(pid) in parents and parents[pid] not in found:
        pid = parents[pid]
        found.add(pid)
    return found


_SHOWN = 3
AGAIN_SECONDS = 0.3
"""After so long it is looked again for further programs."""


_LEAD_TO_IT = ("RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "WantedBy", "UpheldBy")


def _entangled(layout: Layout, unit: str, sockets: Sequence[str], systemd: Systemd) -> str:
    """Why taking over from `unit` would reach further than it, in a sentence with the fix; empty where it does not.

    What requires a service is stopped with it, what wants it starts it again; `systemctl disable` also disables what
    its Also= names, and removes a unit file that is a link.
    """
    told = systemd.properties(unit, *_LEAD_TO_IT, "TriggeredBy", "FragmentPath", "OnSuccess")
    names = {name for key in (*_LEAD_TO_IT, "TriggeredBy") for name in told.get(key, "").split()}
    others = sorted(name for name in names - {unit, *sockets} if not name.endswith(".target"))
    if others:
        return (
            f"{', '.join(others)} on this host requires, wants or starts {unit}, and would be stopped with it or start "
            f"it again; take that out of there first (`systemctl edit {others[0]}`)"
        )
    after = told.get("OnSuccess", "")
    if after:
        return (
            f"{unit} starts {after} when it ends (OnSuccess=), and systemd cannot be told not to; take that out of "
            f"there first (`systemctl edit --full {unit}`)"
        )
    return _not_alone(layout, unit, sockets, told.get("FragmentPath", ""))


def _not_alone(layout: Layout, unit: str, sockets: Sequence[str], path: str) -> str:
    """Why `systemctl disable` of a unit, whose file is at `path`, would do more, as _entangled() tells it."""
    place = os.path.join(layout.root, path.lstrip("/")) if path else ""
    if place and os.path.realpath(place).startswith(f"{os.path.dirname(layout.home)}/"):
        return f"{unit} is Headcount's own; remove that app first (playbooks/remove.yml)"
    if place and os.path.islink(place):
        return f"{path} is a link, which `systemctl disable` would remove; copy the file there first"
    named = {name for line in _lines(place) if line.startswith("Also=") for name in line[5:].split()}
    also = sorted(named - {unit, *sockets})
    if also:
        return f"{path} names {', '.join(also)} in Also=, which would be disabled with it; take that line out first"
    return ""


def _lines(path: str) -> list[str]:
    return [line.strip() for line in (read_text_file(path) or "").splitlines()] if path else []


def _holders(layout: Layout, group: str, sockets: Iterable[str], systemd: Systemd) -> list[Listener]:
    """The sockets that its processes listen on, and those that systemd holds for its socket units."""
    own = held(unit_pids(group, layout.root) if group else [], layout.root)
    wanted = {address for unit in sockets for address in _addresses(unit, systemd)}
    if not wanted:
        return own
    by_systemd = [one for one in held([SYSTEM_MANAGER], layout.root) if one.address in wanted]
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
    same = [one for one in holders if one.address == wanted]
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
    SHARED: "its socket unit becomes the app's own, open as it is: no request is lost",
    JOINED: "a second socket listens beside its own, and gets the new connections once the app is verified: no request "
    "is lost",
    RENAMED: "a second socket is renamed over its own once the app is verified: no request is lost",
}


def spared(layout: Layout, app: Mapping[str, object], systemd: Systemd) -> frozenset[str]:
    """Unit names that the app needs and that its former service has: they are taken over, and in nobody's way.
    `app`: with `former` where it is declared, and `listen`."""
    unit = app.get("former")
    if not unit:
        return frozenset()
    found = read(layout, app, systemd)
    return frozenset({layout.public_socket_unit} if found.way == SHARED else ())


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
        words = f"takes {listen} over from {unit}: {_WORDS[former.way]}"
    words = "; ".join([words, *former.notes])
    return {"unit": unit, "way": former.way, "words": words, "problem": former.problem}
