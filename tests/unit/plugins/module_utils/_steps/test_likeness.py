# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Answers of another type, or with headers of another size, than those of what is live are told and decide nothing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.http import Answer, Ask
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.likeness import unlike
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.types import Verdict

HTML = "text/html; charset=utf-8"


def answer(kind: str = HTML, header_bytes: int = 210, status: int = 200) -> Answer:
    return Answer(status, b"", 1.0, kind=kind, header_bytes=header_bytes)


class Both:
    """Two generations at their sockets, each with its answers in turn; the last one again and again."""

    def __init__(self, candidate: Sequence[Answer], live: Sequence[Answer]) -> None:
        self.answers = {"new.sock": list(candidate), "live.sock": list(live)}
        self.asked = 0

    def __call__(self, address: str, *_: Any) -> Answer:
        self.asked += 1
        mine = self.answers[address]
        return mine.pop(0) if len(mine) > 1 else mine[0]


def told(both: Both, *paths: Ask) -> list[str]:
    return [check.sentence for check in unlike("new.sock", "live.sock", paths or [Ask("/")], 10.0, both)]


@pytest.mark.parametrize(
    ("candidate", "live", "words"),
    [
        (answer(), answer(), []),
        (answer("Text/HTML;charset=UTF-8"), answer(), []),
        (answer('text/html; charset="utf-8"; x=1'), answer(), []),
        (
            answer("application/json"),
            answer(),
            [
                "answers of GET / have the type application/json, of the live generation the type "
                "text/html; charset=utf-8",
            ],
        ),
        (
            answer(""),
            answer("text/html"),
            ["answers of GET / have no Content-Type, of the live generation the type text/html"],
        ),
        (
            answer("text/html; charset=latin-1"),
            answer(),
            [
                "answers of GET / have the type text/html; charset=latin-1, of the live generation the type text/html; "
                "charset=utf-8"
            ],
        ),
        (answer(header_bytes=600), answer(), []),  # a cookie
        (
            answer(header_bytes=5217),
            answer(),
            ["headers of GET / have 5.2 kB, of the live generation 210 bytes"],
        ),
        (answer(), answer(header_bytes=2000), ["headers of GET / have 210 bytes, of the live generation 2 kB"]),
        (
            replace(answer(), encoding="", caching="public, max-age=60"),
            replace(answer(), encoding="gzip", caching="No-Store, private"),
            [
                "answers of GET / have the Content-Encoding none, of the live generation gzip",
                "answers of GET / have the Cache-Control max-age, public, of the live generation no-store, private",
            ],
        ),
        (replace(answer(), caching="private, max-age=59"), replace(answer(), caching="max-age=60,private"), []),
        (answer("text/plain", status=500), answer(), []),  # that is what the trial fails for
        (answer(), answer("text/plain", status=404), []),  # a new path
    ],
)
def test_what_is_of_another_kind(candidate: Answer, live: Answer, words: list[str]) -> None:
    assert told(Both([candidate], [live])) == words


def test_what_changes_from_answer_to_answer_is_not_told() -> None:
    both = Both([answer("text/plain"), answer()], [answer()])
    assert told(both) == []
    assert both.asked == 4
    same = Both([answer()], [answer()])
    assert told(same, Ask("/"), Ask("/a")) == []
    assert same.asked == 4


def test_a_status_that_is_declared_means_well() -> None:
    paths = [Ask("/gone", status=(410,))]
    both = Both([answer("application/json", status=410)], [answer(status=410)])
    assert "application/json" in told(both, *paths)[0]


def test_a_redirect_that_means_well_leads_where_it_did() -> None:
    def moved(place: str) -> Both:
        there = replace(answer(status=302), location="/login?next=%2F&state=1")
        return Both([replace(there, location=place)], [there])

    path = Ask("/", status=(302,))
    assert told(moved("/login?next=%2F&state=2"), path) == []
    assert told(moved("/error"), path) == ["answers of GET / lead to /error, of the live generation /login"]


def test_that_takes_a_bounded_time() -> None:
    seconds = iter(range(0, 1000, 4))
    both = Both([answer()], [answer()])
    unlike("new.sock", "live.sock", [Ask(f"/{n}") for n in range(50)], 10.0, both, lambda: float(next(seconds)))
    assert both.asked == 4


def test_a_body_is_as_long_as_what_came_and_not_as_what_is_kept_of_it() -> None:
    def ask(address: str, _path: Ask, _bounds: Any) -> Answer:
        received = 20_210 if address == "new.sock" and next(turns) % 4 == 0 else 40_210
        return Answer(200, b"x" * 4096, 1.0, kind=HTML, received=received, header_bytes=210)

    turns = itertools.count()
    (found,) = unlike("new.sock", "live.sock", [Ask("/")], 10.0, ask, shorter=["GET /"])
    assert (found.name, "(about 20 kB instead of 40 kB)" in found.sentence) == ("cut:GET /", True)


@pytest.mark.parametrize(
    ("bodies", "live", "words"),
    [
        ([b"", b"x"], [b"x"], ["20 of 40 answers of GET / were empty (0 bytes), none of 40 of the live generation's"]),
        ([b""] + [b"x"] * 9, [b"x"], []),  # four of 40 may be chance
        ([b"", b"x"], [b"x"] * 39 + [b""], []),  # by nature
        ([b"x"], [b"x"], []),
        (
            [b"x" * 300] + [b"x" * 627] * 3,
            [b"x" * 627],
            [
                "10 of 40 answers of GET / were much shorter than its others (about 300 bytes instead of 627 bytes), "
                "none of 40 of the live generation's"
            ],
        ),
        (
            [b"x" * 300] * 2 + [b"x" * 627],  # most of them
            [b"x" * 627],
            [
                "26 of 40 answers of GET / were much shorter than its others (about 300 bytes instead of 627 bytes), "
                "none of 40 of the live generation's"
            ],
        ),
        ([b"x" * 300], [b"x" * 627], []),  # all of them: answer_size
        ([b"x" * 300] + [b"x" * 627] * 9, [b"x" * 627], []),  # four of 40 may be chance
        ([b"x" * 300, b"x" * 627], [b"x" * 100] + [b"x" * 627] * 30, []),  # by nature
        ([b"x" * 560, b"x" * 627], [b"x" * 627], []),
    ],
)
def test_empty_and_cut_answers_are_counted_where_the_load_had_fewer_bytes(
    bodies: list[bytes], live: list[bytes], words: list[str]
) -> None:
    turns = {"new.sock": itertools.cycle(bodies), "live.sock": itertools.cycle(live)}
    asked: list[str] = []

    def ask(address: str, path: Ask, _bounds: Any) -> Answer:
        asked.append(path.path)
        return Answer(200, next(turns[address]), 1.0, kind=HTML, header_bytes=210)

    paths = [Ask("/"), Ask("/b")]
    found = unlike("new.sock", "live.sock", paths, 10.0, ask, shorter=["GET /"])
    assert [check.sentence for check in found] == words
    assert asked.count("/b") == 2  # that one had as many


def test_it_stands_in_a_pass_before_what_was_not_compared() -> None:
    checks = unlike("new.sock", "live.sock", [Ask("/")], 10.0, Both([answer("")], [answer("text/html")]))
    said = checks[0].sentence
    verdict = Verdict("pass", "p95 is 5 ms").without(["idle CPU"]).telling(checks)
    assert verdict.cause == f"p95 is 5 ms; {said}; not compared: idle CPU"
    assert (verdict.told, verdict.check("answer_kind:GET /").outcome) == ((said,), "pass")
    more = verdict.without(["new path: live answers 404 to GET /x"])
    assert more.cause.endswith("; not compared: idle CPU; new path: live answers 404 to GET /x")
    failed = Verdict("fail", "too slow").telling(checks)
    assert (failed.outcome, failed.cause, failed.told) == ("fail", "too slow", (said,))
    assert failed.telling([]) == failed
