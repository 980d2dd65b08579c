# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether users of a live generation are hurt while it is loaded, by the counts of the recorder. Pure.

The load itself is among the requests that are counted: what it fails users fail, too.
"""

from __future__ import annotations

from .._declaration.app import Limits
from .guarding import Reading, upper
from .statistics import clopper_pearson
from .types import short

LEVEL = 0.001
LEAST_ERROR_RATE = 0.02
DEATHS = ("killed", "died", "timed_out")


def hurt(first: Reading, now: Reading, limits: Limits, memory_max_mib: float | None) -> str:
    """What became worse since the `first` reading, before the load, in a part of a sentence; empty when nothing did."""
    since = now.tally.since(first.tally)
    dead = sum(since.ends.get(how, 0) for how in DEATHS)
    if dead or now.oom_kills > first.oom_kills:
        return f"{max(dead, now.oom_kills - first.oom_kills)} of its workers died"
    count = since.ended + since.lost
    usual = upper(first.tally.errors, first.tally.ended + first.tally.lost)
    most = max(limits.error_rate, LEAST_ERROR_RATE, usual)
    if since.errors and clopper_pearson(min(since.errors, count), count, LEVEL)[0] > most:
        return f"{since.errors} of all {count} requests failed"
    return _memory(first.memory_mib, now.memory_mib, limits.memory_percent, memory_max_mib)


def _memory(before: float | None, now: float | None, percent: float | None, most: float | None) -> str:
    if now is None or percent is None or not most or now <= most * percent / 100:
        return ""
    if before is not None and now <= before:
        return ""  # it was there already
    return f"it uses {short(now)} of the {short(most)} MiB that it may have, more than {short(percent)} %"
