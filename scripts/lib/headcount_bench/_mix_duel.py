# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether the weighed plan is worse than a rule of thumb that is close to it: the two of them alone, over fresh
arrivals. Pure functions.

A final has few requests of the rare kind, so that its order of two that are alike is chance. A duel has a fixed number
of rounds, in each of which both get the same arrivals, in turn there and back. It alone decides.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

ROUNDS: Final = 12


@dataclass(frozen=True)
class Duel:
    """The outcome. `plan`, `rule`: the largest p95 slowdown over all rounds together; `by_round`: the plan's to the
    rule's in each; `chance`: see chance_of()."""

    plan: float
    rule: float
    by_round: tuple[float, ...]
    chance: float

    @property
    def ratio(self) -> float:
        """The plan's slowdown to the rule's, over all rounds; above 1 the rule is ahead."""
        return _ratio(self.plan, self.rule)

    @property
    def worse(self) -> bool:
        """Whether the plan's slowdown over all rounds is more than the rule's, whatever the chance."""
        return self.ratio > 1.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data; what is infinite is null."""
        figures = {"plan": self.plan, "rule": self.rule, "ratio": self.ratio}
        return {
            **{key: round(value, 3) if math.isfinite(value) else None for key, value in figures.items()},
            "by_round": [round(one, 3) if math.isfinite(one) else None for one in self.by_round],
            "chance": round(self.chance, 4),
        }


def duel_of(plan: float, rule: float, by_round: Sequence[tuple[float, float]]) -> Duel:
    """`plan`, `rule`: over all rounds; `by_round`: both of each round."""
    ratios = tuple(_ratio(mine, its) for mine, its in by_round)
    return Duel(plan, rule, ratios, chance_of(ratios))


def _ratio(plan: float, rule: float) -> float:
    """What answers nothing is infinitely slow; two of these are equal."""
    if not math.isfinite(plan):
        return math.inf if math.isfinite(rule) else 1.0
    return plan / rule if math.isfinite(rule) else 0.0


def chance_of(ratios: Sequence[float]) -> float:
    """The chance that rounds of two equals are, in the mean of the logarithms, as much in favour of the rule as these.

    Fisher's randomisation test for pairs: of two equals each round might as well have gone the other way, so all
    2^rounds signs are gone through (The Design of Experiments, 1935, section 21). That takes rounds to be independent,
    and says nothing of how the ratios are spread. At most 16 rounds.
    """
    logs = [max(-_LOST, min(_LOST, math.log(ratio))) if ratio > 0 else -_LOST for ratio in ratios]
    seen = math.fsum(logs)
    signs = list(itertools.product((1.0, -1.0), repeat=len(logs)))
    as_much = sum(math.fsum(sign * log for sign, log in zip(one, logs, strict=True)) >= seen - 1e-12 for one in signs)
    return as_much / len(signs)


_LOST: Final = math.log(100.0)
"""A round in which one of both lost requests counts as this."""


def words(duel: Duel) -> str:
    """The rounds in short: "0.97 to 1.08, in the middle 1.01"."""
    return f"{min(duel.by_round):.2f} to {max(duel.by_round):.2f}, in the middle {statistics.median(duel.by_round):.2f}"
