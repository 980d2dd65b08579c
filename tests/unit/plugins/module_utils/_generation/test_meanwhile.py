# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What users got while something was done, counted by asking as they do."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import meanwhile, switch
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.http import Answer, Ask, Bounds

APP: dict[str, Any] = {
    "listen": "127.0.0.1:8000",
    "health": {"path": "/healthz", "status": [200], "contains": None, "timeout_seconds": 5.0},
    "load": {"paths": [{"path": "/", "method": "GET", "headers": {"Host": "shop.example"}}]},
}
OK, BROKEN = Answer(200, b"ok", 3.0), Answer(500, b"", 3.0)
DROPPED = Answer(0, b"", 2.0, "Remote end closed connection without response")


def test_what_users_got_meanwhile_is_counted_whoever_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meanwhile.Meanwhile, "PERIOD_SECONDS", 0.001)
    given = itertools.chain([BROKEN, OK, DROPPED], itertools.repeat(OK))
    asked = threading.Semaphore(0)

    def ask(address: Any, ask: Ask, bounds: Bounds) -> Answer:
        assert (address, ask.headers["Host"]) == (("127.0.0.1", 8000), "shop.example")
        asked.release()
        return next(given)

    with meanwhile.Meanwhile(APP["listen"], APP, ask) as users:
        for _ in range(5):
            assert asked.acquire(timeout=5)
    deadline = time.monotonic() + 5
    while users.told().get("asked", 0) < 5 and time.monotonic() < deadline:
        pass
    told = users.told()
    assert (told["path"], told["failed"], told["got"]["500"], told["got"]["no answer"]) == ("/", 2, 1, 1)
    words = meanwhile.meanwhile_words(told)
    assert words == f"meanwhile 2 of {told['asked']} requests for / failed: 1 got 500, 1 got no answer"


def test_nothing_is_said_where_nothing_failed() -> None:
    assert meanwhile.meanwhile_words({}) == ""
    assert meanwhile.meanwhile_words({"path": "/", "asked": 3, "failed": 0, "got": {"200": 3}}) == ""
    with meanwhile.Meanwhile(None, APP) as users:
        pass
    assert users.told() == {}
    assert switch.told(1, {"checks": 3, "seconds": 1.0}) == []
