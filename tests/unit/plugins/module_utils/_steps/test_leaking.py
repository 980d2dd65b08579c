# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A worker that leaks while it is weighed, and which path does."""

from __future__ import annotations

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.leaking import leaking, whose


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
