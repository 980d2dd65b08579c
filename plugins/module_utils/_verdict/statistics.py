# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Exact, distribution-free statistics for the judge, with nothing but the standard library.

Everything here is a pure function of numbers. Tail probabilities are computed with log-gamma and sums or continued
fractions that stay stable for samples of 100,000 and more; the unit tests hold them against scipy.stats.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

_TINY = 1e-300
_EPS = 1e-15


def log_choose(n: int, k: int) -> float:
    """Natural logarithm of the binomial coefficient; minus infinity where it is zero."""
    if k < 0 or k > n or n < 0:
        return -math.inf
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def beta_cdf(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I_x(a, b), a and b positive.

    Continued fraction by Lentz's method (DLMF 8.17.22), on the side of the mean where it converges quickly.
    """
    if a <= 0 or b <= 0:
        raise ValueError(f"beta_cdf: a={a} and b={b} must be positive")
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x < (a + 1.0) / (a + b + 2.0):
        return min(1.0, math.exp(front) * _beta_fraction(x, a, b) / a)
    return max(0.0, 1.0 - math.exp(front) * _beta_fraction(1.0 - x, b, a) / b)


def _beta_fraction(x: float, a: float, b: float) -> float:
    c = 1.0
    d = 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > _TINY else _TINY)
    result = d
    for m in range(1, 10000):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0)),
        ):
            d = 1.0 + numerator * d
            d = 1.0 / (d if abs(d) > _TINY else _TINY)
            c = 1.0 + numerator / c
            c = c if abs(c) > _TINY else _TINY
            step = c * d
            result *= step
        if abs(step - 1.0) < _EPS:
            break
    return result


def beta_ppf(probability: float, a: float, b: float) -> float:
    """Inverse of `beta_cdf` by bisection; probability in 0..1."""
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"beta_ppf: probability {probability} is not within 0..1")
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2.0
        if middle in (low, high):
            break
        if beta_cdf(middle, a, b) < probability:
            low = middle
        else:
            high = middle
    return high if probability > 0.0 else 0.0


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(X <= k) for X ~ Binomial(n, p)."""
    if k < 0:
        return 0.0
    if k >= n:
        return 1.0
    return beta_cdf(1.0 - p, n - k, k + 1.0)


def binomial_sf(k: int, n: int, p: float) -> float:
    """P(X >= k) for X ~ Binomial(n, p), exact also where it is tiny."""
    if k <= 0:
        return 1.0
    return 0.0 if k > n else beta_cdf(p, float(k), n - k + 1.0)


def binomial_ppf(probability: float, n: int, p: float) -> int:
    """Smallest k with P(X <= k) >= probability for X ~ Binomial(n, p)."""
    low, high = -1, n
    while high - low > 1:
        middle = (low + high) // 2
        if binomial_cdf(middle, n, p) >= probability:
            high = middle
        else:
            low = middle
    return high


def quantile_ranks(n: int, q: float, alpha: float) -> tuple[int, int]:
    """Ranks (1-based) of the order statistics that bound the q-quantile of any distribution from n independent draws.

    lower = ppf(alpha/2), upper = ppf(1 - alpha/2) + 1 of Binomial(n, q): each side errs with probability
    at most alpha/2 (David and Nagaraja, Order Statistics, 7.1).
    lower = 0 and upper = n + 1 mean that n is too small for that bound.
    """
    return binomial_ppf(alpha / 2.0, n, q), binomial_ppf(1.0 - alpha / 2.0, n, q) + 1


def quantile_rank(n: int, q: float) -> int:
    """Rank (1-based) of the point estimate of the q-quantile: ceil(q n), at least 1."""
    return max(1, math.ceil(round(q * n, 9)))


def clopper_pearson(failures: int, n: int, alpha: float) -> tuple[float, float]:
    """Exact two-sided confidence interval of level 1 - alpha for a share (Clopper and Pearson, Biometrika 1934)."""
    if not 0 <= failures <= n or n <= 0:
        raise ValueError(f"clopper_pearson: {failures} failures of {n} is no share")
    low = 0.0 if failures == 0 else beta_ppf(alpha / 2.0, failures, n - failures + 1.0)
    high = 1.0 if failures == n else beta_ppf(1.0 - alpha / 2.0, failures + 1.0, n - failures)
    return low, high


def median(values: Sequence[float]) -> float:
    """The middle one of some values, the upper one of an even number."""
    return sorted(values)[len(values) // 2]


def exceedance_sf(k: int, n: int, r: int, m: int) -> float:
    """P(K >= k), K the number of m new draws above the r-th smallest of n draws, all from one continuous distribution.

    P(K = j) = C(n-r+j, j) C(r-1+m-j, m-j) / C(n+m, m): the negative hypergeometric distribution of exceedances
    (Gumbel and von Schelling, Ann. Math. Stat. 1950; Epstein, JASA 1954). An upper bound when ties count as not above.
    """
    if not 1 <= r <= n:
        raise ValueError(f"exceedance_sf: rank {r} is not within 1..{n}")
    if k <= 0:
        return 1.0
    if k > m:
        return 0.0

    def log_term(j: int) -> float:
        return log_choose(n - r + j, j) + log_choose(r - 1 + m - j, m - j) - log_choose(n + m, m)

    def up(j: int) -> float:  # P(K = j + 1) / P(K = j)
        if r - 1 + m - j == 0:
            return 0.0
        return (n - r + j + 1.0) * (m - j) / ((j + 1.0) * (r - 1 + m - j))

    if k > m * (n - r + 1.0) / (n + 1.0):  # above the mean: the upper tail falls from its first term on
        return _tail(log_term(k), (up(j) for j in range(k, m)))
    below = ((1.0 / ratio if (ratio := up(j - 1)) > 0.0 else 0.0) for j in range(k - 1, 0, -1))
    return max(0.0, 1.0 - _tail(log_term(k - 1), below))


def hypergeometric_sf(k: int, marked: int, total: int, drawn: int) -> float:
    """P(X >= k), X the marked ones among `drawn` of `total`, `marked` in all (Fisher's exact test, one-sided)."""
    low, high = max(0, drawn - (total - marked)), min(marked, drawn)
    if k <= low:
        return 1.0
    if k > high:
        return 0.0

    def log_term(j: int) -> float:
        return log_choose(marked, j) + log_choose(total - marked, drawn - j) - log_choose(total, drawn)

    def up(j: int) -> float:
        return (marked - j) * (drawn - j) / ((j + 1.0) * (total - marked - drawn + j + 1.0))

    if k > marked * drawn / total:
        return _tail(log_term(k), (up(j) for j in range(k, high)))
    below = ((1.0 / ratio if (ratio := up(j - 1)) > 0.0 else 0.0) for j in range(k - 1, low, -1))
    return max(0.0, 1.0 - _tail(log_term(k - 1), below))


def _tail(log_first: float, ratios: Iterable[float]) -> float:
    """exp(log_first) * (1 + r1 + r1 r2 + ...), stopped when a falling term no longer counts."""
    term = total = 1.0
    for ratio in ratios:
        term *= ratio
        total += term
        if ratio < 1.0 and term < total * 1e-17:
            break
    return min(1.0, math.exp(min(0.0, log_first + math.log(total))))


def holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Which hypotheses Holm's step-down procedure rejects at family-wise level alpha (Holm, Scand. J. Stat. 1979)."""
    rejected = [False] * len(p_values)
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[index] >= alpha / (len(p_values) - place):
            break
        rejected[index] = True
    return rejected


def holm_levels(p_values: Sequence[float], alpha: float) -> list[float]:
    """The level at which Holm's procedure holds each hypothesis: alpha over the number of those that are no surer."""
    levels = [alpha] * len(p_values)
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        levels[index] = alpha / (len(p_values) - place)
    return levels


def kendall_s(values: Sequence[float]) -> int:
    """Kendall's S against time: rising pairs minus falling pairs; n (n - 1) / 2 when every later value is higher."""
    return sum(
        (later > earlier) - (later < earlier) for place, earlier in enumerate(values) for later in values[place + 1 :]
    )
