# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What hosts of one class found of a release that they judged alike, and what a later one may do without. Pure.

What is the code's (its errors) is the same on all of them, and need not be proven anew with all requests on each. What
is the host's is never taken from others: a later host asks as many requests as its own limits on latency take, fails by
its own requests alone, and shows itself, at 95 %, that it fails no more of them than it may. A first load alone is
shorter, and only a pass comes of it sooner: whatever is no pass has the retry, as long as anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from .._declaration.app import Limits, Load
from .._declaration.shortfall import ALPHA, needed_requests
from . import statistics as st

LEAST_HOSTS: Final = 2
"""So many hosts of the class must have passed, each in its first load, which was a whole one."""

SHORTER: Final = 0.5
"""The first load of a later host lasts this part of what is declared."""

OWN_ALPHA: Final = 0.1
"""Of the host's own bounds for its share of failed requests: 95 % on the side that counts."""

SUSPICION: Final = 0.5
"""In a shorter load, a slowdown that would be chance less often than this is looked at again in a whole one."""

ALIKE: Final = 0.05
"""A host that fails more requests than the others, where that would be chance less often than this, is judged alone."""


@dataclass(frozen=True)
class Pool:
    """The whole first loads of `hosts` other hosts that passed: their requests, and how many of those failed."""

    hosts: int
    requests: int
    failures: int

    @classmethod
    def of(cls, data: Mapping[str, object] | None) -> Pool | None:
        """From plain data; None where there is none, or too few hosts."""
        if not data:
            return None
        pool = cls(*(int(str(data[name])) for name in ("hosts", "requests", "failures")))
        return pool if pool.hosts >= LEAST_HOSTS else None

    def words(self) -> str:
        """Who they are, and what they found."""
        return (
            f"{self.hosts} hosts of its class, which judged the same release with whole loads "
            f"({self.failures} of {self.requests} requests failed)"
        )


@dataclass(frozen=True)
class Shorter:
    """A first load that lasts `seconds` of the declared `of_s`, for the sake of a pool."""

    pool: Pool
    seconds: float
    of_s: float

    @property
    def part(self) -> float:
        """Of what is declared: 0..1."""
        return self.seconds / self.of_s

    def words(self) -> str:
        """What is left out, and why."""
        return f"the rest of its load (it lasted {self.seconds:g} of {self.of_s:g} s, after {self.pool.words()})"

    def to_dict(self) -> dict[str, float]:
        """Plain data for the evidence."""
        return {**vars(self.pool), "seconds": self.seconds, "of_s": self.of_s}


def shorter(pool: Pool | None, load: Load, limits: Limits) -> Shorter | None:
    """How much shorter the first load is; None without a pool, or where half the requests could not show what is the
    host's: its limits on latency, and at 95 % the one on errors."""
    if pool is None or load.rate is None:
        return None
    latency, _ = needed_requests(replace(limits, error_rate=1.0))
    errors, _ = needed_requests(limits, OWN_ALPHA)
    planned = math.floor(float(load.rate) * float(load.seconds) * SHORTER + 1e-9)
    if planned < max(latency, errors) or pooled_bound(0, planned, limits.error_rate, pool) is None:
        return None
    return Shorter(pool, SHORTER * float(load.seconds), float(load.seconds))


def pooled_bound(failures: int, requests: int, limit: float, pool: Pool, alpha: float = ALPHA) -> float | None:
    """The upper bound of the share of failed requests, at 1 - alpha/2, by those of the host and of the pool together.

    None where that says nothing of this host: it fails more than the others, its own requests do not show (at 95 %)
    that it is within the limit, or all together do not show it (at 1 - alpha/2).
    """
    if st.clopper_pearson(failures, requests, OWN_ALPHA)[1] > limit:
        return None
    every, failed = requests + pool.requests, failures + pool.failures
    if failures and st.hypergeometric_sf(failures, failed, every, requests) < ALIKE:
        return None
    bound = float(st.clopper_pearson(failed, every, alpha)[1])
    return bound if bound <= limit else None
