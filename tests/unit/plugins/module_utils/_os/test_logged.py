# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a log says of a moment where it holds no exception: the app's own lines, those of trouble first."""

from __future__ import annotations

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.lines import UNREAD, Line
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.logged import (
    Log,
    owns,
    told,
)

NOW = 1000.0

NOBODYS = [
    "[2026-11-25 23:40:01 +0000] [812] [INFO] Booting worker with pid: 812",
    "Started headcount-shop@3.service - shop.",
    "headcount-shop@3.service: Consumed 1.2s CPU time.",
    '127.0.0.1 - - [25/Nov/2026:23:40:01 +0000] "GET /basket HTTP/1.1" 500 5 "-" "headcount"',
    "2026-11-25T23:40:01Z INFO POST /basket HTTP/1.1 500",
    "Traceback (most recent call last):",
    '  File "/x/shop/views.py", line 3, in basket',
    "    return prices[item]",
    "The above exception was the direct cause of the following exception:",
    "",
    "╭──── Traceback ────╮",
    "--- Logging error ---",
    "Traceback (most recent call last):",
    '  File "/usr/lib/python3.11/logging/__init__.py", line 1110, in emit',
    "TypeError: not all arguments converted during string formatting",
    "Call stack:",
    '  File "/x/shop/views.py", line 3, in basket',
    "Message: 'an error: %s'",
    "Arguments: (1, 2)",
]


def lines(*texts: str, at: float = NOW) -> list[Line]:
    return [Line(at, 7, text) for text in texts]


def said(*texts: str) -> str:
    return told(owns(lines(*texts), NOW, NOW))


def test_what_is_written_for_every_request_or_start_tells_nothing() -> None:
    assert owns(lines(*NOBODYS), NOW, NOW) == []
    assert said(*NOBODYS) == ""


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["no prices for today"], '"no prices for today"'),
        (['2026-11-25 23:40:01,120 ERROR shop.prices: no "route"'], "\"ERROR shop.prices: no 'route'\""),
        (["a", "b", "c"], '"b", "c"'),
        (["WARNING slow", "a line", "another"], '"WARNING slow"'),
        (["WARNING slow", "ERROR broken", "a line"], '"ERROR broken"'),
        (["ERROR broken", "ERROR broken"], '"ERROR broken"'),
        (["\x1b[31mERROR\x1b[0m broken"], '"ERROR broken"'),
        (['{"level": "error", "event": "payment", "reason": "no answer", "ts": 1}', "a"], '"payment: no answer"'),
        (['{"levelname": "ERROR", "message": "no answer"}'], '"no answer"'),
        (
            ["[2026-11-25 23:40:01 +0000] [8] [CRITICAL] WORKER TIMEOUT (pid:9)", "a"],
            '"[8] [CRITICAL] WORKER TIMEOUT (pid:9)"',
        ),
    ],
)
def test_the_last_of_the_most_telling_lines(texts: list[str], words: str) -> None:
    assert said(*texts) == f"logged meanwhile: {words}"


def test_lines_of_another_time_are_not_told() -> None:
    assert owns(lines("ERROR", at=NOW - 5), NOW, NOW + 1) == []
    assert [own.text for own in owns(lines("ERROR", at=0.0), NOW, NOW)] == ["ERROR"]


def test_the_end_of_a_traceback_is_no_line_of_its_own() -> None:
    log = lines(
        "Exception in thread Thread-1:", "Traceback (most recent call last):", '  File "/x.py", line 1', "ValueError: x"
    )
    assert [own.text for own in owns(log, NOW, NOW)] == []


def test_an_exception_goes_before_lines_and_a_mere_line_is_told_only_where_it_tells_of_an_error() -> None:
    raised = lines("[x] [8] [ERROR] Error handling request /a", "Traceback (most recent call last):", "KeyError: 1")
    assert Log(lambda since: raised)("/a", NOW, NOW) == "its log says: KeyError: 1"
    assert Log(lambda since: raised).raised("/b", NOW, NOW) == ""
    assert Log(lambda since: lines("ERROR no prices"))("/a", NOW, NOW) == 'logged meanwhile: "ERROR no prices"'
    assert Log(lambda since: lines("hello", "WARNING old"))("/a", NOW, NOW) == ""


def test_a_log_that_could_not_be_read_is_told_as_such() -> None:
    unread = f"{UNREAD}this host could not begin journalctl: Cannot allocate memory"
    log = Log(lambda since: [Line(0.0, 0, unread)])
    assert log("/basket", NOW, NOW) == unread
    assert log.raised("/basket", NOW, NOW) == ""
    assert [own.text for own in log.around(NOW, NOW)] == [unread]


COMPLAINT = [
    "--- Logging error ---",
    "Traceback (most recent call last):",
    '  File "/usr/lib/python3.11/logging/__init__.py", line 377, in getMessage',
    "    msg = msg % self.args",
    "TypeError: %d format: a real number is required, not str",
    "Call stack:",
    '  File "/x/shop/views.py", line 3, in search',
    "Message: 'seen %d times'",
    "Arguments: ('/search/',)",
]


@pytest.mark.parametrize("cut", range(6))
def test_a_log_that_is_read_from_the_midst_of_what_logging_could_not_write(cut: int) -> None:
    """Only what was logged since a moment is read, and the next request's lines may stand in its midst."""
    beside = Line(NOW, 8, "ERROR in app: the shelf is empty")
    before = [Line(NOW, 7, "ERROR in app: no row for tea")] if cut else []
    lines = [*before, *(Line(NOW, 7, text) for text in COMPLAINT[cut:4]), beside]
    lines += [Line(NOW, 7, text) for text in COMPLAINT[max(4, cut) :]]
    found = owns(lines, NOW - 1, NOW + 1)
    assert [own.text for own in found] == [line.text for line in [*before, beside]]
