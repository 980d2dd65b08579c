# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a process said before it died, and that nobody knows where its log could not be read."""

from __future__ import annotations

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.lastwords import (
    first_cause,
    last_of_the_dead,
    last_words,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.lines import UNREAD, says
from test_logged import NOBODYS


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["hello", "[x] [8] [WARNING] Worker (pid:9) was sent SIGKILL! Perhaps out of memory?"], ""),
        (
            ["hello", "Fatal Python error: Segmentation fault", "", "Current thread"],
            "Fatal Python error: Segmentation fault",
        ),
        (["licence expired", *NOBODYS[:4], "[x] [8] [ERROR] Worker (pid:9) exited with code 3"], "licence expired"),
        (
            ["[x] [9] [ERROR] Exception in worker process", "Traceback (most recent call last):", "KeyError: 'MODE'"],
            "KeyError: 'MODE'",
        ),
    ],
)
def test_what_a_worker_said_before_it_died(texts: list[str], words: str) -> None:
    assert last_of_the_dead(texts) == words


def test_a_log_that_could_not_be_read_is_not_one_that_says_nothing() -> None:
    unread = [f"{UNREAD}journalctl did not answer within 20 s"]
    assert first_cause(unread) == last_words(unread) == last_of_the_dead(unread) == unread[0]
    assert says(unread[0]) == unread[0]
    assert says("KeyError: 'tea'") == "its log says: KeyError: 'tea'"
