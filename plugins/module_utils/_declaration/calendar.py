# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""When something runs: systemd's calendar events (systemd.time(7)), and lines of cron in their words. Pure.

What is refused here, no systemd takes. Two things only a host can tell, whose systemd-analyze is asked before anything
is prepared there: which time zones it knows, and whether a step is too long for it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .checks import plain
from .fields import Invalid

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_FULL_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_KEYWORDS: Final = frozenset(
    {"minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "yearly", "annually", "anually"}
    | {"biannually", "bi-annually", "semiannually", "semi-annually"}
)
_ZONE: Final = re.compile(r"[A-Za-z+-][A-Za-z0-9_+/:.-]*")
_SINCE_THE_EPOCH: Final = re.compile(r"@ *\+?[0-9]{1,18}")
_DATE: Final = re.compile(r"(?:(?P<year>[^~ -]+)-)?(?P<month>[^~ -]+)(?P<separator>[-~])(?P<day>[^~ -]+)")
_ONE: Final = r"[0-9]+(?:\.[0-9]*)??"
_COMPONENT: Final = re.compile(rf"(?P<start>{_ONE})(?:\.\.(?P<stop>{_ONE}))?(?:/(?P<step>{_ONE}))?")
_FRACTION: Final = re.compile(r"(?<!\.)\.(?!\.)")
_LONGEST: Final = 200


@dataclass(frozen=True)
class _Part:
    """One part of a date or a time: what it is called, its least and its greatest value, and the decimals it may have.

    Two digits of a year stand for 1970 to 2069.
    """

    name: str
    least: int
    most: float
    fractions: bool = False

    @property
    def allowed(self) -> str:
        """The values that it may have, in words."""
        return f"from {self.least}" if self.most == float("inf") else f"{self.least} to {int(self.most)}"


_YEAR: Final = _Part("year", 1970, float("inf"))
_MONTH: Final = _Part("month", 1, 12)
_DAY: Final = _Part("day", 1, 31)
_DAY_FROM_THE_END: Final = _Part("day before the end of a month", 1, 28)
_HOUR: Final = _Part("hour", 0, 23)
_MINUTE: Final = _Part("minute", 0, 59)
_SECOND: Final = _Part("second", 0, 59.999999, fractions=True)


def calendar(text: str) -> str:
    """A calendar event of systemd, without blanks around it. Invalid names the place that no systemd takes, with its
    translation where it is a line of cron."""
    event = plain(text).strip(" ")
    if len(event) > _LONGEST:
        raise Invalid(f"longer than {_LONGEST} characters")
    wrong = _wrong(event)
    head, _, zone = event.rpartition(" ")
    if wrong and head and _ZONE.fullmatch(zone) and zone.lower() not in _KEYWORDS:
        wrong_head = _wrong(head.rstrip(" "))
        wrong = wrong_head if zone.lower() == "utc" else (wrong if wrong_head else "")
    if not wrong:
        return event
    if _is_cron(event):
        raise Invalid("a line of cron, which systemd does not take", from_cron(event) or None)
    raise Invalid(wrong, "*-*-* 03:00:00")


def _wrong(event: str) -> str:
    """Why `event`, without a time zone, is none; "" where it is one."""
    if event.lower() in _KEYWORDS:
        return ""
    words = [word for word in event.split(" ") if word]
    if not words:
        return "it says no time"
    if words[0][:1].isalpha():
        wrong = _wrong_days(words[0])
        if wrong:
            return wrong
        words = words[1:]
    if _SINCE_THE_EPOCH.fullmatch(" ".join(words)):
        return ""
    if words and ":" not in words[0]:
        wrong = _wrong_date(words[0])
        if wrong:
            return wrong
        words = words[1:]
    if not words:
        return ""
    if len(words) > 1:
        return f"{' '.join(words[1:])!r} stands behind the time"
    return _wrong_time(words[0])


def _wrong_days(word: str) -> str:
    if word.endswith(",") and word.strip(","):
        word = word[:-1]  # systemd passes over it
    for item in word.split(","):
        ends = re.split(r"\.\.|-", item)
        unknown = next((end for end in ends if _day(end) is None), None)
        if unknown is not None:
            return f"{unknown or item or word!r} is no day of the week, nor one of daily, hourly, weekly and the like"
        first, last = _day(ends[0]), _day(ends[-1])
        if len(ends) > 2 or first is None or last is None or first > last:
            return f"{item!r} is no range of days: a week goes from Mon to Sun"
    return ""


def _day(name: str) -> int | None:
    folded = name.lower()
    for number, (short, full) in enumerate(zip(DAYS, _FULL_DAYS)):
        if folded in (short.lower(), full):
            return number
    return None


def _wrong_date(word: str) -> str:
    match = _DATE.fullmatch(word)
    if match is None:
        return f"{word!r} is neither a date (YEAR-MONTH-DAY) nor a time (HOUR:MINUTE)"
    day = _DAY_FROM_THE_END if match["separator"] == "~" else _DAY
    parts = [(match["month"], _MONTH), (match["day"], day)]
    return _first_wrong([*([(match["year"], _YEAR)] if match["year"] else []), *parts])


def _wrong_time(word: str) -> str:
    parts = word.split(":")
    if not 2 <= len(parts) <= 3:
        return f"{word!r} is no time (HOUR:MINUTE or HOUR:MINUTE:SECOND)"
    return _first_wrong(list(zip(parts, (_HOUR, _MINUTE, _SECOND))))


def _first_wrong(parts: Sequence[tuple[str, _Part]]) -> str:
    return next((wrong for text, part in parts for wrong in (_wrong_part(text, part),) if wrong), "")


def _wrong_part(text: str, part: _Part) -> str:
    """What is wrong with the values of a part: `*`, or numbers, ranges and steps with commas between them."""
    if text == "*":
        return ""
    for item in text.split(","):
        match = _COMPONENT.fullmatch(item)
        if match is None or (not part.fractions and _FRACTION.search(item)):
            return f"the {part.name} is {item!r}"
        wrong = _wrong_values(match, part)
        if wrong:
            return f"the {part.name} is {item!r}{wrong}"
    return ""


def _wrong_values(match: re.Match[str], part: _Part) -> str:
    values = [_century(float(match[end]), part) for end in ("start", "stop") if match[end] is not None]
    if any(not part.least <= value <= part.most for value in values):
        return f", and may be {part.allowed}"
    if values[-1] < values[0]:
        return ", which ends before it begins"
    return ", a step of nothing" if match["step"] is not None and float(match["step"]) == 0 else ""


def _century(value: float, part: _Part) -> float:
    if part is not _YEAR or value >= 100:
        return value
    return value + (2000 if value < 70 else 1900)


# -- cron -------------------------------------------------------------------------------------------------------------

_MACROS: Final = {
    "@hourly": "hourly",
    "@daily": "daily",
    "@midnight": "daily",
    "@weekly": "Sun *-*-* 00:00:00",
    "@monthly": "monthly",
    "@yearly": "yearly",
    "@annually": "yearly",
    "@reboot": "",
}
_CRON_WORD: Final = re.compile(r"[0-9A-Za-z*/,-]+")
_CRON_END: Final = r"[0-9]{1,2}|[A-Za-z]{3}"
_CRON_ITEM: Final = re.compile(rf"(?P<first>\*|{_CRON_END})(?:-(?P<last>{_CRON_END}))?(?:/(?P<step>[0-9]{{1,2}}))?")
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def _is_cron(text: str) -> bool:
    """Whether a person who knows cron wrote this."""
    words = text.split()
    fields = len(words) in (5, 6) and all(map(_CRON_WORD.fullmatch, words))
    return text.lower() in _MACROS or (fields and any(word[0] in "*0123456789" for word in words))


def from_cron(text: str) -> str:
    """A line of cron as a calendar event: `0 3 * * 1-5` is `Mon..Fri *-*-* 03:00:00`. "" where there is no plain one:
    cron's days of the month and of the week together mean either, systemd's both."""
    words = text.lower().split()
    if len(words) != 5:
        return _MACROS.get(text.lower(), "")
    minute, hour, day, month, weekday = words
    if day != "*" and weekday != "*":
        return ""
    try:
        days = _days_of_cron(weekday)
        date = f"*-{_of_cron(month, 1, 12, _MONTHS)}-{_of_cron(day, 1, 31)}"
        time = f"{_of_cron(hour, 0, 23)}:{_of_cron(minute, 0, 59)}:00"
    except ValueError:
        return ""
    return f"{days} {date} {time}" if days else f"{date} {time}"


def _of_cron(word: str, least: int, most: int, names: Sequence[str] = ()) -> str:
    """A field of cron as a part of a date or a time. ValueError where it is none."""
    if word == "*":
        return "*"
    found = []
    for item in word.split(","):
        first, last, step = _range_of_cron(item, least, most, names)
        if (first, last, step) == (least, most, 1):
            return "*"
        if first == last or first + step > last:
            found.append(f"{first:02d}")
        elif last == most and step > 1:
            found.append(f"{first:02d}/{step}")
        else:
            found.append(f"{first:02d}..{last:02d}" + (f"/{step}" if step > 1 else ""))
    return ",".join(found)


def _range_of_cron(item: str, least: int, most: int, names: Sequence[str]) -> tuple[int, int, int]:
    """(first, last, step) of one item of a field. ValueError where it is none."""
    match = _CRON_ITEM.fullmatch(item)
    if match is None:
        raise ValueError(item)
    if match["first"] == "*":
        first, last = least, most
    else:
        first = _number_of_cron(match["first"], least, names)
        # Vixie's cron takes 5/15 for 5-59/15.
        last = _number_of_cron(match["last"], least, names) if match["last"] else most if match["step"] else first
    step = int(match["step"] or 1)
    if not least <= first <= last <= most or step < 1:
        raise ValueError(item)
    return first, last, step


def _number_of_cron(text: str, least: int, names: Sequence[str]) -> int:
    return int(text) if text.isdigit() else list(names).index(text) + least


def _days_of_cron(word: str) -> str:
    """A field of cron for days of the week: `1-5` is `Mon..Fri`, `0` and `7` are Sunday, `*` is ""."""
    if word == "*":
        return ""
    names = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
    chosen: set[int] = set()
    for item in word.split(","):
        first, last, step = _range_of_cron(item, 0, 7, names)
        chosen |= {(number - 1) % 7 for number in range(first, min(last, first + 6) + 1, step)}
    runs: list[list[int]] = []
    for number in sorted(chosen):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    told = [f"{DAYS[run[0]]}..{DAYS[run[-1]]}" if len(run) > 2 else ",".join(DAYS[one] for one in run) for run in runs]
    return "" if len(chosen) == 7 else ",".join(told)
