# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a profile says of a request: how long it waits for each second that it computes."""

from __future__ import annotations

from typing import Final

PROFILE_WAIT_RATIO: Final = {"cpu": 0.05, "mixed": 4.0, "io": 50.0}
"""What a profile says about waiting: time a request waits, divided by the CPU time it takes (Goetz' W/C).

cpu: a request that computes still waits a little, on its socket and its log. mixed: the waiting end of what the word
covers, 80 % of the time; io: 50 ms of waiting on 1 ms of CPU, a thin route over a database or another service. The two
upper values lean to more waiting on purpose: too few slots cost throughput in proportion (a waiting app on two
CPU-sized workers serves a tenth of what it could), while too many cost a little memory, and memory is a limit of its
own. A weighed candidate replaces the value by its own.
"""

PROFILE_RANGE: Final = {"cpu": (0.0, 0.2), "mixed": (0.2, 9.0), "io": (9.0, float("inf"))}
"""The wait ratios that a profile's name covers: cpu waits at most a sixth of its time, io more than nine tenths, mixed
in between.
"""

WORKER_CLASSES: Final = ("sync", "gthread", "gevent", "eventlet")


def profile_of(wait_ratio: float) -> str:
    """The profile whose range holds a wait ratio (wait / CPU, 0 or more)."""
    return next(name for name, (low, high) in PROFILE_RANGE.items() if low <= wait_ratio < high)
