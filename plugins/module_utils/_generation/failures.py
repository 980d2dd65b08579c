# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How a step fails: with one sentence for people."""

from __future__ import annotations

from typing import Callable, Mapping


class StepFailed(Exception):
    """A step of a rollout did not succeed. `cause` is one sentence for people; `phase` names the step; `log`: what the
    generation that it was about logged last.

    A cause that asks a log may be given as what finds it: it is found when somebody reads it, which is after what has
    to be done at once.
    """

    def __init__(
        self, phase: str, cause: str | Callable[[], str], evidence: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(phase)
        self.phase = phase
        self._cause = cause
        self.evidence = evidence or {}
        self.log: list[str] = []

    @property
    def cause(self) -> str:
        if not isinstance(self._cause, str):
            self._cause = self._cause()
        return self._cause

    @cause.setter
    def cause(self, words: str) -> None:
        self._cause = words

    def __str__(self) -> str:
        return self.cause


class Untouched(StepFailed):
    """A step that was refused before it changed anything."""


def sentence(error: BaseException) -> str:
    """An exception in words for people."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__
