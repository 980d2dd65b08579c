# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The price of the recorder: a ratio of pairs with an exact interval, and what is too high."""

from __future__ import annotations

import math
import os
import random
from typing import Any

import pytest
from headcount_bench import recorder


def test_each_class_is_a_cell_of_its_own() -> None:
    assert [cell.name for cell in recorder.cells(quick=True)] == [
        f"{app}/{name}" for app in ("flask", "nothing") for name in ("sync", "gthread", "gevent")
    ]
    assert recorder.cells(quick=True)[0].key != recorder.cells(quick=False)[0].key


def value(percent: float, mib: float = 0.1, pairs: int = 200) -> dict[str, Any]:
    """What a machine would measure that is slow now and then, for both of a pair alike."""
    numbers = random.Random(7)
    bare = [100 * numbers.choice((1, 1, 1, 9)) * numbers.uniform(0.98, 1.02) for _ in range(pairs)]
    counting = [one * (1 + percent / 100) * numbers.uniform(0.98, 1.02) for one in bare]
    return {
        "with": counting,
        "without": bare,
        "cpu_with": counting,
        "cpu_without": bare,
        "with_mib": [mib] * pairs,
        "without_mib": [0.0] * pairs,
    }


@pytest.mark.parametrize("percent", [0.0, 2.0, 10.0])
def test_the_interval_holds_the_ratio_where_the_machine_is_slow_now_and_then(percent: float) -> None:
    found = recorder.price(value(percent)).cpu
    assert found.low <= percent <= found.high
    assert found.high - found.low < 2


def test_few_pairs_bound_nothing() -> None:
    found = recorder.price(value(2.0, pairs=3)).p50
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_only_what_is_surely_too_high_is_missed() -> None:
    assert (
        recorder.missed(
            {"flask/sync": recorder.price(value(2.9)), "flask/gthread": recorder.price(value(5.0, pairs=3))}
        )
        == []
    )
    told = recorder.missed(
        {"flask/sync": recorder.price(value(8.0)), "flask/gevent": recorder.price(value(0.0, mib=4.5))}
    )
    assert [line.split(":")[0] for line in told] == ["flask/sync", "flask/sync", "flask/gevent"]
    assert told[2] == "flask/gevent: 4.5 MiB a worker, at most 3 were promised"


def test_the_table_has_a_row_for_each_class() -> None:
    page = recorder.text({"flask/sync": recorder.price(value(2.0))})
    assert "| flask | sync | 10" in page
    assert "+0.10 |" in page


def test_the_cpu_time_of_a_process_is_read() -> None:
    assert recorder.cpu_us(os.getpid()) > 0
    assert recorder.uss_mib(os.getpid()) > 1
