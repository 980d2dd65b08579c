# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The step abandon: a rollout ends that failed outside of a step."""

from __future__ import annotations

from .._generation import generations
from .._generation.failures import StepFailed
from .app import AppOnHost


def abandon(app: AppOnHost, number: int | None, phase: str, cause: str) -> dict[str, object]:
    """End a rollout that failed outside of a step: the candidate is stopped, the live generation stays."""
    with app.alone("abandon", number):
        app.stop_candidate(number)
        app.set_aside(number, StepFailed(phase, cause))
    return {"live": generations.live(app.layout)}
