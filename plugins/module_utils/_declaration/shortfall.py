# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether the declared load is enough for the declared limits, by arithmetic, before anything runs. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .app import Limits, Load

QUANTILES: Final[Mapping[str, float]] = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
ALPHA: Final = 0.01
"""The chance of a wrong fail that a single check of a verdict may have."""

MIN_REQUESTS: Final = 100
"""Fewer requests are no measurement."""

RETRY_FACTOR: Final = 2.0
"""How many times longer the retry of a trial runs."""


def needed_requests(limits: Limits, level: float = ALPHA, least: int = MIN_REQUESTS) -> tuple[int, str]:
    """The fewest requests with which these limits can be passed at all, and which limit asks for them.

    `level` is alpha, the chance of a wrong answer; `least` the fewest requests that are a measurement.
    A quantile q needs n with 1 - q**n >= 1 - alpha/2; an error rate e needs (1 - e)**n <= alpha/2 when nothing fails.
    """
    needs = [(least, "a verdict of any kind")]
    half = level / 2.0
    for name, q in QUANTILES.items():
        if limits.latency_ms(name) is not None:
            needs.append((math.ceil(math.log(half) / math.log(q)), f"the limit on {name}"))
    rate = limits.error_rate
    if 0.0 < rate < 1.0:
        needs.append((math.ceil(math.log(half) / math.log1p(-rate)), f"the limit of {100 * rate:.3g} % on errors"))
    return max(needs)


@dataclass(frozen=True)
class Shortfall:
    """Fewer requests than the limits take. `hopeless`: not even the retry, twice as long, can pass. `reason`: what
    needs them; `seconds` and `rate`: either would be enough, the other one as declared."""

    planned: int
    needed: int
    hopeless: bool
    sentence: str
    reason: str
    seconds: int
    rate: int


def load_shortfall(load: Load, limits: Limits) -> Shortfall | None:
    """Whether load.rate times load.seconds is too little for the limits, known before anything runs.

    None where it is enough, or where the rate is derived on the host.
    """
    rate, seconds = load.rate, load.seconds
    if rate is None:
        return None
    planned = math.floor(float(rate) * float(seconds) + 1e-9)
    needed, reason = needed_requests(limits)
    if planned >= needed:
        return None
    hopeless = RETRY_FACTOR * planned < needed
    then = "no verdict can pass" if hopeless else "every first run is inconclusive and takes its retry, twice as long"
    longer, faster = math.ceil(needed / float(rate)), math.ceil(needed / float(seconds))
    return Shortfall(
        planned,
        needed,
        hopeless,
        f"load.rate {float(rate):g} for load.seconds {float(seconds):g} are {planned} requests, and {reason} takes at "
        f"least {needed}: {then}. Set load.seconds to {longer} or more, or load.rate to {faster} or more",
        reason,
        longer,
        faster,
    )
