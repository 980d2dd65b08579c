# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Telling, while something long is done, what it is and how long it has taken, so that nobody takes it for dead."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

EVERY_SECONDS: Final = 30.0


class Reminder:
    """Tells what is being done at this moment each `every` seconds, until its block ends; nothing of what is quicker.

    Several things may be done at a time, each by a key of its own; `step` may be called from any thread.
    """

    def __init__(self, say: Callable[[str], None], every: float = EVERY_SECONDS) -> None:
        self._say, self._every = say, every
        self._steps: dict[str, tuple[str, float]] = {}
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._remind, daemon=True)

    def __enter__(self) -> Reminder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def step(self, key: str, text: str) -> None:
        """What `key` does from now on; "" when it has ended."""
        with self._lock:
            self._steps.pop(key, None)
            if text:
                self._steps[key] = (text, time.monotonic())

    def _remind(self) -> None:
        while not self._ended.wait(self._every):
            with self._lock:
                steps = list(self._steps.values())
            now = time.monotonic()
            lines = [f"{text}: {now - begin:.0f} s so far" for text, begin in steps if now - begin >= self._every / 2]
            if lines:
                self._say("\n".join(lines))
