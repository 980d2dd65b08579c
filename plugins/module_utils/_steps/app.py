# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The steps of an app's way through a host: heal, stage, weigh, trial, promote, abandon, rollback.

Each step holds the app's lock, leaves the host serving one whole generation whatever happens to it, and is safe to be
killed at any instruction: what it leaves behind is recognised and put right by heal(), which every rollout begins with.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator

from .._generation import access, generations, ledger
from .._generation.instances import Instances, StepFailed
from .._generation.lock import AppLock, Hold, Run
from .._generation.units import environment_file, render
from .._load.h2load import LoadError
from .._load.origin import elsewhere, origin
from .._os.files import make_directory, read_json, write_file, write_json
from .._os.http import answer_seconds, get, unhealthy
from .._os.paths import Layout, installed_apps
from .._os.systemd import Systemd, SystemdError
from .._os.users import UserError, ensure_group, ensure_user
from .._plan.planner import Mismatch, PlanError, plan_host, profile_mismatch
from .._plan.types import Measured, Policy
from .._release.asynccompat import verdicts
from .._release.contents import WHEELS, ReleaseError
from .._release.releases import distributions, install, prune_wheels, remove
from .._verdict.judge import Verdict, decide
from .trial import Arm, arm, missing_tool, try_candidate
from .watchdog import GIVE_UP_SECONDS, Watch, memory_bounded, step_seconds, watched
from .weigh import NotMeasured, Unit, weigh

PROMOTE_MIB = 4
"""Free room (MiB) that a promote wants to see before it begins."""


@dataclass
class AppOnHost:
    """One app on this host, as one run works on it."""

    name: str
    run: Run
    root: str = "/"
    systemd: Systemd = field(default_factory=Systemd)
    clock: Callable[[], float] = time.time
    gone: frozenset[str] = frozenset()
    say: Callable[[str], None] = lambda _: None
    """Is told what a person should know at once: for whom a step had to wait, and from whom it took the app over."""

    def __post_init__(self) -> None:
        self.layout = Layout(self.name, self.root)
        self.lock = AppLock(self.layout, self.clock)
        self.instances = Instances(self.layout, self.systemd, self.clock)

    def log(self, event: str, **fields: Any) -> dict[str, Any]:
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
        try:
            with self.lock.step(self.run, phase, self.gone, hold) as told, self._watched(phase, hold) as watch:
                try:
                    self._tell(told)
                    yield
                    watch.give_up()
                except (StepFailed, SystemdError, ReleaseError, UserError, PlanError, OSError) as error:
                    watch.give_up()
                    failure = error if isinstance(error, StepFailed) else StepFailed(phase, sentence(error))
                    self._abandon(number, failure)
                    raise failure from error
        except OSError as error:
            # The lock itself: its directory cannot be written.
            raise StepFailed(phase, sentence(error)) from error

    @contextlib.contextmanager
    def alone(self, phase: str, number: int | None = None, urgent: bool = False) -> Iterator[None]:
        """Hold the lock for a run's only or last step, which puts the host right itself. `urgent`: as Hold has it."""
        hold = self._hold(phase, number, urgent)
        with self.lock.alone(self.run, phase, self.gone, hold) as told, self._watched(phase, hold):
            self._tell(told)
            yield

    def _hold(self, phase: str, number: int | None, urgent: bool = False) -> Hold:
        live = generations.live(self.layout)
        new, old = (generations.record(self.layout, one) if one is not None else None for one in (number, live))
        seconds = step_seconds(phase, new or old, old)
        self.instances.candidate_seconds = seconds + GIVE_UP_SECONDS
        return Hold(seconds + GIVE_UP_SECONDS, urgent=urgent)

    def _watched(self, phase: str, hold: Hold) -> contextlib.AbstractContextManager[Watch]:
        def last_words(cause: str) -> None:
            self.log("failed", **{"from": generations.live(self.layout)}, phase=phase, cause=cause)

        return watched(phase, hold.seconds - GIVE_UP_SECONDS, last_words)

    def _tell(self, told: str | None) -> None:
        """Write down, and say, from whom the app was taken over."""
        if told:
            self.say(told)
            with contextlib.suppress(OSError):
                self.log("healed", did=[told])

    # -- heal ---------------------------------------------------------------------------------------------------------

    def heal(self) -> list[str]:
        """Put right what a killed run left: one whole generation serves afterwards. Returns what was done."""
        did: list[str] = []
        candidates = self.instances.candidate_running()
        self.instances.put_away(*candidates)
        did += [f"stopped the candidate {unit} that a broken run left" for unit in candidates]
        self.instances.forget_candidates()
        did += self._heal_live()
        if generations.live(self.layout) is not None:
            did += self._close()
        for number in generations.numbers(self.layout):
            if not generations.finished(self.layout, number) and number != generations.live(self.layout):
                generations.remove(self.layout, number)
                did.append(f"removed generation {number}, which was never finished")
        if did:
            self.systemd.reload()
            self.log("healed", did=did, generation=generations.live(self.layout))
        return did

    def _heal_live(self) -> list[str]:
        number = generations.live(self.layout)
        running = self.instances.running()
        public = self.layout.public_socket_unit
        if number is None:
            if running or self.systemd.state(public).load not in ("not-found", ""):
                self.instances.take_down()
                return ["took down a first deployment that never became live"]
            return []
        did = []
        if generations.link_public(self.layout):
            self.systemd.reload()
            did.append("linked the public socket to the live generation")
        generations.link_units(self.layout, number)
        states = self.systemd.states(public, self.layout.service_unit(number))
        if not states[public].running or not states[self.layout.service_unit(number)].running:
            did.append(self._start_live(number))
        for other in sorted(set(running) - {number}):
            self.instances.leave(other)
            did.append(f"stopped generation {other}, which is not live")
        did += self._complete_promote(number)
        return did

    def _start_live(self, number: int) -> str:
        """Start the live generation and wait for it. One that does not come up must not hinder the next deployment."""
        health = (generations.record(self.layout, number).get("app") or {}).get("health")
        begin = self.clock()
        try:
            self.instances.restore(number, None)
            if health:
                service = self.layout.service_unit(number)
                self.instances.wait_ready(service, self.layout.private_socket(number), health, begin)
        except (StepFailed, SystemdError) as error:
            return f"tried to start the live generation {number}, which does not come up: {error}"
        return f"started the live generation {number}"

    def _complete_promote(self, number: int) -> list[str]:
        """Write down what a run could not that ended (killed, disk full) after it had made `number` live."""
        status = generations.describe(self.layout, number).status
        before = ledger.last_live(ledger.read(self.layout.ledger))
        if (status == "good" and before == number) or not generations.record(self.layout, number):
            return []
        if not self.answers(number):
            return []
        if before != number:
            self.log(
                "rolled_back" if status == "good" else "promoted",
                **{"from": before, "to": number},
                release=self.record(number)["release"],
                completed="the run that made it live ended before it could write that down",
            )
        generations.set_outcome(self.layout, number, "good")
        self.write_local_fact()
        return [f"wrote down that generation {number} was made live"]

    # -- stage --------------------------------------------------------------------------------------------------------

    def stage(self, request: dict[str, Any]) -> dict[str, Any]:
        """Lay down release and generation beside the live one; the generation stays unfinished until it is weighed.

        `request`: app (normalised, without secrets), secrets, planning (the arguments of plan_host), digest,
        source_id, release {id, lock_text}, wheels_dir, python. Returns {generation, release, built, healed}.
        """
        app, release = request["app"], request["release"]
        with self.step("stage"):
            self._check_home()
            healed = self.heal()
            built = not os.path.isdir(self.layout.release(release["id"]))
            ensure_user(app["user"] or self.layout.user)
            self._close()
            install(
                self.name,
                release["id"],
                release["lock_text"],
                wheels_dir=request["wheels_dir"],
                python=request["python"],
                root=self.root,
            )
            planning = with_release(request["planning"], self.name, self.layout.release(release["id"]), app)
            plan, _ = replan(planning, self.name)
            number = self.next_number()
        record = {
            "release": release["id"],
            "app": {**app, "environment": {}, "secrets": {}},
            "plan": plan,
            "planning": planning,
            "digest": request["digest"],
            "source_id": request["source_id"],
        }
        self.lay_down(number, record, environment_file(app["environment"], request["secrets"]))
        return {"generation": number, "release": release["id"], "built": built, "healed": healed}

    def next_number(self) -> int:
        """The number of the next generation; none is ever used twice."""
        known = ledger.highest_generation(ledger.read(self.layout.ledger))
        return max([known, *generations.numbers(self.layout)]) + 1

    def lay_down(self, number: int, record: dict[str, Any], environment: str) -> None:
        """A step: lay down generation `number` beside the live one, unfinished; `environment` is its root-only file.

        `record`: release, app (without environment and secrets), plan, planning, digest, source_id.
        """
        with self.step("stage", number):
            generations.begin(self.layout, number, record["release"])
            write_file(self.layout.environment(number), environment, mode=0o600)
            made = {"number": number, "created": ledger.now_text(self.clock), "run": self.run.to_dict()}
            self._lay_down(number, {**record, **made})
            self._close()
            generations.link_units(self.layout, number)
            self.systemd.reload()
            self.log("staged", generation=number, release=record["release"])

    def _close(self) -> list[str]:
        """Keep other users of the host away from releases, generations and wheels. Returns what was done."""
        ensure_group(self.layout.group, self.systemd.runner)
        return access.close(self.layout)

    def _check_home(self) -> None:
        """systemd reads the units of the live generation at boot, before other file systems are mounted."""
        make_directory(os.path.dirname(self.layout.home))
        make_directory(self.layout.home, access.CLOSED)
        home, units = os.stat(self.layout.home).st_dev, os.stat(os.path.dirname(self.layout.units)).st_dev
        if home != units:
            raise StepFailed(
                "stage",
                f"{self.layout.home} is on another file system than /etc: systemd would not find the app's units at "
                "boot; keep /opt/headcount on the root file system",
            )

    def _lay_down(self, number: int, record: dict[str, Any]) -> None:
        files = render(record["app"], record["plan"], number, self.layout)
        generations.write(self.layout, number, files, record)

    def finish(self, number: int, record: dict[str, Any]) -> None:
        """Rewrite generation `number` with its final record and finish it."""
        self._lay_down(number, record)
        generations.finish(self.layout, number)
        self.systemd.reload()

    def record(self, number: int) -> dict[str, Any]:
        """generation.json of `number`; StepFailed when it is not there."""
        record = generations.record(self.layout, number)
        if not record:
            raise StepFailed("stage", f"generation {number} of {self.name} is not on this host")
        return record

    # -- weigh --------------------------------------------------------------------------------------------------------

    def weigh(self, number: int) -> dict[str, Any]:
        """Measure generation `number` with one worker, finish its plan with that, and finish the generation.

        Returns {measured, plan, mismatch, warnings_told}. A profile that the app contradicts fails here when the app
        says so (`profile_mismatch: fail`); the sentence has both figures.
        """
        with self.step("weigh", number):
            record = self.record(number)
            app, planned = record["app"], record["plan"]
            slots = max(1, int(planned["slots"]) // max(1, int(planned["settings"]["workers"]["value"])))
            try:
                boot = self.instances.start_candidate(number, app["health"], "--workers 1")
                state = self.systemd.state(self.layout.trial_service_unit(number))
                unit = Unit(state.control_group, state.main_pid)
                with memory_bounded("weigh"):
                    measured = weigh(
                        unit,
                        self.layout.trial_socket(number),
                        app["load"]["paths"],
                        slots,
                        timeout_seconds=answer_seconds(app),
                        memory_max_mib=float(planned["settings"]["memory_max_mib"]["value"]),
                    )
            except NotMeasured as error:
                raise StepFailed("weigh", str(error)) from error
            finally:
                self.instances.stop_candidate(number)
            measured["boot_seconds"] = round(boot, 2)
            planning = with_measured(record["planning"], self.name, measured)
            planning = with_release(planning, self.name, self.layout.release(record["release"]), app)
            plan, mismatch = replan(planning, self.name)
            if mismatch is not None and mismatch.severity == "fail":
                raise StepFailed("weigh", mismatch.sentence)
            self.finish(number, {**record, "planning": planning, "plan": plan, "measured": measured})
        return {
            "measured": measured,
            "plan": plan,
            "mismatch": mismatch.sentence if mismatch else None,
            "warnings_told": plan["warnings"],
        }

    # -- trial --------------------------------------------------------------------------------------------------------

    def trial(self, number: int) -> dict[str, Any]:
        """Load the candidate beside the live generation and judge it. Returns {verdict, evidence} when it may go live.

        StepFailed, with the verdict's cause, when it may not; the candidate is stopped either way.
        """
        with self.step("trial", number):
            lacking = missing_tool()
            if lacking:
                raise StepFailed("trial", lacking)
            record = self.record(number)
            app, plan = record["app"], record["plan"]
            live = generations.live(self.layout)
            begin = self.clock()
            baseline = self._arm(live, trial=False, begin=begin) if live is not None and self.answers(live) else None
            try:
                boot = self.instances.start_candidate(number, app["health"])
                with memory_bounded("trial"):
                    verdict, evidence = try_candidate(
                        app,
                        plan,
                        self._arm(number, trial=True, begin=begin),
                        baseline,
                        record.get("measured"),
                        float(record["planning"]["facts"]["cores"]["effective"]),
                    )
            except LoadError as error:
                raise StepFailed("trial", str(error)) from error
            finally:
                self.instances.stop_candidate(number)
            if elsewhere(app):
                evidence["notes"].append(f"load.from is {origin(app)}, which this host cannot ask by itself")
            evidence.update(boot_seconds=round(boot, 2), against=live if baseline is not None else None)
            return self.ruled(number, app, verdict, evidence)

    def ruled(self, number: int, app: dict[str, Any], verdict: Verdict, evidence: dict[str, Any]) -> dict[str, Any]:
        """Keep the evidence of generation `number`. {verdict, evidence} when it may go live, else StepFailed."""
        write_json(os.path.join(self.layout.generation(number), generations.EVIDENCE), evidence)
        if decide(verdict, app["on_inconclusive"]) != "promote":
            words = "" if verdict.outcome == "fail" else "inconclusive, so what is live stays: "
            raise StepFailed("trial", f"{words}{verdict.cause}", evidence)
        return {"verdict": verdict.to_dict(), "evidence": evidence}

    def answers(self, number: int) -> bool:
        """Whether generation `number` can be a baseline: it runs and its private socket answers."""
        health = self.record(number)["app"]["health"]
        answer = get(self.layout.private_socket(number), health["path"], float(health["timeout_seconds"]))
        return unhealthy(answer, health) is None

    def _arm(self, number: int, trial: bool, begin: float) -> Arm:
        unit = self.layout.trial_service_unit(number) if trial else self.layout.service_unit(number)
        socket = self.layout.trial_socket(number) if trial else self.layout.private_socket(number)
        return arm(self.systemd, unit, socket, self.memory_max(number), begin)

    def memory_max(self, number: int) -> float:
        """MemoryMax of generation `number` in MiB."""
        return float(self.record(number)["plan"]["settings"]["memory_max_mib"]["value"])

    # -- promote ------------------------------------------------------------------------------------------------------

    def promote(self, number: int, verdict: dict[str, Any] | None = None) -> dict[str, Any]:
        """Give the public socket to generation `number`, which must be finished, and verify it there.

        Returns {from, to, verified, pruned}. StepFailed when it does not hold: the generation before serves.
        """
        with self.step("promote", number):
            record = self.record(number)
            old = generations.live(self.layout)
            wrong = generations.problems(self.layout, number)
            if wrong:
                raise StepFailed("promote", f"generation {number} is not what was tried: {wrong[0]}")
            self._check_room()
            before = generations.record(self.layout, old) if old is not None else {}
            seen = self.instances.switch(old, number, record["app"], float(record["app"]["verify_seconds"]))
            # It is live and verified: what goes wrong from here on is told, and is made up for by the next heal.
            pruned: list[int] = []
            untold: list[str] = []
            try:
                self.log(
                    "promoted",
                    **{"from": old, "to": number},
                    release=record["release"],
                    plan_changes=plan_changes(before.get("plan"), record["plan"]),
                    verdict=(verdict or {}).get("outcome"),
                    evidence=(verdict or {}).get("cause"),
                    verified=seen,
                )
                generations.set_outcome(self.layout, number, "good")
                self.write_local_fact()
                pruned = self.prune(old)
            except (OSError, SystemdError) as error:
                untold.append(
                    f"generation {number} is live, but not all of it could be written down: {sentence(error)}"
                )
            with contextlib.suppress(OSError):
                self.lock.release(self.run)
        return {"from": old, "to": number, "verified": seen, "pruned": pruned, "untold": untold}

    def _check_room(self) -> None:
        """A promote writes little, but what it writes is what the next boot goes by: no start on a full disk."""
        for path in (self.layout.home, self.layout.state):
            left = os.statvfs(path)
            free_mib = left.f_bavail * left.f_frsize / 2**20
            if free_mib < PROMOTE_MIB:
                raise StepFailed(
                    "promote",
                    f"{free_mib:.1f} MiB are free at {path}, and {PROMOTE_MIB} MiB are needed: free some room there",
                )

    def prune(self, predecessor: int | None) -> list[int]:
        """Remove generations and releases that are kept for nothing."""
        live = generations.live(self.layout)
        keep = int(self.record(live)["app"]["retain"]["good"]) if live is not None else 1
        known = [generations.describe(self.layout, number) for number in generations.numbers(self.layout)]
        gone = generations.to_prune(known, live, predecessor, keep)
        for number in gone:
            generations.remove(self.layout, number)
        for release_id in generations.unused_releases(self.layout):
            remove(Path(self.layout.release(release_id)))
        prune_wheels(os.path.join(self.layout.root, WHEELS.lstrip("/")), self.layout.root)
        if gone:
            self.systemd.reload()
            self.log("pruned", generations=gone)
        return gone

    def write_local_fact(self) -> None:
        """Show what is live to `ansible -m setup` (ansible_local.headcount)."""
        live = generations.live(self.layout)
        facts = read_json(self.layout.local_fact) or {}
        if live is None:
            facts.pop(self.name, None)
        else:
            record = generations.record(self.layout, live)
            facts[self.name] = {
                "generation": live,
                "release": record.get("release"),
                "listen": record["app"]["listen"],
                "settings": {key: entry["value"] for key, entry in record["plan"]["settings"].items()},
            }
        make_directory(os.path.dirname(self.layout.local_fact))
        write_json(self.layout.local_fact, facts)

    # -- abandon ------------------------------------------------------------------------------------------------------

    def abandon(self, number: int | None, phase: str, cause: str) -> dict[str, Any]:
        """End a rollout that failed outside of a step: the candidate is stopped, the live generation stays."""
        with self.alone("abandon", number):
            self._abandon(number, StepFailed(phase, cause))
        return {"live": generations.live(self.layout)}

    def _abandon(self, number: int | None, failure: StepFailed) -> None:
        """Stop candidate `number`, keep it as the bad one for diagnosis, and write down why."""
        live = generations.live(self.layout)
        release = None
        if number is not None and number != live and number in generations.numbers(self.layout):
            with contextlib.suppress(SystemdError):
                self.instances.stop_candidate(number)
            release = generations.record(self.layout, number).get("release")
            with contextlib.suppress(OSError):
                self._keep_for_diagnosis(number, failure.cause)
            with contextlib.suppress(OSError):
                self._drop_older_bad(number)
        with contextlib.suppress(OSError):
            self.log(
                "failed", **{"from": live}, generation=number, release=release, phase=failure.phase, cause=failure.cause
            )
        with contextlib.suppress(OSError):
            self.lock.release(self.run)

    def _keep_for_diagnosis(self, number: int, cause: str) -> None:
        if not generations.record(self.layout, number):
            generations.remove(self.layout, number)
            return
        if not generations.finished(self.layout, number):
            generations.finish(self.layout, number)
        generations.set_outcome(self.layout, number, "bad", cause)

    def _drop_older_bad(self, newest_bad: int) -> None:
        for number in generations.numbers(self.layout):
            if number < newest_bad and generations.describe(self.layout, number).status == "bad":
                generations.remove(self.layout, number)
        for release_id in generations.unused_releases(self.layout):
            remove(Path(self.layout.release(release_id)))

    # -- rollback -----------------------------------------------------------------------------------------------------

    def rollback_target(self, wanted: int | None) -> int:
        """The generation to go back to; StepFailed, with the list of what there is, when it cannot be."""
        apps = installed_apps(self.root)
        if self.name not in apps:
            raise StepFailed(
                "rollback", f"there is no app {self.name!r} on this host; there are: {', '.join(apps) or 'none'}"
            )
        live = generations.live(self.layout)
        known = [generations.describe(self.layout, number) for number in generations.numbers(self.layout)]
        good = [generation.number for generation in known if generation.status == "good" and generation.number != live]
        there = (
            ", ".join(f"{item.number} ({'live' if item.number == live else item.status})" for item in known) or "none"
        )
        if live is None:
            raise StepFailed("rollback", f"{self.name} has no live generation on this host; there are: {there}")
        if wanted is None:
            wanted = predecessor(ledger.read(self.layout.ledger), live, good)
            if wanted is None:
                raise StepFailed("rollback", f"{self.name} has no good generation before {live}; there are: {there}")
        if wanted == live:
            raise StepFailed("rollback", f"generation {wanted} of {self.name} is live already; there are: {there}")
        if wanted not in good:
            raise StepFailed(
                "rollback", f"generation {wanted} of {self.name} cannot be gone back to; there are: {there}"
            )
        return wanted

    def rollback(self, wanted: int | None = None, event: str = "rolled_back") -> dict[str, Any]:
        """Go back to generation `wanted` (default: the good one before the live). Needs nothing but this host.

        A target that does not come up healthy is not kept: what is live stays live. A person's rollback does not wait
        for a weigh or a trial of another run: it ends it.
        """
        # Before the lock, which would make a folder for an app that is not there.
        number, before = self.rollback_target(wanted), generations.live(self.layout)
        with self.alone("rollback", number, urgent=event == "rolled_back"):
            target = self.rollback_target(wanted)
            old = generations.live(self.layout)
            if wanted is None and old != before:
                raise StepFailed(
                    "rollback",
                    f"generation {old} became live while this waited (it was {before}): roll back again if that is "
                    "what to leave",
                )
            try:
                healed = self.heal()
                record = self.record(target)
                wrong = generations.problems(self.layout, target)
                if wrong:
                    raise StepFailed("rollback", f"generation {target} is not intact: {wrong[0]}")
                seen = self.instances.switch(old, target, record["app"], float(record["app"]["verify_seconds"]))
            except (StepFailed, SystemdError, OSError) as error:
                cause = error.cause if isinstance(error, StepFailed) else sentence(error)
                self.log("rollback_failed", **{"from": old, "to": target}, cause=cause)
                raise StepFailed("rollback", f"generation {target} was not kept, {old} stays live: {cause}") from error
            with contextlib.suppress(OSError):
                # It serves; what cannot be written down on a full disk is made up for by the next heal.
                self.log(event, **{"from": old, "to": target}, release=record["release"], verified=seen)
                self.write_local_fact()
        return {"from": old, "to": target, "verified": seen, "healed": healed}

    # -- remove -------------------------------------------------------------------------------------------------------

    def remove(self) -> dict[str, Any]:
        """Take the app off this host: instances, units, releases, generations. The ledger stays. {removed: True}."""
        with self.alone("remove"):
            self.instances.take_down()
            self.instances.forget_candidates()
            for number in generations.numbers(self.layout):
                generations.remove(self.layout, number)
            shutil.rmtree(self.layout.home, ignore_errors=True)
            self.systemd.reload()
            self.write_local_fact()
            self.log("removed")
        return {"removed": True}


def sentence(error: BaseException) -> str:
    """An exception in words for people."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def predecessor(entries: list[dict[str, Any]], live: int, good: list[int]) -> int | None:
    """The good generation that `live` took over from when it was promoted; else the highest good number below it.

    A way back is no promotion: after 3 went back to 2, one more rollback goes to what was before 2, not to 3 again.
    """
    for entry in reversed(entries):
        if entry.get("event") == "promoted" and entry.get("to") == live:
            before = entry.get("from")
            if before in good:
                return int(before)
            break
    return max((number for number in good if number < live), default=None)


def plan_changes(before: dict[str, Any] | None, after: dict[str, Any]) -> dict[str, list[Any]]:
    """{setting: [old value, new value]} for the settings that differ."""
    old = (before or {}).get("settings", {})
    changes = {}
    for key, entry in after["settings"].items():
        was = old.get(key, {}).get("value")
        if was != entry["value"]:
            changes[key] = [was, entry["value"]]
    return changes


def file_differences(layout: Layout, app: dict[str, Any], plan: dict[str, Any]) -> list[dict[str, str]]:
    """The files of the live generation against those that a new one would have, in the form of Ansible's diff."""
    live = generations.live(layout)
    number = max([*generations.numbers(layout), ledger.highest_generation(ledger.read(layout.ledger))], default=0) + 1
    after = render(app, plan, number, layout)
    before = {} if live is None else render_live(layout, live)
    differences = []
    for name, text in after.items():
        old_name = name.replace(f"@{number}.", f"@{live}.")
        differences.append(
            {
                "before_header": f"generation {live}: {old_name}" if live is not None else "nothing deployed",
                "after_header": f"generation {number}: {name}",
                "before": before.get(old_name, ""),
                "after": text,
            }
        )
    return [entry for entry in differences if entry["before"] != entry["after"]]


def render_live(layout: Layout, live: int) -> dict[str, str]:
    """The files of the live generation as they are on disk, by name."""
    files = {}
    path = layout.generation(live)
    for name in os.listdir(path):
        if name.endswith((".socket", ".service", ".py")):
            with open(os.path.join(path, name), encoding="utf-8", errors="replace") as stream:
                files[name] = stream.read()
    return files


def with_measured(planning: dict[str, Any], name: str, measured: dict[str, Any]) -> dict[str, Any]:
    """The inputs of the plan with the measurements of app `name` in them."""
    return {**planning, "measured": {**planning.get("measured", {}), name: measured}}


def with_release(planning: dict[str, Any], name: str, release: str, app: dict[str, Any]) -> dict[str, Any]:
    """The inputs of the plan with what the built release says of the worker classes: blocked, or not installed."""
    installed = distributions(Path(release))
    free_threaded = bool(planning["facts"]["python"].get("free_threaded"))
    found = dict(verdicts(installed, app["async_libraries"], free_threaded=free_threaded))
    for worker_class in ("gevent", "eventlet"):
        if worker_class not in installed:
            found.setdefault(worker_class, f"the release was built without {worker_class}")
    return {**planning, "async_verdicts": {**planning.get("async_verdicts", {}), name: found}}


def replan(planning: dict[str, Any], name: str) -> tuple[dict[str, Any], Mismatch | None]:
    """The plan of app `name` from its inputs, and whether the app contradicts its declared profile."""
    policy = planning.get("policy")
    plan = plan_host(**{**planning, "policy": Policy(**policy) if policy else None})[name]
    app = next(app for app in planning["apps"] if app["name"] == name)
    measured = planning.get("measured", {}).get(name)
    mismatch = profile_mismatch(app, Measured.from_dict(measured) if measured else None, app["profile_mismatch"])
    return plan.to_dict(), mismatch
