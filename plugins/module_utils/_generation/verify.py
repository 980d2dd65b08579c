# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Watching a generation while users are on it."""

from __future__ import annotations

from functools import partial
from typing import Callable, TypedDict

from .._declaration.app import Plain
from .._facts.unitgroups import unit_pids
from .._facts.workerends import WorkerEnd, deaths, last_serial, read_ends
from .._load.memory import count_restarts
from .._os.addresses import local_address
from .._os.lastwords import first_cause
from .._os.procfs import children
from .._os.systemd import UnitState
from .answers import Asker
from .failures import StepFailed
from .instances import LOOK_SECONDS, Instances
from .meanwhile import Users
from .reached import public_socket_refuses

BESIDE_ROUNDS = 60
BESIDE_SECONDS = 2.0
"""So often and so long the live one is asked before a failure on the socket of both is said to be the new one's."""


class Seen(TypedDict, total=False):
    """What was seen of a generation that users came to: how often it was asked, for how many seconds, and what was
    wrong with it.

    Of a switch too: seconds until it answered (`boot_seconds`); that the public socket was `opened` again; that systemd
    left its unit files `unread`; why the old one left before the new one was begun (`in_turn`); how the old one was
    broken, so that it left first (`before`); what is wrong with the new one, which was kept (`despite`); and what
    `users` got meanwhile. In sentences: which files went with the old one (`losing`); of a unix socket, who is
    `shut_out` of it.
    """

    checks: int
    seconds: float
    wrong: list[str]
    boot_seconds: float
    opened: str
    unread: str
    in_turn: str
    before: str
    despite: str
    users: Users
    shut_out: str
    former: list[str]
    losing: str


def verify(
    instances: Instances,
    number: int,
    app: Plain,
    seconds: float,
    public: bool = False,
    beside: Callable[[], bool] | None = None,
    lenient: bool = False,
) -> Seen:
    """Watch generation `number` with users on it for `seconds`; StepFailed on the first thing that is wrong.

    Asks its health and the GET paths of its load several times a second, and watches that its master process stays
    the same, that none of its workers dies, and that the kernel kills nothing of it. Everything is asked through
    its private socket, so that each answer is its own. `public`: the first path is asked on the public socket too;
    where another generation holds that as well, what fails there is this one's only when `beside()` tells that the
    other one answers everything. `lenient`: load paths that fail are returned (`wrong`) instead of refused.
    """
    service = instances.layout.service_unit(number)
    first = instances.systemd.state(service)
    begin = instances.clock()
    started = instances.monotonic()
    deadline = started + seconds
    log = instances.log_of(service)
    own = instances.asker(instances.layout.private_socket(number), app, log=log)
    users = instances.asker(local_address(app["listen"]), app, log=log) if public else None
    shut_out = ""
    if users is not None:
        users.paths = users.paths[:1]
        shut_out = public_socket_refuses(app)
    asked, workers, suspicious = 0, _workers(instances, first), False
    since, lost = last_serial(_ends(instances, number)), frozenset[tuple[int, int]]()
    while True:
        state = instances.systemd.state(service)
        if not state.running or state.main_pid != first.main_pid or state.restarts > first.restarts:
            raise StepFailed("verify", _dead(instances.why_dead(service, begin)))
        reason, _ = own.health()
        if reason is not None:
            raise StepFailed("verify", _with_why(f"stopped being healthy after it took traffic: {reason}", own.why))
        instances.fail_if_killed(state)
        now = _workers(instances, state)
        lost, workers = lost | (workers - now), now
        suspicious = _fail_if_workers_died(instances, number, begin, since, lost, suspicious)
        wrong = _ask_paths(own, users, app["listen"], beside)
        if wrong and not lenient:
            raise StepFailed("verify", _with_why(f"{wrong[0]} after it took traffic", partial(_why, own, users)))
        asked += 1
        if instances.monotonic() >= deadline and not suspicious:
            return _seen(asked, round(instances.monotonic() - started, 1), shut_out, wrong)
        instances.sleep(0.25)


def _dead(why: Callable[[], str]) -> Callable[[], str]:
    return lambda: why().replace("while starting", "after it took traffic")


def _with_why(words: str, why: Callable[[], str]) -> Callable[[], str]:
    """Words, and what the log says of it once somebody reads them."""
    return lambda: words + why()


def _seen(asked: int, seconds: float, shut_out: str, wrong: list[str]) -> Seen:
    """What was seen, without what there was nothing of."""
    seen: Seen = {"checks": asked, "seconds": seconds}
    if shut_out:
        seen["shut_out"] = shut_out
    return {**seen, "wrong": wrong} if wrong else seen


def _why(own: Asker, users: Asker | None) -> str:
    """What the log says of the load paths that fail, on its own socket or else on the public one."""
    return own.why() if own.wrong() or users is None else users.why()


def _ask_paths(own: Asker, users: Asker | None, listen: str, beside: Callable[[], bool] | None) -> list[str]:
    """One round of the load paths; what is wrong with them by all rounds so far."""
    own.round()
    wrong = own.wrong()
    if users is None or wrong:
        return wrong
    users.round()
    wrong = [f"{sentence}, asked on {listen}," for sentence in users.wrong()]
    if wrong and beside is not None and not beside():
        users.counts.clear()
        return []
    return wrong


def answers_all(instances: Instances, number: int, app: Plain) -> bool:
    """Whether generation `number` answers everything it is asked on its private socket, without one exception."""
    asker = instances.asker(instances.layout.private_socket(number), app, LOOK_SECONDS)
    begin = instances.monotonic()
    reason, _ = asker.health()
    for _ in range(BESIDE_ROUNDS if reason is None else 0):
        asker.round()
        if asker.failed or instances.monotonic() - begin >= BESIDE_SECONDS:
            break
    return reason is None and not asker.failed


def _workers(instances: Instances, state: UnitState) -> frozenset[tuple[int, int]]:
    """Worker processes of an instance, each with its start time: Gunicorn replaces one that dies at once."""
    pids = unit_pids(state.control_group, instances.layout.root) if state.control_group else []
    return children(state.main_pid, pids, instances.layout.root)


def _ends(instances: Instances, number: int) -> list[WorkerEnd] | None:
    return read_ends(instances.layout.instance_files(number, trial=False))


def _fail_if_workers_died(
    instances: Instances, number: int, begin: float, since: int, lost: frozenset[tuple[int, int]], seen_before: bool
) -> bool:
    """Whether workers ended since the end `since` that were not recycled; StepFailed when it is so twice in a row.

    Twice: what its master (or, of a generation that does not write that down, its log) says of a worker may come
    later than its end.
    """
    ends, service = _ends(instances, number), instances.layout.service_unit(number)
    how = ""
    if ends is not None:
        found = deaths(ends, since, {pid for pid, _ in lost})
        died, how = found.count, f" ({found.ways()})"
    elif lost:
        counts = count_restarts(instances.systemd.journal(service, begin))
        died = max(counts.died, len(lost) - counts.recycled)
    else:
        died = 0
    if died <= 0:
        return False
    if seen_before:
        who = "one of its workers" if died == 1 else f"{died} of its workers"
        said, end = f"{who} died after it took traffic{how}", instances.clock()

        def words() -> str:
            cause = first_cause(instances.systemd.journal(service, begin, until_epoch=end))
            return f"{said}: {cause}" if cause else said

        raise StepFailed("verify", words)
    return True
