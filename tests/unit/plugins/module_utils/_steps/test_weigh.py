# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths that never end, flood or hang while a candidate is weighed."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import misbehaving
import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import LoadPath
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import http as _http
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import measure as _weigh


@pytest.fixture
def address(tmp_path: Path) -> Iterator[Any]:
    with misbehaving.server(str(tmp_path / "wild.sock")) as where:
        yield where


def load(*paths: str) -> list[LoadPath]:
    return [LoadPath(path) for path in paths]


class _Unit:
    """A candidate of one worker that nothing is read of."""

    main_pid = 1

    def cpu_seconds(self) -> float:
        return 0.0

    def queued_seconds(self) -> float:
        return 0.0

    def memory(self) -> dict[int, Any]:
        return {pid: type("Memory", (), {"uss_mib": 16.0, "pss_mib": 18.0})() for pid in (1, 2)}

    def own_mib(self) -> float:
        return 16.0

    def ends(self) -> list[Any]:
        return []


def by_pieces(address: Any, asked: Any, bounds: Any) -> _http.Answer:
    """A request by a clock that counts the pieces of the answer: a slow machine cuts no stream short."""
    return _http.request(address, asked, bounds, misbehaving.Ticking(0.01))


@pytest.mark.parametrize("path", ["/events", "/events-chunked", "/flood"])
def test_a_path_that_never_ends_ends_the_weigh_with_its_name(
    address: Any, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path != "/flood":
        monkeypatch.setattr(_weigh, "request", by_pieces)
    begin = time.monotonic()
    with pytest.raises(_weigh.NotMeasured, match=rf"^GET {path} (still sends after|sent more than) .*other load.paths"):
        _weigh.weigh(_Unit(), address, load("/good", path), 8, timeout_seconds=1.0)
    assert time.monotonic() - begin < 15.0


@pytest.mark.parametrize("paths", [["/silent"], ["/good", "/silent"], ["/good", "/stalls"]])
def test_a_path_that_hangs_is_told_with_its_time(address: Any, paths: list[str]) -> None:
    begin = time.monotonic()
    did = r"(got no answer: timed out after 0\.\d+ s|stopped within its answer)"
    with pytest.raises(_weigh.NotMeasured, match=rf"^GET {paths[-1]} {did}.*other load.paths.*limits.p95_ms"):
        _weigh.weigh(_Unit(), address, load(*paths), 8, timeout_seconds=0.3)
    assert time.monotonic() - begin < 15.0


def test_a_path_that_was_silent_once_may_have_been_busy(address: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([_http.Answer(0, b"", 300.0, "timed out", timed_out=True)] * 2)
    real = _http.request
    monkeypatch.setattr(_weigh, "request", lambda *args: next(answers, None) or real(*args))
    asked = _weigh.ask(address, load("/good", "/length"), 0.2, 1, 5, 5.0)
    assert (asked.endless, asked.failures) == ("", 2)
    assert len(asked.wall_ms) >= 3


def solo(wall_ms: float, answers: int, failures: int, seconds: float, example: str = "") -> Any:
    path = _weigh.OnePath("/", 1.0, [0.0] * answers, [wall_ms] * answers, [0.0] * answers)
    return lambda *_: _weigh.Solo([path], failures, seconds, example)


def test_a_path_that_is_refused_throughout_does_not_count_and_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The weigh of a page that only members see measured how fast the app says no."""
    asked: list[str] = []

    def answer(_address: Any, ask: Any, _bounds: Any) -> Any:
        asked.append(ask.path)
        status = {"/members": 403, "/often": 429 if asked.count("/often") % 2 else 200}
        return _http.Answer(status.get(ask.path, 200), b"", 2.0)

    monkeypatch.setattr(_weigh, "request", answer)
    monkeypatch.setattr(_weigh, "WARM_SECONDS", 0.05)
    monkeypatch.setattr(_weigh, "SOLO_SECONDS", 0.05)
    monkeypatch.setattr(_weigh, "CROWD_SECONDS", 0.05)
    found = _weigh.weigh(_Unit(), "/socket", load("/", "/members", "/often"), 2)
    assert [path["requests"] > 0 for path in found["paths"]] == [True, False, True]
    refused, limited = found["uncounted"]
    assert refused.startswith("GET /members answered 403 each time (")
    assert refused.endswith(
        " requests), so the path does not count in the weigh: declare in load.paths what lets the request in"
        " (headers: a cookie, a token, users' Host), or another path"
    )
    assert limited.startswith("GET /often answered 429 in ")
    assert "a rate limit counts the weigh as one client" in limited
    assert "/members" not in asked[-3:]


@pytest.mark.parametrize(
    ("path", "answers", "refused"),
    [
        (LoadPath("/members", status=(200, 403)), [403], True),
        (LoadPath("/members", status=(200, 302)), [302], True),
        (LoadPath("/members", status=(200, 403)), [403, 200], False),
        (LoadPath("/gone", status=(404,)), [404], False),  # it is what users get
        (LoadPath("/members"), [403], False),  # it counts in nothing
    ],
    ids=["a refusal", "a redirect", "not each time", "nothing else is let in", "not let in"],
)
def test_a_refusal_that_is_let_in_beside_a_page_is_told(
    path: LoadPath, answers: list[int], refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it takes to say no once outranked what the page takes, and a person was told to correct a true word."""
    statuses = itertools.cycle(answers)

    def answer(_address: Any, ask: Any, _bounds: Any) -> Any:
        return _http.Answer(200 if ask.path == "/" else next(statuses), b"", 2.0)

    monkeypatch.setattr(_weigh, "request", answer)
    for name in ("WARM_SECONDS", "SOLO_SECONDS", "CROWD_SECONDS"):
        monkeypatch.setattr(_weigh, name, 0.05)
    found = _weigh.weigh(_Unit(), "/socket", [LoadPath("/"), path], 2)
    assert [path["refused"] for path in found["paths"]] == [False, refused]
    assert (found["paths"][1]["requests"] > 0) is bool(path.status)
    assert bool(found["uncounted"]) is not bool(path.status)


def test_a_weigh_does_not_fill_the_log_of_an_app_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each failure may log a traceback, and the journal takes so many lines of a unit: the trial's are to fit."""
    asked: list[str] = []

    def answer(_address: Any, ask: Any, _bounds: Any) -> Any:
        asked.append(ask.path)
        return _http.Answer(500 if len(asked) % 2 else 200, b"", 0.1)

    monkeypatch.setattr(_weigh, "request", answer)
    _weigh.weigh(_Unit(), "/socket", load("/"), 64)
    assert len(asked) < 3 * 2 * (_weigh.ENOUGH_FAILURES + 64)


def test_some_failures_among_many_requests_end_nothing() -> None:
    assert _weigh.too_many_failed(1000, 100)
    assert not _weigh.too_many_failed(1001, 100)
    assert not _weigh.too_many_failed(99, 99)


def test_a_few_slow_answers_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_weigh, "ask", lambda *_: _weigh.Asked([12_000.0] * 3, 0, 36.0))
    monkeypatch.setattr(_weigh, "_solo", solo(12_000.0, 3, 0, 36.0))
    found = _weigh.weigh(_Unit(), "/socket", load("/"), 1, timeout_seconds=80.0)
    assert found["wall_ms"] == pytest.approx(12_000.0, abs=500.0)


def test_few_answers_that_were_not_slow_are_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_weigh, "ask", lambda *_: _weigh.Asked([5.0] * 3, 17, 3.0, "GET / answered 500"))
    monkeypatch.setattr(_weigh, "_solo", solo(5.0, 3, 17, 3.0, "GET / answered 500"))
    with pytest.raises(_weigh.NotMeasured, match=r"only 3 requests were answered .* 17 failed: GET / answered 500"):
        _weigh.weigh(_Unit(), "/socket", load("/"), 1)


def test_a_load_that_only_redirects_is_told_with_what_to_declare(monkeypatch: pytest.MonkeyPatch) -> None:
    away = _http.Answer(302, b"", 1.0, location="https://shop.example.com/")
    monkeypatch.setattr(_weigh, "request", lambda *_: away)
    monkeypatch.setattr(_weigh, "WARM_SECONDS", 0.05)
    said = r"GET / answered 302, a redirect to https://shop\.example\.com/: .*declare what users send \(scheme: https"
    with pytest.raises(_weigh.NotMeasured, match=said):
        _weigh.weigh(_Unit(), "/socket", load("/"), 1)


def test_a_crowd_stops_at_the_first_that_never_ends(address: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_weigh, "request", by_pieces)
    begin = time.monotonic()
    asked = _weigh.ask(address, load("/good", "/events"), 30.0, 16, 1, 1.0)
    assert asked.endless.startswith("GET /events still sends after")
    assert time.monotonic() - begin < 15.0
    assert asked.failures
    assert threading.stack_size() == 0


def test_a_weigh_has_a_longest_time() -> None:
    assert 200 < _weigh.longest_seconds(10.0) < _weigh.longest_seconds(80.0) < 900
