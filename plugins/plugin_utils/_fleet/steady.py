# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Is what is live kept although others of its host use another part of the memory just now?

Others breathe: a database that was started, a trial of somebody else's, the session that asks. A run that finds nothing
else changed keeps what is live as long as it fits beside them. Whatever is deployed for another reason is planned for
what they use then, and so is a re-tune.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ...module_utils._facts.neighbours import SPARE_SHARE, counted, system_mib
from .._edge import Json
from .probed import Facts

BETTER_SHARE: Final = 0.25
"""A plan for what is free now that holds so much more requests is worth a hint."""


def moved_alone(stored: Facts, settled: Facts) -> bool:
    """Whether it is what others use of the memory that has changed, and not the memory itself."""
    before, now = stored.get("memory") or {}, settled.get("memory") or {}
    return bool(before.get("effective_mib")) and before.get("effective_mib") == now.get("effective_mib")


def fits(stored: Facts, found: Facts, plans: Iterable[Json], headroom: bool) -> bool:
    """Whether the live generations of a host (`plans`) fit beside what others use now.

    They were planned with room for a second generation of each (`headroom`), which none needs until it is planned anew.
    """
    total = float(found["memory"]["effective_mib"])
    usual = system_mib(total)[0]
    spare = usual * SPARE_SHARE
    left = max(usual, counted(total, float(stored["memory"].get("others_mib") or 0)) + spare)
    second = sum(float(plan.get("budget_mib") or 0) for plan in plans) if headroom else 0.0
    return float(found["memory"].get("others_mib") or 0) + spare <= left + second


def hints(live: Json, plan: Json) -> list[str]:
    """What a plan for what is free now would be, where that is much better."""
    had, has = int(live.get("slots") or 0), int(plan.get("slots") or 0)
    if has <= had * (1 + BETTER_SHARE):
        return []
    return [
        f"a plan for the memory that is free now has room for {has} requests in flight instead of {had}: "
        "playbooks/retune.yml takes it"
    ]


__all__ = ["fits", "hints", "moved_alone"]
