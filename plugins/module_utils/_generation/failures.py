# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How a step fails: with one sentence for people."""

from __future__ import annotations

from typing import Mapping


class StepFailed(Exception):
    """A step of a rollout did not succeed. `cause` is one sentence for people; `phase` names the step; `log`: what the
    generation that it was about logged last."""

    def __init__(self, phase: str, cause: str, evidence: Mapping[str, object] | None = None) -> None:
        super().__init__(cause)
        self.phase = phase
        self.cause = cause
        self.evidence = evidence or {}
        self.log: list[str] = []


class Untouched(StepFailed):
    """A step that was refused before it changed anything."""


def sentence(error: BaseException) -> str:
    """An exception in words for people."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__
