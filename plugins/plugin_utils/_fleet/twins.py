# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Hosts of the inventory that lead to one machine: each would be planned as if it had the machine alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from .._display.text import listed
from .decision import OK, HostDecision


def twins(hosts: Sequence[HostDecision]) -> list[list[HostDecision]]:
    """Those of `hosts` that were probed and are one machine, together, in the order of the play."""
    found: dict[str, list[HostDecision]] = {}
    for host in hosts:
        machine = str(host.facts.get("machine") or "")
        if machine and host.status == OK:
            found.setdefault(machine, []).append(host)
    return [group for group in found.values() if len(group) > 1]


def refuse(hosts: Sequence[HostDecision]) -> list[str]:
    """Refuse the hosts that are one machine, where any of them is to be changed; what is told of the others.

    Where nothing is to be changed nobody is hurt: then it is a warning.
    """
    told = []
    for group in twins(hosts):
        machine = str(group[0].facts["machine"]).partition("/")[0]
        words = (
            f"{listed([host.host for host in group])} are one machine (machine-id {machine}, the same boot): each "
            "would be planned as if it had that machine alone; keep one of these names in the play"
        )
        if any(host.pending for host in group):
            for host in group:
                host.fail(words)
        else:
            told.append(words)
    return told
