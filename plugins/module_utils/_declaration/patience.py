# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How long an answer of an app is waited for, by what is declared of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ANSWER_SECONDS = 10.0
MOST_ANSWER_SECONDS = 300.0

AppPlain = Mapping[str, Any]
"""As app.Plain: the probe sends this file to every host, and not that one."""


def answer_seconds(app: AppPlain) -> float:
    """How long one request of the load of a normalised app may take: 10 s, or longer where it declares slow answers.

    Twice its largest latency limit, at most `settings.timeout` where that is declared; without a latency limit
    `settings.timeout` itself; never more than 300 s.
    """
    limits, declared = app.get("limits") or {}, (app.get("settings") or {}).get("timeout")
    slowest = [float(limits[name]) for name in ("p50_ms", "p95_ms", "p99_ms") if limits.get(name)]
    timeout = float(declared) if declared else MOST_ANSWER_SECONDS
    if slowest:
        timeout = min(timeout, 2 * max(slowest) / 1000.0)
    elif not declared:
        timeout = ANSWER_SECONDS
    return min(MOST_ANSWER_SECONDS, max(ANSWER_SECONDS, timeout))


def flight_seconds(app: AppPlain) -> float:
    """How long a request of users may be in flight before it counts as one that hangs: as answer_seconds(), or
    `settings.timeout` where that is declared and longer (an app that polls or streams), at most 300 s."""
    declared = (app.get("settings") or {}).get("timeout")
    return min(MOST_ANSWER_SECONDS, max(answer_seconds(app), float(declared or 0.0)))
