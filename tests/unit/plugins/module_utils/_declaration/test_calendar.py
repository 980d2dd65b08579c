# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Calendar events of systemd: what it takes passes, what no systemd takes is refused with the place, cron translated.

What systemd itself says was asked of systemd-analyze of 252, also for some 14,000 events that were made at random.
"""

from __future__ import annotations

import contextlib

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.calendar import calendar, from_cron
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.fields import Invalid
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.normalise import normalise_apps
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    "event",
    [
        "*-*-* 03:00:00",
        "03:00",
        "9:5",
        "*:0/15",
        "*:*:0/20.5",
        "00:00:5.",
        "Mon..Fri 09:00",
        "Mon-Fri 09:00",
        "mon,Wednesday,SAT..Sun *-*-* 00:00",
        "Thu,",
        "Thu,Mon..Wed *-*-1",
        "Fri *-*-13",
        "*-02~03",
        "Mon *-05~07/1",
        "12-31",
        "2026-11-26",
        "26-11-26 10:00",
        "2003..2004,2030/2-1..6-*",
        "*-1,4,7,10-1",
        "1..3/5-1 00:00",
        "hourly",
        "Semi-Annually",
        "daily UTC",
        "daily Europe/Berlin",
        "Mon *-*-* 08:00 America/Argentina/Buenos_Aires",
        "03:00 CET",
        "@1790000000",
        "Mon @ 5",
        "  *-*-*   03:00 ",
    ],
)
def test_what_systemd_takes_passes(event: str) -> None:
    assert calendar(event) == event.strip()


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ("every day at 3", "'every' is no day of the week, nor one of daily, hourly, weekly and the like"),
        ("Fri..Mon 09:00", "'Fri..Mon' is no range of days: a week goes from Mon to Sun"),
        ("Mon.. 09:00", "'Mon..' is no day of the week"),
        ("Thurs", "'Thurs' is no day of the week"),
        ("3", "'3' is neither a date (YEAR-MONTH-DAY) nor a time (HOUR:MINUTE)"),
        ("3am", "'3am' is neither a date"),
        ("*-13-01", "the month is '13', and may be 1 to 12"),
        ("*-*-0", "the day is '0', and may be 1 to 31"),
        ("*-*~30", "the day before the end of a month is '30', and may be 1 to 28"),
        ("1969-01-01", "the year is '1969', and may be from 1970"),
        ("24:00", "the hour is '24', and may be 0 to 23"),
        ("*:60", "the minute is '60', and may be 0 to 59"),
        ("*:*:60", "the second is '60', and may be 0 to 59"),
        ("*:20..10", "the minute is '20..10', which ends before it begins"),
        ("*:*/5", "the minute is '*/5'"),
        ("*:0/0", "the minute is '0/0', a step of nothing"),
        ("*:1.5", "the minute is '1.5'"),
        ("03:00:00:00", "is no time"),
        ("03:00 daily", "'daily' stands behind the time"),
        ("daily 03:00", "'daily' is no day of the week"),
        ("every 5min UTC", "'every' is no day"),
        ("*-*-* 03:00 % ", "'%' stands behind the time"),
        (" ", "it says no time"),
        ("*" * 300, "longer than 200 characters"),
    ],
)
def test_what_none_takes_is_refused_with_the_place(event: str, why: str) -> None:
    with pytest.raises(Invalid) as refused:
        calendar(event)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("0 3 * * *", "*-*-* 03:00:00"),
        ("*/5 * * * *", "*-*-* *:00/5:00"),
        ("* * * * *", "*-*-* *:*:00"),
        ("30 4 1,15 * *", "*-*-01,15 04:30:00"),
        ("0 22 * * 1-5", "Mon..Fri *-*-* 22:00:00"),
        ("0 0 * * 0", "Sun *-*-* 00:00:00"),
        ("0 0 * * 5-7", "Fri..Sun *-*-* 00:00:00"),
        ("0 0 * * sun,wed", "Wed,Sun *-*-* 00:00:00"),
        ("0 0 * JAN-mar *", "*-01..03-* 00:00:00"),
        ("5/20 8-18/2 * * *", "*-*-* 08..18/2:05/20:00"),
        ("*/60 * * * *", "*-*-* *:00:00"),
        ("1-59/2 */1 * * 0-7", "*-*-* *:01/2:00"),
        ("@daily", "daily"),
        ("@Weekly", "Sun *-*-* 00:00:00"),
    ],
)
def test_a_line_of_cron_is_told_with_its_translation(line: str, event: str) -> None:
    assert from_cron(line) == event
    with pytest.raises(Invalid, match="a line of cron") as refused:
        calendar(line)
    assert refused.value.fix == event
    assert calendar(event) == event


@pytest.mark.parametrize("line", ["0 0 13 * 5", "0 0 * * fri-sun", "61 * * * *", "0 0 3 * * *", "0 0 L * *", "@reboot"])
def test_what_of_cron_has_no_plain_translation_gets_none(line: str) -> None:
    assert from_cron(line) == ""
    with pytest.raises(Invalid, match="a line of cron"):
        calendar(line)


@given(st.text(alphabet="*0123456789-~:/.,@ MonSuadilyUTC%", max_size=40))
def test_nothing_but_invalid_is_raised(text: str) -> None:
    with contextlib.suppress(Invalid):
        assert calendar(text) == text.strip(" ")


def test_the_problem_names_variable_value_and_fix() -> None:
    app = {"name": "shop", "source": {"path": "app"}, "entry_point": "a:b", "listen": "0.0.0.0:1"}
    processes = {"report": {"run": "flask report", "schedule": "0 3 * * *"}}
    (problem,) = normalise_apps([{**app, "processes": processes}], "web1")[1]
    assert problem.text == (
        "headcount_apps[0].processes.report.schedule is '0 3 * * *' (a line of cron, which systemd does not take): "
        'allowed is a calendar event of systemd (systemd.time(7)); fix: schedule: "*-*-* 03:00:00"'
    )
