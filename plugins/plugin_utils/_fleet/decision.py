# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The plan of one host: what the probe found and what is declared become a decision and a plan for each app.

Pure: sources, wheels and hosts are looked at elsewhere, and handed in. What comes out holds no secret.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Callable

from ...module_utils._declaration.app import App
from ...module_utils._facts import hardware
from ...module_utils._plan.planner import HostPlans
from ...module_utils._plan.types import Plan, PlanError, Policy, bare_values, plan_changes
from .._edge import Json, Result
from . import batches, choice, prepares
from .probed import Facts, Live, Probe, ShownLive, State

PLANNER = "1"
"""Version of the planner's rules: raise it when the same inputs give another plan, so that hosts are planned anew."""

PlanHost = Callable[..., "HostPlans | dict[str, Plan]"]

OK, FAILED, UNREACHABLE = "ok", "failed", "unreachable"


@dataclass(frozen=True)
class Circumstances:
    """What is the same for all hosts of a run.

    `fleet`: how many hosts run each app. `gone`: runs that are known to have ended. `retune`: only what the host
    itself did counts. `only`: the apps that the run is limited to; none means all.
    `prepared`: by app, the keys of the commands that any host has run. `retry`: also what a guard took back is wanted.
    """

    fleet: Mapping[str, int]
    gone: Sequence[str] = ()
    retune: bool = False
    only: Sequence[str] = ()
    prepared: Mapping[str, Collection[str]] = field(default_factory=dict)
    retry: bool = False


@dataclass
class AppDecision:
    """What a run does about one app of a host, and why. `planning` holds the arguments of the planner,
    `release` the id of what was gathered for it."""

    name: str
    action: str
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    digest: str = ""
    source_id: str = ""
    live: ShownLive | None = None
    plan: Json | None = None
    planning: Json = field(default_factory=dict)
    changes: Mapping[str, Sequence[object]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    listen: str = ""
    prefix: str = ""
    profile: str | None = None
    drift: list[str] = field(default_factory=list)
    release: str | None = None
    held: bool = False
    """Whether it waits, because it cannot be rolled out on more hosts than may fail."""
    left_out: bool = False
    """Whether the run is limited to other apps."""
    prepare: list[Json] = field(default_factory=list)
    """The commands that its candidate waits for (prepares.Todo)."""
    unsettled: str = ""
    """The one host that may run what the fleet needs once: a command was begun there, and nothing is known of its end.
    """
    warnings: list[str] = field(default_factory=list)
    """What a person should know before it is deployed, in sentences."""
    taken_back: dict[str, str] = field(default_factory=dict)
    """Ids of releases that are not to be rolled out here, as the guard took them back, and why."""

    load_tests: list[Json] = field(default_factory=list)
    """What came of the newest load tests of it there, oldest first."""
    history: list[Json] = field(default_factory=list)
    """The newest events of its ledger there before the run, oldest first."""

    @property
    def pending(self) -> bool:
        """Whether the host has to be touched for it."""
        return self.action in (choice.DEPLOY, choice.HEAL) and not self.held


@dataclass
class HostDecision:
    """One host in a run. `status`: ok, failed (it was reached, but cannot be planned for) or unreachable.

    An app that is refused does not make the host failed: the other ones of the host go their way. `exporter` says how
    the exporter is not as declared; empty where it is.
    """

    host: str
    status: str = OK
    cause: str | None = None
    address: str = ""
    hardware: str = ""
    line: str = ""
    facts: Facts = field(default_factory=dict)
    apps: dict[str, AppDecision] = field(default_factory=dict)
    undeclared: list[str] = field(default_factory=list)
    exporter: str = ""

    @property
    def pending(self) -> list[str]:
        """Apps that the host has to be touched for, in the order of the declaration."""
        return [name for name, app in self.apps.items() if app.pending] if self.status == OK else []

    @property
    def refused(self) -> dict[str, str]:
        """Apps that cannot be rolled out here, and why."""
        return {name: app.reasons[0] for name, app in self.apps.items() if app.action == choice.REFUSE}

    @property
    def causes(self) -> list[str]:
        """Why the host does not come to all that is declared, as far as the plan knows: its own cause, or its apps'."""
        if self.status != OK:
            return [self.cause or self.status]
        return [f"{name}: {why}" for name, why in self.refused.items()]

    def fail(self, cause: str) -> None:
        """The host cannot be planned for; the first cause stays."""
        self.status = FAILED
        self.cause = self.cause or cause

    def refuse(self, name: str, cause: str) -> None:
        """One app cannot be rolled out here; the others can."""
        app = self.apps[name]
        app.action, app.reasons = choice.REFUSE, [cause]

    def to_dict(self) -> dict[str, object]:
        """Plain data for the notes of the run."""
        return {**vars(self), "apps": {name: vars(app) for name, app in self.apps.items()}}

    @classmethod
    def from_dict(cls, data: Json) -> HostDecision:
        """The inverse of to_dict()."""
        apps = {name: AppDecision(**app) for name, app in data["apps"].items()}
        return cls(**{**data, "apps": apps})


def without_probe(host: str, probe: Probe | None, address: str = "") -> HostDecision | None:
    """The plan of a host whose probe brought nothing: it was not reached, or the probe failed there. Else None."""
    if not probe:
        return HostDecision(host, FAILED, "was not probed", address)
    if not (probe.get("unreachable") or probe.get("failed") or "facts" not in probe):
        return None
    from .._display.unreached import connection_words, failure_words, known_words

    if probe.get("unreachable"):
        return HostDecision(host, UNREACHABLE, f"could not be reached: {connection_words(probe.get('msg'))}", address)
    return HostDecision(host, FAILED, known_words(probe) or f"the probe failed: {failure_words(probe)}", address)


@dataclass(frozen=True)
class Known:
    """What the controller knows of a host beside its probe.

    `source_ids`, `secrets` (digests), `verdicts` (which worker classes the libraries rule out) and `gunicorn` (the
    version that the project pins) by app name; `address`: where the host is reached; `retune_at_boot`: what it is to
    do at boot, `exporter`: where its exporter is to listen ("": nowhere; None of both: not looked at); `lacking`: apps
    whose source cannot be had, and why.
    """

    source_ids: Mapping[str, str]
    secrets: Mapping[str, str]
    verdicts: Mapping[str, Mapping[str, str]]
    address: str = ""
    retune_at_boot: bool | None = None
    lacking: Mapping[str, str] = field(default_factory=dict)
    gunicorn: Mapping[str, str] = field(default_factory=dict)
    exporter: str | None = None


def decide_host(
    host: str,
    apps: Sequence[Json],
    probe: Probe,
    known: Known,
    circumstances: Circumstances,
    policy: Policy,
    plan_host: PlanHost,
) -> HostDecision:
    """Plan a host that was probed.

    `apps`: normalised. An app that cannot be planned for is refused, with the planner's words. One that another run is
    at work on makes the host failed: its trial would be disturbed. A run that is limited to other apps goes on, and
    says so: who names one app waits for no other one, whose run may have died.
    """
    facts = dict(probe["facts"])
    result = HostDecision(
        host,
        address=known.address,
        hardware=batches.hardware_class(facts),
        line=batches.host_facts_line(facts),
        facts=facts,
        # A run that is limited to some apps looks at no others.
        undeclared=sorted(
            set(() if circumstances.only else probe.get("installed") or []) - {str(app["name"]) for app in apps}
        ),
        exporter=_exporter_differs(known.exporter, probe.get("exporter")),
    )
    states: dict[str, State] = {str(app["name"]): probe["apps"].get(app["name"]) or {} for app in apps}
    inputs = _Inputs(apps, states, circumstances, policy, known, plan_host)
    beside: list[str] = []
    for app in apps:
        planned, obstacle = _decide_app(app, facts, known, inputs)
        _note_commands(planned, app, inputs)
        result.apps[planned.name] = planned
        left_out = circumstances.only and planned.name not in circumstances.only
        if obstacle and not left_out:
            result.fail(f"{planned.name}: {obstacle}")
        if left_out:
            _leave_out(planned)
        if obstacle and left_out:
            beside.append(f"beside it {planned.name} is {obstacle}, else both trials may disturb each other")
    for name in result.pending:
        result.apps[name].warnings += beside
    return result


def _exporter_differs(wanted: str | None, there: str | None) -> str:
    """How a host's exporter is not as declared, in words; empty where it is, and where the host does not tell."""
    if wanted is None or there is None or wanted == there:
        return ""
    if there == "masked":
        fix = "`systemctl unmask headcount-exporter.service`, or headcount_exporter: false"
        return f"is masked, which somebody decided, and is left so: {fix}" if wanted else ""
    if there == "changed":
        return "its unit was edited, or is that of another version of Headcount"
    if there == "stopped":
        return "does not run: somebody stopped it, or it failed" if wanted else "does not run, and none is declared"
    if not wanted:
        return f"listens on {there}, but none is declared"
    return f"is to listen on {wanted}, but {f'listens on {there}' if there else 'is not there'}"


def _leave_out(app: AppDecision) -> None:
    """Have a run do nothing about an app, and say what it would have done."""
    would = {choice.DEPLOY: "deployed", choice.HEAL: "healed", choice.REFUSE: "refused"}.get(app.action)
    told = f"headcount_app names others; otherwise it would be {would}: {'; '.join(app.reasons)}"
    app.left_out, app.action, app.reasons, app.drift, app.warnings = True, choice.NOTHING, [], [], []
    app.notes = [told if would else "headcount_app names others; there would be nothing to do"]


def _decide_app(app: Json, facts: Facts, known: Known, inputs: _Inputs) -> tuple[AppDecision, str]:
    """What is done about one app of the host, and why the host is failed for it; empty where it is not."""
    name = str(app["name"])
    state = inputs.states[name]
    live: Live = state.get("live") or {}
    retune, gone = inputs.circumstances.retune, inputs.circumstances.gone
    settled, parts, changed = _settled(app, facts, live, known, inputs)
    planned = _undecided(app, state, parts, known.source_ids.get(name, ""))
    planned.plan = live.get("plan")
    if name in known.lacking:
        return _refused(planned, known.lacking[name]), ""
    holds = live and not changed and not retune
    if not holds and (cause := _plan(planned, settled.facts, inputs)):
        return _refused(planned, cause), ""
    planned.changes = _changes(planned, live)
    settled, changed, hints = _steadied(planned, settled, changed, facts, inputs)
    _choose(planned, parts, changed, settled.changes, inputs)
    planned.notes = [*planned.notes, *hints]
    if planned.action == choice.DEPLOY and not planned.planning:
        if cause := _plan(planned, settled.facts, inputs):
            return _refused(planned, cause), ""
        planned.changes = _changes(planned, live)
    busy = choice.busy_with(state, gone) is not None
    return planned, planned.reasons[0] if busy else ""


def _settled(
    app: Json, facts: Facts, live: Live, known: Known, inputs: _Inputs
) -> tuple[hardware.Settled, dict[str, str], list[str]]:
    """The facts to plan `app` with, the digests of all that decides it, and the names of those that differ from the
    live generation's."""
    stored, retired = live.get("facts"), inputs.retired
    before = hardware.split_parts(live.get("digest"))

    def against(yardstick: Facts | None) -> tuple[hardware.Settled, dict[str, str], list[str]]:
        settled = hardware.settle(facts, yardstick, retired)
        parts = inputs.parts(app, settled.facts, known)
        return settled, parts, choice.changed_parts(before, parts)

    found = against(stored)
    anew = bool(found[2]) or inputs.circumstances.retune
    return against(hardware.without(stored, retired)) if anew and stored and retired else found


def _changes(planned: AppDecision, live: Live) -> Mapping[str, Sequence[object]]:
    """What the plan of an app changes of what is live."""
    return plan_changes(live.get("plan"), planned.plan or {}) if live else {}


def _steadied(
    planned: AppDecision, settled: hardware.Settled, changed: list[str], found: Facts, inputs: _Inputs
) -> tuple[hardware.Settled, list[str], list[str]]:
    """`settled` and `changed`, and hints: what is live is kept where others alone use other memory and it fits beside
    them; where it does not fit, that is told."""
    if not planned.changes or changed != ["memory"] or inputs.circumstances.retune:
        return settled, changed, []
    from . import steady

    live: Live = inputs.states[planned.name].get("live") or {}
    stored = live.get("facts")
    if not stored or not steady.moved_alone(stored, settled.facts):
        return settled, changed, []
    plans = [(state.get("live") or {}).get("plan") or {} for state in inputs.states.values()]
    if not steady.fits(stored, found, plans, inputs.policy.rollout_headroom):
        told = [f"{words}, beside which what is live does not fit" for words in settled.changes]
        return hardware.Settled(settled.facts, told), changed, []
    hints = steady.hints(live.get("plan") or {}, planned.plan or {})
    planned.plan, planned.planning, planned.changes = live.get("plan"), {}, {}
    return settled, [], hints


def _plan(planned: AppDecision, facts: Facts, inputs: _Inputs) -> str:
    """Note the plan of an app; why there is none, else empty."""
    planned.plan = None
    try:
        planned.planning, planned.plan = inputs.plan(planned.name, facts)
    except PlanError as error:
        return f"plan: {error}"
    return ""


_OPENS = (
    "it was stopped on the host, and this opens it to users again: to keep it closed, leave it out (headcount_app "
    "names the others)"
)


def _choose(
    planned: AppDecision,
    parts: Mapping[str, str],
    changed: Sequence[str],
    hardware_changes: Sequence[str],
    inputs: _Inputs,
) -> None:
    """Note what is done about an app whose plan is known, and its drift. `parts`: digests of all that decides it."""
    state, run = inputs.states[planned.name], inputs.circumstances
    unset = _unset(state, inputs.known.retune_at_boot)
    chosen = choice.choose(state, changed, hardware_changes, planned.changes, run.gone, run.retune, unset)
    left, why, releases = "", "", {}
    if state.get("taken_back") or state.get("left"):
        from . import takenback

        back = takenback.taken_back(state, planned.source_id, parts, changed, planned.changes)
        left = takenback.left_by_hand(state, planned.source_id, parts)
        chosen = takenback.with_left(takenback.unless_taken_back(chosen, back, run.retry), left)
        why, releases = back.why, dict(back.releases)
    chosen = choice.with_clashes(chosen, state)
    if chosen.action == choice.DEPLOY:
        planned.warnings = [takenback.left_warning(left)] if left else []
        planned.warnings += filter(None, [state.get("losing")])
    if chosen.pending and state.get("closed"):
        planned.warnings += [_OPENS]
    planned.action, planned.reasons, planned.notes = chosen.action, chosen.reasons, chosen.notes
    planned.taken_back = {} if run.retry else releases
    planned.drift = [*drift_of(state, changed, hardware_changes, planned), *([f"guard: {why}"] if why else [])]


def _note_commands(planned: AppDecision, app: Json, inputs: _Inputs) -> None:
    """Note which commands the candidate waits for, where there is to be one, and tell them."""
    if planned.action != choice.DEPLOY:
        return
    state = inputs.states[planned.name]
    known, anywhere = inputs.known, inputs.circumstances.prepared.get(planned.name) or ()
    secrets = known.secrets.get(planned.name, "")
    todo = prepares.to_run(App.from_dict(app), planned.source_id, secrets, state.get("prepared") or (), anywhere)
    planned.prepare = [one.to_dict() for one in todo]
    if todo:
        planned.notes = [*planned.notes, f"before its candidate starts: {', '.join(map(str, todo))}"]


def _undecided(app: Json, state: State, parts: Mapping[str, str], source_id: str) -> AppDecision:
    """An app of which nothing is decided yet: what is declared and what is live, `parts` being its digests."""
    return AppDecision(
        str(app["name"]),
        choice.NOTHING,
        digest=hardware.join_parts(parts),
        source_id=source_id,
        live=shown_live(state),
        listen=str(app["listen"]),
        prefix=app["environment"].get("SCRIPT_NAME", "").rstrip("/"),
        profile=app.get("profile"),
        problems=list(state.get("problems") or []),
        load_tests=list(state.get("load_tests") or []),
        history=list(state.get("history") or []),
    )


def _refused(planned: AppDecision, cause: str) -> AppDecision:
    planned.action, planned.reasons, planned.drift = choice.REFUSE, [cause], [cause]
    return planned


def _unset(state: State, retune_at_boot: bool | None) -> str | None:
    """What a host that was deployed before does not know yet."""
    if retune_at_boot is None or bool(state.get("retune_at_boot")) == retune_at_boot:
        return None
    return f"headcount_retune_at_boot is {'true' if retune_at_boot else 'false'} now"


@dataclass
class _Inputs:
    """Arguments of the planner for one host; a host whose apps were planned from the same facts is planned once."""

    apps: Sequence[Json]
    states: Mapping[str, State]
    circumstances: Circumstances
    policy: Policy
    known: Known
    plan_host: PlanHost
    _known: dict[str, HostPlans | dict[str, Plan]] = field(default_factory=dict)

    @property
    def retired(self) -> frozenset[str]:
        """Units that apps of the host were taken over from, and that have left: a plan that is made anew has their
        memory; one that holds is not made anew for it."""
        return frozenset(unit for state in self.states.values() for unit in state.get("retired") or ())

    def parts(self, app: Json, facts: Facts, known: Known) -> dict[str, str]:
        """Digests of all that decides what `app` is on the host, by kind."""
        name = str(app["name"])
        return choice.digest_parts(
            app,
            [other for other in self.apps if other["name"] != name],
            facts,
            known.source_ids.get(name, ""),
            known.secrets.get(name, ""),
            int(self.circumstances.fleet.get(name) or 1),
            asdict(self.policy),
            PLANNER,
        )

    def plan(self, name: str, facts: Facts) -> tuple[Json, Json]:
        """The planner's arguments as plain data, and the plan of `name`. Raises PlanError."""
        previous = {key: state.get("live") for key, state in self.states.items()}
        arguments: Result = {
            "facts": _with_former(facts, self.states),
            "apps": [without_environment(app) for app in self.apps],
            "measured": {
                key: {**measured, "earlier": True}
                for key, state in self.states.items()
                if (measured := state.get("measured"))
            },
            "fleet": {key: int(self.circumstances.fleet.get(key) or 1) for key in self.states},
            "previous": {key: bare_values(live.get("plan")) for key, live in previous.items() if live},
            "async_verdicts": {key: dict(value) for key, value in self.known.verdicts.items() if key in self.states},
        }
        if self.known.gunicorn:
            arguments["gunicorn"] = dict(self.known.gunicorn)
        key = json.dumps(arguments["facts"], sort_keys=True, default=str)
        if key not in self._known:
            self._known[key] = self.plan_host(**arguments, policy=self.policy)
        if self.policy != Policy():
            arguments["policy"] = asdict(self.policy)
        return arguments, self._known[key][name].to_dict()


def _with_former(facts: Facts, states: Mapping[str, State]) -> dict[str, object]:
    """The facts, and how many requests that holds what is to be taken over, of the apps of which it is known."""
    first = {name: state.get("former") or {} for name, state in states.items() if not state.get("live")}
    held = {name: former["held"] for name, former in first.items() if former.get("held")}
    return {**facts, "former": held} if held else dict(facts)


def without_environment(app: Json) -> Json:
    """A normalised app without what its processes are told: the planner does not read that, and it may be secret."""
    return {**app, "environment": {}, "secrets": {}}


def shown_live(state: State) -> ShownLive | None:
    """What the report says of the live generation."""
    live = state.get("live")
    if not live:
        return None
    return {
        "generation": live["generation"],
        "release": live.get("release"),
        "source_id": live.get("source_id"),
        "created": live.get("created"),
        "listen": live.get("listen"),
        "plan": live.get("plan"),
        "trial": live.get("trial"),
        "healthy": bool(state.get("healthy")),
        "health_detail": state.get("health_detail"),
        "intact": bool(state.get("intact")),
        "last_failure": state.get("last_failure"),
    }


def drift_of(state: State, changed: Sequence[str], hardware: Sequence[str], planned: AppDecision) -> list[str]:
    """In words, how the host differs from what was declared and from what it was tuned for; empty when it does not."""
    live = state.get("live")
    if not live:
        return ["nothing is live"]
    changes = [f"{name} {_value(old)} -> {_value(new)}" for name, (old, new) in sorted(planned.changes.items())]
    unwell = [] if state.get("healthy") else [state.get("health_detail")]
    told: tuple[tuple[str, Sequence[object]], ...] = (
        ("hardware: ", hardware),
        ("", _drift_of_parts(changed, live)),
        ("plan: ", changes),
        ("files: ", state.get("problems") or []),
        ("files: ", state.get("open") or []),
        ("health: ", unwell),
        ("left over: ", state.get("leftovers") or []),
        ("in its way: ", state.get("clashes") or []),
    )
    return [f"{kind}{item}" for kind, items in told for item in items]


def _drift_of_parts(changed: Sequence[str], live: Live) -> list[str]:
    """The parts of the digest that differ, in words; those of the host itself are told with their figures."""
    by_other_rules = "plan: made by other rules"
    words = {
        "declared": "declaration: not the live one",
        "secrets": "secrets: not the live ones",
        "source": f"source: generation {live['generation']} has other code than what is declared",
        "neighbours": "neighbours: the apps that share the host changed",
        **dict.fromkeys(("policy", "planner", "fleet"), by_other_rules),
    }
    return list(dict.fromkeys(words[name] for name in words if name in changed))


def _value(value: object) -> str:
    return "-" if value is None else " ".join(map(str, value)) if isinstance(value, list) else str(value)
