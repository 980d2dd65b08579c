# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The guard: after a promote the host watches what users get, and goes back by itself, with no controller.

It runs as a transient unit of its own, which goes on where its process is killed. One that is begun again takes what
the recorder has counted meanwhile, and as many looks as being sure takes, be its time over or not. It ends when its
time is over, when another generation is made live, and with the host: after a restart nobody guards, as nothing is left
of what was counted until then, and a host that has just begun is no measure. Where it ends before its time it says from
when to when it watched. What it is about to go back from it writes down first, so that whoever comes next on the app
can say it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Callable

from .._declaration.app import Health
from .._declaration.patience import flight_seconds
from .._generation import generations, goingback, hoarding
from .._generation.failures import StepFailed, sentence
from .._generation.goingback import GoingBack
from .._generation.ledger import now_text
from .._generation.lock import Busy, boot_id, boot_seconds
from .._os.systemd import SystemdError, UnitState
from .._steps import guarding
from .._steps.app import AppOnHost
from .._steps.guarding import Orders
from .._steps.heal import heal
from .._steps.rollback import rollback
from .._verdict.guarding import AGREE, LOOK_EVERY_S, WINDOW_S, Instance, Reading, Watch
from .._verdict.types import short
from .._watch.view import AppView, InstanceView, app_view, kernel_view
from . import got

AGAIN_S = 60.0
"""A way back that failed is tried again after so long."""

DEAD_S = 30.0
"""So long beyond the time that it may take to start, an instance that systemd does not get up is dead."""

HEARS = 3
"""So often a look asks systemd that does not hear it: it goes by the kernel then."""

HOARDED = 2
"""Looks of the last WINDOW_S at which it has taken the room of what is gone back to: it leaves first then."""

OOM_SAID, ASK_S = "fe6faa94e7774663a0da52717891d8ef", 5.0
"""systemd's MESSAGE_ID of a unit of which the OOM killer ended a process, and how long the journal may take to tell."""

View = Callable[[], AppView]


def guard(
    app: AppOnHost,
    sleep: Callable[[float], object] | None = None,
    view: View | None = None,
    now: Callable[[], float] = boot_seconds,
) -> str:
    """Watch until the time is over, or until `sleep` tells that it is to end; what came of it, in a sentence."""
    orders, sleep = Orders.read(app.layout), sleep or _until_asked()
    if orders is None or orders.end or orders.boot != boot_id(app.root):
        return "there is nothing to guard"
    systemd = replace(app.systemd, deaf_looks=HEARS)
    guarded = _Guarded(app, orders, view or (lambda: app_view(app.name, app.root, systemd)))
    until = guarded.until(now())
    while now() < until:
        asked = sleep(LOOK_EVERY_S)
        if generations.live(app.layout) != orders.generation:
            break
        if asked:
            told = f"{guarding.cut_short(app, orders, app.clock(), _who_asked(app, orders))}; {guarded.conclusion()}"
            return guarded.end(told, told)
        guarding.looked(app.layout)
        done = guarded.look(now())
        if done:
            return done
    if generations.live(app.layout) != orders.generation:
        return _leave(app, orders)
    return guarded.end(guarded.conclusion(), guarding.WHOLE)


def _leave(app: AppOnHost, orders: Orders) -> str:
    """Another generation is live. Where this guard was killed on its way there, what it left serving users leaves."""
    number, told = orders.generation, ""
    try:
        if goingback.unsaid(app.layout, generations.live(app.layout)) or number in app.instances.running():
            with app.alone("heal", number):
                did = heal(app)
            told = f", and healed what was left: {'; '.join(did)}" if did else ""
    except Busy:
        pass  # whoever works on the app began with that, or is about to stop it
    except (StepFailed, SystemdError, OSError) as error:
        said = error.cause if isinstance(error, StepFailed) else sentence(error)
        told = f"; what was left could not be healed, the next run on the app tries again: {said}"
    with contextlib.suppress(OSError):
        guarding.conclude(app)
    return f"generation {number} is not live any more; its guard ends{told}"


def _until_asked() -> Callable[[float], object]:
    """Sleeps for so many seconds, or until this process is asked to end (SIGTERM); then it tells so."""
    heard, tell = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(tell, b"."))
    return lambda seconds: select.select([heard], [], [], seconds)[0]


def _who_asked(app: AppOnHost, orders: Orders) -> str:
    going_down = app.systemd.runner(["systemctl", "is-system-running"], 5.0).out.strip() == "stopping"
    return "the host was shut down" if going_down else f"{guarding.unit(app.layout, orders.generation)} was stopped"


def _seen(look: View) -> AppView | None:
    """How the app runs; None while nobody answers, or it cannot be read."""
    try:
        return look()
    except (SystemdError, OSError):
        return None


def _planned(current: InstanceView) -> Instance:
    return Instance(current.memory_max_mib, current.slots, current.patience_s)


def _reading(current: InstanceView, waiting: int | None, at: float, said: int) -> Reading:
    assert current.counts is not None
    memory, tally = current.memory, current.counts.tally
    memory_mib, filled = (memory.anon_mib, memory.filled) if memory else (None, None)
    return Reading(at, tally, memory_mib, current.oom_kills, waiting, filled, current.restarts, said)


@dataclass(frozen=True)
class _Attempt:
    """A start of the instance: when it was seen first (seconds since the boot), and what had been answered by then."""

    invocation: str
    since: float
    ended: int


@dataclass
class _Guarded:
    """The generation that the orders name, under watch. `failed`: why it did not go back, where it should have;
    it tries again from `again` on (seconds since the boot; 0 before it failed). `down`: that it does not come up, and
    since when. `attempt`: the last start that systemd says is up. `hoarding`: so many of the last looks, in a row,
    could begin nothing, as it has taken all. `crowding`: when it had taken the room of what is gone back to, and what
    was seen of that. `got`: what its users got, once it was to go back. `restarts`: how often systemd had started it
    again at the last look, `said`: how often it said by then that the OOM killer had come."""

    app: AppOnHost
    orders: Orders
    view: View
    watch: Watch | None = None
    uncounted: str = ""
    failed: str = ""
    again: float = 0.0
    down: tuple[str, float] | None = None
    attempt: _Attempt | None = None
    hoarding: int = 0
    crowding: deque[tuple[float, str]] = field(default_factory=deque)
    got: str | None = None
    restarts: int = 0
    said: int = 0

    def until(self, now: float) -> float:
        """When it is to end: with its time, but one that was killed and is begun again has the looks that it takes to
        tell whatever can be told."""
        record, orders = self.app.known(self.orders.generation), self.orders
        if now - self._began < LOOK_EVERY_S:
            return orders.until
        patience_s = flight_seconds(record.app if record is not None else {})
        longest_s = max(WINDOW_S + patience_s, self._boot_seconds() + DEAD_S)
        return max(orders.until, now + longest_s + (AGREE + 2) * LOOK_EVERY_S)

    @property
    def _began(self) -> float:
        return self.orders.until - 60 * self.orders.minutes

    def _agreed(self) -> int:
        """With how many looks it begins: one that was sure before it was killed needs no more than what is counted."""
        going = goingback.GoingBack.read(self.app.layout)
        sure = going is not None and going.generation == self.orders.generation
        return AGREE - 1 if sure else 0

    def look(self, now: float) -> str:
        """Look at it, and go back once it is sure: what came of that, in a sentence; empty while it is watched on."""
        seen = _seen(self.view)
        answered, self.hoarding = seen is not None, self.hoarding if seen is None else 0
        seen = seen if seen is not None else _seen(lambda: kernel_view(self.app.name, self.app.root))
        current = seen.current if seen is not None else None
        self._crowds(now)
        dead = self._dead(current, now) if answered else self._hoards()
        if dead:
            return self._go_back(dead, now) if now >= self.again else ""
        if seen is None or current is None or current.generation != self.orders.generation or current.counts is None:
            self.uncounted = current.uncounted if current is not None else ""
            return ""
        planned, asked = _planned(current), self.orders.counted.ended
        self.watch = self.watch or Watch(
            current.limits, self.orders.before, planned, asked=asked, agreed=self._agreed()
        )
        breach = self.watch.look(_reading(current, seen.waiting, now - self._began, self._oom_said(current)))
        return self._go_back(breach, now) if breach and now >= self.again else ""

    def end(self, told: str, how: str) -> str:
        """Write down what it came to and how it ended; the former in a sentence."""
        with contextlib.suppress(OSError):
            self.app.log("guarded", generation=self.orders.generation, evidence=told)
        with contextlib.suppress(OSError):  # what one before it was about to go back from, and did not
            goingback.forget(self.app.layout)
        guarding.over(self.app, self.orders, how)
        return f"generation {self.orders.generation}: {told}"

    def conclusion(self) -> str:
        """What is to be said when the time is over."""
        if self.failed:
            return self.failed
        if self.down is not None:
            return f"it cannot tell: {self.down[0]}"
        if self.watch is not None:
            return self.watch.conclusion()
        why = f": {self.uncounted}" if self.uncounted else ""
        return f"not enough traffic to tell (nothing was counted{why})"

    def _dead(self, current: InstanceView | None, now: float) -> str:
        """That it does not come up by itself any more, once that is sure. One that somebody stopped is not dead."""
        name = self.app.layout.service_unit(self.orders.generation)
        try:
            state = self.app.systemd.state(name)
        except SystemdError:
            return ""
        if state.active == "inactive" or (state.running and self._up(state, current, now)):
            self.down = None
        if state.active == "inactive" or state.running:
            return ""
        since = self.down[1] if self.down is not None else now
        self.down = (f"{name} is {state.active}, and has not run for {short(now - since)} s", since)
        return self.down[0] if now - since > self._boot_seconds() + DEAD_S else ""

    def _hoards(self) -> str:
        """That it has taken the last process of this host, once AGREE looks in a row have found so."""
        found = hoarding.hoard(self.app.layout, self.orders.generation)
        if found is None or not hoarding.nothing_begins(self.app.systemd):
            self.hoarding = 0
            return ""
        self.hoarding += 1
        return found.words() if self.hoarding >= AGREE else ""

    def _crowds(self, now: float) -> None:
        """Note whether it has taken the room of what is gone back to. What takes threads without end has its workers
        ended now and then: that there is room at one moment tells nothing of the next."""
        with contextlib.suppress(OSError):
            words = hoarding.crowds_out(self.app.layout, self.orders.generation, self.orders.back_to)
            if words:
                self.crowding.append((now, words))
        while self.crowding and self.crowding[0][0] < now - WINDOW_S:
            self.crowding.popleft()

    def _crowded(self) -> str:
        """That it has, at enough of the last looks, in a sentence."""
        looks = len(self.crowding)
        return f"at {looks} looks of the guard {self.crowding[-1][1]}" if looks >= HOARDED else ""

    def _oom_said(self, current: InstanceView) -> int:
        """How often systemd said since the promote that the OOM killer came for it. That is asked after each start that
        systemd made: what came for the master, whose counts went with it, nothing else tells."""
        if current.restarts > self.restarts and self.orders.at:
            which = ["_PID=1", f"UNIT={current.unit}", f"MESSAGE_ID={OOM_SAID}", f"--since=@{int(self.orders.at)}"]
            with contextlib.suppress(SystemdError, OSError):
                done = self.app.systemd.runner(["journalctl", "--no-pager", "-q", *which, "-o", "cat"], ASK_S)
                self.said = max(self.said, len(done.out.splitlines()))
        self.restarts = current.restarts
        return self.said

    def _up(self, state: UnitState, current: InstanceView | None, now: float) -> bool:
        """Whether that start has come up, and is not another one that is about to fail: systemd calls it active as soon
        as the master runs, before a worker has imported the app."""
        ended = current.counts.tally.ended if current is not None and current.counts is not None else 0
        if self.attempt is None or self.attempt.invocation != state.invocation:
            self.attempt = _Attempt(state.invocation, now, ended)
        return ended > self.attempt.ended or now - self.attempt.since >= self._boot_seconds()

    def _boot_seconds(self) -> float:
        record = self.app.known(self.orders.generation)
        health = Health.from_dict(record.app.get("health") or {}) if record is not None else Health()
        return health.boot_seconds

    def _go_back(self, breach: str, now: float) -> str:
        """Go back, and write down why; empty where it is to be tried again."""
        app, number = self.app, self.orders.generation
        cause = f"users were served worse after the promote: {breach}{self._users_got(breach)}"
        going = self._going(cause)
        with contextlib.suppress(OSError):  # where a full disk does not take it, it goes back all the same
            going.write(app.layout)
        try:
            done = rollback(app, self.orders.back_to, event="reverted", hoards=self._crowded())
        except Busy as error:
            self.failed = f"{cause}; it could not go back: {error}"
            return ""
        except (StepFailed, SystemdError, OSError) as error:
            said = error.cause if isinstance(error, StepFailed) else sentence(error)
            if not self.again:
                with contextlib.suppress(OSError):
                    app.log("failed", generation=number, phase="guard", cause=f"{cause}; {said}")
            self.failed, self.again = f"{cause}; {said}", now + AGAIN_S
            with contextlib.suppress(OSError):
                goingback.forget(app.layout)
            return ""
        told = f"generation {done['to']} is live again: {cause}"
        try:
            guarding.conclude(app, going)
        except OSError as error:
            return f"{told}; the ledger does not say so yet: {sentence(error)}"
        return told

    def _users_got(self, breach: str) -> str:
        """What its users got, to be put behind the breach: asked once, as the journal may take its time."""
        if self.got is None:
            tally = self.watch.readings[-1].tally if self.watch is not None and self.watch.readings else None
            slow, self.got = "took longer than" in breach, ""
            with contextlib.suppress(SystemdError, OSError):
                since = tally.after(self.orders.counted) if tally is not None else None
                self.got = got.words(self.app, self.orders.generation, since, self.orders.at, slow)
        return f"; {self.got}" if self.got else ""

    def _going(self, cause: str) -> GoingBack:
        orders, record = self.orders, self.app.known(self.orders.generation)
        whence = (record.release, record.source_id, record.digest) if record is not None else (None, None, None)
        return GoingBack(orders.generation, orders.back_to, now_text(self.app.clock), cause, *whence)
