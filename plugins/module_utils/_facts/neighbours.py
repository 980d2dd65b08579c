# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What others have of a host's memory, and what of it counts against the apps that are planned for: figures and words.

The system's own share is kept for it anyway: others count where they use more than that covers.
"""

from __future__ import annotations

from typing import Mapping, Sequence

from .others import Neighbour

RESERVE_SHARE = 0.10
RESERVE_FLOOR_MIB = 64
RESERVE_SMALL_SHARE = 0.25
RESERVE_CEILING_MIB = 1024
"""Left to the system: a tenth, at least 64 MiB (systemd, journal and sshd of a minimal Debian), but of less than 256
MiB only a quarter, and never more than 1 GiB: the system does not grow with the host."""

SPARE_SHARE = 0.5
"""Of that, what is kept beside what others are seen to use: they grow, and the kernel and the page cache need some."""

REACHED_SHARE = 0.95
"""Of its limit, what a unit has used at least whose own limit made the kernel kill: it is charged in batches."""


def system_mib(total_mib: float) -> tuple[float, str]:
    """MiB that the system itself is left of `total_mib`, and why."""
    tenth, small = total_mib * RESERVE_SHARE, total_mib * RESERVE_SMALL_SHARE
    floor = min(float(RESERVE_FLOOR_MIB), small)
    if tenth >= RESERVE_CEILING_MIB:
        return float(RESERVE_CEILING_MIB), "at most 1 GiB is kept for the system"
    if tenth >= floor:
        return tenth, "a tenth is kept for the system"
    if floor < RESERVE_FLOOR_MIB:
        return floor, "a quarter is kept for the system on a host this small"
    return floor, "64 MiB are kept for the system"


def counted(total_mib: float, others_mib: float) -> float:
    """What others use, where it is more than the reserve of the system covers, spare included; else 0."""
    covered = system_mib(total_mib)[0] * (1 - SPARE_SHARE)
    return others_mib if others_mib > covered else 0.0


def words(neighbours: Sequence[Mapping[str, object] | Neighbour]) -> str:
    """Who uses how much, for a sentence: "postgresql.service 307 MiB, session-3.scope 20"; "" where nobody is known."""
    named = [one if isinstance(one, Neighbour) else Neighbour(str(one["name"]), _mib(one)) for one in neighbours]
    return ", ".join(f"{one.name} {max(one.mib, one.promised_mib)} MiB" for one in named[:3])


def taken_by(neighbours: Sequence[Mapping[str, object]]) -> int:
    """MiB that are not there for others because of these units."""
    return sum(_mib(one) for one in neighbours)


def growing(neighbours: Sequence[Mapping[str, object]]) -> tuple[float, str]:
    """MiB that the limits of units (MemoryHigh=, MemoryMax=) let them take beyond what they use, and who, in words."""
    grown, named = 0.0, []
    for one in neighbours:
        limit, used = one.get("limit_mib"), _mib(one)
        if limit is not None and int(str(limit)) > used:
            grown += int(str(limit)) - used
            named.append(f"{one['name']} uses {used} MiB and may use {limit}")
    return grown, ", ".join(named[:3])


def lacking_above(peak_mib: float | None, limit_mib: float | None) -> str:
    """In words, that a unit of which the kernel killed a process never came near its own limit: what was full is above
    it, maybe where nothing is to be seen (a container's limit under version 2). "" where it did, or may have."""
    if peak_mib is None or not limit_mib or peak_mib > limit_mib * REACHED_SHARE:
        return ""
    return (
        f"its unit never used more than {peak_mib:.0f} of its {limit_mib:.0f} MiB, so that the memory above it was "
        "full: this host's, or that of a limit which cannot be seen from here, as a container's"
    )


def _mib(neighbour: Mapping[str, object]) -> int:
    return max(int(str(neighbour.get(key) or 0)) for key in ("mib", "promised_mib"))
