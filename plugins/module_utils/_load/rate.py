# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How many requests a second an arm gets: as declared, or derived from what was weighed. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .._declaration.app import Load
from . import h2load as h2
from .command import MOST_DERIVED


@dataclass(frozen=True)
class DerivedRate:
    """A rate of load in requests per second and arm, and where it comes from: declared or derived, in a sentence."""

    rate: float
    origin: str
    reason: str


def derive_rate(
    capacity_rps: float, *, arms: int = 2, utilisation: float = 0.5, least: float = 1.0, most: float = MOST_DERIVED
) -> DerivedRate:
    """The rate of one arm where none is declared: `utilisation` of the weighed capacity, shared by the arms.

    The weighed capacity (requests per second that the plan's workers can serve) is shared because both arms run on the
    same cores; half of it leaves room for users' own traffic on the live generation.
    """
    if not capacity_rps > 0 or not math.isfinite(capacity_rps):
        raise h2.LoadError(f"no load.rate is declared and the weighed capacity is {capacity_rps}: declare load.rate")
    rate = min(most, max(least, capacity_rps * utilisation / max(1, arms)))
    bound = ""
    if rate == most:
        bound = f", bounded to {most:g}"
    elif rate == least:
        bound = f", raised to {least:g}"
    shared = f", shared by {arms} arms" if arms > 1 else ""
    return DerivedRate(
        rate,
        "derived",
        f"derived, not declared: {100 * utilisation:.0f} % of the weighed capacity of {capacity_rps:.3g} a second"
        f"{shared}{bound}",
    )


def choose_rate(load: Load, capacity_rps: float | None, arms: int) -> DerivedRate:
    """load.rate where it is declared, else `derive_rate`."""
    declared = load.rate
    if declared is not None:
        return DerivedRate(float(declared), "declared", "declared as load.rate")
    if capacity_rps is None:
        raise h2.LoadError("no load.rate is declared and no capacity was weighed: declare load.rate")
    return derive_rate(capacity_rps, arms=arms)
