# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How many requests a Gunicorn that runs can have in flight, and what it speaks with its users. Pure."""

from __future__ import annotations

import re
from typing import Collection, Mapping, TypedDict

CONNECTIONS = 1000
"""worker_connections where nothing is said: what a worker with an event loop holds."""

_OTHERS = {
    "certfile": "TLS",
    "keyfile": "TLS",
    "ssl_context": "TLS",
    "proxy_protocol": "the PROXY protocol",
    "protocol": "a protocol of its own",
}
_PLAIN = ("", "none", "false", "off", "no", "0", "http")


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


def spoken(unit: str, settings: Mapping[str, object], hooks: Collection[str]) -> str:
    """That the users of `unit` would meet an error, by its `settings`, and the `hooks` that its file defines (its
    ssl_context is one), in a sentence with the fix; empty where it speaks plain HTTP."""
    found = [name for name in _OTHERS if str(settings.get(name) or "").lower() not in _PLAIN or name in hooks]
    if not found:
        return ""
    return (
        f"{unit} speaks {_OTHERS[found[0]]} with its users ({', '.join(found)}), and the app would speak plain "
        f"HTTP/1.1, so that each met an error: let a proxy in front do that, and have it ask {unit} by plain HTTP first"
    )


def undecided(unit: str, unread: Collection[str]) -> str:
    """The same as what a person is to know, in a clause, where only running its file would tell."""
    found = [name for name in _OTHERS if name in unread]
    return f"only running its file tells whether {unit} speaks plain HTTP/1.1 ({', '.join(found)})" if found else ""


def _whole(value: object, default: int) -> int:
    return max(1, int(str(value))) if re.fullmatch(r"[0-9]{1,9}", str(value)) else default
