# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Open-loop load with h2load: commands, captured logs, and the accounting of every planned request.

Each request has its own connection, opened by a clock (`-r 1 --rate-period`), so that a slow server cannot slow the
load down. A request that was refused, reset, hung, cut short or never answered leaves no row in h2load's log, and
h2load exits with 0 all the same: failures are the planned requests minus the rows with a status that means well.
"""

from __future__ import annotations

from .accounting import (
    LAG_FLOOR_S,
    MOST_PAUSED,
    PAUSE_S,
    UNSETTLED_S,
    LaneRun,
    Row,
    Summary,
    account,
    account_so_far,
    align,
    cut_short,
    how_failed,
    parse_log,
    parse_summary,
    paused_seconds,
)
from .command import (
    GRACE_S,
    MAX_REQUESTS,
    MOST_RANDOM,
    Lane,
    LoadError,
    PathLoad,
    Target,
    build_command,
    lanes_rate,
    nofile_needed,
    plan_arrivals,
    plan_lanes,
    prepare,
)
from .processes import (
    GENERATOR_NICE,
    Finished,
    Launch,
    Runner,
    raise_nofile,
    run_processes,
)

__all__ = [
    "GENERATOR_NICE",
    "GRACE_S",
    "LAG_FLOOR_S",
    "MAX_REQUESTS",
    "MOST_PAUSED",
    "MOST_RANDOM",
    "PAUSE_S",
    "UNSETTLED_S",
    "Finished",
    "Lane",
    "LaneRun",
    "Launch",
    "LoadError",
    "PathLoad",
    "Row",
    "Runner",
    "Summary",
    "Target",
    "account",
    "account_so_far",
    "align",
    "build_command",
    "cut_short",
    "how_failed",
    "lanes_rate",
    "nofile_needed",
    "parse_log",
    "parse_summary",
    "paused_seconds",
    "plan_arrivals",
    "plan_lanes",
    "prepare",
    "raise_nofile",
    "run_processes",
]
