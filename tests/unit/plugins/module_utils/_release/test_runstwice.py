# SPDX-License-Identifier: GPL-3.0-or-later
"""What does something once too often with several workers or two generations, and is told."""

from __future__ import annotations

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._release.runstwice import notes, one_worker


def test_a_scheduler_in_the_web_process_is_told() -> None:
    (words,) = notes(["Flask", "APScheduler", "Flask_APScheduler"])
    assert words.startswith(
        "apscheduler runs jobs inside of the web process: each worker runs them, and so does a cand"
    )
    assert "only where HEADCOUNT_ROLE is live" in words


def test_socket_io_is_told_where_it_may_have_several_workers() -> None:
    (words,) = notes(["Flask-SocketIO", "python-socketio", "python-engineio"])
    assert words.startswith("flask-socketio keeps a client at one worker, which Gunicorn does not")
    assert notes(["Flask-SocketIO"], 1) == []


@pytest.mark.parametrize(
    ("workers", "share"),
    [(0, "with n workers n - 1 of n polls"), (2, "with 2 workers 1 of 2 polls"), (6, "5 of 6 polls")],
)
def test_how_many_polls_fail_goes_by_the_workers(workers: int, share: str) -> None:
    (words,) = notes(["Flask-SocketIO"], workers)
    assert f"{share} are answered 400" in words


def test_one_worker_runs_a_job_once_and_a_candidate_runs_it_too() -> None:
    (words,) = notes(["apscheduler"], 1)
    assert words.startswith("apscheduler runs jobs inside of the web process, and so does a candidate while it is")
    assert "each worker" not in words


def test_why_one_worker_alone_is_right() -> None:
    assert one_worker(["Flask", "Flask-SocketIO"]).startswith("flask-socketio keeps a client at one worker")
    assert one_worker(["Flask_APScheduler"]).startswith("flask-apscheduler runs jobs inside of the web process")
    assert "polls" in one_worker(["apscheduler", "python-socketio"])
    assert one_worker(["flask", "redis"]) == ""


def test_an_app_that_has_neither_is_told_nothing() -> None:
    assert notes(["flask", "redis", "rq"]) == []
