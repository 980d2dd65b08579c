# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Why requests of a trial failed: which path, what it answers when it is asked again, and what the log says."""

from __future__ import annotations

import math
from typing import Any

from ansible_collections.headcount.gunicorn.plugins.module_utils._os.http import Answer, Ask, Bounds
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.why import AGAIN, why_failed
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.types import Samples

PATHS = [Ask("/"), Ask("/basket", "POST", body="x")]
FINE, BROKEN = Answer(200, b"ok", 3.0), Answer(500, b"Oh no", 3.0, kind="text/plain")


def samples(*failed: int) -> Samples:
    """Two requests for each path, one after the other; those of these places failed."""
    latency = [math.inf if place in failed else 5.0 for place in range(4)]
    return Samples([0.0] * 4, latency, [200] * 4, 4, 0.1, len(failed), 10.0, path=[0, 1, 0, 1])


class Candidate:
    """Answers with what is given, the last one for ever; its log says something of a time that is asked for exactly."""

    def __init__(self, *given: Answer, logs: bool = True, deaf: bool = False) -> None:
        self.given = list(given)
        self.asked: list[Ask] = []
        self.now, self.logs, self.deaf = 100.0, logs, deaf

    def __call__(self, address: Any, ask: Ask, bounds: Bounds) -> Answer:
        self.asked.append(ask)
        self.now += 0.01
        return self.given.pop(0) if len(self.given) > 1 else self.given[0]

    def log(self, path: str, begin: float, end: float) -> str:
        if begin < 90.0:
            return f"its log says of {path}: what it was weighed with"
        if self.deaf:
            return ""
        if begin < 100.0:
            return f"its log says of {path}: something in all this time"
        return f"its log says of {path}: KeyError" if self.logs else ""

    def why(self, found: Samples, paths: list[Ask] = PATHS) -> str:
        return why_failed(found, paths, "/run/x.sock", 5.0, self.log, 90.0, self, lambda: self.now)


def test_where_nothing_failed_nothing_is_asked() -> None:
    candidate = Candidate(BROKEN)
    assert candidate.why(samples()) == ""
    assert candidate.asked == []


def test_the_path_that_failed_most_is_asked_again_as_it_is_declared() -> None:
    candidate = Candidate(BROKEN)
    assert candidate.why(samples(0, 1, 3)) == (
        'asked again, POST /basket answered 500 (text/plain "Oh no"); its log says of /basket: KeyError'
    )
    assert candidate.asked == [PATHS[1]]


def test_one_that_fails_now_and_then_is_asked_until_it_does() -> None:
    candidate = Candidate(FINE, FINE, BROKEN)
    assert "asked again, GET / answered 500" in candidate.why(samples(0))
    assert len(candidate.asked) == 3


def test_one_that_is_well_again_is_told_by_what_was_logged_before() -> None:
    candidate = Candidate(FINE)
    assert candidate.why(samples(0)) == (
        "asked again, GET / answered 200; its log says of /: something in all this time"
    )
    assert len(candidate.asked) == AGAIN


def test_what_the_journal_did_not_take_during_the_trial_was_logged_when_the_candidate_was_weighed() -> None:
    assert Candidate(BROKEN, deaf=True).why(samples(0)).endswith("its log says of /: what it was weighed with")
    assert Candidate(FINE, deaf=True).why(samples(0)).endswith("its log says of /: what it was weighed with")


def test_what_was_not_logged_now_may_have_been_before() -> None:
    assert Candidate(BROKEN, logs=False).why(samples(0)).endswith("something in all this time")
