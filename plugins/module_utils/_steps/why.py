# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Why requests of a trial failed: the path that failed most, its own answer, and what the candidate's log says of it.

The load generator keeps statuses and no bodies. So the path is asked again while the candidate still runs, with nothing
else to do: its answer can be shown then, and what is logged at that moment belongs to it. A journal takes only so many
lines of a unit within some time (journald.conf(5), RateLimitBurst=), and a traceback has thirty: where it has not taken
that one, an earlier one of the same candidate says it.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence

from .._generation.answers import Address, Request, Why
from .._os.http import Answer, Ask, request, unwell
from .._verdict.types import Samples

EARLIER_SECONDS = 60.0
"""So long before a trial its candidate may have been weighed."""

AGAIN = 20
AGAIN_SECONDS = 2.0
"""A path of which some requests fail is asked up to so often, within so long, until one fails again."""


def why_failed(
    samples: Samples,
    paths: Sequence[Ask],
    address: Address,
    seconds: float,
    log: Why,
    began: float,
    ask: Request = request,
    clock: Callable[[], float] = time.time,
) -> str:
    """Why requests failed, in words that go behind a verdict's cause; empty where none did.

    `paths`: those of the load, in its order; `address`: of the candidate, which still runs; `seconds`: how long one
    answer is waited for; `began`: when the trial did (seconds since the epoch).
    """
    failed = Counter(path for latency, path in zip(samples.latency_ms, samples.path) if not math.isfinite(latency))
    if not failed:
        return ""
    index = failed.most_common(1)[0][0]
    if index >= len(paths):
        return ""
    path, ended = paths[index], clock()
    answer, begin = _again(path, address, seconds, ask, clock)
    wrong = unwell(path, answer)
    told = f"asked again, {wrong or f'{path.method} {path.path} answered {answer.status}'}"
    # The journal may have stopped taking lines of the unit; what it logged when it was weighed is the same candidate's.
    spans = [(begin, clock()), (began, ended), (began - EARLIER_SECONDS, began)]
    why = next(filter(None, (log(path.path, *span) for span in (spans if wrong else spans[1:]))), "")
    return f"{told}; {why}" if why else told


def _again(
    path: Ask, address: Address, seconds: float, ask: Request, clock: Callable[[], float]
) -> tuple[Answer, float]:
    """The first answer that does not mean well, else the last one, and when it was asked for."""
    first = clock()
    for _ in range(AGAIN):
        begin = clock()
        answer = ask(address, path, path.within(seconds))
        if unwell(path, answer) or clock() - first >= AGAIN_SECONDS:
            break
    return answer, begin
