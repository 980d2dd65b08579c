# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What is being done while wheels are gathered, told to whoever waits for it; nobody does unless told so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Say = Callable[[str], None]


def _nobody(text: str) -> None:
    """What is told to nobody."""


_SAY: ContextVar[Say] = ContextVar("say", default=_nobody)


@contextmanager
def told_to(say: Say) -> Iterator[None]:
    """Tell `say` what is done in this block, in the thread that it runs in."""
    token = _SAY.set(say)
    try:
        yield
    finally:
        _SAY.reset(token)


def tell(text: str) -> None:
    """Tell what begins now."""
    _SAY.get()(text)
