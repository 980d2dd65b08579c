# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Is a host still what its apps were planned for? Pure functions over host facts, with a dead band against noise.

The controller's plan, the host's boot check and the host's own re-tune use the same rules. `facts` have the shape of
hostfacts.HostFacts.to_dict().
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import Any, Collection, Mapping

from .._os.paths import SYSTEM_PYTHON
from .neighbours import counted, taken_by, words

MEMORY_BAND = 0.05
"""Memory that differs by less than this share is the same: kernels take a little more or less at each boot."""

OTHERS_BAND_MIB = 16
"""Others that use this much more or less (or MEMORY_BAND of the whole) use the same: every process breathes."""

CORES_BAND = 0.05
"""Cores that differ by less than this are the same: quotas are rounded."""


Facts = Mapping[str, Any]
"""Host facts as plain data: of this host, or of a record that an older version wrote."""


@dataclass(frozen=True)
class Settled:
    """Facts to plan with, and in words what has changed since the live generation was planned."""

    facts: dict[str, object]
    changes: list[str] = field(default_factory=list)


def settle(found: Facts, stored: Facts | None, retired: Collection[str] = ()) -> Settled:
    """The facts to plan with: those of the live generation (`stored`) where the host differs from them by noise only.

    Otherwise a host whose memory is 3 MiB less after each boot would be planned anew each time. The stored ones stay
    the yardstick, so that a slow creep is seen once it is out of the band. `retired`: units that apps of the host were
    taken over from. That they have left is what was meant to come, and no change.
    """
    facts: dict[str, object] = dict(found)
    if not stored:
        return Settled(facts)
    changes = []
    was, now = float(stored["cores"]["effective"]), float(found["cores"]["effective"])
    if abs(was - now) <= CORES_BAND:
        facts["cores"] = stored["cores"]
    else:
        changes.append(f"cores {exact(was)} -> {exact(now)} ({found['cores'].get('limited_by', 'host')})")
    was, now = float(stored["memory"]["effective_mib"]), float(found["memory"]["effective_mib"])
    used, others = _settled_others(found["memory"], stored["memory"], retired)
    if abs(was - now) <= MEMORY_BAND * was:
        facts["memory"] = {**found["memory"], **stored["memory"], **used}
    else:
        facts["memory"] = {**found["memory"], **used}
        limited_by = found["memory"].get("limited_by", "host")
        changes.append(f"memory {exact(was)} -> {exact(now)} MiB ({limited_by})")
    changes += others
    changes += rebuild_reasons(found, stored)
    for label, key in (("open files allowed", "nofile_max"), ("net.core.somaxconn", "somaxconn")):
        if stored.get(key) != found.get(key):
            changes.append(f"{label} {stored.get(key)} -> {found.get(key)}")
    return Settled(facts, changes)


def without(stored: Facts, retired: Collection[str]) -> Facts:
    """Facts of a live generation without the memory of the units in `retired`, for a plan that is made anew."""
    return {**stored, "memory": _without(stored["memory"], retired)}


def _without(memory: Facts, retired: Collection[str]) -> Facts:
    named = memory.get("neighbours") or []
    left = [one for one in named if one["name"] in retired]
    if not left:
        return memory
    stay = [one for one in named if one not in left]
    return {**memory, "others_mib": max(0, int(_others_mib(memory)) - taken_by(left)), "neighbours": stay}


def _settled_others(found: Facts, stored: Facts, retired: Collection[str]) -> tuple[dict[str, object], list[str]]:
    """What others use, to plan with, and in words what they did.

    Memory that is not there any more counts at once. Memory that is there again is not: a database that was started
    anew takes it back. It counts when none of those who had it is there any more.
    """
    live = stored
    after = {str(one["name"]) for one in found.get("neighbours") or ()}
    stored = _without(stored, set(retired) - after)
    before = {str(one["name"]) for one in stored.get("neighbours") or ()}
    was, now = taken_mib(stored), taken_mib(found)
    band = max(OTHERS_BAND_MIB, MEMORY_BAND * float(found["effective_mib"]))
    # What counts leaps from 0 once the reserve of the system does not cover it; a host that breathes does not.
    more = min(now - was, _others_mib(found) - _others_mib(stored)) > band
    fewer = min(was - now, _others_mib(stored) - _others_mib(found)) > band and not before & after
    changed = found.get("others_mib") is not None and (more or fewer)
    source = found if changed else live
    kept = {"others_mib": source.get("others_mib"), "neighbours": source.get("neighbours") or []}
    if not changed:
        return kept, []
    who = words(found.get("neighbours") or ())
    return kept, [f"memory that others use {exact(was)} -> {exact(now)} MiB{f' ({who})' if who else ''}"]


def taken_mib(memory: Facts) -> float:
    """MiB that others use, where the usual reserve does not cover it; else 0. `memory`: that part of the facts."""
    return counted(float(memory["effective_mib"]), _others_mib(memory))


def _others_mib(memory: Facts) -> float:
    return float(memory.get("others_mib") or 0)


def rebuild_reasons(found: Facts, stored: Facts) -> list[str]:
    """What makes a release that was built for `stored` unfit for `found`, in words: another Python or C library.

    What is stored of an older version does not say which interpreter was declared.
    """
    reasons = []
    said = [(facts.get("python") or {}).get("declared") for facts in (stored, found)]
    if all(said) and said[0] != said[1]:
        reasons.append(f"headcount_python {said[0]} -> {said[1]}")
    for label, one in (("Python", ("python", "version")), ("C library", ("platform", "libc"))):
        before, after = (stored.get(one[0]) or {}).get(one[1]), found[one[0]].get(one[1])
        if before != after:
            reasons.append(f"{label} {before} -> {after}")
    return reasons


def fact_parts(facts: Facts) -> dict[str, str]:
    """Digests of what the host itself contributes to a plan, by kind: cores, memory, platform, limits.

    Two interpreters of one version are two platforms: the release is tied to its own.
    """
    platform = [facts["python"]["version"], facts["platform"]["machine"], facts["platform"]["libc"]]
    declared = facts["python"].get("declared") or SYSTEM_PYTHON
    taken = taken_mib(facts["memory"])
    parts: dict[str, object] = {
        "cores": [facts["cores"].get(key) for key in ("effective", "physical", "logical")],
        "memory": [facts["memory"]["effective_mib"], taken] if taken else facts["memory"]["effective_mib"],
        "platform": platform if declared == SYSTEM_PYTHON else [*platform, declared],
        "limits": [facts.get("nofile_max"), facts.get("somaxconn")],
    }
    return {name: part_digest(value) for name, value in parts.items()}


def part_digest(value: object) -> str:
    """16 hex digits of the SHA-256 of a value's canonical JSON: keys sorted, no spaces, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def join_parts(parts: Mapping[str, str]) -> str:
    """The digest of a generation: all parts in one word, so that a later run can say which of them changed."""
    return ",".join(f"{name}:{parts[name]}" for name in sorted(parts))


def split_parts(joined: str | None) -> dict[str, str]:
    """The inverse of join_parts(); empty for anything else."""
    pairs = [part.split(":", 1) for part in (joined or "").split(",")]
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def exact(value: Any) -> str:
    """A number without needless digits."""
    figure = float(value)
    if math.isinf(figure):
        return "unlimited"
    return str(int(figure)) if figure.is_integer() else f"{figure:.2f}".rstrip("0").rstrip(".")
