# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Who may change an app on a host: one run at a time.

Two layers. A *step lock* (flock) is held by the process that is changing the host right now; the kernel takes it back
when that process dies, so it is never stale. A *lease* (a file) says which run is between two of its steps. A lease is
stale, and is taken over with a word about it, when it has expired, when the host was booted since, or when the
controller itself says that the process which held it is gone.

A step that leaves the app free when it ends is waited for, bounded and told: one of a run that is gone, an earlier one
of the run itself whose connection broke, and a single one (rollback, heal). A weigh or a trial that nobody waits for
any more is asked to end (SIGTERM, upon which it gives up in an orderly way), and so it is by a rollback, whosever it
is: a rollback does not wait for a trial. A process that does not end although it was asked, or although its time is
over, is killed; what it leaves is healed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Callable, Iterator, TypedDict, cast

from .._os.files import make_directory, read_mapping, read_text_file, remove_file, write_json
from .._os.paths import Layout
from .ledger import now_text
from .run import Run

LEASE_SECONDS = 900.0
"""How long a run may stay silent between two steps: a whole batch of hosts may be worked on in between."""

STEP_SECONDS = 600.0
"""How long a step may take that does not say so itself."""

STOP_SECONDS = 45.0
"""A step that was asked to end has so long: stopping a candidate takes seconds."""

OVERDUE_SECONDS = 60.0
"""A process that still holds the app so long after its time has no watchdog that works: it is stopped, or hangs."""

UNSIGNED_SECONDS = 2.0
"""A process signs the lock file right after it has taken the lock: until then the file tells of the one before."""

MOST_WAIT_SECONDS = 300.0
"""No step waits longer for another one, whatever that may take."""

ENDED_KEPT = 20

STOPPABLE = frozenset({"stage", "prepare", "weigh", "trial"})
"""Steps before anything of the candidate reaches users: they can be given up at any moment."""


class Busy(Exception):
    """Another run is changing this app on this host."""


class Lease(TypedDict, total=False):
    """Which run is between two of its steps, as the file has it; an edited one, or an older one, may lack keys.

    `boot`: the kernel's identifier of the boot that it belongs to; `step`: the last one; `until`: seconds since that
    boot, `expires`: since the epoch; `seconds`: how long it lasts.
    """

    run: dict[str, str]
    step: str
    boot: str
    expires: float
    until: float
    seconds: float


def boot_id(root: str = "/") -> str:
    """The kernel's identifier of this boot; empty where it cannot be read."""
    try:
        with open(os.path.join(root, "proc/sys/kernel/random/boot_id"), encoding="ascii") as stream:
            kernel = stream.read().strip()
        with open(os.path.join(root, "proc/1/stat"), encoding="ascii", errors="replace") as stream:
            # A container that was power-cycled keeps its kernel's boot id, but not the start time of its PID 1.
            started = stream.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
    return f"{kernel}/{started}"


def stale_reason(
    lease: Lease, this_boot: str, now: float, since_boot: float, gone: frozenset[str] = frozenset()
) -> str | None:
    """Why `lease` no longer counts, or None while it does.

    `gone` holds the ids of runs whose controller process is known to have ended. A lease ends by the seconds since the
    boot (`since_boot`), which no clock that is set changes; one of an older version by `now` (since the epoch), where a
    clock that went back does not make it eternal: one that ends twice its length from now is stale.
    """
    if lease.get("boot") != this_boot:
        return "the host was booted since"
    if lease.get("run", {}).get("id") in gone:
        return "its controller process is gone"
    if "until" in lease:
        over = since_boot - float(lease["until"])
        return f"it expired {over:.0f} s ago" if over > 0 else None
    expires = float(lease.get("expires", 0.0))
    if now > expires:
        return f"it expired {now - expires:.0f} s ago"
    if expires - now > 2 * max(LEASE_SECONDS, float(lease.get("seconds") or 0.0)):
        return "it lies in the future: the host's clock went back"
    return None


def boot_seconds() -> float:
    """Seconds since the host was booted; the same for all processes, and no clock that is set changes them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def start_ticks(pid: int, root: str = "/") -> str:
    """When process `pid` started (field 22 of its stat), empty when it is gone: its number may be another's by now."""
    try:
        with open(os.path.join(root, "proc", str(pid), "stat"), encoding="ascii", errors="replace") as stream:
            return stream.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


@dataclass(frozen=True)
class Hold:
    """How a step holds the app. `seconds`: how long at most; `lease`: whether its run keeps the app afterwards, until
    its next step; `urgent`: whether it ends the weigh or the trial of another run instead of being refused."""

    seconds: float = STEP_SECONDS
    lease: bool = True
    urgent: bool = False


@dataclass(frozen=True)
class Holder:
    """The process that holds the app, as the lock file tells it: two lines, one for people and one of JSON.

    `start`: of the process (start_ticks); `ends`: second after the host's boot at which it has ended at the latest.
    """

    words: str
    pid: int = 0
    start: str = ""
    run: str = ""
    step: str = ""
    ends: float = 0.0
    lease: bool = True

    @classmethod
    def parse(cls, text: str) -> Holder:
        """From the lock file; a file of another version has words only, and its process is neither waited for nor
        ended."""
        words, _, plain = text.partition("\n")
        words = words.strip() or "an unnamed process"
        try:
            return cls(words, **json.loads(plain))
        except (ValueError, TypeError):
            return cls(words)

    def render(self) -> str:
        plain = asdict(self)
        return f"{plain.pop('words')}\n{json.dumps(plain)}\n"

    def __str__(self) -> str:
        return f"process {self.pid} ({self.step} of run {self.run})"

    def stops_for(self, run: Run, gone: frozenset[str], hold: Hold) -> bool:
        """Whether a step of `run` asks it to end."""
        return self.step in STOPPABLE and (hold.urgent or self.run == run.id or self.run in gone)

    def patience(self, run: Run, gone: frozenset[str], hold: Hold, now: float) -> float:
        """How many seconds a step of `run` waits for it from `now` (seconds since the boot) on; 0: not at all."""
        if not self.pid:
            return 0.0
        if self.stops_for(run, gone, hold):
            return STOP_SECONDS
        leaves_free = not self.lease or self.run == run.id or self.run in gone
        if leaves_free or hold.urgent or self.overdue(now):
            return min(MOST_WAIT_SECONDS, max(0.0, self.ends + OVERDUE_SECONDS - now))
        return 0.0

    def overdue(self, now: float) -> bool:
        return bool(self.pid) and now > self.ends + OVERDUE_SECONDS


@dataclass
class _Wait:
    """A wait for the lock: for whom (`signed`: it is he who holds it), since when, what was done about it, and which
    runs were ended by it."""

    holder: Holder | None = None
    signed: bool = False
    since: float = 0.0
    until: float = 0.0
    signals: list[int] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)


@dataclass
class AppLock:
    """The lock of one app on this host. `say` is told at once when a step has to wait."""

    layout: Layout
    clock: Callable[[], float] = time.time
    seconds: float = LEASE_SECONDS
    """How long the lease lasts that is written next; longer where something of the run goes on between two steps."""
    say: Callable[[str], None] = lambda _: None
    since_boot: Callable[[], float] = boot_seconds

    def lease(self) -> Lease | None:
        """The lease as written, stale or not; None when no run is between its steps."""
        value = read_mapping(self.layout.lease)
        whole = isinstance(value.get("run"), dict) and all(
            isinstance(value.get(key), (int, float)) for key in ("expires", "seconds", "until") if key in value
        )
        return cast(Lease, value) if whole else None

    def at_work(self) -> str:
        """Who changes the app now, or is between two steps, in a sentence; empty where nobody does. Touches nothing."""
        text = read_text_file(self.layout.lock)
        holder = Holder.parse(text) if text else None
        if holder is not None and holder.start and start_ticks(holder.pid) == holder.start:
            return f"{holder} is at work on it"
        lease = self.lease()
        if lease is None or stale_reason(lease, boot_id(self.layout.root), self.clock(), self.since_boot()):
            return ""
        return f"run {lease.get('run', {}).get('id')} is at work on it"

    @contextlib.contextmanager
    def step(
        self, run: Run, name: str, gone: frozenset[str] = frozenset(), hold: Hold | None = None
    ) -> Iterator[str | None]:
        """Hold the app for one step of `run`; yields whom it waited for or took the app over from, or None.

        Raises Busy, naming the holder and since when, when another run holds the app.
        """
        hold = hold or Hold()
        make_directory(self.layout.state, 0o700)
        handle = os.open(self.layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            wait = self._acquire(handle, run, gone, hold)
            self._sign(handle, run, name, hold)
            self._note_ended(wait.ended, run)
            taken_over = self._check_lease(run, gone | frozenset(wait.ended), hold)
            if hold.lease:
                self._renew_lease(run, name)
            elif taken_over:
                remove_file(self.layout.lease)
            yield "; ".join([*wait.told, *([taken_over] if taken_over else [])]) or None
            if hold.lease and self.lease() is not None:
                self._renew_lease(run, name)
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def alone(
        self, run: Run, name: str, gone: frozenset[str] = frozenset(), hold: Hold | None = None
    ) -> Iterator[str | None]:
        """A run's only or last step: as step(), and no lease stays behind, however it ends. Works on a full disk."""
        with self.step(run, name, gone, replace(hold or Hold(), lease=False)) as told:
            try:
                yield told
            finally:
                self.release(run)

    def release(self, run: Run) -> None:
        """End the lease of `run`; a lease of another run is left alone."""
        lease = self.lease()
        if lease and lease.get("run", {}).get("id") == run.id:
            remove_file(self.layout.lease)

    def _sign(self, handle: int, run: Run, name: str, hold: Hold) -> None:
        pid = os.getpid()
        holder = Holder(
            words=f"{pid} {run} ({name}) since {now_text()}",
            pid=pid,
            start=start_ticks(pid),
            run=run.id,
            step=name,
            ends=round(boot_seconds() + hold.seconds, 1),
            lease=hold.lease,
        )
        os.ftruncate(handle, 0)
        with contextlib.suppress(OSError):
            os.pwrite(handle, holder.render().encode(), 0)

    def _acquire(self, handle: int, run: Run, gone: frozenset[str], hold: Hold) -> _Wait:
        """Take the lock; what was waited for, and done about it, is in the answer."""
        wait = _Wait()
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                holder = Holder.parse(os.pread(handle, 4096, 0).decode(errors="replace"))
                self._wait_for(wait, holder, run, gone, hold)
                time.sleep(0.1)
            else:
                self._waited(wait)
                return wait

    def _wait_for(self, wait: _Wait, holder: Holder, run: Run, gone: frozenset[str], hold: Hold) -> None:
        """Another look at who holds the app: Busy when it is not, or no longer, waited for."""
        now = boot_seconds()
        if holder != wait.holder:
            self._waited(wait)
            wait.signed = bool(holder.start) and start_ticks(holder.pid) == holder.start
            patience = holder.patience(run, gone, hold, now) if wait.signed else UNSIGNED_SECONDS
            wait.holder, wait.since, wait.until, wait.signals = holder, now, now + patience, []
            if patience and wait.signed:
                self.say(f"waiting for {holder} to end, at most {patience:.0f} s")
                if holder.stops_for(run, gone, hold):
                    self._signal(wait, signal.SIGTERM)
        if now < wait.until:
            return
        asked_in_vain = wait.signals == [signal.SIGTERM]
        overdue = wait.signed and holder.overdue(now)
        if asked_in_vain or (overdue and signal.SIGKILL not in wait.signals):
            self._signal(wait, signal.SIGKILL)
            wait.until = now + 10.0
            return
        raise Busy(
            f"app {self.layout.app} is being changed on this host by process {holder.words}; "
            "wait for it to end, then run again"
        )

    def _signal(self, wait: _Wait, number: signal.Signals) -> None:
        """Signal the holder, if the process of that number is still the one that signed."""
        holder = wait.holder
        wait.signals.append(number)
        if holder is None or not holder.start or start_ticks(holder.pid) != holder.start:
            return
        with contextlib.suppress(OSError):
            os.kill(holder.pid, number)
            wait.ended.append(holder.run)

    @staticmethod
    def _waited(wait: _Wait) -> None:
        """Put a wait that is over into words."""
        if wait.holder is None or not wait.signed:
            return
        took = f"{boot_seconds() - wait.since:.0f} s"
        if signal.SIGKILL in wait.signals:
            wait.told.append(f"killed {wait.holder}, which did not end within {took}")
        elif wait.signals:
            wait.told.append(f"asked {wait.holder} to end, which it did after {took}")
        else:
            wait.told.append(f"waited {took} for {wait.holder} to end")
        wait.holder = None

    def _note_ended(self, ended: list[str], run: Run) -> None:
        """Keep which runs `run` has ended here: they must not go on with their next step."""
        others = sorted(set(ended) - {run.id})
        known = self._ended()
        if others:
            with contextlib.suppress(OSError):  # a full disk must not keep a rollback from its work
                runs = [*known, *others][-ENDED_KEPT:]
                write_json(self.layout.ended, {"runs": runs, "by": str(run), "at": now_text()}, 0o600)

    def _ended(self) -> list[str]:
        """Ids of the runs that were ended here."""
        runs = read_mapping(self.layout.ended).get("runs")
        return [str(one) for one in runs] if isinstance(runs, list) else []

    def _check_lease(self, run: Run, gone: frozenset[str], hold: Hold) -> str | None:
        ended = read_mapping(self.layout.ended)
        if run.id in self._ended():
            raise Busy(f"run {run.id} was ended on this host by {ended.get('by')} at {ended.get('at')}: run again")
        lease = self.lease()
        if lease is None or lease.get("run", {}).get("id") == run.id:
            return None
        holder = Run.from_dict(lease.get("run", {}))
        reason = stale_reason(lease, boot_id(self.layout.root), self.clock(), self.since_boot(), gone)
        if reason is None and hold.urgent and lease.get("step") in STOPPABLE:
            self._note_ended([holder.id], run)
            reason = f"it was between two steps (last: {lease.get('step')}), and this one does not wait"
        if reason is None:
            left = (
                float(lease["until"]) - self.since_boot()
                if "until" in lease
                else float(lease["expires"]) - self.clock()
            )
            raise Busy(
                f"app {self.layout.app} is held on this host by {holder} since {holder.started} "
                f"(last step: {lease.get('step')}); wait for that run to end, "
                f"or at most {left:.0f} s for its lease to expire"
            )
        return f"took over from {holder}, started {holder.started}: {reason}"

    def _renew_lease(self, run: Run, step: str) -> None:
        """Write the lease. On a full disk the one that this run has already is good enough."""
        try:
            self._write_lease(run, step)
        except OSError:
            lease = self.lease()
            if lease is None or lease.get("run", {}).get("id") != run.id:
                raise

    def _write_lease(self, run: Run, step: str) -> None:
        write_json(
            self.layout.lease,
            {
                "run": run.to_dict(),
                "step": step,
                "boot": boot_id(self.layout.root),
                "seconds": self.seconds,
                "expires": self.clock() + self.seconds,
                "until": self.since_boot() + self.seconds,
            },
            0o600,
        )
