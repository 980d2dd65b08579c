# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How many requests a Gunicorn that runs can have in flight, by its workers and settings."""

from __future__ import annotations

import re
from typing import Mapping, TypedDict

CONNECTIONS = 1000
"""worker_connections where nothing is said: what a worker with an event loop holds."""


class FormerSlots(TypedDict):
    """What the service `unit` can have in flight: `slots` requests, and that in `words`. `hub`: whether an event loop
    holds them, of which the number says little."""

    unit: str
    slots: int
    words: str
    hub: bool


def slots_of(unit: str, workers: int, settings: Mapping[str, object]) -> FormerSlots | None:
    """By the `workers` that run (0: as many as `settings` say) and Gunicorn's defaults; None of a worker class that
    is not known."""
    count = workers or _whole(settings.get("workers"), 1)
    threads = _whole(settings.get("threads"), 1)
    kind = re.search(r"gthread|gevent|eventlet|sync", str(settings.get("worker_class") or "sync").lower())
    if kind is None:
        return None
    name = "gthread" if kind[0] == "sync" and threads > 1 else kind[0]  # as Gunicorn does
    plural = "s" if count != 1 else ""
    if name in ("gevent", "eventlet"):
        each = _whole(settings.get("worker_connections"), CONNECTIONS)
        words = f"{count} {name} worker{plural} of {each} connections"
    elif name == "gthread":
        each, words = threads, f"{count} gthread worker{plural} of {threads} thread{'s' if threads != 1 else ''}"
    else:
        each, words = 1, f"{count} sync worker{plural}"
    return {"unit": unit, "slots": count * each, "words": words, "hub": name in ("gevent", "eventlet")}


def _whole(value: object, default: int) -> int:
    return max(1, int(str(value))) if re.fullmatch(r"[0-9]{1,9}", str(value)) else default
