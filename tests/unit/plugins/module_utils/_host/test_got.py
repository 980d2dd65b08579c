# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a guard says of what users got: classes of status, the worst path, the last exception; and it never waits."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import store
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.run import Run
from ansible_collections.headcount.gunicorn.plugins.module_utils._host import got
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import secrecy
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.lines import Line
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Completed, Runner, Systemd, run
from ansible_collections.headcount.gunicorn.plugins.module_utils._recorder.counts import Tally
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.app import AppOnHost

BEGAN = 1_800_000_000.0
TALLY = Tally(begun=130, lost=2, outcomes={**Tally().outcomes, "2xx": 40, "4xx": 3, "5xx": 80, "cut": 5})
USERS_GOT = "users got 40 2xx, 3 4xx, 80 5xx, 5 whose client went away, 2 lost with a worker that was killed"
RAISED = """\
[2027-01-15 08:00:01 +0000] [9] [ERROR] Exception on {path} [GET]
Traceback (most recent call last):
  File "/opt/headcount/shop/releases/r2/venv/lib/python3.11/site-packages/flask/app.py", line 1511, in wsgi_app
    response = self.full_dispatch_request()
  File "/opt/headcount/shop/releases/r2/tree/shop/views.py", line 41, in checkout
    raise KeyError(name)
KeyError: {what!r}"""
COMBINED = (
    '192.0.2.7 - - [15/Jan/2027:08:00:01 +0000] "GET {path} HTTP/1.1" {status} 12 "-" "curl" '
    "id=ab ms={ms} worker=9 generation=2"
)


def log(*texts: str) -> list[Line]:
    return [Line(BEGAN + 1, 9, line) for text in texts for line in text.split("\n")]


class Journal:
    """journalctl: what the app said, and what is logged of requests."""

    def __init__(self, said: Sequence[str] = (), access: Sequence[str] = ()) -> None:
        self.said, self.access, self.asked = said, access, list[tuple[list[str], float]]()

    def __call__(self, command: Sequence[str], timeout_seconds: float) -> Completed:
        self.asked.append((list(command), timeout_seconds))
        if "SYSLOG_IDENTIFIER=shop-access" in command:
            return Completed(0, "\n".join(self.access), "")
        entry = {"__REALTIME_TIMESTAMP": str(int((BEGAN + 1) * 1e6)), "_PID": "9"}
        lines = [line for text in self.said for line in text.split("\n")]
        return Completed(0, "\n".join(json.dumps({**entry, "MESSAGE": line}) for line in lines), "")


def app_on(folder: Path, runner: Runner, **declared: object) -> AppOnHost:
    app = AppOnHost("shop", Run("r1", "root", "host", "now"), str(folder), Systemd(runner), lambda: BEGAN + 60)
    os.makedirs(app.layout.state)
    store.begin(app.layout, 2, "0" * 16)
    store.write(app.layout, 2, {}, {"app": declared, "plan": {}, "release": "r2", "source_id": "path:2", "digest": "d"})
    store.finish(app.layout, 2)
    return app


def test_classes_path_and_exception_are_told(tmp_path: Path) -> None:
    journal = Journal([RAISED.format(path="/", what="x"), *[RAISED.format(path="/checkout", what="tax")] * 3])
    told = got.words(app_on(tmp_path, journal), 2, TALLY, BEGAN, False)
    raised = "KeyError: 'tax' (shop/views.py:41)"
    assert told == f"{USERS_GOT}; the last exception in its log (/checkout, 3 of 4): {raised}"
    assert not [command for command, _ in journal.asked if "SYSLOG_IDENTIFIER=shop-access" in command], "not declared"


@pytest.mark.parametrize("form", ["combined", "json"])
def test_the_worst_path_is_told_where_requests_are_logged(tmp_path: Path, form: str) -> None:
    asked = [("/", 200, 5.0)] * 6 + [("/checkout", 500, 9.0)] * 3 + [("/checkout", 200, 9.0), ("/report", 200, 900.0)]
    lines = [
        COMBINED.format(path=path, status=status, ms=ms)
        if form == "combined"
        else json.dumps({"path": path, "status": status, "ms": ms})
        for path, status, ms in asked
    ]
    app = app_on(tmp_path, Journal((), [*lines, "torn {"]), access_log=form)
    assert got.words(app, 2, None, BEGAN, False) == "most that failed were for /checkout (3 of the last 4 for it)"
    assert got.words(app, 2, None, BEGAN, True) == "most of the time went to /report (900 ms in the median of 1)"


def test_an_answer_that_broke_off_failed() -> None:
    (one, other) = got.requests(
        [
            COMBINED.format(path="/a", status="200", ms=1) + " ended=broken",
            json.dumps({"path": "/b", "status": None, "ms": 1, "ended": "broken"}),
        ]
    )
    assert (one.failed, other.failed) == (True, True)


def test_words_of_an_error_are_told_where_nothing_was_raised(tmp_path: Path) -> None:
    app = app_on(tmp_path, Journal(["ERROR prices: no answer from db1", "INFO all is well"]))
    assert got.words(app, 2, None, BEGAN, False) == 'logged meanwhile: "ERROR prices: no answer from db1"'
    assert got.words(app_on(tmp_path / "other", Journal()), 2, None, BEGAN, False) == ""


def test_no_secret_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrecy, "_KNOWN", secrecy._Known())
    secrecy.learn(["hunter2hunter2"])
    logged = Journal(
        [RAISED.format(path="/checkout", what="hunter2hunter2")],
        [COMBINED.format(path="/reset/hunter2hunter2", status="500", ms=1)],
    )
    told = got.words(app_on(tmp_path, logged, access_log="combined"), 2, None, BEGAN, False)
    assert "hunter2" not in told
    assert "/reset/***" in told
    assert "KeyError: '***'" in told


def test_a_journal_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    """One that does not even let itself be read costs the deadline, once; and what the recorder knows is told."""

    def hanging(command: Sequence[str], timeout_seconds: float) -> Completed:
        return run(["sleep", "60"], timeout_seconds)

    begin = time.monotonic()
    told = got.words(app_on(tmp_path, hanging, access_log="json"), 2, TALLY, BEGAN, False)
    assert time.monotonic() - begin < got.DEADLINE_S + 5
    assert told.startswith(f"{USERS_GOT}; its log could not be read: ")


def test_one_that_hangs_in_its_sync_alone_is_read(tmp_path: Path) -> None:
    journal = Journal([RAISED.format(path="/checkout", what="tax")])
    got.words(app_on(tmp_path, journal), 2, TALLY, BEGAN, False)
    (sync, waited), (_, rest) = journal.asked
    assert "--sync" in sync
    assert (waited, rest > waited) == (got.SYNC_S, True)
