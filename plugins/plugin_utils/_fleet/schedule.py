# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Plans the hosts of a play: reads what Ansible knows, asks for sources and wheels, keeps the plans in the notes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Callable

from ...module_utils._declaration.app import App
from ...module_utils._declaration.digests import secrets_digest
from ...module_utils._declaration.normalise import Declaration, fleet_counts
from ...module_utils._plan.planner import plan_each
from ...module_utils._plan.size import ASYNC
from ...module_utils._plan.types import Policy
from .._edge import Json, Variables
from .._wheels.gathered import Platform, WheelSet
from .._wheels.tools import OF_THE_CONTROLLER, ResolutionConflict, WheelhouseError
from . import batches, builds, choice, twins
from .decision import (
    FAILED,
    OK,
    UNREACHABLE,
    AppDecision,
    Circumstances,
    HostDecision,
    Known,
    decide_host,
    without_probe,
)
from .declared import base_dirs, declarations, exporter_listen, locate, plain
from .gathering import Gathering, Wanted, form_words, source_key, verdicts
from .prepares import prepared_anywhere
from .runs import Notes, gone
from .verdicts import counts_as_failed, failed_before, hold

if TYPE_CHECKING:
    from .loadhosts import LoadHost

PROBE = "headcount__probe"

BUILDERS, PENDING, EXPORTERS = "headcount__builders", "headcount__pending", "headcount__exporters"
"""Groups of the hosts that later plays are for: those that build wheels, those that will change, in order, and those
whose exporter is not as declared."""

_ATTEMPTS = 3
"""How often wheels are gathered for a host: that a class is ruled out and a Gunicorn is pinned may both show late."""


@dataclass(frozen=True)
class Rules:
    """When a rollout stops, how long it waits between batches, and what then happens to hosts that were promoted."""

    max_failed: int
    wait_seconds: float
    on_failure: str


@dataclass(frozen=True)
class Gathered:
    """What gathering wheels brought to light for an app: what its release will hold, by name and version, the version
    of Gunicorn that the project pins, and the worker classes whose packages its pins exclude, with the reason."""

    installed: Mapping[str, str] = field(default_factory=dict)
    gunicorn: str = ""
    conflicts: Mapping[str, str] = field(default_factory=dict)

    def after(self, before: Gathered | None) -> Gathered:
        """This, and what was found out before: what the pins exclude stays excluded."""
        if before is None:
            return self
        return Gathered(self.installed, self.gunicorn or before.gunicorn, {**before.conflicts, **self.conflicts})


@dataclass
class Schedule:
    """What a run does on all hosts, and who goes when. `stopped` says why no host is touched, although some should be.

    `held`: which apps wait on all hosts, and why, in sentences.
    `builds`: what which host has to build from source, before the plan can be made again and be whole.
    `warnings`: what a person should know of the sources; `forms`: what each app that is to change is released as, and
    why.
    """

    notes: Notes
    gone: list[str]
    hosts: list[HostDecision]
    order: list[str] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    stopped: str | None = None
    held: list[str] = field(default_factory=list)
    rules: Rules | None = None
    mode: str = "rollout"
    hooks: dict[str, dict[str, str | None]] = field(default_factory=dict)
    builds: dict[str, list[builds.Request]] = field(default_factory=dict)
    load_hosts: list[LoadHost] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    forms: dict[str, str] = field(default_factory=dict)

    @property
    def exporters(self) -> list[str]:
        """Hosts whose exporter is not as declared; one on which nothing is deployed, nor will be, is left alone."""
        return [
            host.host
            for host in self.hosts
            if host.exporter and any(app.live or app.pending for app in host.apps.values())
        ]

    @property
    def groups(self) -> list[dict[str, str]]:
        """Which host belongs into which group of the later plays, those that will change in their order."""
        members = {BUILDERS: self.builds, PENDING: self.order, EXPORTERS: self.exporters}
        return [{"host": host, "group": group} for group, hosts in members.items() for host in hosts]

    def to_result(self) -> dict[str, object]:
        """What later plays need to know, and no more: it becomes a variable of every host."""
        pending = {host.host: host for host in self.hosts if host.pending}
        return {
            "run": self.notes.run().to_dict(),
            "notes": str(self.notes.path),
            "gone": self.gone,
            "order": self.order,
            "batches": self.batches,
            "stopped": self.stopped,
            "builds": {host: [request.what for request in wanted] for host, wanted in self.builds.items()},
            "apps": {host.host: {name: host.apps[name].action for name in host.pending} for host in self.hosts},
            "unreachable_hosts": {host.host: host.cause for host in self.hosts if host.status == UNREACHABLE},
            "failed_hosts": {host.host: host.causes[0] for host in self.hosts if counts_as_failed(host)},
            "failed_apps": failed_before(self.hosts),
            "packages": _packages(pending),
            "prepares": {name: _prepares(host) for name, host in pending.items()},
            "hooks": {name: self.hooks.get(name, {}) for name in pending},
            "load_hosts": self.load_hosts,
            "groups": self.groups,
            "settings": asdict(self.rules) if self.rules else {},
            "mode": self.mode,
            "load_seconds": _load_seconds(pending.values()),
        }


def _prepares(host: HostDecision) -> list[str]:
    """The apps of a host whose candidates wait for commands."""
    return [name for name in host.pending if host.apps[name].prepare]


def _load_seconds(hosts: Iterable[HostDecision]) -> dict[str, float]:
    """For how long each app that is to change is loaded."""
    apps = [app for host in hosts for name in host.pending for app in host.apps[name].planning.get("apps") or []]
    return {app["name"]: app["load"]["seconds"] for app in apps}


def _warnings(hosts: Sequence[HostDecision]) -> list[str]:
    """What a person should know of what is about to be deployed, each with its host and app."""
    return [
        f"{host.host}: {app.name}: {words}"
        for host in hosts
        for app in (host.apps[name] for name in host.pending)
        for words in app.warnings
    ]


def _packages(pending: Mapping[str, HostDecision]) -> dict[str, list[str]]:
    """Packages that each host lacks for its rollout."""
    if not pending:
        return {}
    from .loadhosts import missing_packages

    return {name: missing_packages(host.facts) for name, host in pending.items()}


class Scheduler:
    """Puts the plan of a fleet together."""

    def __init__(
        self,
        variables: Variables,
        templar: Any,
        notes: Notes,
        mode: str,
        check: bool,
        display: Callable[[str], None],
    ) -> None:
        self.variables = variables
        self.templar = templar
        self.notes = notes
        self.mode = mode
        self.check = check
        work = notes.work
        self.gone = [run for run in gone(work) if run != notes.id]
        self.gathering = Gathering(work / "wheelhouse", display)
        self._secrets: dict[str, str] = {}
        self._unbuilt = builds.Pending()
        self._attempts = builds.attempts(notes)
        self._noted: set[str] = set()
        self._forms: dict[str, str] = {}

    def plan(self) -> Schedule:
        """Plan all hosts of the play, gather what they will need, and put them in order."""
        names = [str(host) for host in self.variables["ansible_play_hosts_all"]]
        declared = {item.host: item for item in declarations(names, self.variables, self.templar)}
        only = tuple(next(iter(declared.values())).variables.get("headcount_app") or ())
        hostvars = self.variables["hostvars"]
        probes = [(hostvars.raw_get(name).get(PROBE) or {}).get("apps") or {} for name in names]
        circumstances = Circumstances(
            self._fleet(declared),
            self.gone,
            self.mode == "retune",
            only,
            prepared_anywhere(probes),
            bool(next(iter(declared.values())).variables.get("headcount_retry")),
        )
        hosts = []
        for name in names:
            raw = hostvars.raw_get(name)
            hosts.append(self._host(declared[name], raw, circumstances))
        told = twins.refuse(hosts)
        found: dict[str, list[builds.Request]] = {}
        # What a plan or a check says is what its rollout would find; drift is asked for often, and waits for no index.
        if self.mode != "drift":
            pending = [host for host in hosts if host.pending]
            self._gather(pending, declared, circumstances)
            found = self._builds(hosts, declared)
            if pending:
                from .._wheels.pruning import prune

                prune(self.gathering.cache)
        # With builds to come, who goes when is not known yet.
        fleet = Schedule(self.notes, self.gone, hosts, mode=self.mode, builds=found)
        if not found:
            fleet = self._schedule(hosts, declared)
        fleet.warnings = [*told, *_warnings(hosts), *self.gathering.notes]
        fleet.forms = self._forms
        for host in hosts:
            self.notes.write_decision(host)
        return fleet

    def _fleet(self, declared: Mapping[str, Declaration]) -> dict[str, int]:
        """How many hosts run each app. Hosts outside of the play (--limit, a host that pulls) share a database too."""
        found = list(declared.values())
        if any(app["database"]["max_connections"] is not None for host in found for app in host.apps):
            hostvars = self.variables["hostvars"]
            everyone = [str(host) for host in self.variables["groups"]["all"]]
            others = [host for host in everyone if host not in declared and "headcount_apps" in hostvars.raw_get(host)]
            found += declarations(others, self.variables, self.templar)
        return fleet_counts(found)

    # -- one host -----------------------------------------------------------------------------------------------------

    def _host(
        self,
        declared: Declaration,
        variables: Variables,
        circumstances: Circumstances,
        gathered: Mapping[str, Gathered] | None = None,
    ) -> HostDecision:
        """`gathered`: what the release of each app will hold, or cannot, once that is known."""
        address = self._address(declared.host, variables)
        probe = plain(variables.get(PROBE))
        missing = without_probe(declared.host, probe, address)
        if missing is not None:
            return missing
        folders = base_dirs(variables_for_paths(self.variables, variables), declared.variables["headcount_base_dir"])
        unfit = probe["facts"]["python"].get("problem")
        if unfit:
            return HostDecision(declared.host, FAILED, str(unfit), address)
        try:
            platform = Platform.from_facts(probe["facts"])
        except WheelhouseError as error:
            return HostDecision(declared.host, FAILED, f"source: {error}", address)
        ids: dict[str, str] = {}
        lacking: dict[str, str] = {}
        ruled_out, gunicorn = {}, {}
        for app in declared.apps:
            name = app["name"]
            try:
                located = self.gathering.locate(app, folders)
                ids[name] = self.gathering.identity(located)
            except WheelhouseError as error:
                lacking[name] = f"source: {error}"
                continue
            found, locked = (gathered or {}).get(name) or Gathered(), self.gathering.locked(located, platform)
            ruled_out[name] = {**found.conflicts, **verdicts(app, found.installed or locked)}
            pinned = found.gunicorn or locked.get("gunicorn", "")
            if pinned:
                gunicorn[name] = pinned
        policy = Policy(
            rollout_headroom=declared.variables["headcount_rollout_headroom"],
            reserve_memory_mib=declared.variables["headcount_reserve_memory_mib"],
        )
        return decide_host(
            declared.host,
            declared.apps,
            probe,
            Known(
                ids,
                {app["name"]: self._secrets_digest(app) for app in declared.apps},
                ruled_out,
                address,
                declared.variables["headcount_retune_at_boot"],
                lacking,
                gunicorn,
                exporter_listen(declared),
            ),
            circumstances,
            policy,
            plan_each,
        )

    def _address(self, host: str, variables: Variables) -> str:
        """Where the host is reached: ansible_host, which may be a template of the host's other variables."""
        raw = variables.get("ansible_host")
        if isinstance(raw, str) and "{{" in raw:
            raw = self.templar.copy_with_new_env(available_variables=variables).template(raw)
        return str(plain(raw) or host)

    def _secrets_digest(self, app: Json) -> str:
        """The digest of an app's secrets; it is slow on purpose, and mostly the same on all hosts."""
        if not app["secrets"]:
            return ""
        key = repr((app["name"], sorted(app["secrets"].items())))
        if key not in self._secrets:
            self._secrets[key] = secrets_digest(App.from_dict(app))
        return self._secrets[key]

    # -- wheels -------------------------------------------------------------------------------------------------------

    def _wanted(self, host: HostDecision, app: AppDecision, declared: Declaration) -> Wanted:
        folders = base_dirs(
            variables_for_paths(self.variables, self.variables["hostvars"].raw_get(host.host)),
            declared.variables["headcount_base_dir"],
        )
        source = next(item for item in declared.apps if item["name"] == app.name)
        packages = (app.plan or {})["settings"]["gunicorn_packages"]["value"]
        return Wanted(
            source_key(self.gathering.locate(source, folders)), Platform.from_facts(host.facts), tuple(packages)
        )

    def _gather(
        self, hosts: list[HostDecision], declared: Mapping[str, Declaration], circumstances: Circumstances
    ) -> None:
        """Gather the wheels of all hosts that are to change; an app whose wheels cannot be had is refused there.

        What a release holds, or cannot hold, can rule out the class that was planned, and the project may pin a
        Gunicorn of its own: then the host is planned again with that.
        """
        left = list(hosts)
        known: dict[str, dict[str, Gathered]] = {}
        for attempt in range(1, _ATTEMPTS + 1):
            wanted = self._all_wanted(left, declared)
            again = []
            for host in left:
                mine = {name: item for (owner, name), item in wanted.items() if owner == host.host}
                found = self._take(host, mine, declared[host.host].apps)
                before = known.setdefault(host.host, {})
                before.update({name: item.after(before.get(name)) for name, item in found.items()})
                last = attempt == _ATTEMPTS or host.status != OK or not found
                if not last and self._replan(host, declared, circumstances, before):
                    again.append(host)
                    self._forget_notes(mine)
                    continue
                self._refuse_conflicts(host, mine, found)
            left = again
            if not left:
                return

    def _all_wanted(
        self, hosts: Sequence[HostDecision], declared: Mapping[str, Declaration]
    ) -> dict[tuple[str, str], Wanted]:
        """What has to be gathered, by host and app; it is gathered."""
        wanted = {
            (host.host, name): self._wanted(host, host.apps[name], declared[host.host])
            for host in hosts
            for name in host.pending
            if host.apps[name].action == choice.DEPLOY
        }
        self._recall(wanted.values())
        self.gathering.gather([(name, item) for (_, name), item in wanted.items()])
        return wanted

    def _replan(
        self,
        host: HostDecision,
        declared: Mapping[str, Declaration],
        circumstances: Circumstances,
        gathered: Mapping[str, Gathered],
    ) -> bool:
        """Whether a host needs other packages, by what was gathered for it; it then has the other plan."""
        raw = self.variables["hostvars"].raw_get(host.host)
        better = self._host(declared[host.host], raw, circumstances, gathered)
        if _classes(better) == _classes(host):
            for name, app in host.apps.items():  # the same, and what the libraries have to be warned of
                app.plan = better.apps[name].plan
            return False
        refused = {name: app for name, app in host.apps.items() if app.action == choice.REFUSE}
        host.apps, host.status, host.cause = better.apps, better.status, better.cause
        host.apps.update(refused)
        return True

    def _refuse_conflicts(
        self, host: HostDecision, wanted: Mapping[str, Wanted], found: Mapping[str, Gathered]
    ) -> None:
        """Refuse the apps whose class needs packages that the project's pins exclude, where no other class is left."""
        for name, item in wanted.items():
            if found.get(name, Gathered()).conflicts:
                host.refuse(name, f"wheels: {self._conflict(item, host.apps[name])}")

    def _forget_notes(self, wanted: Mapping[str, Wanted]) -> None:
        """What was told of wheels that are not taken after all."""
        for item in wanted.values():
            for note in self.gathering.notes_of(item):
                self.gathering.notes.pop(note, None)

    def _conflict(self, wanted: Wanted, app: AppDecision) -> str:
        """Why the packages of a class cannot be had, and what to do."""
        try:
            self.gathering.wheels(wanted)
        except WheelhouseError as error:
            planned = (app.plan or {})["settings"]["worker_class"]["value"]
            fix = "; with worker_class: auto another class is taken where these packages are the cause"
            return f"{error}{fix if planned in ASYNC else ''}"
        return ""

    def _take(self, host: HostDecision, wanted: Mapping[str, Wanted], apps: Sequence[Json] = ()) -> dict[str, Gathered]:
        """Note which wheels the host will need for `apps`; returns what its releases will hold, and what they cannot.

        An app whose entry point is in nothing that was gathered is refused.
        """
        gathered = {}
        entries = {str(app["name"]): app for app in apps}
        for name, item in wanted.items():
            try:
                found = self.gathering.wheels(item)
            except OF_THE_CONTROLLER as error:
                if self.check:
                    host.apps[name].notes.append(f"its wheels were not looked at: {error}")
                else:
                    host.refuse(name, f"wheels: {error}")
                continue
            except ResolutionConflict as error:
                planned = str((host.apps[name].plan or {})["settings"]["worker_class"]["value"])
                gathered[name] = Gathered(conflicts={planned: f"its packages contradict the project's: {error.cause}"})
                continue
            except WheelhouseError as error:
                host.refuse(name, f"wheels: {error}")
                continue
            if self._keep(host, name, item, found, entries.get(name) or {}):
                gathered[name] = Gathered(found.distributions, found.gunicorn)
        return gathered

    def _keep(self, host: HostDecision, name: str, wanted: Wanted, found: WheelSet, app: Json) -> bool:
        """Note what was gathered for an app of a host; whether it can be rolled out with that, as far as is known."""
        self.gathering.notes.update(dict.fromkeys(found.notes))
        self._forms.update({name: words} if (words := form_words(found)) else {})
        from ...module_utils._release.runstwice import notes as runs_twice
        from .._wheels import builtfolders, entrypoint, programs

        wrong = entrypoint.problem_of(app, found)
        words = f"entry_point {wrong}" if wrong else builtfolders.problem_of(app, found)
        if words := words or programs.problem_of(app, found):
            host.refuse(name, words)
            return False
        if found.needs_host_build:
            self._unbuilt.add(host.host, name, builds.requests_of(found))
            self.notes.write_unbuilt(wanted.key, found.to_dict())
            return False
        if found.id not in self._noted:
            self.notes.write_wheels(found.id, found.to_dict())
            self._noted.add(found.id)
        host.apps[name].release = found.id
        if found.id in host.apps[name].taken_back:
            from . import takenback

            host.refuse(name, takenback.refusal(host.apps[name].taken_back[found.id]))
            return False
        workers = int(((host.apps[name].plan or {}).get("settings") or {}).get("workers", {}).get("value") or 0)
        twice = runs_twice(found.distributions, workers)
        self.gathering.notes.update(dict.fromkeys(f"{name}: {words}" for words in twice))
        return True

    def _recall(self, wanted: Iterable[Wanted]) -> None:
        """What this run could not build is not gathered again, which would try to build it here again."""
        for item in wanted:
            data = self.notes.unbuilt(item.key) if self._attempts else None
            found = WheelSet.from_dict(data) if data else None
            tried = [self._attempts.get(request.key, []) for request in builds.requests_of(found)] if found else []
            if found and not all(any(item.state == builds.BUILT for item in past) for past in tried):
                self.gathering.put(item, found)

    def _builds(
        self, hosts: list[HostDecision], declared: Mapping[str, Declaration]
    ) -> dict[str, list[builds.Request]]:
        """Which host builds what; an app that waits for what nobody can build is refused."""
        if not self._unbuilt.requests:
            return {}
        plans = {host.host: host for host in hosts}
        candidates = [
            builds.Candidate(name, Platform.from_facts(plan.facts).key, self._compiler(name))
            for name, plan in plans.items()
            if plan.status == OK
        ]
        canary = next(iter(declared.values())).variables["headcount_canary"]
        found: dict[str, list[builds.Request]] = {}
        for key, request in self._unbuilt.requests.items():
            waiting = [(plans[host], app) for host, app in self._unbuilt.waiting[key] if app in plans[host].pending]
            if not waiting:
                continue
            assigned = builds.assign(request, self._attempts.get(key, ()), candidates, canary)
            if assigned.host is not None and not self.check:
                found.setdefault(assigned.host, []).append(request)
            self._tell_assigned(assigned, waiting, plans)
        for host, requests in found.items():
            builds.ask(self.notes, host, requests)
        return found

    def _tell_assigned(
        self, assigned: builds.Assignment, waiting: list[tuple[HostDecision, str]], plans: Mapping[str, HostDecision]
    ) -> None:
        """Say who will build, and that it will fail where that is to be expected; refuse what nobody can build."""
        request, host = assigned.request, assigned.host
        for plan, app in waiting:
            if host is None:
                plan.refuse(app, f"wheels: {assigned.cause}")
            elif self.check:
                plan.apps[app].notes.append(f"{request.what} would be built on {host}")
        if host is not None and not self._compiler(host):
            told = builds.without_compiler(request, host, builds.system_of(plans[host].facts))
            self.gathering.notes[told] = None

    def _compiler(self, host: str) -> str | None:
        """What the probe found on a host to build with."""
        return (plain(self.variables["hostvars"].raw_get(host).get(PROBE)) or {}).get("compiler")

    # -- order --------------------------------------------------------------------------------------------------------

    def _schedule(self, hosts: list[HostDecision], declared: Mapping[str, Declaration]) -> Schedule:
        first = next(iter(declared.values()))
        rules = Rules(
            int(first.variables["headcount_rollout_max_failed"]),
            float(first.variables["headcount_rollout_wait_seconds"]),
            str(first.variables["headcount_on_failure"]),
        )
        fleet = Schedule(self.notes, self.gone, hosts, rules=rules, mode=self.mode)
        pending = [host.host for host in hosts if host.pending]
        alone = None
        if pending and self.mode != "drift":
            alone = self._unsettled(hosts, declared)
            fleet.stopped, fleet.held = hold(hosts, rules.max_failed)
            pending = [host.host for host in hosts if host.pending]
            if fleet.stopped:
                return fleet
        if self.mode in ("rollout", "retune") and pending:
            ready = batches.order_hosts(
                pending,
                {host.host: host.hardware for host in hosts},
                alone or first.variables["headcount_canary"],
                batches.after_one(alone, pending, first.variables["headcount_rollout_batches"]),
            )
            fleet.order, fleet.batches = ready.order, ready.sizes
            from .loadhosts import load_hosts

            fleet.load_hosts = load_hosts([host for host in hosts if host.pending], declared)
            fleet.hooks = {name: self._hooks(declared[name]) for name in pending}
        return fleet

    def _unsettled(self, hosts: Sequence[HostDecision], declared: Mapping[str, Declaration]) -> str | None:
        """The host on which a command may be under way that must not be begun on another one beside it, if any."""
        if not any(host.apps[name].prepare for host in hosts for name in host.pending):
            return None
        from . import unsettled

        probes = {host.host: self.variables["hostvars"].raw_get(host.host).get(PROBE) for host in hosts}
        everyone = (self.variables.get("groups") or {}).get("all") or ()
        return unsettled.first_host(hosts, declared, probes, self.notes, everyone)

    def _hooks(self, declared: Declaration) -> dict[str, str | None]:
        """Where the controller has the host's own task files: {drain: path, undrain: path}, None where none is said."""
        raw = self.variables["hostvars"].raw_get(declared.host)
        folders = base_dirs(variables_for_paths(self.variables, raw), declared.variables["headcount_base_dir"])
        said = {hook: declared.variables[f"headcount_{hook}_tasks"] for hook in ("drain", "undrain")}
        return {hook: locate(str(path), folders) if path else None for hook, path in said.items()}


def variables_for_paths(play: Variables, host: Variables) -> Variables:
    """Where relative paths of a host may start: beside its inventory and beside the playbook."""
    return {"inventory_dir": plain(host.get("inventory_dir")), "playbook_dir": play.get("playbook_dir") or os.getcwd()}


def _classes(host: HostDecision) -> dict[str, object]:
    """What of a plan decides which wheels are needed."""
    return {
        name: app.plan["settings"]["gunicorn_packages"]["value"] if app.plan else None
        for name, app in host.apps.items()
    }


__all__ = ["Schedule", "Scheduler"]
