# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The public socket goes from one generation to another, and back where that does not hold."""

from __future__ import annotations

import contextlib
import os
import re
from typing import Callable

from .._declaration.app import Plain
from .._os.addresses import local_address
from .._os.background import Background
from .._os.lastwords import first_cause
from .._os.lines import UNREAD
from .._os.ownership import Foreign
from .._os.systemd import SystemdError
from .._os.taken import address_taken
from . import dataaccounts, generations, store
from .answers import HEALTH, WELL, Answers
from .beginnable import first_words, leaves_first, no_room
from .candidates import Candidates
from .failures import StepFailed, Untouched
from .former import SHARED, Former
from .hoarding import forbid, graceful_seconds
from .instances import POLL_SECONDS, Instances
from .meanwhile import meanwhile_words
from .processes import AS_THE_SERVER, Processes
from .reloads import try_reload
from .takeover import Takeover, taken
from .units import STOP_SLACK_SECONDS
from .verify import Seen, answers_all, verify

END_SECONDS = 5.0
"""The kernel may count what was killed for a while."""

_NO_TASK = re.compile(r"Resource temporarily unavailable|can't start new thread")
"""What a program says that can begin no process (EAGAIN of clone(2)) or no thread."""


def same_address(instances: Instances, one: int, other: int) -> bool:
    """Whether two generations listen on the same public address; one whose unit is gone is taken to be no other."""
    addresses = [_address(instances, one), _address(instances, other)]
    return addresses[0] == addresses[1] or not all(addresses)


def _address(instances: Instances, number: int) -> list[str]:
    path = os.path.join(instances.layout.generation(number), instances.layout.public_socket_unit)
    try:
        with open(path, encoding="utf-8") as stream:
            return [
                line.strip() for line in stream if line.startswith(("ListenStream=", "SocketMode=", "SocketGroup="))
            ]
    except OSError:
        return []


def switch(
    instances: Instances,
    old: int | None,
    new: int,
    app: Plain,
    verify_seconds: float,
    before: Plain | None = None,
    lenient: bool | str = False,
    former: Former | None = None,
) -> Seen:
    """Give the public socket to generation `new`; `old` has it now (None: nothing does, or `former`, a service that
    Headcount did not make).

    Both hold the socket while `new` is verified; only then is `new` made live, by one rename, and only then does
    `old` drain. Whatever goes wrong, `old` is live and serving when StepFailed is raised, or, with no `old`,
    nothing is left running.

    An `old` that does not answer its users well (`before`: its app as its record has it) is in nobody's way: it
    leaves as soon as `new` answers, and is gone back to only where it is no worse than `new` by then. With
    `lenient` a `new` whose load paths fail is kept where `old` is not even healthy. A sentence that says so tells that
    `old` takes the room of `new` again and again: it leaves first, be there room at this moment or not.
    """
    taking = Takeover(instances, former) if old is None and former is not None and former.serves else None
    try:
        if taking is not None:
            seen = _switch_former(instances, taking, new, app, verify_seconds)
        elif old is not None and _shares(instances, old, new):
            seen = _switch_shared(instances, old, new, app, verify_seconds, before or app, lenient)
        else:
            seen = _switch_address(instances, old, new, app, verify_seconds)
        with contextlib.suppress(SystemdError):  # what is left of others is the next heal's to stop
            for other in sorted(set(instances.running()) - {new}):
                instances.leave(other)
        return seen
    except Untouched:
        raise
    except (StepFailed, SystemdError, OSError) as error:
        failure = error if isinstance(error, StepFailed) else StepFailed("promote", str(error))
        try:
            if taking is not None:
                taking.give_way()
            restore(instances, old, new)
            if taking is not None:
                taking.undo()
        except (StepFailed, SystemdError, OSError) as second:
            failure = StepFailed(failure.phase, f"{failure.cause}; and the way back failed: {second}", failure.evidence)
        raise failure from error


def _shares(instances: Instances, old: int, new: int) -> bool:
    """Whether `new` takes the public socket of `old`. Not where somebody stopped `old` and gave its data to the account
    of `new`: who asks at that socket would wake it, and systemd would give the data back."""
    if not same_address(instances, old, new):
        return False
    runs = instances.systemd.state(instances.layout.service_unit(old)).running
    return runs or not dataaccounts.given_to(instances.layout, old, new)


def _look(instances: Instances, old: int, before: Plain) -> Answers:
    """What the generation answers that is to go; no fault in looking at it keeps it."""
    try:
        return instances.look(old, before)
    except Exception as error:
        return Answers(HEALTH, (), f"it could not be looked at: {error}")


def _switch_shared(
    instances: Instances,
    old: int,
    new: int,
    app: Plain,
    verify_seconds: float,
    before: Plain,
    lenient: bool | str,
) -> Seen:
    if isinstance(lenient, str):
        first = first_words(old, new, lenient)
        return _switch_in_turn(instances, old, new, app, verify_seconds, _look(instances, old, before), first, True)
    full = no_room(instances, new, instances.layout.service_unit(new), back=lenient)
    if full:
        was = _look(instances, old, before)
        first = leaves_first(instances, new, old, was.well) if lenient else ""
        if first:
            return _switch_in_turn(instances, old, new, app, verify_seconds, was, first)
        if was.well:  # one that is broken makes room when it leaves
            raise Untouched("promote", full)
    opened = _open_public(instances, app["listen"])
    alone = not instances.private_open(old)
    # Where the old one cannot be asked by itself, nobody knows whose a failure on the socket of both is.
    beside = (lambda: False) if alone else (lambda: answers_all(instances, old, before))
    looking = Background(lambda: _look(instances, old, before))
    if alone:
        looking.result()  # before the new one holds the socket too: only what users get tells of the old one
    try:
        seen = _switch_beside(instances, old, new, app, verify_seconds, lenient, looking, beside)
    except StepFailed as failure:
        was = looking.result()
        first = _found_no_room(instances, old, new, failure) if lenient and not was.well else ""
        if not first:
            raise
        instances.leave(new)
        return _switch_in_turn(instances, old, new, app, verify_seconds, was, first)
    opened = opened or _open_again(instances, new, app)
    return {**seen, "opened": opened} if opened else seen


def _switch_beside(
    instances: Instances,
    old: int,
    new: int,
    app: Plain,
    verify_seconds: float,
    lenient: bool,
    looking: Background[Answers],
    beside: Callable[[], bool],
) -> Seen:
    """`new` is begun while `old` serves. `looking`: what `old` answers; `beside`: whether it still answers all."""
    boot = instances.join(new, app["health"])
    was = looking.result()
    if was.well:
        seen = verify(instances, new, app, verify_seconds, public=True, beside=beside)
        Processes(instances).hand_over(new, max(verify_seconds, AS_THE_SERVER * boot))
        unread = _make_live_again(instances, new)
        instances.leave(old)
        verify(instances, new, app, 0.0, public=True)
    else:
        # Each second that the old one stays costs users requests: the new one is watched while that one drains.
        lenient = lenient and was.rank >= HEALTH
        verify(instances, new, app, 0.0, lenient=lenient)
        unread = _make_live_again(instances, new)
        instances.systemd.begin_stop(instances.layout.service_unit(old))
        seen = _verify_alone(instances, old, new, app, verify_seconds, was, lenient)
        wrong = _processes_down(instances, new, max(verify_seconds, AS_THE_SERVER * boot))
        seen = {**seen, "wrong": [*seen.get("wrong", []), *wrong]} if wrong else seen
        seen = {**seen, "before": was.told()}
    seen = {**seen, "boot_seconds": round(boot, 2)}
    return {**seen, "unread": unread} if unread else seen


def _found_no_room(instances: Instances, old: int, new: int, failure: StepFailed) -> str:
    """Why `old`, which is broken, leaves first after all, in a sentence; empty where `new` failed for something else.

    What takes processes without end is ended now and then (a worker that hangs), so that there is room when it is
    looked for, and none a moment later.
    """
    first = leaves_first(instances, new, old, well=False)
    if first or not _NO_TASK.search(failure.cause):
        return first
    return first_words(old, new, f"beside it {new} {failure.cause}")


def _switch_in_turn(
    instances: Instances,
    old: int,
    new: int,
    app: Plain,
    verify_seconds: float,
    was: Answers,
    why: str,
    hoards: bool = False,
) -> Seen:
    """`old` leaves before `new` is begun, as there is no room for both: the public socket stays open, and requests wait
    in it. `old` has its time to end the requests that it has; `new` is begun as soon as there is room. One that
    `hoards` takes no more meanwhile."""
    opened = _open_public(instances, app["listen"])
    unread = _make_live_again(instances, new)  # what comes while neither runs is to wake `new`
    if hoards:
        forbid(instances.layout, old)
    instances.leave(old, wait=False)  # with its own socket: who asked there in vain would have it started again
    _await_room(instances, old, new)
    boot = instances.join(new, app["health"])
    seen = _verify_alone(instances, old, new, app, verify_seconds, was, was.rank >= HEALTH)
    wrong = _processes_down(instances, new, max(verify_seconds, AS_THE_SERVER * boot))
    seen = {**seen, "wrong": [*seen.get("wrong", []), *wrong]} if wrong else seen
    opened = opened or _open_again(instances, new, app)
    seen = {**seen, "boot_seconds": round(boot, 2), "in_turn": why, **({"opened": opened} if opened else {})}
    seen = seen if was.well else {**seen, "before": was.told()}
    return {**seen, "unread": unread} if unread else seen


def _await_room(instances: Instances, old: int, new: int) -> None:
    """Until there is room for `new`, or `old` has left and nothing more of it can be expected to end.

    What `old` began beside its server is ended last: a request may wake `new` by then, and what it could not begin up
    to here is not to be held against it.
    """
    begin = instances.monotonic()
    most = graceful_seconds(instances.layout, old) + STOP_SLACK_SECONDS
    while no_room(instances, new, instances.layout.service_unit(new), back=True):
        now = instances.monotonic()
        if instances.systemd.state(instances.layout.service_unit(old)).gone:
            most = min(most, now - begin)
        if now - begin >= most + END_SECONDS:
            return
        instances.sleep(POLL_SECONDS)


def _processes_down(instances: Instances, number: int, seconds: float) -> list[str]:
    """Hand the processes over to a generation that is live because the one before was broken: nothing is gone back to
    for their sake. What is wrong with them, in sentences."""
    try:
        Processes(instances).hand_over(number, seconds)
    except StepFailed as failure:
        return [failure.cause]
    return []


def _open_again(instances: Instances, number: int, app: Plain) -> str:
    """See to it that the public socket is open still when the other one has left, and that `number` has it.

    What closed it meanwhile (a person who restarts it, while an instance holds it) leaves one that looks live and
    that nobody reaches. What was done, in a sentence; empty where nothing was.
    """
    opened = _open_public(instances, str(app.get("listen") or ""))
    if opened:
        layout, begin = instances.layout, instances.clock()
        service = layout.service_unit(number)
        instances.systemd.start(layout.public_socket_unit, layout.socket_unit(number), service)
        if app.get("health"):
            instances.wait_ready(service, layout.private_socket(number), app["health"], begin)
    return opened


def _verify_alone(
    instances: Instances, old: int, new: int, app: Plain, seconds: float, was: Answers, lenient: bool
) -> Seen:
    """Watch `new` while the broken `old` leaves, and after; StepFailed where `old` would serve no worse."""
    try:
        seen = verify(instances, new, app, seconds, lenient=lenient)
        instances.leave(old)
        return {**seen, **verify(instances, new, app, 0.0, public=True, lenient=lenient)}
    except (StepFailed, SystemdError, OSError) as error:
        instances.leave(old)
        now = instances.look_at(local_address(app["listen"]), app)
        if now.rank >= was.rank:
            raise
        cause = error.cause if isinstance(error, StepFailed) else str(error)
        return {"despite": cause, **({"wrong": list(now.wrong)} if now.rank > WELL else {})}


def _make_live(instances: Instances, number: int, boot: bool = True, public: bool = True) -> None:
    """Make `number` live, also for the next boot, unless something else still serves then. `public`: with the app's
    own public socket, which it has not while a former service's is shared."""
    # What can be refused comes first: the rename is done when nothing else can go wrong.
    if boot:
        store.link_public(instances.layout)
        store.activate(instances.layout, number)
    else:
        # The unit's file leads through `live`, which has to be there first: nothing was live before.
        store.activate(instances.layout, number)
        if public:
            store.link_public(instances.layout, boot)
    instances.systemd.reload()


def _make_live_again(instances: Instances, number: int) -> str:
    """As _make_live() for a generation on the socket that is open already: its unit files need not be read for that.
    What systemd had against reading them, in a sentence; empty where it has.

    It refuses where /run has less than 16 MiB left. A way back from what is broken must not end there.
    """
    store.link_public(instances.layout)
    store.activate(instances.layout, number)
    try:
        instances.systemd.reload()
    except SystemdError as error:
        return (
            f"systemd has not read its unit files again ({error}): until it has, what starts "
            f"{instances.layout.public_socket_unit} starts the generation before. Free room, then run "
            "`systemctl daemon-reload`"
        )
    return ""


def _open_public(instances: Instances, listen: str) -> str:
    """Open the public socket where it is not open: what joins a closed one would never be asked by users.
    What was done, in a sentence; empty where it is open.

    It cannot be opened while an instance holds it: the one short gap that there is, because without the socket
    neither a switch nor a boot would find the app.
    """
    if instances.public_open(listen):
        return ""
    public = instances.layout.public_socket_unit
    instances.systemd.stop(*instances.running().values(), timeout_seconds=3600.0)
    instances.systemd.stop(public)
    instances.systemd.reset_failed(public)
    try:
        instances.systemd.start(public)
    except SystemdError as error:
        raise StepFailed("promote", _why_not_listening(instances, listen, error)) from error
    return f"opened {public} again, which was closed on {listen or 'its address'}: users met a short gap"


def _switch_address(instances: Instances, old: int | None, new: int, app: Plain, verify_seconds: float) -> Seen:
    """The first deployment, and the rare one whose `listen` changed: the public socket itself is new.

    The old instance keeps the sockets it inherited, so it goes on serving the old address until the end.
    """
    if old is None or not _port_is_ours(instances, old, new):
        # Looked at before anything is touched: the old address would have to close for a moment on the way back.
        taken = address_taken(app["listen"])
        if taken:
            raise Untouched("promote", f"{taken}; free it, or declare another `listen`")
    _fail_if_no_room(instances, new)
    # Starting the socket starts the processes of its generation, too.
    processes = Processes(instances)
    processes.stop_others(new)
    processes.set_clocks(new)
    _make_live(instances, new)
    public = instances.layout.public_socket_unit
    instances.systemd.stop(public)
    instances.systemd.reset_failed(public, instances.layout.service_unit(new))
    try:
        # Starting the socket starts the generation that it wants.
        instances.systemd.start(public)
    except SystemdError as error:
        if old is None or not _port_is_ours(instances, old, new):
            raise StepFailed("promote", _why_not_listening(instances, app["listen"], error)) from error
        instances.leave(old)
        instances.systemd.start(public)
    boot = instances.join(new, app["health"])
    # No other instance ever held this socket, so that it may be asked at once.
    seen = verify(instances, new, app, verify_seconds, public=True)
    processes.hand_over(new, max(verify_seconds, AS_THE_SERVER * boot))
    if old is not None:
        instances.leave(old)
        verify(instances, new, app, 0.0, public=True)
    return {**seen, "boot_seconds": round(boot, 2)}


def _switch_former(instances: Instances, taking: Takeover, new: int, app: Plain, verify_seconds: float) -> Seen:
    """The first deployment of an app whose address another service has (takeover): that one serves until `new` is
    verified by itself, leaves when `new` is verified with users, and is what a boot starts until then."""
    _fail_if_no_room(instances, new)
    processes = Processes(instances)
    processes.stop_others(new)
    processes.set_clocks(new)
    instances.systemd.reset_failed(instances.layout.public_socket_unit, instances.layout.service_unit(new))
    taking.open(lambda: _make_live(instances, new, boot=False, public=taking.former.way != SHARED))
    boot = instances.join(new, app["health"])
    verify(instances, new, app, 0.0)
    taking.admit()
    # Where both hold one socket, nobody can tell whose a failure on it is before the former service has left.
    beside = (lambda: False) if taking.former.way == SHARED else None
    seen = verify(instances, new, app, verify_seconds, public=True, beside=beside)
    processes.hand_over(new, max(verify_seconds, AS_THE_SERVER * boot))
    taking.settle()
    _make_live(instances, new)
    try:
        words = taking.retire()
    except (SystemdError, OSError) as error:
        # The new one is verified, and what was begun of this cannot be taken back: the next heal goes on with it.
        words = [f"{taking.former.unit} has not left yet, and the next run sees to it: {error}"]
    _make_live(instances, new)  # disabling a unit takes those with it that it names (Also=)
    verify(instances, new, app, 0.0, public=True)
    return {
        **seen,
        "boot_seconds": round(boot, 2),
        "former": taken(taking.record, taking.seam, [*words, *taking.former.notes], instances.layout.app),
    }


def _fail_if_no_room(instances: Instances, number: int) -> None:
    full = no_room(instances, number, instances.layout.service_unit(number))
    if full:
        raise Untouched("promote", full)


def _port_is_ours(instances: Instances, old: int, new: int) -> bool:
    """Whether both addresses have the same port, so that the old instance itself is what is in the way."""
    ports = [[line.rpartition(":")[2] for line in _address(instances, number)][:1] for number in (old, new)]
    return ports[0] == ports[1]


def _why_not_listening(instances: Instances, listen: str, error: Exception) -> Callable[[], str]:
    end = instances.clock()

    def words() -> str:
        lines = instances.systemd.journal(instances.layout.public_socket_unit, end - 30, until_epoch=end)
        if any("Address already in use" in line for line in lines):
            return f"listen address {listen} is taken by another process; free it, or declare another `listen`"
        cause = first_cause(lines) or str(error)
        return f"cannot listen on {listen}: {f'{error}; {cause}' if cause.startswith(UNREAD) else cause}"

    return words


def restore(instances: Instances, old: int | None, new: int | None) -> None:
    """Make `old` live and serving again and take `new` down; with no `old`, leave nothing running."""
    if old is None:
        take_down(instances)
        return
    processes, failures = Processes(instances), list[Exception]()
    public, service = instances.layout.public_socket_unit, instances.layout.service_unit(old)
    readdressed = new is not None and not same_address(instances, old, new)
    app = generations.record(instances.layout, old).get("app") or {}

    def part(work: Callable[[], object]) -> None:
        """What cannot be done keeps nothing else from being done: users are on both, or on none."""
        try:
            work()
        except (StepFailed, SystemdError, OSError) as error:
            failures.append(error)

    def make_live() -> None:
        try:
            _make_live_again(instances, old)
        except Foreign:
            if generations.live(instances.layout) != old:
                raise  # else it is live as it was, and what is in the public socket's place must not hinder its service

    def open_address() -> None:
        """The old address's socket can only be opened again while no service holds the unit."""
        if new is not None:
            instances.leave(new)
        instances.systemd.stop(public, service)

    part(lambda: processes.stop_others(old))
    part(lambda: processes.set_clocks(old))
    part(make_live)
    if readdressed:
        part(open_address)
    instances.systemd.reset_failed(public, service)
    if not readdressed:
        part(lambda: _open_public(instances, str(app.get("listen") or "")))
    part(lambda: instances.systemd.start(public, instances.layout.socket_unit(old), service))
    if new is not None and not readdressed:
        # Also when the old one does not come up, as it did not before: the new one was not good enough.
        part(lambda: instances.leave(new))
    part(lambda: _open_again(instances, old, app))
    part(lambda: processes.start(old))
    if failures:
        raise failures[0]


def take_down(instances: Instances) -> None:
    """Stop everything of the app and unlink what would start it at boot. Files stay for diagnosis.

    Units of others that are called alike run on.
    """
    units = [
        *instances.own(instances.layout.instance_glob),
        *Candidates(instances).running(),
        *instances.own(instances.layout.public_socket_unit),
    ]
    instances.systemd.stop(*units, timeout_seconds=900.0)
    store.unlink_public(instances.layout)
    store.deactivate(instances.layout)
    try_reload(instances.systemd)
    instances.systemd.reset_failed(*units)


def told(old: int | None, seen: Seen) -> list[str]:
    """What a person is to know of a switch away from generation `old`, in sentences; most often nothing.

    `seen`: what switch() returned, with what users got meanwhile.
    """
    lines = [*seen.get("former", []), *([seen["opened"]] if seen.get("opened") else [])]
    lines += [seen["unread"]] if seen.get("unread") else []
    lines += [seen["in_turn"]] if seen.get("in_turn") else []
    if seen.get("before"):
        lines.append(f"generation {old} was broken, so it left first: {seen['before']}")
    if seen.get("despite"):
        lines.append(f"not gone back to {old}, which answered no better: {seen['despite']}")
    lines += [seen["losing"]] if seen.get("losing") else []
    lines += [seen["shut_out"]] if seen.get("shut_out") else []
    lines += [f"what is live now is not well either: {sentence}" for sentence in seen.get("wrong", [])]
    words = meanwhile_words(seen.get("users") or {})
    return [*lines, words] if words else lines
