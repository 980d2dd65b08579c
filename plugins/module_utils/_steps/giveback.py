# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The step give back: the service that an app was taken over from serves its address again, with nothing but this host.

The app's generations stay on disk; the next rollout takes the address over anew.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import Callable, NoReturn, TypedDict

from .._declaration.app import Plain
from .._facts.unitgroups import unit_pids
from .._generation import former as formers
from .._generation import generations, ledger, store, truth
from .._generation.answers import SILENT
from .._generation.beside import FIRST, Beside, name_kept
from .._generation.dropins import drop_in, undrop
from .._generation.failures import StepFailed, sentence
from .._generation.formerprograms import by_gunicorn
from .._generation.formerworkers import imported
from .._generation.meanwhile import Meanwhile, meanwhile_words
from .._generation.processes import Processes
from .._generation.reloads import fail_if_full
from .._generation.switch import restore, take_down
from .._generation.takeover import (
    GIVEN_BACK,
    RETIRED,
    Record,
    boot_again,
    boot_no_more,
    close_first,
    cover,
    last_words,
    put_back,
    resume,
    serve_again,
)
from .._generation.wholestop import stop_whole
from .._os.addresses import local_address
from .._os.files import remove_file
from .._os.listeners import SYSTEM_MANAGER, Listener, alike, held, normal
from .._os.ownership import leads_home
from .._os.sockets import leads_to
from .._os.systemd import SystemdError
from .app import AppOnHost

BOOT_SECONDS, STOP_SECONDS, POLL_SECONDS = 60.0, 90.0, 0.1
SERVING = 2
"""A Gunicorn serves when its master and a worker at least hold the socket."""


class GivenBack(TypedDict):
    """What came of it: the generation that was live, the service that serves now, and sentences for people."""

    live: int | None
    former: str
    told: list[str]


def give_back(app: AppOnHost) -> GivenBack:
    """Give the app's address back to its former service, which is enabled again as it was.

    StepFailed where there is none, and where it does not come up: then what was live is live.
    """
    app.foreseen(lambda: recorded(app))
    with app.alone("rollback", None, urgent=True):
        record = recorded(app)
        found = truth.live(app.layout, app.instances.running())
        live = found.number if found else generations.live(app.layout)
        known = app.known(live)
        declared: Plain = known.app if known is not None else {}
        try:
            if record.phase != RETIRED:
                told = resume(app.instances, lambda: take_down(app.instances))
                record = Record.read(app.layout) or replace(record, phase=GIVEN_BACK)
            else:
                told = []
            if record.phase == RETIRED:
                hand_over = _HandOver(app, record, live)
                hand_over.fail_if_full(declared)
                told += hand_over.work(declared)
        except (StepFailed, SystemdError, OSError) as error:
            cause = _why(error)
            with contextlib.suppress(OSError):  # a full disk
                app.log("rollback_failed", **{"from": live}, cause=cause)
            raise StepFailed("rollback", f"{record.unit} was not given its address back: {cause}") from error
        with contextlib.suppress(OSError):
            app.write_local_fact()
    return {"live": live, "former": record.unit, "told": told}


def recorded(app: AppOnHost) -> Record:
    """How the app was taken over. StepFailed where it was not, or the former service has its address back already."""
    record = Record.read(app.layout)
    if record is None:
        raise StepFailed("rollback", f"{app.name} was taken over from no other service on this host")
    if record.phase == GIVEN_BACK:
        raise StepFailed("rollback", f"{record.unit} has its address back already")
    return record


def _why(error: Exception) -> str:
    return error.cause if isinstance(error, StepFailed) else sentence(error)


@dataclass
class _Parts:
    """Parts of a way back, of which none that fails keeps the others from being done. `why`: what failed, in words."""

    why: list[str] = field(default_factory=list)

    def do(self, part: Callable[..., object], *words: object) -> bool:
        """Whether it went well."""
        try:
            part(*words)
        except (StepFailed, SystemdError, OSError) as error:
            self.why.append(_why(error))
            return False
        return True


@dataclass(frozen=True)
class _HandOver:
    """The former service serves, and the app, whose generation `live` is live, is taken down."""

    app: AppOnHost
    record: Record
    live: int | None

    def work(self, declared: Plain) -> list[str]:
        """What a person is to know of it, in sentences."""
        app, record = self.app, self.record
        listen = self._listen(declared)
        with Meanwhile(listen if declared else None, declared) as users:
            try:
                told = self._stopped_first()
                self._way(listen)(declared)
                told += boot_again(app.layout, app.systemd, record)
                self._answer(declared)
            except (StepFailed, SystemdError, OSError) as error:
                self._go_back(error)
        words = meanwhile_words(users.told())
        return [*told, words] if words else told

    def _stopped_first(self) -> list[str]:
        """Somebody has started the former service beside the app. Where it runs without the address, which its start
        alone would give it, it is stopped: said in a sentence; with what the app has by now left as it is."""
        app, record = self.app, self.record
        unit = record.unit
        if app.systemd.state(unit).gone or _serves(app, record):
            return []
        where = " and ".join(sorted({one.address for one in _listening(app, record)}))
        with name_kept(record.address, app.layout.root):
            theirs = last_words(app.layout, app.systemd, replace(record, sockets=()))
            try:
                left = stop_whole(app.instances, unit, STOP_SECONDS)
            finally:
                undrop(app.systemd, *theirs, root=app.layout.root)
        without = f"on {where} and without the address" if where else "without the address"
        return [f"{unit} ran already, {without}: it was stopped, and started anew with it", *left]

    def fail_if_full(self, declared: Plain) -> None:
        """NoRoom, before anything is changed, where the way that fits needs units that systemd has yet to read, and has
        no room to. Each that leaves no gap does; a service that is only started after the app has left does not."""
        if self._way(self._listen(declared)) != self._with_a_gap:
            fail_if_full(self.app.systemd)

    def _listen(self, declared: Plain) -> str:
        return str(declared.get("listen") or self.record.address)

    def _way(self, listen: str) -> Callable[[Plain], None]:
        """The way that fits: the former service serves afterwards, and the app is taken down."""
        app, record = self.app, self.record
        if not alike(normal(listen), record.address) or len(record.sockets) > 1:
            return self._with_a_gap
        if record.way == formers.SHARED:
            return self._with_its_own_socket
        if record.sockets:
            return self._beside_ours
        if record.inherits and app.systemd.state(app.layout.public_socket_unit).running:
            return self._with_our_socket
        # What systemd hands to a program that starts Gunicorn, Gunicorn does not take.
        return self._with_a_gap

    def _answer(self, declared: Plain) -> None:
        """Users get an answer from the former service, where need be after it has been started once more. StepFailed
        where they do not."""
        app, unit = self.app, self.record.unit
        if _answers(app, self.record, declared, BOOT_SECONDS):
            return
        stop_whole(app.instances, unit, STOP_SECONDS)  # its next start opens its own socket, and makes its file
        serve_again(app.layout, app.systemd, self.record)
        if not _answers(app, self.record, declared, BOOT_SECONDS):
            raise StepFailed("rollback", _silent(self.record))

    def _go_back(self, error: Exception) -> NoReturn:
        """The app is live and serves again, as far as that can be done. StepFailed, which says what could not."""
        app, live = self.app, self.live
        cause = _why(error)
        failed = _Parts()
        self._live_again(failed)
        if ledger.given_back(ledger.read(app.layout.ledger)):
            failed.do(self.record.write, app.layout)
            failed.do(lambda: app.log("reverted", **{"from": None}, to=live, cause=cause))
        if failed.why:
            cause = f"{cause}; on the way back: {'; '.join(dict.fromkeys(failed.why))}"
        if live is not None and not self._serves_users():
            cause += f"; generation {live} does not serve: run `headcount-rollback {app.name} {live}`"
        raise StepFailed("rollback", cause) from error

    def _live_again(self, failed: _Parts) -> None:
        """The former service is stopped and disabled again, and the app serves; no part hinders the others."""
        app, record, layout = self.app, self.record, self.app.layout
        theirs = [name for name in record.units if name != layout.public_socket_unit]
        failed.do(boot_no_more, layout, app.systemd, record)
        for unit in theirs:
            failed.do(self._stop, unit)
        failed.do(lambda: undrop(app.systemd, *theirs, root=layout.root))
        if record.way == formers.SHARED and not leads_home(layout, layout.unit(layout.public_socket_unit)):
            if not self._runs():
                failed.do(self._stop, layout.public_socket_unit)  # theirs, which ours replaces
            failed.do(cover, layout, record)
        if self.live is None:
            return
        if not self._runs():
            failed.do(self._stop, layout.service_unit(self.live))  # no socket opens while its service still leaves
        if not failed.do(restore, app.instances, self.live, None):
            self._by_parts(self.live, failed)

    def _stop(self, unit: str) -> None:
        if not self.app.systemd.state(unit).gone:
            stop_whole(self.app.instances, unit, STOP_SECONDS)

    def _by_parts(self, live: int, failed: _Parts) -> None:
        """What restore() does, also where systemd refuses to read its unit files again: it knows them still."""
        app, layout = self.app, self.app.layout
        failed.do(store.link_public, layout)
        failed.do(store.activate, layout, live)
        for unit in (layout.public_socket_unit, layout.socket_unit(live), layout.service_unit(live)):
            failed.do(app.systemd.start, unit)
        failed.do(Processes(app.instances).start, live)

    def _runs(self) -> bool:
        """Whether the instance of what was live runs, as far as systemd says."""
        if self.live is None:
            return False
        with contextlib.suppress(SystemdError):
            return self.app.systemd.state(self.app.layout.service_unit(self.live)).running
        return False

    def _serves_users(self) -> bool:
        """Whether what was live is live, and runs with its public socket open."""
        with contextlib.suppress(SystemdError):
            is_open = self.app.systemd.state(self.app.layout.public_socket_unit).running
            return is_open and self._runs() and generations.live(self.app.layout) == self.live
        return False

    def _given(self) -> None:
        """From here on the address is the former service's, whatever becomes of this process."""
        self.app.log("given_back", **{"from": self.live}, former=self.record.unit)
        replace(self.record, phase=GIVEN_BACK).write(self.app.layout)

    def _with_a_gap(self, declared: Plain) -> None:
        """The app is taken down, then the former service is started: in between nobody listens."""
        app = self.app
        take_down(app.instances)
        serve_again(app.layout, app.systemd, self.record)
        deadline = app.instances.monotonic() + BOOT_SECONDS
        while not _serves(app, self.record) and app.instances.monotonic() < deadline:
            app.instances.sleep(POLL_SECONDS)
        if not _answers(app, self.record, declared, BOOT_SECONDS):
            raise StepFailed("rollback", _silent(self.record))
        self._given()

    def _with_its_own_socket(self, _: Plain) -> None:
        """The public socket is the former service's again, open as it is: both hold it until ours has left."""
        app = self.app
        if generations.link_target(app.layout.boot_link) == f"../{app.layout.public_socket_unit}":
            remove_file(app.layout.boot_link)
        put_back(app.layout, app.systemd, self.record)
        _start(app, self.record, self._ours_again)
        self._given()
        take_down(app.instances)  # the public socket is not the app's any more, and stays

    def _ours_again(self) -> None:
        cover(self.app.layout, self.record)
        store.link_public(self.app.layout)
        self.app.systemd.reload()

    def _with_our_socket(self, declared: Plain) -> None:
        """The former service, which opens its socket itself, is given ours this time: its next start opens its own."""
        app, unit = self.app, self.record.unit
        text = f"[Service]\nSockets={app.layout.public_socket_unit}\nNonBlocking=yes\n"
        # Where it does not serve, its stop leaves what the app needs.
        text += "RuntimeDirectoryPreserve=yes\nExecStopPost=\n"
        drop_in(app.systemd, unit, text, app.layout.root)
        app.systemd.reload()
        _start(app, self.record, lambda: undrop(app.systemd, unit, root=app.layout.root))
        if not _reached(app, self.record):
            self._by_a_socket_of_its_own(declared)
            return
        self._given()
        self._leave()
        undrop(app.systemd, unit, root=app.layout.root)

    def _by_a_socket_of_its_own(self, declared: Plain) -> None:
        """It runs, but nobody comes to it: it opens its own socket."""
        stop_whole(self.app.instances, self.record.unit, STOP_SECONDS)
        undrop(self.app.systemd, self.record.unit, root=self.app.layout.root)
        self._with_a_gap(declared)

    def _beside_ours(self, declared: Plain) -> None:
        """The former service's socket unit is opened beside ours, and gets the new connections."""
        app = self.app
        ours = [one for one in held([SYSTEM_MANAGER], app.layout.root) if one.address == normal(self._listen(declared))]
        if len(ours) != 1:
            self._with_a_gap(declared)
            return
        beside = Beside(app.systemd, self.record.sockets[0], ours[0], app.layout.root)
        try:
            beside.open()
            _start(app, self.record, beside.give_way)
        except (StepFailed, SystemdError, OSError):
            # Where nothing leads past it any more, its socket would get users whom nobody answers.
            with contextlib.suppress(SystemdError), name_kept(self.record.address, app.layout.root):
                app.systemd.stop(self.record.sockets[0])
            beside.close(FIRST)
            raise
        try:
            beside.admit()
            self._given()
            self._leave()
        finally:
            beside.close()

    def _leave(self) -> None:
        """The app is taken down; what waits at the public socket is for the former service."""
        close_first(self.app.instances)
        take_down(self.app.instances)


def _start(app: AppOnHost, record: Record, undo: Callable[[], object]) -> None:
    """Start the former service and wait until it serves, and its workers have imported the app: until then it would
    take requests and leave them waiting. StepFailed, with it stopped again, where it does not."""
    begin = app.clock()
    deadline = app.instances.monotonic() + BOOT_SECONDS
    with name_kept(record.address, app.layout.root):  # what it runs before often removes the file of "its" old socket
        try:
            app.systemd.reset_failed(record.unit)
            app.systemd.start(record.unit)
            state = app.systemd.state(record.unit)
            while not _serves(app, record) or not imported(app.layout.root, state, record.address):
                state = app.systemd.state(record.unit)
                late = app.instances.monotonic() >= deadline
                if late and _serves(app, record):
                    break  # what it imports takes longer than anybody waits
                if state.gone or late:
                    raise StepFailed("rollback", _unserved(app, record.unit, begin, state.result))
                app.instances.sleep(POLL_SECONDS)
        except (StepFailed, SystemdError, OSError):
            undoing = _Parts()  # what of it fails is done once more on the way back
            undoing.do(stop_whole, app.instances, record.unit, STOP_SECONDS)
            undoing.do(undo)
            raise


def _unserved(app: AppOnHost, unit: str, begin: float, result: str) -> Callable[[], str]:
    end = app.clock()

    def words() -> str:
        lines = app.systemd.journal(unit, begin, until_epoch=end)
        return f"{unit} does not serve: {lines[-1] if lines else result}"

    return words


def _silent(record: Record) -> str:
    return f"{record.unit} runs, but does not answer at {record.address}"


def _answers(app: AppOnHost, record: Record, declared: Plain, seconds: float) -> bool:
    """Whether users get an answer at its address, within `seconds`; not waited for where nobody comes to it. Where
    nobody knows what to ask, whether they come to it."""
    if not declared:
        return _reached(app, record)
    deadline = app.instances.monotonic() + seconds
    while app.instances.look_at(local_address(record.address), declared).rank == SILENT:
        if app.instances.monotonic() >= deadline or not _reached(app, record):
            return False
        app.instances.sleep(POLL_SECONDS)
    return True


def _reached(app: AppOnHost, record: Record) -> bool:
    """Whether who connects to its unix socket comes to a socket that its processes hold; of a port always."""
    if not record.address.startswith("unix:") or app.layout.root != "/":
        return True
    found = _listening(app, record)
    return leads_to(record.address[len("unix:") :], [one.inode for one in found if alike(one.address, record.address)])


def _listening(app: AppOnHost, record: Record) -> list[Listener]:
    """The sockets that its processes listen on."""
    group = app.systemd.state(record.unit).control_group
    return held(unit_pids(group, app.layout.root) if group else [], app.layout.root)


def _serves(app: AppOnHost, record: Record) -> bool:
    """Whether its processes have come up: of a Gunicorn a master and a worker at least hold a socket at the address."""
    root, group = app.layout.root, app.systemd.state(record.unit).control_group
    pids = unit_pids(group, root) if group else []

    def there(one: Listener) -> bool:
        return alike(one.address, record.address)

    holding = sum(any(map(there, held([pid], root))) for pid in pids)
    least = SERVING if by_gunicorn(root, app.systemd.state(record.unit), record.address) else 1
    return holding >= least
