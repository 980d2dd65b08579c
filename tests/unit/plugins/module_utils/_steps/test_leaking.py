# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A worker that leaks while it is weighed, and which path does."""

from __future__ import annotations

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.leaking import filling, leaking, whose


@pytest.mark.parametrize(
    ("after_mib", "requests", "memory_max_mib", "said"),
    [
        (
            121.0,
            91,
            675.0,
            "it leaks memory: 91 requests, one after another, took its worker from 30 to 121 MiB, so that each keeps "
            "1 MiB; its MemoryMax of 675 MiB would be full after 645 requests",
        ),
        (121.0, 91, None, None),  # nothing to fill
        (121.0, 91, 2000.0, None),  # not within a thousand requests
        (37.0, 5, 50.0, None),  # allocators round up
        (25.0, 91, 675.0, None),
    ],
)
def test_a_leak_that_fills_the_memory_at_once_is_told(
    after_mib: float, requests: int, memory_max_mib: float | None, said: str | None
) -> None:
    assert leaking(30.0, after_mib, requests, memory_max_mib) == said


@pytest.mark.parametrize(
    ("grown", "said"),
    [
        ({}, ""),
        ({"GET /": [2.0] * 40, "GET /b": [0.0, 0.5, -0.5]}, " (GET / kept 80 MiB with 40 of them, 2 MiB each)"),
        ({"GET /": [1.0] * 40}, " (GET / kept 40 MiB with 40 of them, 1 MiB each)"),
        ({"GET /": [1.0] * 40, "GET /b": [0.8] * 20}, " (those of all its paths alike)"),
        (
            {"GET /": [1.0] * 40, "GET /b": [1.0] * 30, "GET /c": [0.0] * 40},
            " (GET / and GET /b kept most of it)",
        ),
        ({"GET /": [0.01] * 40, "GET /b": [0.0] * 40}, ""),  # what was read of single requests does not show it
    ],
)
def test_the_path_that_leaks_is_named(grown: dict[str, list[float]], said: str) -> None:
    assert whose(grown) == said


def test_a_leak_is_told_with_its_path() -> None:
    said = leaking(30.0, 121.0, 91, 675.0, {"GET /": [2.0] * 45, "GET /b": [0.0] * 46}) or ""
    assert "so that each keeps 1 MiB (GET / kept 90 MiB with 45 of them, 2 MiB each); its MemoryMax" in said


LEAKS = {"POST /login": [0.4] * 200, "GET /": [0.0] * 800}


def test_a_slow_leak_is_told_with_how_long_it_takes_at_the_rate_of_the_load() -> None:
    assert filling(30.0, LEAKS, 460.0, 5.0) == (
        "its worker keeps 0.08 MiB with each request (POST /login kept 80 MiB with 200 of them, 0.4 MiB each): at 5 "
        "requests a second its MemoryMax of 460 MiB would be full after 18 min"
    )


@pytest.mark.parametrize(
    ("grown", "memory_max_mib", "rate"),
    [
        (LEAKS, 460.0, None),
        (LEAKS, None, 5.0),
        (LEAKS, 460.0, 1.0),  # an hour and a half
        ({"GET /": [0.8] * 100 + [0.0] * 100}, 460.0, 50.0),  # a cache that is full
        ({"GET /": [0.007] * 1000}, 460.0, 50.0),  # what seconds of it do not show
    ],
)
def test_what_does_not_go_on_or_takes_hours_is_not_told(
    grown: dict[str, list[float]], memory_max_mib: float | None, rate: float | None
) -> None:
    assert filling(30.0, grown, memory_max_mib, rate) is None


def test_a_worker_that_is_replaced_before_its_memory_is_full_is_not_told() -> None:
    assert filling(30.0, LEAKS, 460.0, 5.0, replaced=1000) is None
    assert filling(30.0, LEAKS, 460.0, 5.0, replaced=10_000) is not None
