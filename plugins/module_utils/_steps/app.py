# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""One app on this host, as one run works on it: what all steps share.

Each step (one file each: heal, stage, weigh, trial, promote, abandon, rollback, remove) holds the app's lock, leaves
the host serving one whole generation whatever happens to it, and is safe to be killed at any instruction: what it
leaves behind is recognised and healed by heal, which every rollout begins with.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterator, Mapping, Sequence, TypeVar

from .._generation import access, generations, ledger, localfact, store, volatile
from .._generation.candidates import Candidates
from .._generation.failures import StepFailed, sentence
from .._generation.instances import Instances
from .._generation.lock import STOPPABLE, AppLock, Hold, Holder, Lease, boot_id, stale_reason, start_ticks
from .._generation.processnames import process_units_on_disk
from .._generation.record import GenerationRecord
from .._generation.reloads import Manager
from .._generation.remedies import remedies
from .._generation.run import Run
from .._os.files import read_text_file
from .._os.paths import Layout, installed_apps
from .._os.secretfiles import learn_from
from .._os.systemd import Systemd, SystemdError
from .._os.users import UserError, ensure_group
from .._plan.types import PlanError
from .._release.contents import WHEELS, ReleaseError
from .._release.releases import prune_wheels
from .._release.releases import remove as remove_release
from .watchdog import GIVE_UP_SECONDS, Watch, step_seconds, watched

T = TypeVar("T")

LOG_LINES = 1000
"""So much of an instance's log is looked through for what it was refused."""

AT_LEISURE = ("stage", "prepare", "weigh", "trial", "retune")
"""The steps that take no users from one generation to another, and may wait for words."""
WORDS_SECONDS = 5.0
"""The others wait so long in all for the journal: users are not to."""

LAST_LINES = 12
"""Of the log of one that failed, for people."""


@dataclass
class AppOnHost:
    """One app on this host, as one run works on it."""

    name: str
    run: Run
    root: str = "/"
    systemd: Systemd = field(default_factory=Manager)
    clock: Callable[[], float] = time.time
    gone: frozenset[str] = frozenset()
    say: Callable[[str], None] = lambda _: None
    """Is told what a person should know at once: for whom a step had to wait, and from whom it took the app over."""
    by_hand: bool = False
    """Whether a person runs this, whose ^C ends it after a step that switches users (watchdog)."""
    asked_to_end: int = 0
    """The signal that asked for that, once one has."""

    def __post_init__(self) -> None:
        self.layout = Layout(self.name, self.root)
        learn_from(self.layout.state)
        self.lock = AppLock(self.layout, self.clock)
        self.instances = Instances(self.layout, self.systemd, self.clock)
        self.candidates = Candidates(self.instances)

    def log(self, event: str, **fields: object) -> ledger.Entry:
        """Append an event of this run to the ledger."""
        return ledger.append(
            self.layout.ledger, event, run=self.run.id, user=self.run.user, controller=self.run.controller, **fields
        )

    @contextlib.contextmanager
    def step(self, phase: str, number: int | None = None) -> Iterator[None]:
        """Hold the lock for a step; whatever breaks becomes a StepFailed after generation `number` is abandoned.

        A step that does not end in time, or is asked to end, breaks too (watchdog).
        """
        hold = self._hold(phase, number)
        begin = self.clock()
        try:
            with self.lock.step(self.run, phase, self.gone, hold) as told, self._watched(phase, hold) as watch:
                try:
                    self._tell(told)
                    yield
                    watch.give_up()
                except (StepFailed, SystemdError, ReleaseError, UserError, PlanError, OSError) as error:
                    watch.give_up()
                    failure = error if isinstance(error, StepFailed) else StepFailed(phase, sentence(error))
                    self.stop_candidate(number)  # it takes from the live one, and the log may make one wait
                    failure.cause = "; ".join([failure.cause, *self.refused(number, begin)])
                    failure.log = self.last_lines(number, begin)
                    self.set_aside(number, failure)
                    raise failure from error
        except OSError as error:
            # The lock itself: its directory cannot be written.
            raise StepFailed(phase, sentence(error)) from error

    @contextlib.contextmanager
    def alone(self, phase: str, number: int | None = None, urgent: bool = False) -> Iterator[None]:
        """Hold the lock for a run's only or last step, which heals the host itself. `urgent`: as Hold has it."""
        hold = self._hold(phase, number, urgent)
        with contextlib.ExitStack() as stack:
            try:
                told = stack.enter_context(self.lock.alone(self.run, phase, self.gone, hold))
            except OSError as error:
                fix = f"{self.layout.state} has to be writable: Headcount keeps its lock and its ledger there"
                raise StepFailed(phase, f"{sentence(error)}: {fix}") from error
            stack.enter_context(self._watched(phase, hold))
            self._tell(told)
            yield

    def foreseen(self, decide: Callable[[], T]) -> T | None:
        """What `decide` finds before the lock is held. None where it refuses, and a step at work may change that: it
        decides again once it holds the lock. StepFailed where nothing changes it: the app is not on this host (its lock
        would make a folder), or all that an urgent step would do is to end a weigh or a trial for nothing."""
        try:
            return decide()
        except StepFailed:
            if self.name not in installed_apps(self.root) or self._would_end():
                raise
            return None

    def _would_end(self) -> bool:
        """Whether an urgent step would end what changes the app now, or its run between two steps."""
        holder = Holder.parse(read_text_file(self.layout.lock) or "")
        if holder.start and start_ticks(holder.pid) == holder.start:
            return holder.step in STOPPABLE
        lease, lock = self.lock.lease() or Lease(), self.lock
        stale = stale_reason(lease, boot_id(self.root), lock.clock(), lock.since_boot())
        return not stale and lease.get("step") in STOPPABLE

    def refused(self, number: int | None, begin: float) -> list[str]:
        """What generation `number`, or a command or process of it, was refused by its sandbox since `begin` (epoch
        seconds), by its log, in sentences that name the line to declare."""
        record = self.known(number)
        if number is None or record is None:
            return []
        further = [unit for unit in process_units_on_disk(self.layout, number) if unit.endswith(".service")]
        prepared = [self.layout.prepare_unit] if record.app.get("prepare") else []
        units = (self.layout.trial_service_unit(number), self.layout.service_unit(number), *prepared, *further)
        lines = [line for unit in units for line in self.systemd.journal(unit, begin, LOG_LINES)]
        return remedies(lines, record.app, self.layout)

    def last_lines(self, number: int | None, begin: float) -> list[str]:
        """What generation `number` logged last since `begin` (epoch seconds), as a candidate or under users; not what
        systemd says of it."""
        if number is None:
            return []
        units = (self.layout.trial_service_unit(number), self.layout.service_unit(number))
        said = [line for unit in units for line in self.systemd.said(unit, begin, LOG_LINES)]
        said = [line for line in sorted(said, key=lambda one: one.at) if line.pid != 1 and line.text.strip()]
        return [line.text for line in said[-LAST_LINES:]]

    def keeps_lost(self, number: int, trial: bool, scratch: Sequence[str]) -> list[str]:
        """The databases that an instance of generation `number`, or its candidate, keeps where they are lost."""
        unit = self.layout.trial_service_unit(number) if trial else self.layout.service_unit(number)
        found = volatile.databases(self.systemd.state(unit).main_pid, scratch, self.root)
        alone = self.layout.trial_environment(number)
        if found and trial and os.path.exists(alone):
            # A scratch database that is declared for the candidate alone is lost on purpose.
            declared = Path(alone).read_text(encoding="utf-8")
            found = [path for path in found if path not in declared]
        return found

    def losing(self, old: int, declared: Mapping[str, object]) -> str:
        """Which files users would lose with generation `old`, in a sentence; empty where none are seen.

        `declared`: the app as it will be, whose scratch counts beside the old one's own.
        """
        record = self.known(old)
        scratch = volatile.scratch_of(declared, record.app if record is not None else None)
        pid = self.systemd.state(self.layout.service_unit(old)).main_pid
        return volatile.losing_words(old, volatile.kept_files(pid, scratch, self.root))

    def _hold(self, phase: str, number: int | None, urgent: bool = False) -> Hold:
        if self.asked_to_end:
            with contextlib.suppress(OSError):
                self.lock.release(self.run)
            raise StepFailed(phase, f"not begun: {signal.Signals(self.asked_to_end).name} came during the step before")
        live = generations.live(self.layout)
        new, old = self.known(number), self.known(live)
        seconds = step_seconds(phase, new or old, old)
        self.systemd.log_left = seconds if phase in AT_LEISURE else WORDS_SECONDS
        self.candidates.seconds = seconds + GIVE_UP_SECONDS
        return Hold(seconds + GIVE_UP_SECONDS, urgent=urgent)

    def _watched(self, phase: str, hold: Hold) -> contextlib.AbstractContextManager[Watch]:
        def last_words(cause: str) -> None:
            self.log("failed", **{"from": generations.live(self.layout)}, phase=phase, cause=cause)

        def note(number: int, what: str) -> None:
            self.asked_to_end = number
            with contextlib.suppress(RuntimeError, OSError):  # it may come while something is being said
                self.say(f"{signal.Signals(number).name} came during the step {phase}: {what}")

        return watched(phase, hold.seconds - GIVE_UP_SECONDS, last_words, note if self.by_hand else None)

    def _tell(self, told: str | None) -> None:
        """Write down, and say, from whom the app was taken over."""
        if told:
            self.say(told)
            with contextlib.suppress(OSError):
                self.log("healed", did=[told])

    def known(self, number: int | None) -> GenerationRecord | None:
        """The record of generation `number`; None where there is none that can be read."""
        found = generations.record(self.layout, number) if number is not None else {}
        return GenerationRecord.from_dict(found) if found else None

    def record(self, number: int) -> GenerationRecord:
        """The record of generation `number`; StepFailed when it is not there."""
        record = self.known(number)
        if record is None:
            there = number in generations.numbers(self.layout)
            what = "has no record that can be read (generation.json)" if there else "is not on this host"
            raise StepFailed("stage", f"generation {number} of {self.name} {what}")
        return record

    def close(self) -> list[str]:
        """Keep other users of the host away from releases, generations and wheels. Returns what was done."""
        ensure_group(self.layout.group, self.systemd.runner)
        return access.close(self.layout)

    def write_local_fact(self) -> None:
        """Show what is live to `ansible -m setup` (ansible_local.headcount)."""
        live = generations.live(self.layout)
        record = self.known(live)
        told = None
        if record is not None:
            told = {
                "generation": live,
                "release": record.release,
                "listen": record.listen,
                "settings": record.settings,
            }
        localfact.update(self.layout, lambda _: told)

    def set_aside(self, number: int | None, failure: StepFailed) -> None:
        """Keep candidate `number`, which is stopped, as the bad one for diagnosis, and write down why."""
        live = generations.live(self.layout)
        release = None
        if number is not None and self._is_candidate(number):
            record = self.known(number)
            release = record.release if record is not None else None
            with contextlib.suppress(OSError):
                self._keep_for_diagnosis(number, failure.cause)
            with contextlib.suppress(OSError):
                self.drop_older_bad(number)
        with contextlib.suppress(OSError):
            self.log(
                "failed", **{"from": live}, generation=number, release=release, phase=failure.phase, cause=failure.cause
            )
        with contextlib.suppress(OSError):
            self.lock.release(self.run)

    def _is_candidate(self, number: int) -> bool:
        return number != generations.live(self.layout) and number in generations.numbers(self.layout)

    def stop_candidate(self, number: int | None) -> None:
        """Stop generation `number` where it is a candidate; what systemd has against that keeps nothing else."""
        if number is not None and self._is_candidate(number):
            with contextlib.suppress(SystemdError):
                self.candidates.stop(number)

    def _keep_for_diagnosis(self, number: int, cause: str) -> None:
        if self.known(number) is None:
            self.remove_generation(number)
            return
        if not generations.finished(self.layout, number):
            store.finish(self.layout, number)
        store.set_outcome(self.layout, number, "bad", cause)

    def drop_older_bad(self, newest_bad: int) -> None:
        """Keep of the bad generations the newest one alone, for diagnosis."""
        live = generations.live(self.layout)
        for number in generations.numbers(self.layout):
            if number < newest_bad and number != live and generations.describe(self.layout, number).status == "bad":
                self.remove_generation(number)
        self.prune_releases()

    def remove_generation(self, number: int) -> None:
        """Remove a generation that is not live, and say where that is which a person had written for its units."""
        for words in store.remove(self.layout, number):
            self.say(words)

    def prune_releases(self) -> None:
        """Remove the releases that no generation uses, and the wheels that no release is made of."""
        for release_id in store.unused_releases(self.layout):
            remove_release(Path(self.layout.release(release_id)))
        prune_wheels(os.path.join(self.root, WHEELS.lstrip("/")), self.root)
