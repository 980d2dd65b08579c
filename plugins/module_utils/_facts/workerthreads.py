# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which threads of its own an app begins where it is imported: each worker of each instance runs them.

They cannot be seen in what is installed, nor told from a library's by the kernel, which knows no names of Python. So
the worker that is weighed writes down what it has when it has loaded the app (HOOK, a part of gunicorn.conf.py).
"""

from __future__ import annotations

import json
import os

from .._os.files import read_regular
from .._os.secrecy import printable

FILE = "worker-threads"
MOST_BYTES = 16 * 1024
"""What is read of a file at most: the app could write to it."""

MOST_TOLD = 3

MEANT = (
    *("asgiref", "concurrent", "ddtrace", "elasticapm", "eventlet", "gevent", "gunicorn", "newrelic", "opentelemetry"),
    *("prometheus_client", "psycopg_pool", "pymongo", "sentry_sdk", "statsd", "watchdog"),
)
"""Packages whose threads belong into every worker: they send what it measures, or keep its connections."""

HOOK = """\
# The worker that is weighed writes down which threads the app has begun: each worker runs them.
if _folder and _os.environ.get("HEADCOUNT_ROLE") == "weigh":
    _before_threads = globals().get("post_worker_init")

    def post_worker_init(worker):
        if _before_threads is not None:
            _before_threads(worker)
        import threading

        try:
            found = []
            for thread in threading.enumerate():
                if thread not in (threading.current_thread(), threading.main_thread()):
                    does = getattr(thread, "function", None) or getattr(thread, "_target", None) or type(thread)
                    names = [str(getattr(does, name, "")) for name in ("__module__", "__qualname__")]
                    found.append([str(thread.name)[:80], ".".join(filter(None, names))[:200]])
            with open(_os.path.join(_folder, "worker-threads"), "w") as file:
                _json.dump(found, file)
        except Exception as error:
            worker.log.warning("The threads of a worker were not written down: %r", error)
"""
"""Stands behind workerends.HOOKS."""


def own_threads(directory: str) -> list[str]:
    """What runs in the threads that the app began by itself, as `module.function`, of the instance whose runtime
    directory this is; those of MEANT left out. Empty where it has none, or wrote none down."""
    try:
        rows = json.loads(read_regular(os.path.join(directory, FILE), MOST_BYTES) or b"[]")
        found = [printable(str(does) or str(name)) for name, does in rows]
    except (ValueError, TypeError, RecursionError):
        return []
    return list(dict.fromkeys(does for does in found if does.partition(".")[0] not in MEANT))


def words(threads: list[str], workers: int) -> str:
    """What a person should know of these; empty where there are none. `workers`: of one instance, as planned."""
    if not threads:
        return ""
    told = ", ".join(threads[:MOST_TOLD]) + (", ..." if len(threads) > MOST_TOLD else "")
    where = "the worker" if workers == 1 else f"each of the {workers} workers"
    return (
        f"the app begins threads of its own where it is imported ({told}): {where} runs them, and so does a candidate "
        "while it is weighed and tried. What must run once belongs into `processes` with `instances: 1`; or it starts "
        "only where HEADCOUNT_ROLE is live, and in one process"
    )
