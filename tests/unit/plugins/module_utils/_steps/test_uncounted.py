# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Paths that would measure nothing of the app are named before they are loaded."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.http import Answer, Ask, Bounds, unwell
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.uncounted import (
    never_well,
    only_redirects,
    sent_elsewhere,
    told,
    with_fix,
)

AWAY = Answer(302, b"", 1.0, location="https://shop.example.com/?")
FINE = Answer(200, b"ok", 1.0)


def answering(*answers: Answer) -> Any:
    """Something to ask that gives these answers, the last one for ever."""
    left = list(answers)
    asked: list[Ask] = []

    def ask(address: Any, what: Ask, bounds: Bounds) -> Answer:
        asked.append(what)
        return left.pop(0) if len(left) > 1 else left[0]

    return ask, asked


@pytest.mark.parametrize(
    ("path", "answers", "times", "words"),
    [
        ({"path": "/"}, [AWAY], 3, "GET / only redirects (302 to https://shop.example.com/?): nothing of the app is"),
        ({"path": "/", "status": [302]}, [AWAY], 0, ""),
        ({"path": "/"}, [AWAY, FINE], 2, ""),
        ({"path": "/"}, [FINE], 1, ""),
        ({"path": "/"}, [Answer(500, b"", 1.0)], 1, ""),  # for the load to measure
        ({"path": "/"}, [Answer(0, b"", 1.0, "refused")], 1, ""),
        ({"path": "/"}, [Answer(304, b"", 1.0)], 1, ""),
        ({"path": "/p", "method": "POST", "body": "{}"}, [AWAY], 3, "POST /p only redirects (302 to https://shop."),
    ],
)
def test_a_path_that_only_redirects(path: dict[str, Any], answers: list[Answer], times: int, words: str) -> None:
    ask, asked = answering(*answers)
    found = only_redirects("/run/x.sock", [Ask.of_path(path)], 5.0, ask=ask)
    assert found.startswith(words)
    assert bool(found) is bool(words)
    assert len(asked) == times
    if words:
        assert found.endswith("or, where the redirect is what users get, status: [302]")


@pytest.mark.parametrize(
    ("path", "answer", "asked", "told_of"),
    [
        ({"path": "/", "status": [200, 302]}, AWAY, 1, True),
        (
            {"path": "/p?x=1", "status": [301]},
            Answer(301, b"", 1.0, location="https://shop.example.com/p?x=1"),
            1,
            True,
        ),
        ({"path": "/", "status": [308]}, Answer(308, b"", 1.0, location="https://shop.example.com"), 1, True),
        ({"path": "/", "status": [302]}, Answer(302, b"", 1.0, location="/login"), 1, False),  # a page of its own
        ({"path": "/", "status": [302]}, Answer(302, b"", 1.0, location="https://id.example.com/login"), 1, False),
        ({"path": "/", "status": [302]}, Answer(302, b"", 1.0, location="/"), 1, False),
        ({"path": "/", "status": [302]}, Answer(302, b"", 1.0, location="http://[x/"), 1, False),
        ({"path": "/", "status": [200, 302]}, FINE, 1, False),
        ({"path": "/", "status": [200]}, AWAY, 0, False),  # that fails by itself
        ({"path": "/"}, AWAY, 0, False),
    ],
)
def test_what_leads_to_itself_at_another_address_was_not_tried(
    path: dict[str, Any], answer: Answer, asked: int, told_of: bool
) -> None:
    ask, seen = answering(answer)
    found = sent_elsewhere("/run/x.sock", [Ask.of_path(path)], 5.0, ask)
    assert len(seen) == asked
    assert bool(found) is told_of
    for check in found:
        assert (check.name, check.outcome) == ("elsewhere", "pass")
        assert check.sentence.startswith(
            f"GET {path['path']} ({answer.status} to {answer.location}) only redirects to the same page at another "
            "address, as status allows: what makes that page was not tried; declare what users send (scheme: https"
        )


def test_several_such_paths_are_one_sentence() -> None:
    def ask(address: Any, what: Ask, bounds: Bounds) -> Answer:
        return Answer(301, b"", 1.0, location=f"https://a.example.com{what.path}")

    paths = [Ask.of_path({"path": path, "status": [200, 301]}) for path in ("/healthz", "/")]
    (check,) = sent_elsewhere("/run/x.sock", paths, 5.0, ask)
    assert check.sentence.startswith(
        "GET /healthz (301 to https://a.example.com/healthz) and GET / (301 to https://a.example.com/) only redirect "
    )


@pytest.mark.parametrize(
    ("live", "words"),
    [
        (
            FINE,
            "GET / only redirects (302 to https://shop.example.com/?), where the live generation answers 200: this "
            "release sends its users away: where that is meant, declare what users send (",
        ),
        (AWAY, "GET / only redirects (302 to https://shop.example.com/?): nothing of the app is measured that way; "),
        (Answer(500, b"", 1.0), "GET / only redirects (302 to https://shop.example.com/?): nothing of the app is "),
    ],
)
def test_a_release_that_redirects_what_the_live_one_answers_is_what_changed(live: Answer, words: str) -> None:
    found = only_redirects(
        "/run/x.sock",
        [Ask.of_path({"path": "/"})],
        5.0,
        "/run/live.sock",
        lambda address, what, bounds: live if address == "/run/live.sock" else AWAY,
    )
    assert found.startswith(words)


@pytest.mark.parametrize(
    ("answer", "fix"),
    [
        (AWAY, "declare what users send (scheme: https where a proxy in front takes https off, host where the app has"),
        (Answer(401, b"", 1.0), "declare in load.paths what lets the request in (headers: {Authorization: ...})"),
        (Answer(403, b"", 1.0), "declare in load.paths what lets the request in (headers: a cookie, a token, users'"),
        (Answer(429, b"", 1.0), "a rate limit counts the weigh as one client"),
    ],
)
def test_an_answer_that_tells_what_to_declare_is_told_with_it(answer: Answer, fix: str) -> None:
    error = unwell(Ask.of_path({"path": "/"}), answer)
    assert error.partition("; it was")[0] in with_fix(error)
    assert fix in with_fix(error)
    assert with_fix(error).count("declare") == 1 or answer.status == 429
    assert fix in told(3, [error])


@pytest.mark.parametrize("answer", [Answer(500, b"broken", 1.0), Answer(404, b"", 1.0), Answer(0, b"", 1.0, "refused")])
def test_another_answer_is_told_as_it_is(answer: Answer) -> None:
    error = unwell(Ask.of_path({"path": "/"}), answer)
    assert with_fix(error) == error


def test_what_was_answered_wrongly_each_time_is_found_again() -> None:
    said = [told(0, ["GET /new answered 500"] * 3), told(2, ["GET /b answered 500"]), told(0, ["GET /c timed out"])]
    assert never_well(said, "GET /new") == "weighed alone, GET /new answered 500 each time (3 requests)"
    assert never_well(said, "GET /b") == ""
    assert never_well(said, "GET /c") == ""
    assert never_well(said, "GET /ne") == ""
