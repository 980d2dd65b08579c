# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What cannot be rolled out, before any host is touched, and what waits for that. Pure functions over decisions."""

from __future__ import annotations

from collections.abc import Sequence

from .._display.text import listed, plural
from .decision import FAILED, HostDecision


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
    limit = allowed(max_failed)
    if len(failed) > max_failed:
        return f"no host is touched: {_not_rolled_out(failed)}, {limit}", []
    held: list[str] = []
    blamed: dict[str, None] = {}
    for name, bad in _without(hosts, failed).items():
        if len(bad) <= max_failed:
            continue
        blamed.update(dict.fromkeys(bad))
        sentence = f"{name} is held back: {plural(len(bad), 'host')} cannot have it ({listed(bad)}), {limit}"
        held += [sentence] if _hold_app(hosts, name, sentence) else []
    if held and not any(host.pending for host in hosts):
        return f"no host is touched: {_not_rolled_out(list(blamed))}, {limit}", []
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


def failed_before(hosts: Sequence[HostDecision]) -> dict[str, list[str]]:
    """{app: hosts that count as failed for it before any host is touched}.

    A host that cannot be planned for counts for every app of the run; an app that is refused, for itself alone.
    """
    names = dict.fromkeys(name for host in hosts for name in host.apps)
    found = {
        name: [
            host.host for host in hosts if host.status == FAILED or (name in host.refused and not host.apps[name].held)
        ]
        for name in names
    }
    return {name: bad for name, bad in found.items() if bad}


def allowed(max_failed: int) -> str:
    """How many hosts may fail, in words."""
    return f"headcount_rollout_max_failed allows {max_failed}"
