# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether an instance that starts still gets anywhere: its workers may die as fast as Gunicorn starts new ones.

Gunicorn gives up only where a worker says that it could not boot (an exception at import). One that leaves with
sys.exit() or os._exit(), or is killed, is replaced for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from .._facts.workerends import Deaths, WorkerEnd
from .._os.background import begin_thread
from .._os.http import Answer
from .._os.systemd import UnitState

LOOP_SECONDS = 10.0
"""What comes right within this time has started slowly, however many workers died of it: a database that was not up
yet, tables that two workers made at once."""

LOOP_ENDS = 3


QUEUED_SECONDS = 2.0
"""So long a unit may be inactive before its start job is under way."""


@dataclass
class Booting:
    """An instance that started at `began` (monotonic seconds), as it is seen again and again."""

    began: float
    _invocation: str = ""
    _seen: dict[tuple[int, int], float] = field(default_factory=dict)
    _ended: int = 0

    def over(self, now: float, state: UnitState) -> bool:
        """Whether its unit has ended. A request that waits in its socket starts it again: then only the invocation
        tells that it had ended."""
        again = bool(self._invocation) and state.invocation not in ("", self._invocation)
        self._invocation = self._invocation or state.invocation
        idle = state.active == "inactive" and now - self.began > QUEUED_SECONDS
        return state.active == "failed" or bool(state.restarts) or again or idle or state.load == "not-found"

    def looping(self, now: float, workers: Iterable[tuple[int, int]], ends: Sequence[WorkerEnd] | None) -> str:
        """What its workers die of, one after another; empty while it may still come up.

        `workers`: those alive, each with its start time; `ends`: how others ended, None where nobody wrote that down.
        A worker that has lived for half of the time boots slowly, whatever happens to the others beside it.
        """
        self._seen = {worker: self._seen.get(worker, now) for worker in workers}
        died = tuple(end.how for end in ends or () if not end.recycled)
        another, self._ended = len(died) > self._ended, len(died)
        taken = now - self.began
        oldest = max((now - since for since in self._seen.values()), default=0.0)
        if not another or len(died) < LOOP_ENDS or taken < LOOP_SECONDS or oldest > taken / 2:
            return ""
        return f"{len(died)} of its workers died in the first {taken:.0f} s ({Deaths(died).ways()})"


class Waiting:
    """A request whose answer is waited for while something else is looked at."""

    def __init__(self, ask: Callable[[], Answer]) -> None:
        """Begin to ask; `ask` is bounded in time by itself."""
        self._answers: list[Answer] = []
        self._errors: list[Exception] = []
        self._ask = ask
        self._thread = begin_thread(threading.Thread(target=self._work, daemon=True))

    def _work(self) -> None:
        try:
            self._answers.append(self._ask())
        except Exception as error:  # told by the thread that waits
            self._errors.append(error)

    def answer(self, seconds: float) -> Answer | None:
        """The answer, if it is there within `seconds`. Raises what asking raised."""
        self._thread.join(seconds)
        if self._errors:
            raise self._errors[0]
        return self._answers[0] if self._answers else None
