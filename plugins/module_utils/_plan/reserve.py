# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The memory of a host that no app is planned to have: the system's, and what others have taken already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .._facts.neighbours import SPARE_SHARE, counted, system_mib
from .types import Host, Policy, number, share

TOLD_SHARE: Final = 0.2
"""Others that use this much of the memory are worth a warning."""

NO_LIMITS: Final = (
    "systemd cannot limit the memory of a unit on this host: an app that takes too much takes it from all the others, "
    "and its memory is measured by its processes; fix: boot with cgroup_enable=memory, and from systemd 258 on with "
    "control groups of version 2 alone (systemd.unified_cgroup_hierarchy=1 before)"
)


@dataclass(frozen=True)
class Reserve:
    """MiB that are kept, and why; `warnings` in sentences, for every app of the host."""

    mib: float
    why: str
    warnings: tuple[str, ...] = ()


def reserve_of(host: Host, policy: Policy) -> Reserve:
    """What is left to everything that is not declared here: the usual reserve, or more where others use more.

    A reserve that is declared holds, and is told where others use more than that.
    """
    taken = counted(host.memory_mib, host.others_mib)
    who = f" ({host.others})" if host.others else ""
    told = (
        f"others use {number(taken)} of {host.memory_mib} MiB ({share(taken / host.memory_mib)}){who}" if taken else ""
    )
    declared = policy.reserve_memory_mib
    unlimited = () if host.limits_hold else (NO_LIMITS,)
    if declared is not None:
        short = taken > declared
        warning = (
            f"{told}, and headcount_reserve_memory_mib leaves them {number(declared)}: memory that is not there is "
            "planned; raise it, or leave it out"
        )
        return Reserve(float(declared), "headcount_reserve_memory_mib", (*unlimited, *((warning,) if short else ())))
    usual, why = system_mib(host.memory_mib)
    spare = usual * SPARE_SHARE
    kept = max(usual, taken + spare)
    warnings = [f"{told}: what is planned is what they leave"] if taken >= TOLD_SHARE * host.memory_mib else []
    if host.growing and host.others_mib + host.growth_mib > kept:
        most = number(host.others_mib + host.growth_mib)
        warnings.append(
            f"{host.growing}: memory runs short when it does; headcount_reserve_memory_mib: {most} keeps it"
        )
    why = f"{told}, and {number(spare)} are kept beside that" if taken else why
    return Reserve(kept, why, (*unlimited, *warnings))
