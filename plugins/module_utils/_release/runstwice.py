# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which installed libraries do something once too often when an app has several workers, or two generations. Pure."""

from __future__ import annotations

from typing import Iterable

from .asynccompat import normalise

SCHEDULERS = ("apscheduler", "flask-apscheduler", "django-apscheduler", "flask-crontab", "rocketry", "schedule")
"""They run jobs inside of the process that made them: of a web app, in each worker of each instance."""

SOCKETS = ("flask-socketio", "python-socketio", "python-engineio")
"""They serve a client's polls from what the worker remembers that the client met first."""


def notes(installed: Iterable[str], one_worker: bool = False) -> list[str]:
    """What a person should know of these distributions, in sentences. `one_worker`: the app is declared with one."""
    names = {normalise(name) for name in installed}
    told = []
    schedulers = [name for name in SCHEDULERS if name in names]
    if schedulers:
        told.append(
            f"{schedulers[0]} runs jobs inside of the web process: each worker runs them, and so does a candidate "
            "while it is weighed and tried; have it start only where HEADCOUNT_ROLE is live and in one process, or "
            "switch it off with trial.environment"
        )
    sockets = [name for name in SOCKETS if name in names]
    if sockets and not one_worker:
        told.append(
            f"{sockets[0]} keeps a client at one worker, which Gunicorn does not: with several workers half of its "
            "polls are answered 400; declare settings.workers: 1, or have its clients use WebSocket alone, and a "
            "message queue"
        )
    return told
