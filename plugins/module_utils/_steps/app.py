# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The steps of an app's way through a host: heal, stage, weigh, trial, promote, abandon, rollback.

Each step holds the app's lock, leaves the host serving one whole generation whatever happens to it, and is safe to be
killed at any instruction: what it leaves behind is recognised and healed by heal(), which every rollout begins with.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Iterator

from .._declaration.app import App
from .._declaration.origin import is_remote
from .._generation import access, generations, ledger, truth
from .._generation.answers import HEALTH, Meanwhile, meanwhile_words, told
from .._generation.clashes import Host, clashes, shared_drop_ins
from .._generation.instances import Instances, StepFailed, Untouched
from .._generation.lock import AppLock, Hold, Run
from .._generation.units import environment_file, render
from .._load.h2load import LoadError
from .._os.files import make_directory, read_json, remove_file, write_file, write_json
from .._os.http import answer_seconds, only_redirects
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
        """Hold the lock for a run's only or last step, which heals the host itself. `urgent`: as Hold has it."""
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

    def heal(self, start: bool = True) -> list[str]:
        """Heal what a killed run left: one whole generation serves afterwards. Returns what was done.

        `start`: start the live generation where it does not run; not before a rollback, which is to wait for nothing.
        """
        did: list[str] = []
        candidates = self.instances.candidate_running()
        self.instances.put_away(*candidates)
        did += [f"stopped the candidate {unit} that a broken run left" for unit in candidates]
        self.instances.forget_candidates()
        did += self._heal_live(start)
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

    def _heal_live(self, start: bool) -> list[str]:
        running = self.instances.running()
        found = truth.live(self.layout, running)
        if found is None:
            if running or self.instances.public_loaded():
                self.instances.take_down()
                return ["took down a first deployment that never became live"]
            return []
        did, number = [], found.number
        service = self.layout.service_unit(number)
        if found.why:
            generations.activate(self.layout, number)
            did.append(f"made generation {number} live again ({found.why}): `live` led nowhere")
        if generations.link_public(self.layout):
            did.append("linked the public socket to the live generation")
        generations.link_units(self.layout, number)
        if did:
            self.systemd.reload()
        listen = str((generations.record(self.layout, number).get("app") or {}).get("listen") or "")
        if start and not (self.instances.public_open(listen) and self.systemd.state(service).running):
            did.append(self._start_live(number))
        if self.systemd.state(service).running:
            # Where the live one does not come up, whatever else serves users goes on doing so.
            # Asked anew: what had to open the public socket again may have stopped them.
            for other in sorted(set(self.instances.running()) - {number}):
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
        self.check_clashes(app)
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

    def check_clashes(self, app: dict[str, Any]) -> None:
        """Raise Untouched where units, drop-ins, folders or an account of somebody else's are in the app's way.

        The plan has refused what the probe found; this is for what came since, and for a host that was not asked.
        """
        units = (self.layout.public_socket_unit, self.layout.instance_glob, self.layout.candidate_glob)
        found = clashes(self.layout, self.systemd.matching(*units), app, Host.read(self.root, self.systemd.runner))
        if not found:
            return
        failure = Untouched("stage", "; ".join(found))
        if not os.path.exists(self.layout.ledger):
            raise failure  # nothing of the app is on this host, and nothing comes to be there
        with self.step("stage"):
            raise failure

    def next_number(self) -> int:
        """The number of the next generation; none is ever used twice, and none that a folder of others' has."""
        known = ledger.highest_generation(ledger.read(self.layout.ledger))
        return max([known, *generations.taken_numbers(self.layout)]) + 1

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
        """Rewrite generation `number` with its final record and finish it.

        What the host gives to all services by drop-ins is noted: the generation is tried with that.
        """
        host = Host.read(self.root, self.systemd.runner)
        self._lay_down(number, {**record, "drop_ins": shared_drop_ins(self.layout, host.files)})
        generations.finish(self.layout, number)
        self.systemd.reload()

    def record(self, number: int) -> dict[str, Any]:
        """generation.json of `number`; StepFailed when it is not there."""
        record = generations.record(self.layout, number)
        if not record:
            there = number in generations.numbers(self.layout)
            what = "has no record that can be read (generation.json)" if there else "is not on this host"
            raise StepFailed("stage", f"generation {number} of {self.name} {what}")
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
            broken = self.broken(live)
            baseline = self._arm(live, trial=False, begin=begin) if live is not None and not broken else None
            try:
                boot = self.instances.start_candidate(number, app["health"])
                self.fail_if_redirected(number, app)
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
            if broken:
                evidence["notes"].append(broken)
            load = App.from_dict(app).load
            if is_remote(load):
                evidence["notes"].append(f"load.from is {load.origin}, which this host cannot ask by itself")
            evidence.update(boot_seconds=round(boot, 2), against=live if baseline is not None else None)
            return self.ruled(number, app, verdict, evidence)

    def fail_if_redirected(self, number: int, app: dict[str, Any]) -> None:
        """StepFailed, before any load, when a path of the load only ever redirects: nothing would be measured of it."""
        wrong = only_redirects(self.layout.trial_socket(number), app["load"]["paths"], answer_seconds(app))
        if wrong:
            raise StepFailed("trial", wrong)

    def ruled(self, number: int, app: dict[str, Any], verdict: Verdict, evidence: dict[str, Any]) -> dict[str, Any]:
        """Keep the evidence of generation `number`. {verdict, evidence} when it may go live, else StepFailed."""
        write_json(os.path.join(self.layout.generation(number), generations.EVIDENCE), evidence)
        if decide(verdict, app["on_inconclusive"]) != "promote":
            words = "" if verdict.outcome == "fail" else "inconclusive, so what is live stays: "
            raise StepFailed("trial", f"{words}{verdict.cause}", evidence)
        return {"verdict": verdict.to_dict(), "evidence": evidence}

    def answers(self, number: int) -> bool:
        """Whether generation `number` runs and its private socket answers its health check."""
        return self.instances.look(number).rank < HEALTH

    def broken(self, live: int | None) -> str:
        """Why the live generation is no yardstick for a candidate, in a sentence; empty where it is, or there is none.

        One that does not serve its users well is not loaded on top of that, and holds up no rollout.
        """
        if live is None:
            return ""
        seen = self.instances.look(live)
        if seen.well:
            return ""
        return (
            f"the live generation {live} was not loaded beside the candidate, because it is broken itself "
            f"({seen.detail}); judged by the absolute limits alone"
        )

    def _arm(self, number: int, trial: bool, begin: float) -> Arm:
        unit = self.layout.trial_service_unit(number) if trial else self.layout.service_unit(number)
        socket = self.layout.trial_socket(number) if trial else self.layout.private_socket(number)
        files = self.layout.instance_files(number, trial)
        found = arm(self.systemd, unit, socket, self.memory_max(number), begin, files)
        return found if trial else replace(found, listen=str(self.record(number)["app"]["listen"]))

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
            seen = self._switch(old, number, record["app"])
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
                    told=told(old, seen) or None,
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
        return {"from": old, "to": number, "verified": seen, "pruned": pruned, "told": [*told(old, seen), *untold]}

    def _switch(self, old: int | None, new: int, app: dict[str, Any], lenient: bool = False) -> dict[str, Any]:
        """Instances.switch(), with what users got meanwhile: counted in its result, and in the cause when it failed."""
        before = generations.record(self.layout, old).get("app") if old is not None else None
        shared = old is not None and self.instances.same_address(old, new)
        with Meanwhile(app["listen"] if shared else None, app) as users:
            try:
                seen = self.instances.switch(old, new, app, float(app["verify_seconds"]), before, lenient)
            except StepFailed as failure:
                words = meanwhile_words(users.told())
                failure.cause += f"; {words}" if words else ""
                raise
        got = users.told()
        return {**seen, **({"users": got} if got else {})}

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
        record = generations.record(self.layout, live) if live is not None else {}
        if not record:
            facts.pop(self.name, None)
        else:
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
        found = truth.live(self.layout, self.instances.running())
        there = truth.listed(self.layout, found.number if found else None)
        if found is None:
            raise StepFailed("rollback", f"{self.name} has no live generation on this host; there are: {there}")
        live = found.number
        if wanted is None and found.why == truth.NEWEST:
            return live  # what was live is gone from the disk: this is the good one before it
        if wanted is None:
            wanted = truth.rollback_target(self.layout, live)
            if wanted is None:
                raise StepFailed("rollback", f"{self.name} has no good generation before {live}; there are: {there}")
        if wanted == live and not found.why:
            raise StepFailed("rollback", f"generation {wanted} of {self.name} is live already; there are: {there}")
        if generations.describe(self.layout, wanted).status != "good":
            raise StepFailed(
                "rollback", f"generation {wanted} of {self.name} cannot be gone back to; there are: {there}"
            )
        return wanted

    def rollback(self, wanted: int | None = None, event: str = "rolled_back") -> dict[str, Any]:
        """Go back to generation `wanted` (default: the good one before the live). Needs nothing but this host.

        A target that does not come up healthy is not kept: what is live stays live. A live one that is broken is waited
        for no longer than its drain takes. A person's rollback does not wait for a weigh or a trial of another run: it
        ends it. Returns {from, to, verified, healed, told (sentences for people)}.
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
                healed = self.heal(start=False)
                old = generations.live(self.layout)
                if old == target:  # only the link to it was lost
                    healed += self.heal()
                    return {"from": old, "to": target, "verified": {}, "healed": healed, "told": healed}
                wrong = generations.problems(self.layout, target)
                if wrong:
                    raise StepFailed("rollback", f"generation {target} is not intact: {wrong[0]}")
                record = self.record(target)
                if old is not None and self.instances.look(old).well:
                    self._prove(target, record["app"])
                seen = self._switch(old, target, record["app"], lenient=True)
            except (StepFailed, SystemdError, OSError) as error:
                cause = error.cause if isinstance(error, StepFailed) else sentence(error)
                self.log("rollback_failed", **{"from": old, "to": target}, cause=cause)
                raise StepFailed("rollback", f"generation {target} was not kept, {old} stays live: {cause}") from error
            with contextlib.suppress(OSError):
                # It serves; what cannot be written down on a full disk is made up for by the next heal.
                self.log(
                    event,
                    **{"from": old, "to": target},
                    release=record["release"],
                    verified=seen,
                    told=told(old, seen) or None,
                )
                self.write_local_fact()
        return {"from": old, "to": target, "verified": seen, "healed": healed, "told": told(old, seen)}

    def _prove(self, number: int, app: dict[str, Any]) -> None:
        """Start generation `number` beside a live one that is well, and look at it: users are not to meet a broken one.

        Where the live one is broken there is nothing to spare them, and no time to lose.
        """
        try:
            self.instances.start_candidate(number, app["health"])
            seen = self.instances.look(number, app, self.layout.trial_socket(number))
        finally:
            self.instances.stop_candidate(number)
        if not seen.well:
            raise StepFailed("rollback", seen.detail)

    # -- remove -------------------------------------------------------------------------------------------------------

    def remove(self) -> dict[str, Any]:
        """Take the app off this host: instances, units, releases, generations. The ledger stays.

        Returns {removed: True, left: what of somebody else's is in the app's folder, and stays}. StepFailed where
        nothing of that name is Headcount's.
        """
        if self.name not in installed_apps(self.root):
            raise Untouched("remove", f"{self.layout.home} is not Headcount's and is not touched")
        with self.alone("remove"):
            self.instances.take_down()
            self.instances.forget_candidates()
            for number in generations.numbers(self.layout):
                generations.remove(self.layout, number)
            left = self._remove_home()
            self.systemd.reload()
            self.write_local_fact()
            self.log("removed", left=left or None)
        return {"removed": True, "left": left}

    def _remove_home(self) -> list[str]:
        """Remove the app's folder, but for what Headcount did not make: that is returned."""
        for release_id in generations.unused_releases(self.layout):
            remove(Path(self.layout.release(release_id)))
        for folder in (self.layout.generations, self.layout.releases, self.layout.home):
            names = os.listdir(folder) if os.path.isdir(folder) else []
            for name in names:
                if name.startswith((".headcount-", ".live.")):
                    remove_file(os.path.join(folder, name))
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        if not os.path.isdir(self.layout.home):
            return []
        return [os.path.join(self.layout.home, name) for name in sorted(os.listdir(self.layout.home))]


def sentence(error: BaseException) -> str:
    """An exception in words for people."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__


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
    app = next(App.from_dict(app) for app in planning["apps"] if app["name"] == name)
    measured = planning.get("measured", {}).get(name)
    mismatch = profile_mismatch(app, Measured.from_dict(measured) if measured else None, app.profile_mismatch)
    return plan.to_dict(), mismatch
