# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a run has to do on each host: pure functions from facts, states and declarations to decisions.

Nothing here asks a host or reads a file. `facts` and `state` have the shapes of the probe's result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Final, Iterable, Mapping, Sequence

from ...module_utils._declaration.normalise import public_digest
from ...module_utils._facts.hardware import fact_parts, number, part_digest
from ...module_utils._generation.instances import FREE_PORT

NOTHING: Final = "none"
DEPLOY: Final = "deploy"
HEAL: Final = "heal"
REFUSE: Final = "refuse"

_HARDWARE_PARTS: Final = ("cores", "memory", "platform", "limits", "neighbours", "fleet", "policy", "planner")
_DECLARED_PARTS: Final = ("declared", "secrets", "source")


def digest_parts(
    app: Mapping[str, Any],
    others: Iterable[Mapping[str, Any]],
    facts: Mapping[str, Any],
    source_id: str,
    secrets: str,
    hosts: int,
    policy: Mapping[str, Any],
    planner: str,
) -> dict[str, str]:
    """Digests of everything that decides what an app is on a host, by kind, so that a change can be named.

    `others`: the other apps of the host; `hosts`: how many hosts share the app's database; `secrets`: their digest;
    `policy`: what the operator chose for all apps of a host; `planner`: version of the planner's rules.
    """
    shared = app["database"]["max_connections"] is not None
    parts: dict[str, Any] = {
        "declared": public_digest(app, "source"),
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


def changed_parts(before: Mapping[str, str] | None, after: Mapping[str, str]) -> list[str]:
    """Names of the parts that differ; all of them when nothing is known of before."""
    return [name for name in after if (before or {}).get(name) != after[name]]


@dataclass(frozen=True)
class Decision:
    """What a run does about one app of a host. `action`: none, deploy, heal or refuse; `reasons` in words."""

    action: str
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def pending(self) -> bool:
        """Whether the host has to be touched."""
        return self.action in (DEPLOY, HEAL)


def busy_with(state: Mapping[str, Any], gone: Iterable[str]) -> str | None:
    """Who holds the app on this host and since when; None when nobody does."""
    lease = state.get("lease")
    if not lease or lease.get("stale") or lease.get("run", {}).get("id") in set(gone):
        return None
    run = lease.get("run", {})
    return (
        f"held by run {run.get('id')} of {run.get('user')} on {run.get('controller')} since {run.get('started')} "
        f"(last step: {lease.get('step')}); wait for that run to end"
    )


_HEALED: Final = {"leftovers": "left by a run that was cut short", "open": "readable by other users of the host"}


def decide(
    state: Mapping[str, Any],
    changed: Sequence[str],
    hardware_changes: Sequence[str],
    plan_changes: Mapping[str, Sequence[Any]],
    gone: Iterable[str] = (),
    retune: bool = False,
    settings: str | None = None,
) -> Decision:
    """What to do about an app.

    `state`: of the app, by the probe. `changed`: names of the parts of the digest that differ from the live
    generation's. `hardware_changes`: words for what the host's hardware did. `plan_changes`: {setting: [live, new]}.
    `retune`: only what the host itself did counts, not what was declared anew. `settings`: what the host is to know
    beside its generations and does not know yet, in words.
    """
    busy = busy_with(state, gone)
    if busy is not None:
        return Decision(REFUSE, [busy])
    live = state.get("live")
    if live is None:
        return _first_deployment(state, retune)
    reasons = [_PART_WORDS[name] for name in changed if name in _DECLARED_PARTS]
    if retune and reasons:
        note = f"not re-tuned: {' and '.join(reasons)} since generation {live['generation']}; site.yml brings both"
        return Decision(NOTHING, notes=[note])
    reasons += _moved(changed, hardware_changes, plan_changes, bool(reasons))
    if reasons:
        return Decision(DEPLOY, reasons)
    notes = [f"{', '.join(hardware_changes)}: the plan holds"] if hardware_changes else []
    return _upkeep(state, notes, None if retune else settings)


def _first_deployment(state: Mapping[str, Any], retune: bool) -> Decision:
    if retune:
        return Decision(NOTHING, notes=["nothing is live yet; site.yml deploys it"])
    if state.get("port_taken"):
        return Decision(REFUSE, [f"{state['port_taken']}; free it, or declare another `listen`"])
    return Decision(DEPLOY, ["first deployment"])


def _moved(
    changed: Sequence[str], hardware_changes: Sequence[str], plan_changes: Mapping[str, Sequence[Any]], declared: bool
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


def _upkeep(state: Mapping[str, Any], notes: list[str], settings: str | None) -> Decision:
    """What to do about an app whose plan holds."""
    if state.get("problems"):
        return Decision(DEPLOY, [f"not intact: {_first(state['problems'])}"], notes)
    if not state.get("healthy"):
        return Decision(HEAL, [f"not healthy: {state.get('health_detail')}"], notes)
    wrong = [f"{words}: {_first(state[key])}" for key, words in _HEALED.items() if state.get(key)]
    if wrong:
        return Decision(HEAL, wrong[:1], notes)
    if settings:
        return Decision(HEAL, [settings], notes)
    return Decision(NOTHING, notes=notes)


def with_clashes(decision: Decision, state: Mapping[str, Any]) -> Decision:
    """The decision, unless a deployment would find something of somebody else's in its way: then it is refused.

    Units, drop-ins, folders, an account; the address it moves to; the port at which its candidate is loaded from
    elsewhere. What is live is healed all the same, and what is in the way is told.
    """
    found = list(state.get("clashes") or [])
    if decision.action == REFUSE:
        return replace(decision, reasons=["; ".join([*decision.reasons, *found])])
    if decision.action != DEPLOY:
        return replace(decision, notes=[*decision.notes, *(f"in its way: {clash}" for clash in found)])
    if state.get("port_taken"):
        found.append(f"{state['port_taken']}; free it, or declare another `listen`")
    if state.get("trial_port_taken"):
        found.append(f"{state['trial_port_taken']}; the candidate needs it while it is tried: {FREE_PORT}")
    return Decision(REFUSE, ["; ".join(found)], decision.notes) if found else decision


def _first(items: Sequence[str]) -> str:
    more = len(items) - 1
    return f"{items[0]} (and {more} more)" if more else str(items[0])


def values(plan: Mapping[str, Any] | None) -> dict[str, Any]:
    """The bare values of a plan's settings."""
    return {name: entry["value"] for name, entry in ((plan or {}).get("settings") or {}).items()}


def changes_between(live: Mapping[str, Any] | None, planned: Mapping[str, Any]) -> dict[str, list[Any]]:
    """{setting: [live value, planned value]} for every setting that differs."""
    before, after = values(live), values(planned)
    return {name: [before.get(name), value] for name, value in after.items() if before.get(name) != value}


def hardware_class(facts: Mapping[str, Any]) -> str:
    """Hosts with the same words are alike for a rollout: the first of each class is a canary.

    Memory is rounded up to an eighth of its power of two, so that what the kernel keeps for itself makes no class.
    """
    memory = float(facts["memory"]["effective_mib"])
    grain = 2 ** max(0, math.floor(math.log2(memory)) - 3) if memory >= 1 else 1
    rounded = math.ceil(memory / grain) * grain
    size = f"{number(rounded / 1024)} GiB" if rounded >= 1024 else f"{number(rounded)} MiB"
    cores = number(round(float(facts["cores"]["effective"]), 1))
    word = "core" if cores == "1" else "cores"
    return f"{cores} {word}, {size}, {facts['platform']['machine']}, Python {facts['python']['version']}"


@dataclass(frozen=True)
class Schedule:
    """The order of the hosts and the sizes of the batches; the sum of the sizes is the number of hosts."""

    order: list[str]
    sizes: list[int]


def schedule(
    hosts: Sequence[str], classes: Mapping[str, str], canary: str | None, batches: Sequence[str | int]
) -> Schedule:
    """Who goes when. `batches`: counts or shares ("10%") of `hosts`, the last one repeated until all had their turn.

    The first batch begins with the canary: `canary`, or the first host of all. The first hosts of the other hardware
    classes come right after it, before any class has its second host.
    """
    total = len(hosts)
    first = [canary] if canary is not None and canary in hosts else list(hosts[:1])
    seen = {classes.get(host) for host in first}
    for host in hosts:
        if host not in first and classes.get(host) not in seen:
            first.append(host)
            seen.add(classes.get(host))
    order = first + [host for host in hosts if host not in first]
    sizes: list[int] = []
    left, index = total, 0
    while left > 0:
        wanted = batch_size(batches[min(index, len(batches) - 1)], total)
        if index == 1 and sizes == [1] and len(first) > 1:
            # One canary went alone; the other classes' canaries are a batch of their own.
            sizes.append(len(first) - 1)
            left -= sizes[-1]
            first = first[:1]
            continue
        sizes.append(min(wanted, left))
        left -= sizes[-1]
        index += 1
    return Schedule(order, sizes)


def batch_size(batch: str | int, total: int) -> int:
    """Hosts in a batch: a count, or a share of `total` rounded up to at least one."""
    text = str(batch)
    if text.endswith("%"):
        return max(1, math.ceil(total * int(text[:-1]) / 100))
    return max(1, int(text))


def host_facts_line(facts: Mapping[str, Any]) -> str:
    """A host in one line: cores and memory with the limit that set them, distribution and Python."""
    cores, memory, system = facts["cores"], facts["memory"], facts.get("os") or {}
    word = "core" if float(cores["effective"]) == 1 else "cores"
    return (
        f"{number(cores['effective'])} {word} ({cores.get('limited_by', 'host')}), "
        f"{number(memory['effective_mib'])} MiB ({memory.get('limited_by', 'host')}), "
        f"{str(system.get('id', 'linux')).capitalize()} {system.get('version_id', '')}".rstrip()
        + f", Python {facts['python']['version']}"
    )
