# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The releases that scripts/bench judge compares: the sample app whose work is scattered, slowed or made to fail.

Runs on the lab's hosts, as `headcount_bench_release:create_app()`. By environment variables:
BENCH_SPREAD (sigma of a lognormal factor on every wait), BENCH_SCALE (on every wait and CPU time), BENCH_TAIL
(on the longest tenth of the waits), BENCH_ERRORS (share of requests, at random), BENCH_GROW_MIB (kept by each worker).
"""

from __future__ import annotations

import math
import os
import random
from typing import Any

_NORMAL_P90 = 1.2815515655446004  # the standard normal distribution's 90th percentile


def factor(spread: float, scale: float, tail: float, draw: float) -> float:
    """By how much a wait is multiplied, from a draw of the standard normal distribution."""
    slow = tail if draw > _NORMAL_P90 else 1.0
    return math.exp(spread * draw) * scale * slow


def create_app() -> Any:
    """The sample app with this environment's changes."""
    from flask import abort, request  # noqa: PLC0415 - only the hosts of the lab have it
    from shop import work, wsgi  # noqa: PLC0415 - the same

    spread, scale, tail, errors, grow = (
        float(os.environ.get(f"BENCH_{name}", usual))
        for name, usual in (("SPREAD", "0"), ("SCALE", "1"), ("TAIL", "1"), ("ERRORS", "0"), ("GROW_MIB", "0"))
    )
    wait, burn = work.wait, work.burn
    work.wait = lambda ms: wait(ms * factor(spread, scale, tail, random.gauss(0.0, 1.0)))
    work.burn = lambda ms: burn(ms * scale)
    app = wsgi.create_app()
    app.extensions["bench"] = bytearray(os.urandom(1)) * int(grow * 2**20)

    def fail() -> None:
        if request.path != wsgi.HEALTH and random.random() < errors:
            abort(500)

    app.before_request(fail)
    return app
