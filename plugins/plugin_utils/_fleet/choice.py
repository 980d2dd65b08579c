# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a run does about each app of a host, and why: pure functions from facts, states and declarations to a choice.

Nothing here asks a host or reads a file. `facts` and `state` have the shapes of the probe's result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ...module_utils._declaration.app import App
from ...module_utils._declaration.digests import public_digest
from ...module_utils._declaration.origin import FREE_PORT
from ...module_utils._facts.hardware import fact_parts, part_digest
from .._edge import Json
from .probed import Facts, State

NOTHING: Final = "none"
DEPLOY: Final = "deploy"
HEAL: Final = "heal"
REFUSE: Final = "refuse"

_HARDWARE_PARTS: Final = ("cores", "memory", "platform", "limits", "neighbours", "fleet", "policy", "planner")
_DECLARED_PARTS: Final = ("declared", "secrets", "source")


def digest_parts(
    app: Json,
    others: Iterable[Json],
    facts: Facts,
    source_id: str,
    secrets: str,
    hosts: int,
    policy: Mapping[str, object],
    planner: str,
) -> dict[str, str]:
    """Digests of everything that decides what an app is on a host, by kind, so that a change can be named.

    `others`: the other apps of the host; `hosts`: how many hosts share the app's database; `secrets`: their digest;
    `policy`: what the operator chose for all apps of a host; `planner`: version of the planner's rules.
    """
    shared = app["database"]["max_connections"] is not None
    parts: dict[str, object] = {
        "declared": public_digest(App.from_dict(app), "source"),
        "secrets": secrets,
        "source": source_id,
        "neighbours": {other["name"]: other["share"] for other in others},
        "fleet": hosts if shared else None,
        "policy": dict(policy),
        "planner": planner,
    }
    return {**{name: part_digest(value) for name, value in parts.items()}, **fact_parts(facts)}


_PART_WORDS: Final = {
    "declared": "its declaration changed",
    "secrets": "a secret changed",
    "source": "its source changed",
    "cores": "the host's cores changed",
    "memory": "the host's memory changed",
    "platform": "the host's Python or C library changed",
    "limits": "the host's limits on files or connections changed",
    "neighbours": "the apps that share the host changed",
    "fleet": "the number of hosts that share its database changed",
    "policy": "the host's reserve or headroom changed",
    "planner": "the rules of the planner changed",
}


DECLARED_WORDS: Final = frozenset(_PART_WORDS[name] for name in _DECLARED_PARTS)
"""Reasons that say that something else is declared than what is live."""


def changed_parts(before: Mapping[str, str] | None, after: Mapping[str, str]) -> list[str]:
    """Names of the parts that differ; all of them when nothing is known of before."""
    return [name for name in after if (before or {}).get(name) != after[name]]


@dataclass(frozen=True)
class Choice:
    """What a run does about one app of a host. `action`: none, deploy, heal or refuse; `reasons` in words."""

    action: str
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def pending(self) -> bool:
        """Whether the host has to be touched."""
        return self.action in (DEPLOY, HEAL)


def busy_with(state: State, gone: Iterable[str]) -> str | None:
    """Who holds the app on this host and since when; None when nobody does."""
    lease = state.get("lease")
    if not lease or lease.get("stale") or lease.get("run", {}).get("id") in set(gone):
        return None
    run = lease.get("run", {})
    return (
        f"held by run {run.get('id')} of {run.get('user')} on {run.get('controller')} since {run.get('started')} "
        f"(last step: {lease.get('step')}); wait for that run to end"
    )


def choose(
    state: State,
    changed: Sequence[str],
    hardware_changes: Sequence[str],
    plan_changes: Mapping[str, Sequence[object]],
    gone: Iterable[str] = (),
    retune: bool = False,
    settings: str | None = None,
) -> Choice:
    """What to do about an app.

    `state`: of the app, by the probe. `changed`: names of the parts of the digest that differ from the live
    generation's. `hardware_changes`: words for what the host's hardware did. `plan_changes`: {setting: [live, new]}.
    `retune`: only what the host itself did counts, not what was declared anew. `settings`: what the host is to know
    beside its generations and does not know yet, in words.
    """
    busy = busy_with(state, gone)
    if busy is not None:
        return Choice(REFUSE, [busy])
    live = state.get("live")
    if live is None:
        return _first_deployment(state, retune)
    reasons = [_PART_WORDS[name] for name in changed if name in _DECLARED_PARTS]
    if retune and reasons:
        note = f"not re-tuned: {' and '.join(reasons)} since generation {live['generation']}; site.yml brings both"
        return Choice(NOTHING, notes=[note])
    reasons += _moved(changed, hardware_changes, plan_changes, bool(reasons))
    if reasons:
        return Choice(DEPLOY, reasons)
    notes = [f"{', '.join(hardware_changes)}: the plan holds"] if hardware_changes else []
    return _upkeep(state, notes, None if retune else settings)


def _first_deployment(state: State, retune: bool) -> Choice:
    if retune:
        return Choice(NOTHING, notes=["nothing is live yet; site.yml deploys it"])
    former = state.get("former") or {}
    if former.get("problem"):
        return Choice(REFUSE, [f"former: {former['problem']}"])
    if state.get("port_taken"):
        told = f"; {former['words']}" if former else ", or name the service that serves the app as `former`"
        return Choice(REFUSE, [f"{state['port_taken']}; free it, or declare another `listen`{told}"])
    return Choice(DEPLOY, ["first deployment"], [str(former["words"])] if former else [])


def _moved(
    changed: Sequence[str],
    hardware_changes: Sequence[str],
    plan_changes: Mapping[str, Sequence[object]],
    declared: bool,
) -> list[str]:
    """Why the host itself asks for another generation. `declared`: what was declared asks for one already."""
    moved = [name for name in changed if name in _HARDWARE_PARTS]
    if not plan_changes and "platform" not in moved:
        return []
    told = {"cores", "memory", "platform", "limits"}
    reasons = list(hardware_changes)
    reasons += [_PART_WORDS[name] for name in moved if name not in told or not hardware_changes]
    if plan_changes and not (moved or reasons or declared):
        reasons.append("what was measured gives another plan")
    return reasons


def _upkeep(state: State, notes: list[str], settings: str | None) -> Choice:
    """What to do about an app whose plan holds."""
    problems = state.get("problems")
    if problems:
        return Choice(DEPLOY, [f"not intact: {_first(problems)}"], notes)
    if not state.get("healthy"):
        return Choice(HEAL, [f"not healthy: {state.get('health_detail')}"], notes)
    for words, found in (
        ("left by a run that was cut short", state.get("leftovers")),
        ("readable by other users of the host", state.get("open")),
    ):
        if found:
            return Choice(HEAL, [f"{words}: {_first(found)}"], notes)
    if settings:
        return Choice(HEAL, [settings], notes)
    return Choice(NOTHING, notes=notes)


def with_clashes(choice: Choice, state: State) -> Choice:
    """The choice, unless a deployment would find something of somebody else's in its way: then it is refused.

    Units, drop-ins, folders, an account; the address it moves to; the port at which its candidate is loaded from
    elsewhere. What is live is healed all the same, and what is in the way is told.
    """
    found = list(state.get("clashes") or [])
    if choice.action == REFUSE:
        return replace(choice, reasons=["; ".join([*choice.reasons, *found])])
    if choice.action != DEPLOY:
        return replace(choice, notes=[*choice.notes, *(f"in its way: {clash}" for clash in found)])
    if state.get("port_taken"):
        found.append(f"{state['port_taken']}; free it, or declare another `listen`")
    if state.get("trial_port_taken"):
        found.append(f"{state['trial_port_taken']}; the candidate needs it while it is tried: {FREE_PORT}")
    return Choice(REFUSE, ["; ".join(found)], choice.notes) if found else choice


def _first(items: Sequence[str]) -> str:
    more = len(items) - 1
    return f"{items[0]} (and {more} more)" if more else str(items[0])
