# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The histogram's encoding, there and back, and against the reference library where it is installed."""

from __future__ import annotations

import math

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict import histogram as hg
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict import judge as j
from hypothesis import given
from hypothesis import strategies as some

MICROSECONDS = some.lists(some.integers(1, hg.HIGHEST), max_size=200)


def of(values: list[int]) -> hg.Histogram:
    return hg.Histogram.of_milliseconds(value / 1000.0 for value in values)


@given(some.integers(0, hg.HIGHEST))
def test_a_value_is_kept_to_three_digits(value: int) -> None:
    low, width = hg.value_of(hg.slot_of(value))
    assert low <= value < low + width
    assert width <= max(1, value / 1000)


@given(MICROSECONDS)
def test_encoding_and_back(values: list[int]) -> None:
    histogram = of(values)
    assert hg.Histogram.decode(histogram.encode()).counts == histogram.counts
    assert histogram.total == len(values)


@given(MICROSECONDS.filter(bool), some.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_quantiles(values: list[int], q: float) -> None:
    exact = sorted(values)[max(1, math.ceil(q * len(values))) - 1]
    found = of(values).value_at(q)
    assert found is not None
    assert exact <= found <= exact * 1.001 + 1


@given(MICROSECONDS)
def test_the_reference_library_reads_it(values: list[int]) -> None:
    library = pytest.importorskip("hdrh.histogram")
    theirs = library.HdrHistogram(hg.LOWEST, hg.HIGHEST, hg.DIGITS)
    for value in values:
        theirs.record_value(value)
    read = library.HdrHistogram.decode(of(values).encode())
    assert read.get_total_count() == len(values)
    for percent in (50, 95, 99, 100):
        assert read.get_value_at_percentile(percent) == theirs.get_value_at_percentile(percent)
    written = theirs.encode()
    assert hg.Histogram.decode(written if isinstance(written, str) else written.decode()).counts == of(values).counts


def test_anything_else_is_refused() -> None:
    with pytest.raises(ValueError, match="not a histogram in HdrHistogram's V2 compressed encoding"):
        hg.Histogram.decode("AAAAAAAAAAA=")


def samples(latencies: list[float]) -> j.Samples:
    return j.Samples(
        start_s=[index / 50 for index in range(len(latencies))],
        latency_ms=latencies,
        status=[200 if math.isfinite(latency) else 0 for latency in latencies],
        planned=len(latencies),
        period_s=0.02,
        failures=sum(map(math.isinf, latencies)),
        achieved_rate=50.0,
    )


def test_the_digest_tells_samples_apart() -> None:
    one = hg.digest(samples([10.0, math.inf]))
    assert one == hg.digest(samples([10.0, math.inf]))
    assert one != hg.digest(samples([10.001, math.inf]))
    assert one != hg.digest(samples([10.0, 11.0]))
    assert one.startswith("sha256:")
