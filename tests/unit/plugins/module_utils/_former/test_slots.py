# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How many requests a Gunicorn that runs can have in flight."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._former.slots import slots_of


@pytest.mark.parametrize(
    ("workers", "settings", "slots", "words", "hub"),
    [
        (3, {}, 3, "3 sync workers", False),
        (0, {"workers": 5}, 5, "5 sync workers", False),
        (0, {}, 1, "1 sync worker", False),
        (2, {"threads": 8}, 16, "2 gthread workers of 8 threads", False),
        (2, {"worker_class": "egg:gunicorn#gthread", "threads": "4"}, 8, "2 gthread workers of 4 threads", False),
        (1, {"worker_class": "gthread"}, 1, "1 gthread worker of 1 thread", False),
        (2, {"worker_class": "gevent"}, 2000, "2 gevent workers of 1000 connections", True),
        (1, {"worker_class": "eventlet", "worker_connections": 50}, 50, "1 eventlet worker of 50 connections", True),
    ],
)
def test_slots_by_class_and_defaults(workers: int, settings: dict[str, Any], slots: int, words: str, hub: bool) -> None:
    assert slots_of("old.service", workers, settings) == {
        "unit": "old.service",
        "slots": slots,
        "words": words,
        "hub": hub,
    }


def test_of_a_class_that_is_not_known_nothing_is_said() -> None:
    assert slots_of("old.service", 2, {"worker_class": "uvicorn.workers.UvicornWorker"}) is None
