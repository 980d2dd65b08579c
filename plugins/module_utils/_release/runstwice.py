# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which installed libraries do something once too often when an app has several workers, or two generations. Pure."""

from __future__ import annotations

from typing import Collection, Iterable

from .asynccompat import normalise

SCHEDULERS = ("apscheduler", "flask-apscheduler", "django-apscheduler", "flask-crontab", "rocketry", "schedule")
"""They run jobs inside of the process that made them: of a web app, in each worker of each instance."""

SOCKETS = ("flask-socketio", "python-socketio", "python-engineio")
"""They serve a client's polls from what the worker remembers that the client met first."""


def _first(table: Iterable[str], installed: Iterable[str]) -> str:
    """The first of a table's distributions that is there; "" where none is."""
    names = {normalise(name) for name in installed}
    return next((name for name in table if name in names), "")


def notes(installed: Collection[str], workers: int = 0) -> list[str]:
    """What a person should know of these distributions, in sentences. `workers`: how many the app has; 0: it is not
    known."""
    told = []
    scheduler, socket = _first(SCHEDULERS, installed), _first(SOCKETS, installed)
    if scheduler:
        each, only = (", and so does a candidate", "") if workers == 1 else (_EACH, " and in one process")
        told.append(
            f"{scheduler} runs jobs inside of the web process{each} while it is weighed and tried; have it start only "
            f"where HEADCOUNT_ROLE is live{only}, or switch it off with trial.environment"
        )
    if socket and workers != 1:
        share = f"with {workers} workers {workers - 1} of {workers}" if workers else "with n workers n - 1 of n"
        told.append(
            f"{socket} keeps a client at one worker, which Gunicorn does not: {share} polls are answered 400; declare "
            "settings.workers: 1, or have its clients use WebSocket alone, and a message queue"
        )
    return told


_EACH = ": each worker runs them, and so does a candidate"


def one_worker(installed: Collection[str]) -> str:
    """Why an app that has these distributions is right with one worker alone, and when it is with more; "" where it is
    with any number."""
    socket, scheduler = _first(SOCKETS, installed), _first(SCHEDULERS, installed)
    reasons = []
    if socket:
        reasons.append(
            f"{socket} keeps a client at one worker, which Gunicorn does not: with n workers n - 1 of n polls are "
            "answered 400; more are right where all clients use WebSocket alone and a message queue joins the workers"
        )
    if scheduler:
        reasons.append(
            f"{scheduler} runs jobs inside of the web process, in each worker; more are right where it starts in one "
            "process alone"
        )
    return "; ".join(reasons)
