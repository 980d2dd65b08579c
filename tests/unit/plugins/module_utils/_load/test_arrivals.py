# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Requests at random times, and the trains that send them."""

from __future__ import annotations

import random

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._load import arrivals as ar
from hypothesis import given
from hypothesis import strategies as some

SECONDS = 30.0


def sent(weights: list[float], rate: float, seed: int, seconds: float = SECONDS) -> list[list[ar.Train]]:
    chance = random.Random(seed)
    counts = ar.shared_out(round(rate * seconds), weights)
    return ar.cover(ar.random_times(counts, seconds, chance), seconds, chance)


def due(trains: list[list[ar.Train]]) -> list[float]:
    return sorted(at for mine in trains for train in mine for at in train.due())


@given(
    weights=some.lists(some.floats(0.01, 10), min_size=1, max_size=6),
    rate=some.floats(0.2, 300),
    seconds=some.floats(1, 40),
    seed=some.integers(0, 9),
)
def test_every_request_is_sent_within_the_run(weights: list[float], rate: float, seconds: float, seed: int) -> None:
    counts = ar.shared_out(round(rate * seconds), weights)
    assert sum(counts) == round(rate * seconds)
    trains = sent(weights, rate, seed, seconds)
    assert [sum(train.count for train in mine) for mine in trains] == counts
    assert all(train.period_ms >= ar.LEAST_PERIOD_MS for mine in trains for train in mine)
    assert all(0 <= at <= seconds + 1e-6 for at in due(trains))


@pytest.mark.parametrize(("weights", "rate"), [([1], 5), ([1], 20), ([1], 50), ([95, 5], 50), ([1, 2, 3], 100)])
def test_the_requests_scatter_as_users_do(weights: list[float], rate: float) -> None:
    """The index of dispersion is 1 for Poisson arrivals; a metronome has next to 0 from its period on."""
    even = [(number + 0.5) / rate for number in range(round(rate * SECONDS))]
    runs = [due(sent(weights, rate, seed)) for seed in range(12)]
    for window in (0.02, 0.1, 0.3, 1.0):
        mean = sum(ar.dispersion(run, window, SECONDS) for run in runs) / len(runs)
        assert 0.45 < mean < 1.35, f"{rate}/s in {window} s: {mean:.2f}"
        if rate * window >= 2:
            assert ar.dispersion(even, window, SECONDS) < 0.1


@pytest.mark.parametrize(("rate", "most"), [(2, 0.7), (20, 3.5), (50, 3.0), (100, 4.5), (200, 9.5)])
def test_few_processes_begin(rate: float, most: float) -> None:
    starts = [sum(map(len, sent([1], rate, seed))) / SECONDS for seed in range(5)]
    assert max(starts) <= most
    at_once = [
        sum(train.period_ms * train.count / 1000 for mine in sent([1], rate, seed) for train in mine) / SECONDS
        for seed in range(5)
    ]
    assert max(at_once) <= 12.5


def test_paths_are_mixed() -> None:
    trains = sent([9, 1], 50, 1)
    labelled = sorted((at, path) for path, mine in enumerate(trains) for train in mine for at in train.due())
    rare = [place for place, (_, path) in enumerate(labelled) if path == 1]
    gaps = {later - early for early, later in zip(rare, rare[1:])}
    assert len(rare) == 150
    assert len(gaps) > 10


def test_a_train_lies_near_the_times_that_it_stands_for() -> None:
    chance = random.Random(5)
    times = ar.random_times([600], SECONDS, chance)
    trains = due(ar.cover(times, SECONDS, chance))
    away = [abs(one - other) for one, other in zip(sorted(times[0]), trains)]
    assert sum(away) / len(away) < 0.04  # less than a mean gap


@given(by=some.floats(0.001, 29.9), seed=some.integers(0, 20))
def test_turned_trains_send_the_same_at_another_moment(by: float, seed: int) -> None:
    (trains,) = sent([1], 20, seed)
    turned = ar.turned(trains, by, SECONDS)
    assert sum(train.count for train in turned) == 600
    assert all(0 <= at <= SECONDS + 1e-6 for train in turned for at in train.due())
    expected = sorted((at - by) % SECONDS for train in trains for at in train.due())
    assert sorted(at for train in turned for at in train.due()) == pytest.approx(expected, abs=1e-6)


def test_a_train_across_the_end_becomes_two() -> None:
    turned = ar.turned([ar.Train(4.0, 500, 6)], 5.5, 10.0)
    assert turned == [ar.Train(8.5, 500, 4), ar.Train(0.5, 500, 2)]


def test_shares_are_whole_and_add_up() -> None:
    assert ar.shared_out(10, [1, 1, 1]) == [4, 3, 3]
    assert ar.shared_out(3, [100, 1]) == [3, 0]


def test_a_path_of_the_smallest_weight_is_asked_twice() -> None:
    assert ar.with_the_rare([1499, 1, 0]) == [1496, 2, 2]
    assert ar.with_the_rare([500, 250]) == [500, 250]
    assert ar.with_the_rare([20, 1, 0, 0]) == [20, 1, 0, 0]  # too large a part of so few requests
    assert ar.with_the_rare([]) == []
