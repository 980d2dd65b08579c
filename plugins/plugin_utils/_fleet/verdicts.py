# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a rollout came to so far: whether it goes on, and which hosts revert. Pure functions over outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .._display.text import listed, plural
from .decision import FAILED, HostDecision
from .outcome import BAD, Outcomes, hosts_with


def counts_as_failed(host: HostDecision) -> bool:
    """Whether a host counts against those that may fail, before it was touched: it cannot be planned for, or one of
    its apps is refused here and goes on elsewhere."""
    return host.status == FAILED or (bool(host.refused) and any(not host.apps[name].held for name in host.refused))


def hold(hosts: Sequence[HostDecision], max_failed: int) -> tuple[str | None, list[str]]:
    """Hold back what cannot be rolled out on more hosts than may fail. Returns why no host is touched, if none is, and
    a sentence for each app that is held back while others go on.

    A host that cannot be planned for counts for all of its apps. An app that is refused counts for itself alone: what
    is wrong with it says nothing of the others.
    """
    failed = [host.host for host in hosts if host.status == FAILED]
    allowed = f"headcount_rollout_max_failed allows {max_failed}"
    if len(failed) > max_failed:
        return f"no host is touched: {_not_rolled_out(failed)}, {allowed}", []
    held: list[str] = []
    blamed: dict[str, None] = {}
    for name, bad in _without(hosts, failed).items():
        if len(bad) <= max_failed:
            continue
        blamed.update(dict.fromkeys(bad))
        sentence = f"{name} is held back: {plural(len(bad), 'host')} cannot have it ({listed(bad)}), {allowed}"
        held += [sentence] if _hold_app(hosts, name, sentence) else []
    if held and not any(host.pending for host in hosts):
        return f"no host is touched: {_not_rolled_out(list(blamed))}, {allowed}", []
    return None, held


def _not_rolled_out(hosts: Sequence[str]) -> str:
    return f"{plural(len(hosts), 'host')} cannot be rolled out ({listed(list(hosts))})"


def _without(hosts: Sequence[HostDecision], failed: Sequence[str]) -> dict[str, list[str]]:
    """For each app that is refused somewhere, the hosts that cannot have it."""
    names = dict.fromkeys(name for host in hosts for name in host.refused)
    return {name: [host.host for host in hosts if host.host in failed or name in host.refused] for name in names}


def _hold_app(hosts: Sequence[HostDecision], name: str, sentence: str) -> bool:
    """Have an app wait on all hosts, and say so where it would have been rolled out. Whether that is anywhere."""
    waiting = [host.apps[name] for host in hosts if name in host.apps and host.apps[name].pending]
    for host in hosts:
        if name in host.apps:
            host.apps[name].held = True
    for app in waiting:
        app.notes.append(sentence)
    return bool(waiting)


@dataclass(frozen=True)
class Gate:
    """Whether a batch may begin. `batch` of `batches`, from 1."""

    stop: bool
    why: str
    batch: int
    batches: int


def gate(
    order: Sequence[str],
    sizes: Sequence[int],
    hosts: Sequence[str],
    outcomes: Outcomes,
    failed_before: Sequence[str],
    max_failed: int,
) -> Gate:
    """Whether the batch of `hosts` may begin, after what the batches before it came to.

    `failed_before`: hosts that count as failed before they were touched.
    """
    first = min((order.index(host) for host in hosts if host in order), default=0)
    number, seen = 1, 0
    for index, size in enumerate(sizes):
        if first < seen + size:
            number = index + 1
            break
        seen += size
    failed = [host for host in (*failed_before, *hosts_with(outcomes, BAD)) if host not in hosts]
    if len(failed) > max_failed:
        why = (
            f"batch {number} of {len(sizes)} is not begun: {plural(len(failed), 'host')} failed ({listed(failed)}), "
            f"headcount_rollout_max_failed allows {max_failed}"
        )
        return Gate(True, why, number, len(sizes))
    return Gate(False, f"batch {number} of {len(sizes)}: {listed(list(hosts))}", number, len(sizes))


@dataclass(frozen=True)
class RevertPlan:
    """Which hosts revert. `hosts`: {host: [app, ...]} in the order in which they go; `kept`: what stays, and why."""

    needed: bool
    ask: bool = False
    hosts: dict[str, list[str]] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    why: str = ""


def revert_plan(outcomes: Outcomes, failed_before: Sequence[str], max_failed: int, on_failure: str) -> RevertPlan:
    """What happens to the hosts that were promoted, once the rollout is over.

    Only a rollout that stopped (more hosts failed than `max_failed`) goes back. A first deployment has nothing to go
    back to: it stays, because a host is never left without a generation that serves.
    """
    failed = list(dict.fromkeys([*failed_before, *hosts_with(outcomes, BAD)]))
    if len(failed) <= max_failed:
        return RevertPlan(False)
    back: dict[str, list[str]] = {}
    kept = []
    for host, apps in outcomes.items():
        for name, outcome in reversed(list(apps.items())):
            if outcome.outcome != "promoted":
                continue
            if outcome.before is None:
                kept.append(f"{host}: {name} stays on generation {outcome.to}: its first deployment")
            else:
                back.setdefault(host, []).append(name)
    if not back:
        return RevertPlan(False, kept=kept)
    if on_failure == "keep":
        stay = [f"{host}: {', '.join(names)} (headcount_on_failure: keep)" for host, names in back.items()]
        return RevertPlan(False, kept=[*kept, *stay])
    go = "goes back" if len(back) == 1 else "go back"
    why = f"{plural(len(failed), 'host')} failed ({listed(failed)}): "
    why += f"{plural(len(back), 'host')} {go} ({listed(list(back))})"
    return RevertPlan(True, on_failure == "ask", back, kept, why)
