# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What users of a generation got, in words, for the guard that goes back from it: how their requests ended by the
recorder, which path was the worst by what is logged of requests, and what its log says.

The guard is about to help these users: the journal has DEADLINE_S in all to answer, and what it does not tell by then
is left out.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .._os import causes, logged
from .._os.lines import UNREAD, Line
from .._os.secrecy import clean_text
from .._os.systemd import Completed, Runner, Systemd
from .._recorder.counts import Tally
from .._steps.app import AppOnHost

DEADLINE_S, SYNC_S = 5.0, 1.0
"""Of that so much goes at most to have the journal write down what it has: one that hangs can be read all the same."""

MOST_LINES, MOST_REQUESTS = 1000, 2000
"""So many of the last lines, and of the last requests, are looked at."""

MOST_CHARACTERS = 300
ENDED = {"cut": "whose client went away", "broken": "broken off"}
"""How the recorder's outcomes are called, where not by their class."""


def words(app: AppOnHost, number: int, tally: Tally | None, since: float, slow: bool) -> str:
    """What users of generation `number` got since then (seconds since the epoch), as parts of a sentence; empty where
    nobody knows. `slow`: it is the latencies that were a breach."""
    record, quick = app.known(number), Systemd(bounded(app.systemd.runner, DEADLINE_S))
    form = str(record.app.get("access_log") or "") if record is not None else ""
    lines = quick.said(app.layout.service_unit(number), since, MOST_LINES)
    asked = requests(_access(app.name, number, since, quick) if form else [])
    told = [ended(tally) if tally is not None else "", slowest(asked) if slow else failing(asked)]
    return "; ".join(part for part in (*told, said(lines, since, app.clock())) if part)


def bounded(runner: Runner, seconds: float, now: Callable[[], float] = time.monotonic) -> Runner:
    """`runner`, for commands that have so many seconds in all; the first that has none left is not begun."""
    until = now() + seconds

    def run(command: Sequence[str], timeout_seconds: float) -> Completed:
        left = until - now()
        if left <= 0:
            return Completed(124, "", f"{command[0]} was not waited for any longer")
        return runner(command, min(timeout_seconds, left, SYNC_S if "--sync" in command else left))

    return run


def ended(tally: Tally) -> str:
    """How requests ended, by class of status; empty where none did."""
    parts = [f"{count} {ENDED.get(name, name)}" for name, count in tally.outcomes.items() if count]
    parts += [f"{tally.lost} lost with a worker that was killed"] if tally.lost else []
    return f"users got {', '.join(parts)}" if parts else ""


@dataclass(frozen=True)
class Asked:
    """A request as the app's log of requests has it."""

    path: str
    failed: bool
    ms: float


_COMBINED = re.compile(r'\] "\S+ (?P<path>\S+) HTTP/[\d.]+" (?P<status>\d+|-) .* ms=(?P<ms>[\d.]+) (?P<rest>.*)$')


def requests(lines: Iterable[str]) -> list[Asked]:
    """What lines of `access_log` tell, in either form."""
    found = []
    for line in lines:
        match = _COMBINED.search(line)
        told = match.groupdict() if match else causes.structured(line) or {}
        try:
            status, path, ms = str(told["status"]), str(told["path"]), float(str(told["ms"]))
        except (KeyError, ValueError):
            continue
        broken = told.get("ended") == "broken" or "ended=broken" in str(told.get("rest"))
        found.append(Asked(path, status.startswith("5") or broken, ms))
    return found


def failing(asked: Sequence[Asked]) -> str:
    """The path of which most requests failed; empty where none did."""
    failed = Counter(one.path for one in asked if one.failed)
    if not failed:
        return ""
    path, count = failed.most_common(1)[0]
    whole = sum(one.path == path for one in asked)
    return f"most that failed were for {_cut(path)} ({count} of the last {whole} for it)"


def slowest(asked: Sequence[Asked]) -> str:
    """The path that took the most time in all, with its median; empty where nothing is known."""
    took: Counter[str] = Counter()
    for one in asked:
        took[one.path] += round(one.ms)
    if not took:
        return ""
    path = took.most_common(1)[0][0]
    of_it = sorted(one.ms for one in asked if one.path == path)
    return f"most of the time went to {_cut(path)} ({of_it[len(of_it) // 2]:.0f} ms in the median of {len(of_it)})"


def said(lines: Sequence[Line], begin: float, end: float) -> str:
    """The last exception of a log, that of a request before any other, and for which path; else its own words of an
    error. Of the path for which most were raised, where headers name it."""
    unread = next((line.text for line in lines if line.text.startswith(UNREAD)), "")
    if unread:
        return _cut(unread)
    raised = [one for one in causes.exceptions(lines) if not one.aside and one.name not in causes.LEAVING]
    raised = [one for one in raised if one.path or one.through] or raised
    if raised:
        return _last(raised)
    return _cut(logged.told([own for own in logged.owns(lines, begin, end) if own.level > 1]))


def _last(raised: Sequence[causes.Raised]) -> str:
    paths = Counter(one.path for one in raised if one.path)
    if not paths:
        return f"the last exception in its log: {_cut(raised[-1].words(place=True))}"
    path, count = paths.most_common(1)[0]
    last = [one for one in raised if one.path == path][-1]
    of_them = f", {count} of {len(raised)}" if len(paths) > 1 else ""
    return f"the last exception in its log ({_cut(path)}{of_them}): {_cut(last.words(place=True))}"


def _cut(text: str) -> str:
    return text[:MOST_CHARACTERS]


def _access(name: str, number: int, since: float, systemd: Systemd) -> list[str]:
    """Lines of `access_log` of a generation, without secrets."""
    which = [f"SYSLOG_IDENTIFIER={name}-access", f"GENERATION={number}", f"--since=@{int(since)}"]
    command = ["journalctl", "--no-pager", "-q", *which, "-n", str(MOST_REQUESTS), "-o", "cat"]
    return clean_text(systemd.runner(command, DEADLINE_S).out).splitlines()
