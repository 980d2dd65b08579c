# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What takes long is told again and again, and what is quick is not."""

from __future__ import annotations

import threading

from ansible_collections.headcount.gunicorn.plugins.plugin_utils._display.reminder import Reminder


def test_what_is_being_done_is_told_until_it_ends() -> None:
    told: list[str] = []
    heard = threading.Event()

    def say(text: str) -> None:
        told.append(text)
        if len(told) == 2:
            heard.set()

    with Reminder(say, 0.01) as reminder:
        reminder.step("a", "shop: fetching 3 wheels")
        reminder.step("b", "blog: asking")
        reminder.step("b", "")
        reminder.step("a", "shop: building a wheel of misaka 2.1.1")
        assert heard.wait(30)
    before = len(told)
    assert all(text == "shop: building a wheel of misaka 2.1.1: 0 s so far" for text in told), told
    assert len(told) == before


def test_what_is_quick_is_not_told() -> None:
    told: list[str] = []
    with Reminder(told.append, 60.0) as reminder:
        reminder.step("a", "shop: asking")
    assert told == []
