# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The address of an app goes from the service that had it before (former) to the app's first generation.

What was begun is written down before it is done, so that whoever comes after a killed run knows which of the two
serves: until the new generation is verified that is the former service, which a boot starts too; from then on it is
the generation. The former service is disabled, never deleted, and can be given its address back (giveback). At no
moment is there a unit file that a boot would start something else by: a socket unit that both share is the former
one's until the new generation is verified, and changes hands by one rename.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import asdict, dataclass, field, replace
from typing import Callable, Dict, Sequence, Tuple, TypedDict

from .._facts.unitgroups import unit_pids
from .._os.acceptqueue import waiting
from .._os.files import fsync_directory, read_mapping, remove_file, replace_link, write_json
from .._os.listeners import Listener, connected, held
from .._os.ownership import leads_home
from .._os.paths import Layout
from .._os.procfs import children, read_text
from .._os.systemd import Systemd, SystemdError
from . import former as formers
from . import formerboot, formerlinks, formerprograms, generations, phases
from .beside import FIRST, Beside, name_kept
from .dropins import drop_in, undrop
from .failures import StepFailed
from .former import Former
from .instances import Instances
from .reloads import NoRoom, try_reload
from .wholestop import stop_whole

JOINING, RETIRING, RETIRED, GIVEN_BACK = phases.JOINING, phases.RETIRING, phases.RETIRED, phases.GIVEN_BACK
SAVED = "headcount-former"
EMPTY_SECONDS, EMPTY_LOOKS, POLL_SECONDS = 10.0, 3, 0.05
"""For so long it is waited that nobody waits at the former socket any more, until that was seen so often in a row."""
_STATUSES = tuple(str(status) for status in range(1, 256))
DRAIN_SECONDS = 100
"""The former service's last requests may take so long."""


@dataclass(frozen=True)
class Record:
    """former.json: the former service's `unit` and `sockets`, by which `way` its `address` is taken over from the
    socket `inode`, and how far that has come (`phase`). `enabled`: those of its units that a boot started; `moved`:
    {unit file: where it lies meanwhile}. `inherits`: as Former has it. `links`: {unit: {link: where it leads}} of what
    had a boot start them; None: noted before links were, and `enabled` is all that is known."""

    unit: str
    way: str
    address: str
    phase: str = JOINING
    sockets: Tuple[str, ...] = ()
    enabled: Tuple[str, ...] = ()
    moved: Dict[str, str] = field(default_factory=dict)
    inode: int = 0
    inherits: bool = False
    links: Dict[str, Dict[str, str]] | None = None

    @classmethod
    def read(cls, layout: Layout) -> Record | None:
        """What is written down for the app; None where nothing (that can be read) is."""
        found = read_mapping(layout.former)
        if not {"unit", "way", "address", "phase"} <= set(found):
            return None
        return cls(
            str(found["unit"]),
            str(found["way"]),
            str(found["address"]),
            str(found["phase"]),
            sockets=tuple(found.get("sockets") or ()),
            enabled=tuple(found.get("enabled") or ()),
            moved=dict(found.get("moved") or {}),
            inode=int(found.get("inode") or 0),
            inherits=bool(found.get("inherits")),
            links=None if found.get("links") is None else {unit: dict(of) for unit, of in found["links"].items()},
        )

    def write(self, layout: Layout) -> Record:
        """Write it down, root only."""
        write_json(layout.former, asdict(self), 0o600)
        return self

    @property
    def units(self) -> list[str]:
        """Its units; the sockets first, so that nothing starts the service again."""
        return [*self.sockets, self.unit]


@dataclass
class Takeover:
    """One takeover. `former`: as it was read just now."""

    instances: Instances
    former: Former

    def __post_init__(self) -> None:
        self.layout = self.instances.layout
        self.systemd = self.instances.systemd
        self.beside: Beside | None = None
        self.seam = 0.0
        """Seconds in which nobody listened."""
        self._stopped = 0.0
        self._told: list[str] = []

    def open(self, activate: Callable[[], None]) -> None:
        """Open the app's public socket beside the former one, or in its place. `activate`: makes the new generation's
        units known to systemd, with nothing that a boot would start, and without a socket unit that both share."""
        holder = self.former.holder
        assert holder is not None
        self.record = Record(
            self.former.unit,
            self.former.way,
            holder.address,
            sockets=self.former.sockets,
            inode=holder.inode,
            inherits=self.former.inherits,
            **_started_at_boot(self.layout, self.systemd, [*self.former.sockets, self.former.unit]),
        )
        if self.former.way == formers.SHARED:
            path = self.layout.unit(self.layout.public_socket_unit)
            moved = {path: f"{path}.{SAVED}"} if os.path.lexists(path) else {}
            self.record = replace(self.record, moved=moved)
        self.record.write(self.layout)
        activate()
        public = self.layout.public_socket_unit
        if self.former.way in (formers.JOINED, formers.RENAMED):
            self.beside = Beside(self.systemd, public, holder, self.layout.root)
            self.beside.open()
        elif self.former.way == formers.STOPPED:
            unit = self.former.unit  # what they leave out nobody can read afterwards
            self._told = [*_left_out(self.systemd, unit), *_left_running(self.systemd, unit)]
            last_words(self.layout, self.systemd, self.record)
            self._stopped = self.instances.monotonic()
            for one in _up(self.systemd, self.record.units):
                self._told += stop_whole(self.instances, one, DRAIN_SECONDS)
            self.systemd.start(public)

    def admit(self) -> None:
        """The new generation answers: users come to it from now on."""
        if self.beside is not None:
            self.beside.admit()
        if self._stopped:
            self.seam = self.instances.monotonic() - self._stopped

    def settle(self) -> None:
        """The new generation is verified: from here on a boot starts it, and the former service leaves."""
        self.record = replace(self.record, phase=RETIRING).write(self.layout)
        cover(self.layout, self.record)

    def retire(self) -> list[str]:
        """The former service leaves, with every request that it has answered, and is disabled. What a person is to
        know of it, in sentences."""
        words = [*self._told, *retire(self.instances, self.record)]
        if self.beside is not None:
            self.beside.close()
        return words

    def give_way(self) -> None:
        """What is new is not good enough: users come to the former service again, as far as it runs."""
        if self.beside is not None:
            self.beside.give_way()
            close_first(self.instances)
        put_back(self.layout, self.systemd, self.record)

    def undo(self) -> None:
        """What is new has been taken down: the former service has its address, and serves."""
        serve_again(self.layout, self.systemd, self.record)
        if self.beside is not None:
            self.beside.close(FIRST)
        remove_file(self.layout.former)


def close_first(instances: Instances) -> None:
    """Stop the public socket by itself, while an instance has it and answers what waits there: a socket unit that is to
    stop, and whose service has just ended, throws that away."""
    instances.systemd.stop(*instances.own(instances.layout.public_socket_unit))


class _Boots(TypedDict):
    """The part of a record that tells how a boot starts the units."""

    enabled: Tuple[str, ...]
    links: Dict[str, Dict[str, str]]


def _started_at_boot(layout: Layout, systemd: Systemd, units: list[str]) -> _Boots:
    """Those of `units` that a boot starts, and what has it do so."""
    names = {unit: [unit, *systemd.properties(unit, "Names").get("Names", "").split()] for unit in units}
    links = {unit: formerboot.links(layout, names[unit]) for unit in units}
    return {"enabled": tuple(unit for unit in units if links[unit]), "links": links}


def boot_no_more(layout: Layout, systemd: Systemd, record: Record) -> None:
    """Have no boot start its units, but for a socket unit that is the app's own by now. SystemdError."""
    theirs = [unit for unit in record.units if unit != layout.public_socket_unit]
    if record.links is None:
        systemd.disable(*(unit for unit in theirs if unit in record.enabled))
    else:
        formerlinks.take_away(layout, systemd, {path: to for unit in theirs for path, to in record.links[unit].items()})


def boot_again(layout: Layout, systemd: Systemd, record: Record) -> list[str]:
    """Have a boot start its units as before. What is not as it was, in sentences. SystemdError."""
    if record.links is None:
        systemd.enable(*record.enabled)
        return []
    links = {path: to for of in record.links.values() for path, to in of.items()}
    try:
        return formerlinks.put_back(layout, systemd, links)
    except NoRoom as error:
        return [f"a boot starts {record.unit} as before; systemd has not read that yet: {error}"]


def _up(systemd: Systemd, units: list[str]) -> list[str]:
    return [unit for unit, state in systemd.states(*units).items() if not state.gone]


def cover(layout: Layout, record: Record) -> None:
    """The app's own public socket lies where a unit file of the former service did, by one rename; that is kept."""
    for path, saved in record.moved.items():
        if not leads_home(layout, path):
            remove_file(saved)
            os.link(path, saved, follow_symlinks=False)
            fsync_directory(os.path.dirname(path))
            replace_link(path, generations.unit_target(layout, os.path.join(layout.live, layout.public_socket_unit)))


def put_back(layout: Layout, systemd: Systemd, record: Record) -> None:
    """Its unit files lie where they were; systemd knows them by now."""
    public = layout.unit(layout.public_socket_unit)
    for path, saved in record.moved.items():
        if os.path.lexists(saved):
            os.replace(saved, path)
            remove_file(saved)  # where both were names of one file, it has two still
            fsync_directory(os.path.dirname(path))
    if record.way == formers.SHARED:
        if public not in record.moved:
            remove_file(public)  # theirs lies in another folder, which this one hid
        try_reload(systemd)  # where that is left out it is read when it is started: ours is taken down before


def serve_again(layout: Layout, systemd: Systemd, record: Record) -> list[str]:
    """Start the former service where it does not run, and have a boot start it as before. What is not as it was, in
    sentences."""
    with contextlib.suppress(NoRoom):  # what it does not read yet does not hinder a start
        undrop(systemd, *record.units, root=layout.root)
    words = boot_again(layout, systemd, record)
    down = [unit for unit, state in systemd.states(*record.units).items() if state.gone]
    systemd.start(*down) if down else None
    return words


def last_words(layout: Layout, systemd: Systemd, record: Record) -> list[str]:
    """Have its units, which are to be stopped, end as _lasting() says, until undrop(). They are returned."""
    theirs = [unit for unit in record.units if unit != layout.public_socket_unit]
    for unit in theirs:
        lines = ["[Socket]", "RemoveOnStop=no"] if unit.endswith(".socket") else _lasting(record)
        drop_in(systemd, unit, "\n".join([*lines, ""]), layout.root)
    systemd.reload()
    return theirs


def retire(instances: Instances, record: Record) -> list[str]:
    """Have the former service answer what it has been asked, end and be disabled. Again: what is left of that."""
    layout, systemd = instances.layout, instances.systemd
    left_out = [*_left_out(systemd, record.unit), *_left_running(systemd, record.unit)]
    theirs = last_words(layout, systemd, record)
    words = [*_disabled(layout, systemd, theirs, record), *left_out]
    _until_empty(instances, record.inode)
    _until_answered(instances, record)
    with name_kept(record.address, layout.root):
        if _killed(record):
            _end_without_its_file(instances, record)
        for unit in _up(systemd, theirs):  # one after the other, the sockets first (see close_first)
            words += stop_whole(instances, unit, DRAIN_SECONDS)
    systemd.reset_failed(*theirs)
    undrop(systemd, *theirs, root=layout.root)
    _beside(instances, record, Listener(record.address, record.inode)).close()
    replace(record, phase=RETIRED).write(layout)
    return words


def _killed(record: Record) -> bool:
    """Whether it is ended by a kill (see _end_without_its_file)."""
    return record.way == formers.RENAMED and not record.sockets


def _lasting(record: Record) -> list[str]:
    """What lets a service end in its own time, once, with the socket and its folder still there.

    Nothing is to come of its end: it is one that went well, however it ends, as systemd cannot be told to forget what
    OnFailure= starts. What is to run after it often takes away what the app has by then: the file of its socket, or the
    host's place in a balancer. Of one that is killed, so does what is to run instead of a signal.
    """
    lines = ["[Unit]", "FailureAction=none", "SuccessAction=none"]
    lines += ["[Service]", "Restart=no", "RestartForceExitStatus=", f"TimeoutStopSec={DRAIN_SECONDS}"]
    lines += ["RuntimeDirectoryPreserve=yes", f"SuccessExitStatus={' '.join(['SIGKILL', *_STATUSES])}"]
    # By its own its server or workers might run on beside the app (process, none), or be killed amid what they answer,
    # as soon as the script that started them has ended (mixed).
    lines += ["ExecStopPost=", "KillMode=control-group", "SendSIGKILL=yes"]
    return [*lines, "ExecStop="] if _killed(record) else lines


def _left_out(systemd: Systemd, unit: str) -> list[str]:
    """What the service would run after its end, and does not this once, in a sentence."""
    if not systemd.properties(unit, "ExecStopPost").get("ExecStopPost", "").strip():
        return []
    return [
        f"{unit} ended without what its ExecStopPost= runs, which may take away what the app has by now: run by hand "
        f"what of it is needed (`systemctl cat {unit}`)"
    ]


def _left_running(systemd: Systemd, unit: str) -> list[str]:
    """That the service would leave processes running by its own stop, and does not this once, in a sentence."""
    mode = systemd.properties(unit, "KillMode").get("KillMode")
    if mode not in ("process", "none"):
        return []
    return [f"all of {unit} ended, whose own stop leaves processes running (KillMode={mode})"]


def _disabled(layout: Layout, systemd: Systemd, units: list[str], record: Record) -> list[str]:
    try:
        boot_no_more(layout, systemd, record)
    except (SystemdError, OSError) as error:
        return [f"{record.unit} cannot be disabled, so that a boot starts it too: {error}"]
    left = formerlinks.started_by(systemd, units)
    return [f"a boot still starts {record.unit}, for {', '.join(left)}: disable it by hand"] if left else []


def _until_empty(instances: Instances, inode: int) -> None:
    """Wait until nobody waits at the former socket any more: who does is answered by the former service."""
    deadline, empty = instances.monotonic() + EMPTY_SECONDS, 0
    while empty < EMPTY_LOOKS and instances.monotonic() < deadline:
        empty = 0 if waiting(inode, instances.layout.root) else empty + 1
        instances.sleep(POLL_SECONDS)


def _until_answered(instances: Instances, record: Record) -> None:
    """Wait until a server that is no Gunicorn, which may cut off what it is answering, has no connection any more, for
    so long (EMPTY_SECONDS)."""
    root, state = instances.layout.root, instances.systemd.state(record.unit)
    pids = unit_pids(state.control_group, root) if state.control_group else []
    if not pids or formerprograms.by_gunicorn(root, state, record.address):
        return
    deadline = instances.monotonic() + EMPTY_SECONDS
    while connected(pids, record.address, root) and instances.monotonic() < deadline:
        instances.sleep(POLL_SECONDS)


def _end_without_its_file(instances: Instances, record: Record) -> None:
    """End a Gunicorn that would remove the file of its socket, in whose place the app's own is by now.

    Its master does so when it is asked to end: it is stopped (SIGSTOP), its workers are asked to end, as it would ask
    them, and when they have answered what they had, the unit is killed.
    """
    systemd, root = instances.systemd, instances.layout.root
    group = systemd.state(record.unit).control_group
    pids = unit_pids(group, root) if group else []
    holders = {pid for pid in pids if any(one.inode == record.inode for one in held([pid], root))}
    workers = {child for pid in holders for child, _ in children(pid, holders, root)}
    masters = holders - workers
    if not masters:
        return
    for pid in masters:
        _signal(pid, signal.SIGSTOP)
    for pid in workers:
        _signal(pid, signal.SIGTERM)
    deadline = instances.monotonic() + DRAIN_SECONDS
    while any(_lives(pid, root) for pid in workers) and instances.monotonic() < deadline:
        instances.sleep(POLL_SECONDS)
    systemd.kill(record.unit)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _lives(pid: int, root: str) -> bool:
    """Whether a process runs: one that has ended stays in the table while its parent is stopped (state Z)."""
    state = (read_text(root, f"/proc/{pid}/stat") or "").rpartition(")")[2].split()
    return bool(state) and state[0] not in ("Z", "X")


def resume(instances: Instances, take_down: Callable[[], None]) -> list[str]:
    """Bring a takeover that was cut short to an end: back, where the new generation was not verified yet, or where the
    host was started since then and the former service serves alone; else on. `take_down`: takes down what is new. What
    was done, in sentences; SystemdError."""
    record = Record.read(instances.layout)
    if record is None or record.phase in (RETIRED, GIVEN_BACK):
        return []
    if record.phase == RETIRING and not _alone(instances, record):
        return [f"stopped {record.unit}, whose address the app has by now", *retire(instances, record)]
    beside = None
    if record.way in (formers.JOINED, formers.RENAMED):
        pids = unit_pids(instances.systemd.state(record.unit).control_group or "/none", instances.layout.root)
        found = [one for one in held([*pids, 1], instances.layout.root) if one.inode == record.inode]
        first = found[0] if found else Listener(record.address, record.inode)
        beside = _beside(instances, record, first)
        beside.give_way()
        close_first(instances)
    put_back(instances.layout, instances.systemd, record)
    take_down()
    words = serve_again(instances.layout, instances.systemd, record)
    if beside is not None:
        beside.close(FIRST)
    remove_file(instances.layout.former)
    return [f"took down a first deployment that had not taken {record.address} over from {record.unit} yet", *words]


def _beside(instances: Instances, record: Record, first: Listener) -> Beside:
    return Beside(instances.systemd, instances.layout.public_socket_unit, first, instances.layout.root)


def _alone(instances: Instances, record: Record) -> bool:
    """Whether the former service runs, and the app does not."""
    number = generations.live(instances.layout)
    ours = number is not None and instances.systemd.state(instances.layout.service_unit(number)).running
    return not ours and instances.systemd.state(record.unit).running


def taken(record: Record, seam: float, words: Sequence[str], app: str) -> list[str]:
    """What a person is to know of a takeover, in sentences."""
    gap = f", after {1000 * seam:.0f} ms in which nobody answered" if seam else ""
    back = f"`headcount-rollback {app} --to-former` gives it back"
    return [f"took {record.address} over from {record.unit}{gap}; it is disabled, not deleted: {back}", *words]


def fail_if_problem(former: Former | None) -> None:
    """StepFailed where the former service cannot be taken over as it is."""
    if former is not None and former.problem:
        raise StepFailed("promote", f"former: {former.problem}")
