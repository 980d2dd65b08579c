# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Paths that would measure nothing of the app are named before they are loaded."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.http import Answer, Ask, Bounds
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.uncounted import only_redirects

AWAY = Answer(302, b"", 1.0, location="https://shop.example.com/?")
FINE = Answer(200, b"ok", 1.0)


def answering(*answers: Answer) -> Any:
    """Something to ask that gives these answers, the last one for ever."""
    left = list(answers)
    asked: list[Ask] = []

    def ask(address: Any, what: Ask, bounds: Bounds) -> Answer:
        asked.append(what)
        return left.pop(0) if len(left) > 1 else left[0]

    return ask, asked


@pytest.mark.parametrize(
    ("path", "answers", "times", "words"),
    [
        ({"path": "/"}, [AWAY], 3, "GET / only redirects (302 to https://shop.example.com/?): nothing of the app is"),
        ({"path": "/", "status": [302]}, [AWAY], 0, ""),
        ({"path": "/"}, [AWAY, FINE], 2, ""),
        ({"path": "/"}, [FINE], 1, ""),
        ({"path": "/"}, [Answer(500, b"", 1.0)], 1, ""),  # for the load to measure
        ({"path": "/"}, [Answer(0, b"", 1.0, "refused")], 1, ""),
        ({"path": "/"}, [Answer(304, b"", 1.0)], 1, ""),
        ({"path": "/p", "method": "POST", "body": "{}"}, [AWAY], 3, "POST /p only redirects (302 to https://shop."),
    ],
)
def test_a_path_that_only_redirects(path: dict[str, Any], answers: list[Answer], times: int, words: str) -> None:
    ask, asked = answering(*answers)
    found = only_redirects("/run/x.sock", [Ask.of_path(path)], 5.0, ask)
    assert found.startswith(words)
    assert bool(found) is bool(words)
    assert len(asked) == times
    if words:
        assert found.endswith("or, where the redirect is what users get, status: [302]")
