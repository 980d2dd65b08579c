# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which processes of a former service are its server, and which are other programs that would be stopped with it.

Read only. Who has the listening socket need not serve: what a start script starts before it becomes the server (exec)
has inherited a socket of systemd's, as everything has that is started later. So the server is a Gunicorn, by its
command line, and what it has forked: a fork keeps the program and its stack where they are in memory, until it executes
another one. A program that waits for connections at the socket is a server as well.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from typing import Iterable, Mapping

from .._facts.unitgroups import unit_pids
from .._former import starters
from .._former.commandline import TITLE, own_words, parse
from .._os.listeners import Listener, alike, held
from .._os.paths import under
from .._os.procfs import parent, read_text
from .._os.systemd import UnitState

_LOGGERS = ("cat", "tee", "logger", "multilog", "svlogd", "cronolog", "rotatelogs", "systemd-cat")
"""Programs that a service's own lines go through, and that end with it."""
_PYTHONS_OWN = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
"""What an app that uses multiprocessing starts without being asked, and starts anew."""
_OF_ONE = ("runsv", "supervise", "s6-supervise")
_SHOWN = 3
AGAIN_SECONDS = 0.3
"""After so long it is looked again for further programs."""
_IMAGE_FIELDS = (23, 25)
"""Where startcode and startstack (26 and 28 of proc(5)) are in /proc/PID/stat behind the name; alike in forks."""
_POLLS = re.compile(r"(?m)^tfd:\s*(\d+)")


@dataclass(frozen=True)
class Programs:
    """Processes of a service. `servers`: those of its server, `masters` of them those that no other has started;
    `starters`: what started these, and runs on; `beside`: others."""

    servers: frozenset[int] = frozenset()
    masters: frozenset[int] = frozenset()
    starters: frozenset[int] = frozenset()
    beside: frozenset[int] = frozenset()


def further(root: str, unit: str, state: UnitState, holder: Listener) -> tuple[str, str]:
    """Which programs a service runs beside the server that has the address, or is to start, and which would be stopped
    with it, in a sentence with the fix; and what started the server and is none that only does that, in a clause; each
    empty where there is none. What a worker has started is no other program."""
    found = _read(root, state, holder)
    beside = set(found.beside)
    if beside:  # what is just starting, or ending, is no program that runs
        time.sleep(AGAIN_SECONDS)
        found = _read(root, state, holder)
        beside &= found.beside
    others = _named(sorted(beside), root)
    more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
    running = (
        f"{unit} runs {', '.join(others[:_SHOWN])}{more} beside it, which would be stopped with it: have that run "
        "by a service of its own first"
    )
    named, unread = starters.configured(root, unit, sorted(found.starters), min(found.masters, default=0))
    problem = "; ".join(filter(None, (running if others else "", named)))
    names = [one for one in _named(sorted(found.starters), root) if one.partition(" ")[0] not in starters.STARTERS]
    ends = f"{' and '.join(names)} of {unit}, which started the server, ends with it" if names else ""
    return problem, "" if problem else "; ".join(filter(None, (ends, unread)))


def foreign(root: str, unit: str, state: UnitState, holder: Listener) -> str:
    """That a service is the host's own, in a sentence with the fix; else empty."""
    return starters.of_the_host(root, unit, state, _read(root, state, holder).servers)


def by_gunicorn(root: str, state: UnitState, address: str) -> bool:
    """Whether a Gunicorn of a service serves an address."""
    pids = unit_pids(state.control_group, root) if state.control_group else []
    return any(is_gunicorn(root, pid) and any(alike(one.address, address) for one in held([pid], root)) for pid in pids)


def without_starters(pids: Iterable[int], root: str) -> list[int]:
    """Those of these processes that are no program which starts others and does nothing else: where one of these
    listens, it is told what to start (supervisorctl)."""
    return [pid for pid in pids if starters.name_of(root, pid) not in starters.STARTERS]


def controls(pids: Iterable[int], root: str) -> set[str]:
    """The paths at which Gunicorns among these processes take commands, as their command lines say, and "" where they
    need not say it."""
    commands = [parse(_words(root, pid)) for pid in pids]
    return {"", *(str(one.settings.get("control_socket") or "") for one in commands if one)}


def _words(root: str, pid: int) -> list[str]:
    return [word for word in (read_text(root, f"/proc/{pid}/cmdline") or "").split("\0") if word]


def _read(root: str, state: UnitState, holder: Listener) -> Programs:
    """None where nobody has the socket: then nothing tells them apart."""
    pids = unit_pids(state.control_group, root) if state.control_group else []
    parents = {pid: parent(pid, root) or 0 for pid in pids}
    holding = {pid: one.fd for pid in pids for one in held([pid], root) if one.address == holder.address}
    if not holding:
        return Programs()
    servers = _servers(holding, state.main_pid, root)
    workers = {pid for pid in servers if parents[pid] in servers}
    above = {one for pid in servers for one in _above(pid, parents)} - servers
    others = {*pids} - servers - above
    beside = {pid for pid in others if not _above(pid, parents) & workers}
    return Programs(*map(frozenset, (servers, servers - workers, above, beside)))


def _servers(holding: Mapping[int, int], main_pid: int, root: str) -> set[int]:
    """Those of the processes that hold the socket, each by a number, that serve it."""
    images = {pid: _image(root, pid) for pid in holding}
    sure = {pid for pid in holding if is_gunicorn(root, pid)}
    sure = sure or {main_pid if main_pid in holding else min(holding)}
    alike = {images[pid] for pid in sure}
    return {
        pid for pid, number in holding.items() if pid in sure or images[pid] in alike or _waits_at(root, pid, number)
    }


def is_gunicorn(root: str, pid: int) -> bool:
    """Whether a process is a Gunicorn's, by its command line or its title."""
    text = read_text(root, f"/proc/{pid}/cmdline") or ""
    return text.startswith(TITLE) or own_words(_words(root, pid)) is not None


def _image(root: str, pid: int) -> tuple[str, ...]:
    """What a process has in common with those that it has forked, and not with what has executed a program since."""
    fields = (read_text(root, f"/proc/{pid}/stat") or "").rpartition(")")[2].split()
    program = ""
    with contextlib.suppress(OSError):
        program = os.readlink(under(root, f"/proc/{pid}/exe"))
    return (program, *(fields[at] for at in _IMAGE_FIELDS if len(fields) > at))


def _waits_at(root: str, pid: int, number: int) -> bool:
    """Whether a process has the descriptor `number` among those that it waits for (epoll(7))."""
    folder = under(root, f"/proc/{pid}/fdinfo")
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    return any(str(number) in _POLLS.findall(read_text(root, f"/proc/{pid}/fdinfo/{name}") or "") for name in names)


def _named(pids: Iterable[int], root: str) -> list[str]:
    """Processes by the names of their programs; without those that a service's own lines go through, and those that
    Python starts by itself."""
    names = {pid: starters.name_of(root, pid) for pid in pids}
    loggers = _loggers(names, {pid: parent(pid, root) or 0 for pid in names})
    kept = {pid: name for pid, name in names.items() if pid not in loggers and not _pythons_own(root, pid)}
    # The supervisor of one service says its name, also while that does not run.
    of_one = {
        pid: f"{name} {_words(root, pid)[-1]}" for pid, name in kept.items() if name in _OF_ONE and _words(root, pid)
    }
    return [f"{of_one.get(pid, name)} ({pid})" for pid, name in kept.items()]


def _loggers(names: Mapping[int, str], parents: Mapping[int, int]) -> set[int]:
    """Those of these processes that lines go through, and the shells that have started nothing else."""
    found = {pid for pid, name in names.items() if name in _LOGGERS}
    children = {pid: {child for child, above in parents.items() if above == pid} for pid in names}
    shells = [pid for pid, name in names.items() if name in starters.SHELLS]
    return found.union(pid for pid in shells if children[pid] and children[pid] <= found)


def _pythons_own(root: str, pid: int) -> bool:
    words = read_text(root, f"/proc/{pid}/cmdline") or ""
    return any(name in words for name in _PYTHONS_OWN)


def _above(pid: int, parents: Mapping[int, int]) -> set[int]:
    """The processes that a process descends from, as far as they are known."""
    found: set[int] = set()
    while parents.get(pid) in parents and parents[pid] not in found:
        pid = parents[pid]
        found.add(pid)
    return found
