# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What users get while something is done, by asking the public socket as they do."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from types import TracebackType
from typing import TypedDict

from .._declaration.patience import answer_seconds
from .._os.addresses import local_address
from .._os.background import begin_thread
from .._os.http import Ask, Bounds, request
from .answers import AppRecord, Request, get_paths


class Users(TypedDict, total=False):
    """What users got of `path` while something was done: requests, those that failed, and how many got which status,
    or "no answer"; empty where nothing came back."""

    path: str
    asked: int
    failed: int
    got: dict[str, int]


class Meanwhile:
    """Asks a public socket as a user would, at a steady pace, while something is done, and counts what came back.

    Whichever generation answers: that is what users got. Each request has a thread of its own, so that one without an
    answer holds up none after it.
    """

    PERIOD_SECONDS = 0.25

    def __init__(self, listen: str | None, app: AppRecord, ask: Request = request) -> None:
        self._address = local_address(listen) if listen else None
        paths = get_paths(app)
        self._path = paths[0] if paths else Ask.of_health(app["health"])
        self._bounds = Bounds(answer_seconds(app) if paths else float(app["health"]["timeout_seconds"]))
        self._ask = ask
        self._got: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Meanwhile:
        if self._address is not None:
            with contextlib.suppress(OSError):
                begin_thread(self._thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()

    def _run(self) -> None:
        while not self._end.is_set():
            with contextlib.suppress(OSError):  # a host without room for a thread: one request less is counted
                begin_thread(threading.Thread(target=self._one, daemon=True))
            self._end.wait(self.PERIOD_SECONDS)

    def _one(self) -> None:
        answer = self._ask(self._address, self._path, self._bounds)
        with self._lock:
            self._got[str(answer.status) if answer.status else "no answer"] += 1

    def told(self) -> Users:
        """What users got so far."""
        with self._lock:
            got = dict(sorted(self._got.items()))
        if not got:
            return {}
        failed = sum(number for what, number in got.items() if what == "no answer" or int(what) >= 500)
        return {"path": self._path.path, "asked": sum(got.values()), "failed": failed, "got": got}


def meanwhile_words(told: Users) -> str:
    """What users got meanwhile, in a sentence; empty where no request failed."""
    if not told or not told["failed"]:
        return ""
    bad = [
        f"{number} got no answer" if what == "no answer" else f"{number} got {what}"
        for what, number in told["got"].items()
        if what == "no answer" or int(what) >= 500
    ]
    return f"meanwhile {told['failed']} of {told['asked']} requests for {told['path']} failed: {', '.join(bad)}"
