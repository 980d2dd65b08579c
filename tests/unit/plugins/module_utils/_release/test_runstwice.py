# SPDX-License-Identifier: GPL-3.0-or-later
"""What does something once too often with several workers or two generations, and is told."""

from __future__ import annotations

from ansible_collections.headcount.gunicorn.plugins.module_utils._release.runstwice import notes


def test_a_scheduler_in_the_web_process_is_told() -> None:
    (words,) = notes(["Flask", "APScheduler", "Flask_APScheduler"])
    assert words.startswith(
        "apscheduler runs jobs inside of the web process: each worker runs them, and so does a cand"
    )
    assert "only where HEADCOUNT_ROLE is live" in words


def test_socket_io_is_told_where_it_may_have_several_workers() -> None:
    (words,) = notes(["Flask-SocketIO", "python-socketio", "python-engineio"])
    assert words.startswith("flask-socketio keeps a client at one worker, which Gunicorn does not")
    assert notes(["Flask-SocketIO"], one_worker=True) == []


def test_an_app_that_has_neither_is_told_nothing() -> None:
    assert notes(["flask", "redis", "rq"]) == []
