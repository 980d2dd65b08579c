# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a generation answers: which of it makes it broken, and how often it is asked."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import answers, switch
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.http import Answer, Ask, Bounds

APP: dict[str, Any] = {
    "listen": "127.0.0.1:8000",
    "health": {"path": "/healthz", "status": [200], "contains": None, "timeout_seconds": 5.0},
    "load": {
        "paths": [
            {"path": "/", "method": "GET", "headers": {"Host": "shop.example"}},
            {"path": "/basket", "method": "POST", "body": "x"},
            {"path": "/list", "method": "GET"},
        ]
    },
    "limits": {"error_rate": 0.02, "p95_ms": 250},
}
OK, BROKEN = Answer(200, b"ok", 3.0), Answer(500, b"", 3.0)
DROPPED = Answer(0, b"", 2.0, "Remote end closed connection without response")


def hangs(bounds: Bounds) -> Answer:
    return Answer(0, b"", 1000 * bounds.seconds, f"timed out after {bounds.seconds:.3g} s")


@dataclass
class Server:
    """Answers `paths` with what is given for them, the last one for ever, and 200 for the rest; its time passes."""

    paths: dict[str, Iterable[Answer | Callable[[Bounds], Answer]]] = field(default_factory=dict)
    asked: list[Ask] = field(default_factory=list)
    now: float = 0.0

    def __post_init__(self) -> None:
        self._next = {path: itertools.cycle(given) for path, given in self.paths.items()}

    def __call__(self, address: Any, ask: Ask, bounds: Bounds) -> Answer:
        self.asked.append(ask)
        given = next(self._next.get(ask.path, itertools.repeat(OK)))
        answer = given if isinstance(given, Answer) else given(bounds)
        self.now += answer.elapsed_ms / 1000
        return answer

    def look(
        self, app: dict[str, Any] = APP, within: float | None = 5.0, seconds: float = answers.LOOK_SECONDS
    ) -> answers.Answers:
        return answers.look("/run/1.sock", app, within, self, lambda: self.now, seconds=seconds)

    def count(self, path: str) -> int:
        return sum(ask.path == path for ask in self.asked)


def test_one_that_answers_everything_is_asked_more_than_once_and_never_with_post() -> None:
    server = Server()
    seen = server.look()
    assert (seen.well, seen.detail) == (True, "GET /healthz answered in 3 ms, 2 GET paths of its load without an error")
    assert server.count("/basket") == 0
    assert server.count("/") == answers.LOOKS
    assert server.now < 1.0


def test_a_glance_asks_each_path_once_however_slow_and_quick_ones_as_often() -> None:
    quick, slow = Server(), Server({"/": [Answer(200, b"", 60.0)]})
    for server in (quick, slow):
        assert server.look(seconds=answers.GLANCE_SECONDS).well
    assert quick.count("/") == quick.count("/list") > 3
    assert (slow.count("/"), slow.count("/list")) == (1, 1)


def test_the_declared_headers_go_along() -> None:
    server = Server()
    server.look()
    assert next(ask.headers for ask in server.asked if ask.path == "/") == {"Host": "shop.example"}


@pytest.mark.parametrize(
    ("paths", "rank", "says"),
    [
        ({"/": [BROKEN]}, answers.PATH, "GET / answered 500 (2 of 2 requests)"),
        ({"/list": [DROPPED]}, answers.PATH, "GET /list got no answer: Remote end closed connection without response"),
        ({"/list": [hangs]}, answers.PATH, "GET /list got no answer: timed out after 5 s"),
        ({"/healthz": [BROKEN]}, answers.HEALTH, "GET /healthz answered 500, expected 200"),
        ({"/healthz": [hangs]}, answers.SILENT, "GET /healthz got no answer: timed out after 5 s"),
        ({"/healthz": [DROPPED]}, answers.SILENT, "GET /healthz got no answer: Remote end closed"),
        ({"/healthz": [BROKEN], "/": [BROKEN]}, answers.HEALTH, "expected 200; GET / answered 500"),
        ({"/": [OK, BROKEN, OK]}, answers.PATH, "GET / answered 500 ("),  # one in three
        ({"/": [Answer(404, b"", 2.0)], "/list": [Answer(302, b"", 2.0)]}, answers.WELL, "without an error"),
    ],
)
def test_what_is_broken_is_named(paths: Any, rank: int, says: str) -> None:
    seen = Server(paths).look()
    assert seen.rank == rank
    assert says in seen.detail
    assert seen.well == (rank == answers.WELL) == (not seen.wrong)


def test_a_failure_that_its_limit_allows_makes_nobody_broken() -> None:
    """One request in sixty fails and two percent may: a converged host must not be healed again and again for that."""
    for turn in range(60):
        server = Server({"/": [OK] * turn + [BROKEN] + [OK] * (59 - turn)})
        assert server.look().well
    tolerant = {**APP, "limits": {"error_rate": 0.2}}
    assert Server({"/": [OK, OK, BROKEN, OK, OK, OK]}).look(tolerant).well
    assert not Server({"/": [BROKEN]}).look(tolerant).well
    assert not Server({"/": [BROKEN]}).look({**APP, "limits": {"error_rate": 1.0}}).well


def test_nothing_that_hangs_is_asked_twice() -> None:
    for path in ("/healthz", "/"):
        server = Server({path: [hangs]})
        assert not server.look().well
        assert server.count(path) == 1
        assert server.now < 6.0


def test_a_path_that_may_take_long_is_not_broken_for_it() -> None:
    slow = {**APP, "limits": {"error_rate": 0.02, "p95_ms": 40000}}
    server = Server({"/": [hangs]})
    assert server.look(slow).well
    assert Server({"/": [lambda bounds: Answer(200, b"", 35000.0)]}).look(slow, None).well
    assert not Server({"/": [hangs]}).look(slow, None).well  # twice its limit has gone by


def test_what_is_declared_of_a_path_counts() -> None:
    health = {**APP["health"], "headers": {"Host": "shop.example.com"}}
    for path, given, told in (
        ({"path": "/", "status": [302]}, Answer(302, b"", 3.0), ""),
        ({"path": "/", "status": [302]}, OK, 'GET / answered 200 ("ok"), expected 302 (2 of 2 requests)'),
        ({"path": "/", "status": [503]}, Answer(503, b"", 3.0), ""),
        ({"path": "/", "contains": "ok"}, OK, ""),
        ({"path": "/", "contains": "tea"}, OK, "but its body does not contain 'tea' (2 of 2 requests)"),
    ):
        server = Server({"/": [given]})
        seen = server.look({**APP, "health": health, "load": {"paths": [path]}})
        assert seen.well is (not told)
        assert told in seen.detail
        assert server.asked[0].headers == {"Host": "shop.example.com"}


def test_the_log_is_asked_why_a_request_failed_at_that_time() -> None:
    asked: list[tuple[str, float]] = []

    def log(path: str, begin: float, end: float) -> str:
        asked.append((path, end - begin))
        return "its log says: KeyError: 'tea'"

    broken = Answer(500, b"<h1>Oh no</h1>", 3.0, kind="text/html")
    for paths, path, told in (
        (
            {"/list": [broken]},
            "/list",
            'GET /list answered 500 (2 of 2 requests; text/html "Oh no"); its log says: Key',
        ),
        (
            {"/healthz": [broken]},
            "/healthz",
            'GET /healthz answered 500 (text/html "Oh no"), expected 200; its log says',
        ),
        ({"/healthz": [hangs]}, "/healthz", "GET /healthz got no answer: timed out after 5 s; its log says"),
    ):
        server = Server(paths)
        seen = answers.look("/run/1.sock", APP, 5.0, server, lambda server=server: server.now, log)
        assert asked == []  # it may take its time: only who wants to know waits for it
        assert seen.told().startswith(told)
        assert [one for one in seen.wrong if "its log" in one] == []  # what is compared with an earlier look
        assert asked.pop() == (path, pytest.approx(0.0, abs=2.0))
    assert Server().look().well
    assert asked == []


def test_counts_add_up_over_rounds() -> None:
    server = Server({"/list": [OK] * 9 + [BROKEN]})
    asker = answers.Asker("/run/1.sock", APP, None, server, lambda: server.now)
    for _ in range(9):
        asker.round()
    assert (asker.failed, asker.wrong()) == (0, [])
    for _ in range(80):
        asker.round()
    assert asker.failed > 2
    assert asker.wrong()[0].startswith("GET /list answered 500 (")


def test_without_load_paths_health_is_all() -> None:
    seen = Server().look({"health": APP["health"]})
    assert (seen.well, seen.detail) == (True, "GET /healthz answered in 3 ms")


def test_what_a_person_is_told_of_a_switch() -> None:
    seen = {
        "before": "GET / answered 500 (2 of 2 requests)",
        "despite": "one of its workers died after it took traffic",
        "wrong": ["GET /list answered 503"],
        "users": {"path": "/", "asked": 9, "failed": 2, "got": {"200": 7, "500": 2}},
    }
    assert switch.told(4, seen) == [
        "generation 4 was broken, so it left first: GET / answered 500 (2 of 2 requests)",
        "not gone back to 4, which answered no better: one of its workers died after it took traffic",
        "what is live now is not well either: GET /list answered 503",
        "meanwhile 2 of 9 requests for / failed: 2 got 500",
    ]
