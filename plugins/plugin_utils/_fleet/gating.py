# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a rollout came to so far: whether it goes on, and which hosts revert. Pure functions over outcomes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .._display.text import listed, plural
from .._edge import Json
from . import guards
from .outcome import Outcomes
from .verdicts import allowed


def _failed(name: str, before: Mapping[str, Sequence[str]], outcomes: Outcomes) -> list[str]:
    """Hosts on which the rollout of an app failed, or counts as failed."""
    since = [host for host, apps in outcomes.items() if name in apps and apps[name].failed]
    return list(dict.fromkeys([*before.get(name, ()), *since]))


def _stops(name: str, failed: Sequence[str], max_failed: int) -> str:
    return f"{name} failed on {plural(len(failed), 'host')} ({listed(failed)}), {allowed(max_failed)}"


@dataclass(frozen=True)
class Gate:
    """Whether a batch may begin. `batch` of `batches`, from 1; `why_stopped`: why an app is not begun in it.

    Apps are independent of each other: one that failed too often goes no further, and stops none of the others. What
    the guard of a host took back counts as failed there, and `why` says what it found. The batch itself is not begun
    (`stop`) when there is none left to begin.
    """

    stop: bool
    why: str
    batch: int
    batches: int
    why_stopped: dict[str, str] = field(default_factory=dict)

    @property
    def stopped(self) -> list[str]:
        """The apps that are not begun."""
        return list(self.why_stopped)


def gate(
    order: Sequence[str],
    sizes: Sequence[int],
    batch: Mapping[str, Iterable[str]],
    outcomes: Outcomes,
    before: Mapping[str, Sequence[str]],
    max_failed: int,
) -> Gate:
    """What of a batch may begin, after what the batches before it came to.

    `batch`: {host: apps that are to be changed there}. `before`: {app: hosts that count as failed for it before they
    were touched}.
    """
    number = _number_of(order, sizes, batch)
    names = list(dict.fromkeys(name for apps in batch.values() for name in apps))
    bad = {name: [host for host in _failed(name, before, outcomes) if host not in batch] for name in names}
    stopped = {
        name: "; ".join([_stops(name, bad[name], max_failed), *guards.words(outcomes, name, bad[name])])
        for name in names
        if len(bad[name]) > max_failed
    }
    why = "; ".join(stopped.values())
    if stopped and list(stopped) == names:
        return Gate(True, f"batch {number} of {len(sizes)} is not begun: {why}", number, len(sizes), stopped)
    begun = f"batch {number} of {len(sizes)}: {listed(list(batch))}"
    return Gate(False, f"{begun}; left out: {why}" if why else begun, number, len(sizes), stopped)


def gate_of(fleet: Json, outcomes: Outcomes, batch: Iterable[str]) -> Gate:
    """gate() for the hosts of a batch, with the result of the plan."""
    return gate(
        [str(host) for host in fleet["order"]],
        [int(size) for size in fleet["batches"]],
        {str(host): fleet["apps"].get(host, {}) for host in batch},
        outcomes,
        fleet["failed_apps"],
        int(fleet["settings"]["max_failed"]),
    )


def _number_of(order: Sequence[str], sizes: Sequence[int], batch: Iterable[str]) -> int:
    """Which batch `batch` is, from 1."""
    first = min((order.index(host) for host in batch if host in order), default=0)
    ends = itertools.accumulate(sizes)
    return next((index for index, end in enumerate(ends, 1) if first < end), 1)


@dataclass(frozen=True)
class RevertPlan:
    """Which hosts revert. `hosts`: {host: [app, ...]} in the order in which they go; `kept`: what stays, and why."""

    needed: bool
    ask: bool = False
    hosts: dict[str, list[str]] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    why: str = ""


def revert_plan(
    outcomes: Outcomes, before: Mapping[str, Sequence[str]], max_failed: int, on_failure: str
) -> RevertPlan:
    """What happens to the hosts that were promoted, once the rollout is over.

    Only an app whose rollout stopped (it failed on more hosts than `max_failed`) goes back, on all hosts that were
    promoted; the other apps stay. Where a guard was quicker there is nothing left to do. A first deployment has nothing
    to go back to: it stays, because a host is never left without a generation that serves. `before`: as for gate().
    """
    names = dict.fromkeys(name for apps in outcomes.values() for name in apps)
    bad = {name: _failed(name, before, outcomes) for name in names}
    back: dict[str, list[str]] = {}
    kept = []
    for host, apps in outcomes.items():
        for name, outcome in reversed(list(apps.items())):
            if outcome.outcome != "promoted" or len(bad[name]) <= max_failed:
                continue
            if outcome.before is None:
                kept.append(f"{host}: {name} stays on generation {outcome.to}: its first deployment")
            else:
                back.setdefault(host, []).append(name)
    if not back:
        return RevertPlan(False, kept=kept)
    if on_failure == "keep":
        stay = [f"{host}: {', '.join(apps)} (headcount_on_failure: keep)" for host, apps in back.items()]
        return RevertPlan(False, kept=[*kept, *stay])
    told = [[_goes_back(name, bad[name], back), *guards.words(outcomes, name, bad[name])] for name in names]
    why = "; ".join(itertools.chain.from_iterable(sentences for sentences in told if sentences[0]))
    return RevertPlan(True, on_failure == "ask", back, kept, why)


def _goes_back(name: str, failed: Sequence[str], back: Mapping[str, Sequence[str]]) -> str:
    """Where an app goes back, and why, in a sentence; empty where it does nowhere. `back`: as RevertPlan has it."""
    hosts = [host for host, names in back.items() if name in names]
    if not hosts:
        return ""
    go = "goes back" if len(hosts) == 1 else "go back"
    failures = f"{name} failed on {plural(len(failed), 'host')} ({listed(failed)})"
    return f"{failures}: {plural(len(hosts), 'host')} {go} ({listed(hosts)})"
