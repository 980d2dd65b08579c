# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The exceedance test of one quantile: latencies of the candidate against those of the live generation. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from . import statistics as st
from .types import FAIL, INCONCLUSIVE, PASS, Check, Thresholds, milliseconds


@dataclass(frozen=True)
class Compared:
    """One quantile of both arms. `name` is "p95_relative", or "p95_relative:GET /report" of one path; `usual` and
    `value` are ms of the live generation and of the candidate, `above` the candidate's requests beyond the margin, and
    `chance` the probability of as many where it is no slower than that."""

    name: str
    q: float
    new: Sequence[float]
    live_requests: int
    usual: float
    value: float
    above: int
    chance: float

    @classmethod
    def of(cls, name: str, new: Sequence[float], old: Sequence[float], q: float, policy: Thresholds) -> Compared:
        """From the ascending latencies of the candidate and of the live generation, whose quantile is finite."""
        rank = st.quantile_rank(len(old), q)
        usual, value = old[rank - 1], new[st.quantile_rank(len(new), q) - 1]
        above = sum(latency > policy.margin * usual for latency in new)
        return cls(name, q, new, len(old), usual, value, above, st.exceedance_sf(above, len(old), rank, len(new)))

    @property
    def _rank(self) -> int:
        return st.quantile_rank(self.live_requests, self.q)

    def check(self, surely: bool, maybe: bool, level: float, policy: Thresholds) -> Check:
        """The answer. `surely`, `maybe`: whether `chance` is too small at the level of a fail, and of a suspicion;
        `level`: that of the bound that is told."""
        quantile, _, path = self.name.partition(":")
        quantile = quantile.partition("_")[0]
        grew = self.value - self.usual > policy.floor_ms
        outcome = PASS
        if grew:
            outcome = FAIL if surely else INCONCLUSIVE if maybe else PASS
        usual, value, count = self.usual, self.value, len(self.new)
        ratio = value / usual if usual > 0 else (1.0 if value == usual else math.inf)
        change = f"{100 * (ratio - 1):+.0f} %" if math.isfinite(ratio) else "unbounded"
        of = f" of {path}" if path else ""
        sentence = (
            f"{quantile}{of} is {milliseconds(value)} against {milliseconds(usual)} of the live generation ({change})"
        )
        if outcome == FAIL:
            sentence += (
                f": {self.above} of {count} requests took longer than {policy.margin:.3g} times its {quantile}, "
                f"where {count * (1 - self.q):.0f} are usual (p = {self.chance:.2g})"
            )
        elif outcome == INCONCLUSIVE:
            sentence += f": more than {policy.margin:.3g} times, but it may be chance (p = {self.chance:.2g})"
        elif surely:
            sentence += f": less than {policy.floor_ms:.3g} ms more, which does not count"
        return Check(self.name, outcome, ratio, policy.margin, (self._ratio_bound(level), None), sentence)

    def _ratio_bound(self, level: float) -> float | None:
        """The largest margin that the exceedance test would still reject: a lower confidence bound of the slowdown."""
        m = len(self.new)
        low, high = 0, m + 1  # smallest k that is significant
        while high - low > 1:
            middle = (low + high) // 2
            if st.exceedance_sf(middle, self.live_requests, self._rank, m) < level:
                high = middle
            else:
                low = middle
        return None if high > m or self.usual <= 0 else self.new[m - high] / self.usual
