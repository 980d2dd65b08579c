# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Why requests of a trial failed: which paths, what they answer when they are asked again, and what the log says."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.headcount.gunicorn.plugins.module_utils._os.http import Answer, Ask, Bounds
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.lines import Line
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.logged import Log
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.why import AGAIN, Candidate, Why, why_failed
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.types import FAIL, Check, Samples, Verdict

PATHS = [Ask("/"), Ask("/basket", "POST", body="x")]
FINE, BROKEN = Answer(200, b"ok", 3.0), Answer(500, b"Oh no", 3.0, kind="text/plain")
HUNG = Answer(0, b"", 5000.0, "timed out after 5 s", timed_out=True)
FAILED = Verdict(FAIL, "it failed")
NOW, BEGAN = 1000.0, 900.0


def samples(*failed: int, origin_s: float = 0.0) -> Samples:
    """Two requests for each path, one after the other; those of these places failed."""
    latency = [math.inf if place in failed else 5.0 for place in range(4)]
    starts = [0.0, 10.0, 20.0, 30.0]
    return Samples(starts, latency, [200] * 4, 4, 0.1, len(failed), 10.0, path=[0, 1, 0, 1], origin_s=origin_s)


def traceback(at: float, path: str, words: str) -> list[Line]:
    """What a Flask app logs of a request that raised."""
    said = [
        f"[2026-11-25 23:40:01,120] ERROR in app: Exception on {path} [GET]",
        "Traceback (most recent call last):",
        '  File "/opt/headcount/shop/releases/ab12/venv/lib/python3.11/site-packages/flask/app.py", line 1, in wsgi',
        words,
    ]
    return [Line(at, 7, text) for text in said]


class Server:
    """Answers with what is given, the last one for ever; its log says what is given, and more while it is asked."""

    def __init__(self, *given: Answer, log: Sequence[Line] = (), says: Sequence[str] = ()) -> None:
        self.given, self.logged, self.says = list(given), list(log), says
        self.asked: list[Ask] = []
        self.now = NOW

    def __call__(self, address: Any, ask: Ask, bounds: Bounds) -> Answer:
        self.asked.append(ask)
        self.now += 0.01
        self.logged += [Line(self.now, 7, text) for text in self.says]
        return self.given.pop(0) if len(self.given) > 1 else self.given[0]

    def said(self, since: float) -> list[Line]:
        return [line for line in self.logged if line.at >= since]

    def found(self, samples: Samples, paths: Sequence[Ask] = PATHS, verdict: Verdict = FAILED) -> Why:
        asked = Candidate("/run/x.sock", paths, 5.0, Log(self.said), self, lambda: self.now)
        return why_failed(samples, verdict, asked, BEGAN)

    def why(self, samples: Samples, paths: Sequence[Ask] = PATHS) -> str:
        return self.found(samples, paths).words


def test_where_nothing_failed_nothing_is_asked() -> None:
    server = Server(BROKEN)
    assert server.found(samples()) == Why()
    assert server.asked == []


def test_the_path_that_failed_most_is_asked_first_as_it_is_declared() -> None:
    server = Server(BROKEN, log=traceback(NOW, "/basket", "KeyError: 'tea'"))
    assert server.why(samples(0, 1, 3)) == (
        "asked again, POST /basket answered 500 (text/plain \"Oh no\"); its log says: KeyError: 'tea'; "
        'GET / answered 500 (text/plain "Oh no"); its log says nothing of it'
    )
    assert server.asked == [PATHS[1], PATHS[0]]


def test_a_path_of_which_far_fewer_failed_is_told_by_its_number_alone() -> None:
    many = Samples([0.0] * 60, [math.inf] * 60, [500] * 60, 60, 0.1, 60, 10.0, path=[0] * 55 + [1] * 5)
    assert [one.request for one in Server(BROKEN).found(many).paths] == ["GET /"]
    decided = Verdict(FAIL, "", (Check("error_rate:POST /basket", FAIL, 1.0, 0.01, (None, None), ""),))
    assert [one.request for one in Server(BROKEN).found(many, verdict=decided).paths] == ["POST /basket", "GET /"]


def test_after_a_path_without_an_answer_no_more_are_asked() -> None:
    assert Server(HUNG).why(samples(0, 1)) == (
        "asked again, GET / got no answer: timed out after 5 s; its log says nothing of it"
    )


def test_one_that_is_slow_alone_is_told_with_its_time_and_that_of_the_load() -> None:
    late = replace(samples(0), status=[200] * 59 + [0], path_kinds=[{"timed out": 1}, {}])
    said = Server(replace(FINE, elapsed_ms=4000.0)).why(late)
    assert said.startswith("asked again, GET / answered 200 after 4 s (under load no answer within 5 s)")


def test_one_that_fails_now_and_then_is_asked_until_it_does() -> None:
    server = Server(FINE, FINE, BROKEN)
    assert "asked again, GET / answered 500" in server.why(samples(0))
    assert len(server.asked) == 3


def test_one_that_is_well_again_is_told_by_what_was_logged_before() -> None:
    server = Server(FINE, log=traceback(BEGAN + 1, "/", "ValueError: once"))
    assert server.why(samples(0)) == "asked again, GET / answered 200; its log says: ValueError: once"
    assert len(server.asked) == AGAIN


def test_what_the_journal_did_not_take_during_the_trial_was_logged_when_the_candidate_was_weighed() -> None:
    earlier = traceback(BEGAN - 20, "/", "ValueError: weighed")
    assert Server(BROKEN, log=earlier).why(samples(0)).endswith("its log says: ValueError: weighed")
    assert Server(FINE, log=earlier).why(samples(0)).endswith("its log says: ValueError: weighed")


def test_what_was_not_logged_now_may_have_been_before() -> None:
    before = traceback(BEGAN + 5, "/", "ValueError: before")
    assert Server(BROKEN, log=before, says=["INFO still here"]).why(samples(0)).endswith("log says: ValueError: before")


def test_where_nothing_was_raised_the_lines_of_that_moment_are_told() -> None:
    older = [Line(BEGAN + 1, 7, "ERROR something else long ago")]
    server = Server(BROKEN, log=older, says=["no prices for today", '127.0.0.1 - - [x] "GET / HTTP/1.1" 500 5'])
    found = server.found(samples(0))
    assert found.words.endswith('(text/plain "Oh no"); logged meanwhile: "no prices for today"')
    assert found.paths[0].log == ["no prices for today"]
    assert json.loads(json.dumps(found.paths[0].to_dict()))["request"] == "GET /"


def test_of_one_that_fails_under_load_alone_the_lines_of_its_own_moments_are_told() -> None:
    log = [
        Line(BEGAN + 20.4, 7, "2026-11-25 23:40:01,120 ERROR prices: no route to the price server"),
        Line(BEGAN + 20.4, 7, "another request was served"),
        Line(BEGAN + 50.0, 7, "ERROR of another moment"),
    ]
    well = Server(FINE, log=log).why(samples(2, origin_s=BEGAN))
    assert well == 'asked again, GET / answered 200; logged meanwhile: "ERROR prices: no route to the price server"'
    unknown = Server(FINE, log=log).why(replace(samples(2), origin_s=0.0))
    assert unknown == "asked again, GET / answered 200; its log says nothing of it"


def test_an_answer_without_a_body_and_without_a_word_in_the_log_is_told_as_such() -> None:
    assert Server(Answer(500, b"", 3.0)).why(samples(0)) == (
        "asked again, GET / answered 500 (an empty body); its log says nothing of it"
    )


def test_a_cause_of_two_paths_is_told_once() -> None:
    raised = [*traceback(NOW, "/", "OperationalError: database is locked")]
    raised += traceback(NOW, "/basket", "OperationalError: database is locked")
    words = Server(BROKEN, log=raised).why(samples(0, 1))
    assert words.count("database is locked") == 1
    assert "POST /basket answered 500" in words


def test_what_is_well_by_now_is_told_after_what_is_not_and_only_where_it_says_more() -> None:
    raised = traceback(BEGAN + 1, "/", "ValueError: once")
    words = Server(*[FINE] * AGAIN, BROKEN, log=raised).why(samples(0, 2, 1))
    assert words == (
        'asked again, POST /basket answered 500 (text/plain "Oh no"); its log says nothing of it; '
        "GET / answered 200; its log says: ValueError: once"
    )
    quiet = Server(*[FINE] * AGAIN, BROKEN).why(samples(0, 2, 1))
    assert quiet == 'asked again, POST /basket answered 500 (text/plain "Oh no"); its log says nothing of it'


def test_of_a_load_that_was_stopped_what_is_well_by_now_says_nothing() -> None:
    stopped = replace(FAILED, stopped=True)
    assert Server(FINE).found(samples(0), verdict=stopped).words == ""
    assert "answered 500" in Server(BROKEN).found(samples(0), verdict=stopped).words
