# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The exact functions against scipy.stats, against brute force, and against simulated truth."""

from __future__ import annotations

import itertools
import math
import random
from typing import Callable

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict import statistics as st
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import stats

COUNTS = some.integers(1, 100_000)


@given(n=COUNTS, k=some.floats(0, 1), p=some.floats(0.001, 0.999))
def test_binomial_cdf_is_scipys(n: int, k: float, p: float) -> None:
    near = int(n * p + (k - 0.5) * 12 * math.sqrt(n * p * (1 - p)))
    assert st.binomial_cdf(near, n, p) == pytest.approx(stats.binom.cdf(near, n, p), rel=1e-7, abs=1e-13)


@given(
    n=COUNTS, p=some.sampled_from([0.5, 0.95, 0.99, 0.001, 0.3]), a=some.sampled_from([1e-4, 0.005, 0.025, 0.5, 0.995])
)
def test_binomial_ppf_is_scipys(n: int, p: float, a: float) -> None:
    got, expected = st.binomial_ppf(a, n, p), int(stats.binom.ppf(a, n, p))
    # where the distribution function is the asked probability to the last digit, either side is right
    tie = abs(stats.binom.cdf(min(got, expected), n, p) - a) < 1e-12
    assert got == expected or (tie and abs(got - expected) == 1)


@given(a=some.floats(0.5, 1e5), b=some.floats(0.5, 1e5), q=some.floats(1e-6, 1 - 1e-6))
@settings(deadline=None)
def test_beta_ppf_is_scipys(a: float, b: float, q: float) -> None:
    assert st.beta_ppf(q, a, b) == pytest.approx(stats.beta.ppf(q, a, b), rel=1e-6, abs=1e-12)


@given(n=COUNTS, share=some.floats(0, 1), alpha=some.sampled_from([0.05, 0.01, 1e-4]))
@settings(deadline=None)
def test_clopper_pearson_is_scipys(n: int, share: float, alpha: float) -> None:
    k = round(n * share)
    expected = stats.binomtest(k, n).proportion_ci(1 - alpha, method="exact")
    assert st.clopper_pearson(k, n, alpha) == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-12)


@given(n=some.integers(1, 50_000), q=some.floats(0.01, 1), m=some.integers(1, 50_000), at=some.floats(0, 1))
@settings(deadline=None)
def test_exceedance_is_scipys_negative_hypergeometric(n: int, q: float, m: int, at: float) -> None:
    # K of m new draws above the r-th of n old ones: from above, draws of "new" before the (n-r+1)-th "old".
    r = st.quantile_rank(n, q)
    wanted = stats.nhypergeom(n + m, m, n - r + 1)
    k = min(m, max(1, int(wanted.mean() + (at - 0.3) * 8 * wanted.std())))
    if n + m > 3000:  # scipy's own sum is slow and loses digits; its beta-binomial is the same distribution
        wanted = stats.betabinom(m, n - r + 1, r)
    assert st.exceedance_sf(k, n, r, m) == pytest.approx(wanted.sf(k - 1), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 4), (5, 3), (4, 5)])
def test_exceedance_is_what_counting_every_order_gives(n: int, m: int) -> None:
    orders = list(itertools.combinations(range(n + m), n))  # ranks that the old draws take
    for r in range(1, n + 1):
        above = [(n + m - 1 - order[r - 1]) - (n - r) for order in orders]
        for k in range(m + 2):
            counted = sum(number >= k for number in above) / len(orders)
            assert st.exceedance_sf(k, n, r, m) == pytest.approx(counted, abs=1e-12)


@given(total=some.integers(1, 20_000), a=some.floats(0, 1), b=some.floats(0, 1), at=some.floats(0, 1))
@settings(deadline=None)
def test_hypergeometric_is_scipys(total: int, a: float, b: float, at: float) -> None:
    marked, drawn = round(a * total), round(b * total)
    k = round(at * min(marked, drawn))
    expected = stats.hypergeom.sf(k - 1, total, marked, drawn)
    assert st.hypergeometric_sf(k, marked, total, drawn) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("n", "q", "ranks"),
    [
        (100, 0.5, (37, 64)),
        (1500, 0.95, (1402, 1447)),
        (10, 0.99, (9, 11)),
        (527, 0.99, (515, 528)),
        (528, 0.99, (516, 528)),
    ],
)
def test_ranks_of_the_quantile_bounds(n: int, q: float, ranks: tuple[int, int]) -> None:
    assert st.quantile_ranks(n, q, 0.01) == ranks


@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_quantile_bounds_err_as_rarely_as_they_say(q: float) -> None:
    source = random.Random(7)
    low, high = st.quantile_ranks(600, q, 0.02)
    truth = math.exp(stats.norm.ppf(q))
    wrong = [0, 0]
    for _ in range(1500):
        draws = sorted(source.lognormvariate(0, 1) for _ in range(600))
        wrong[0] += draws[low - 1] > truth
        wrong[1] += draws[high - 1] < truth
    # one-sided level 0.01: with 1500 trials more than 29 would happen by chance once in 1000 tests
    assert max(wrong) <= 29


@pytest.mark.parametrize("q", [0.5, 0.95])
def test_the_exceedance_test_cries_wolf_as_rarely_as_it_says(q: float) -> None:
    source = random.Random(11)
    alarms = 0
    for _ in range(1500):
        old = sorted(source.expovariate(1) for _ in range(300))
        r = st.quantile_rank(300, q)
        above = sum(source.expovariate(1) > old[r - 1] for _ in range(300))
        alarms += st.exceedance_sf(above, 300, r, 300) < 0.02
    assert alarms <= 48  # 30 expected at most; 0.001 quantile


def test_clopper_pearson_covers() -> None:
    for p in (0.005, 0.01, 0.05):
        covered = 0.0
        for k in range(101):
            low, high = st.clopper_pearson(k, 100, 0.05)
            covered += stats.binom.pmf(k, 100, p) * (low <= p <= high)
        assert covered >= 0.95


@pytest.mark.parametrize(
    ("p", "alpha", "expected"),
    [
        ([], 0.05, []),
        ([0.01], 0.05, [True]),
        ([0.03, 0.01], 0.05, [True, True]),
        ([0.03, 0.03], 0.05, [False, False]),
        ([0.02, 0.2, 0.001], 0.05, [True, False, True]),
    ],
)
def test_holm(p: list[float], alpha: float, expected: list[bool]) -> None:
    assert st.holm(p, alpha) == expected


def test_kendall() -> None:
    assert st.kendall_s([1, 2, 3, 4]) == 6
    assert st.kendall_s([4, 3, 2, 1]) == -6
    assert st.kendall_s([1, 1, 1]) == 0


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: st.beta_cdf(0.5, 0, 1), "beta_cdf: a=0 and b=1 must be positive"),
        (lambda: st.clopper_pearson(2, 1, 0.05), "clopper_pearson: 2 failures of 1 is no share"),
        (lambda: st.exceedance_sf(1, 5, 6, 5), "exceedance_sf: rank 6 is not within 1..5"),
        (lambda: st.beta_ppf(1.5, 1, 1), "beta_ppf: probability 1.5 is not within 0..1"),
    ],
)
def test_refusals(call: Callable[[], object], text: str) -> None:
    with pytest.raises(ValueError, match=text.replace("(", r"\(")):
        call()
