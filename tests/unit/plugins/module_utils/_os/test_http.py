# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import http.server
import re
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import misbehaving
import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.patience import answer_seconds
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import secrecy
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.addresses import local_address
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.http import (
    Answer,
    Ask,
    Bounds,
    Came,
    get,
    lacking,
    never_ends,
    not_in_time,
    own_headers,
    request,
    unhealthy,
    unwell,
    well,
)

HEALTH: dict[str, Any] = {"path": "/healthz", "status": [200, 204], "contains": None}


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("0.0.0.0:8000", ("127.0.0.1", 8000)),
        ("[::]:8000", ("::1", 8000)),
        ("10.0.0.5:80", ("10.0.0.5", 80)),
        ("unix:/run/shop.sock", "/run/shop.sock"),
    ],
)
def test_where_the_host_reaches_itself(listen: str, address: Any) -> None:
    assert local_address(listen) == address


@pytest.mark.parametrize(
    ("answer", "contains", "reason"),
    [
        (Answer(200, b"ok", 1.0), None, None),
        (Answer(204, b"", 1.0), None, None),
        (Answer(500, b"", 1.0), None, "GET /healthz answered 500, expected 200 or 204"),
        (
            Answer(302, b"", 1.0, location="https://shop.example.com/"),
            None,
            "GET /healthz answered 302, a redirect to https://shop.example.com/: declare what users send (scheme: "
            "https where a proxy in front takes https off, host where the app has a name of its own, headers), or, "
            "where the redirect is well, health.status: [200, 302]",
        ),
        (Answer(0, b"", 1.0, "timed out"), None, "GET /healthz got no answer: timed out"),
        (Answer(200, b"no", 1.0), "ok", "GET /healthz answered 200 (\"no\"), but its body does not contain 'ok'"),
        (Answer(200, b"all ok", 1.0), "ok", None),
    ],
)
def test_what_is_unhealthy(answer: Answer, contains: str | None, reason: str | None) -> None:
    assert unhealthy(answer, {**HEALTH, "contains": contains}) == reason


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_an_answer_is_told_as_it_is(port: int) -> None:
    answer = get(("127.0.0.1", port), "/healthz", 2.0)
    assert (answer.status, answer.body) == (200, b"hello")
    assert (answer.caching, answer.location, answer.encoding) == ("no-store", "/elsewhere", "")
    assert get(("127.0.0.1", port), "/else", 2.0).status == 404


def test_nobody_there_is_no_exception(port: int) -> None:
    assert get("/nonexistent/socket", "/", 0.5).status == 0


@pytest.fixture(scope="module")
def wild() -> Iterator[Any]:
    with misbehaving.server() as address:
        yield address


@pytest.mark.parametrize("path", ["/good", "/length", "/chunks", "/hints", "/continue"])
def test_every_whole_answer_is_read_to_its_end(wild: Any, path: str) -> None:
    answer = request(wild, Ask(path), Bounds(5.0, keep_bytes=3))
    assert (answer.status, answer.body, answer.failure("GET", path)) == (200, b"hel", "")
    assert answer.received > 20
    assert not answer.endless


SECONDS = r"[\d.]+ s"
BY_PIECES = ("/events", "/events-chunked", "/status", "/head", "/long")
"""What never ends is read by a clock that counts its pieces: a machine that is slow for a moment cuts none short."""


@pytest.mark.parametrize(
    ("path", "endless", "said"),
    [
        ("/events", True, rf"still sends after {SECONDS} \(\d+ bytes so far\): it never ends by itself"),
        ("/events-chunked", True, rf"still sends after {SECONDS} \(\d+ bytes so far\): it never ends by itself"),
        ("/flood", True, r"sent more than 4 MiB in [\d.e-]+ s and went on"),
        ("/flood-chunked", True, r"sent more than 4 MiB in [\d.e-]+ s and went on"),
        ("/status", True, rf"still sends the head of its answer after {SECONDS} \(\d+ bytes so far\)"),
        ("/head", True, rf"still sends the head of its answer after {SECONDS} \(\d+ bytes so far\)|more than 100"),
        ("/head-flood", False, "got no answer: got more than 65536 bytes when reading header line"),
        ("/interim", True, "sent more than 4 MiB|still sends the head of its answer"),
        ("/interim-hints", False, r"got no answer: more than 20 interim answers \(103\) came"),
        ("/trailers", True, "sent more than 4 MiB|still sends after"),
        ("/short", False, r"ended within its answer: \d+ bytes came in [\d.e-]+ s, 95 are missing"),
        ("/short-chunks", False, r"ended within its answer: \d+ bytes came"),
        ("/stalls", False, rf"stopped within its answer: \d+ bytes came, and none in the last {SECONDS}"),
        ("/long", False, rf"was not whole after {SECONDS}: \d+ bytes came, 100000 were to come, the first after"),
        ("/silent", False, rf"got no answer: timed out after {SECONDS}"),
        ("/garbage", False, r"got no answer: .{1,210}$"),
        ("/nothing", False, "got no answer: Remote end closed connection"),
    ],
)
def test_no_answer_takes_more_than_its_bounds(wild: Any, path: str, endless: bool, said: str) -> None:
    begin = time.monotonic()
    tracemalloc.start()
    clock = misbehaving.Ticking(0.01) if path in BY_PIECES else time.monotonic
    answer = request(wild, Ask(path), Bounds(1.0, most_bytes=4 << 20), clock)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.monotonic() - begin < 8.0
    assert peak < 6 << 20  # the server's own block of 1 MiB lies in this process too
    assert answer.status == 0
    assert re.search(rf"^GET {path} ({said})", answer.failure("GET", path)), answer.failure("GET", path)
    if path not in ("/head", "/interim", "/trailers"):
        assert answer.endless is endless


@pytest.mark.parametrize(
    ("came", "body", "endless", "said"),
    [
        (Came(40, 9, 0.1, 9.9, 0.1), True, True, "still sends after 10 s (40 bytes so far): it never ends by itself"),
        (Came(90, 3, 2.0, 7.0, 3.0), True, True, "still sends after 10 s (90 bytes so far): it never ends by itself"),
        (Came(90, 9, 0.1, 9.0, 1.0), False, True, "still sends the head of its answer after 10 s (90 bytes so far)"),
        # a starved host: the first byte came late, and no more could come until the bound
        (Came(400, 1, 6.0, 6.0, 4.0), True, False, "was not whole after 10 s: 400 bytes came, the first after 6 s"),
        (Came(400, 40, 5.2, 10.0, 0.0), True, False, "was not whole after 10 s: 400 bytes came, the first after 5.2 s"),
        (Came(400, 2, 0.1, 9.9, 0.1), True, False, "was not whole after 10 s: 400 bytes came, the first after 0.1 s"),
        (Came(9, 1, 6.0, 6.0, 4.0), False, False, "was not whole after 10 s: 9 bytes came, the first after 6 s"),
        (Came(400, 1, 4.0, 4.0, 6.0), True, False,
         "stopped within its answer: 400 bytes came, and none in the last 6 s"),
        # one that says how long it is ends by itself
        (Came(400, 90, 0.1, 9.9, 0.1, 800), True, False,
         "was not whole after 10 s: 400 bytes came, 800 were to come, the first after 0.1 s"),
    ],
)  # fmt: skip
def test_what_never_ends_has_sent_for_half_of_the_bound(came: Came, body: bool, endless: bool, said: str) -> None:
    assert never_ends(came, 10.0) is endless
    assert not_in_time(came, 10.0, "10 s", body) == said


def test_nothing_is_ever_decompressed(wild: Any) -> None:
    answer = get(wild, "/zipped", 5.0)
    assert answer.status == 200
    assert answer.received < 64 * 1024
    assert answer.encoding == "gzip"


def test_a_health_check_that_never_ends_is_not_healthy(wild: Any) -> None:
    reason = unhealthy(get(wild, "/events", 1.0), {**HEALTH, "path": "/events"})
    assert reason is not None
    assert "still sends after" in reason


def test_declared_headers_go_before_its_own_in_any_case() -> None:
    assert own_headers({"host": "shop.example", "X-A": "1"}) == {
        "User-Agent": "headcount",
        "Connection": "close",
        "host": "shop.example",
        "X-A": "1",
    }


@pytest.mark.parametrize(
    ("app", "seconds"),
    [
        ({}, 10.0),
        ({"limits": {"p95_ms": 250}, "settings": {}}, 10.0),
        ({"limits": {"p95_ms": 40_000}, "settings": {"timeout": 120}}, 80.0),
        ({"limits": {"p95_ms": 40_000, "p99_ms": 90_000}, "settings": {"timeout": 120}}, 120.0),
        ({"limits": {"p95_ms": 40_000}}, 80.0),
        ({"limits": {"p95_ms": 250}, "settings": {"timeout": 120}}, 10.0),
        ({"limits": {}, "settings": {"timeout": 120}}, 120.0),
        ({"limits": {"p50_ms": 3_600_000}}, 300.0),
    ],
)
def test_who_declares_slow_answers_is_waited_for(app: dict[str, Any], seconds: float) -> None:
    assert answer_seconds(app) == seconds


AWAY = Answer(302, b"", 1.0, location="https://shop.example.com/?")
FINE = Answer(200, b"ok", 1.0)


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (None, FINE, ""),
        (None, Answer(204, b"", 1.0), ""),
        (None, AWAY, "GET / answered 302, a redirect to https://shop.example.com/?"),
        (None, Answer(503, b"", 1.0), "GET / answered 503"),
        ([200, 302], AWAY, ""),
        ([404], Answer(404, b"", 1.0), ""),
        ([302], FINE, 'GET / answered 200 ("ok"), expected 302'),
        ([200, 304], AWAY, "GET / answered 302, expected 200 or 304"),
        (None, Answer(0, b"", 1.0, "refused"), "GET / got no answer: refused"),
    ],
)
def test_what_counts_as_an_answer(status: list[int] | None, answer: Answer, words: str) -> None:
    assert unwell(Ask("/", status=tuple(status or ())), answer) == words
    assert well(answer.status, status) is not bool(words)


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("text/html; charset=utf-8", b"<!doctype html>\n<title>500 Internal Server Error</title>\n<h1>Oh no</h1>",
         'text/html "500 Internal Server Error"'),
        ("text/html", b"<html><head><title>Error</title><style>b {}</style></head><body>\n<b>Tea &amp; co</b> is shut",
         'text/html "Tea & co"'),
        ("text/html", b"<html><head><title>Only a title</title></head><body></body>", 'text/html "Only a title"'),
        ("application/json", b'\n\n{"error": "no database"}\n', 'application/json "{"error": "no database"}"'),
        ("Text/Plain", b"x" * 400, f'text/plain "{"x" * 120}..."'),
        ("image/png", b"\x89PNG\x00\x00", "image/png"),
        ("", b"\x1b[31mred", '"red"'),
        ("", b"", ""),
    ],
)  # fmt: skip
def test_an_answer_in_words(kind: str, body: bytes, words: str) -> None:
    assert Answer(500, body, 1.0, kind=kind).words() == words


def test_no_secret_is_told_of_an_answer() -> None:
    secrecy.learn(["s3cr3t-1-XYZZY"])
    try:
        told = Answer(500, b"x" * 110 + b" s3cr3t-1-XYZZY", 1.0).words()
        cut = Answer(500, b"<p>" + b"\n" * 4085 + b"s3cr3t-1", 1.0, kind="text/html").words()
    finally:
        secrecy.forget()
    assert "s3cr3t" not in told + cut


def test_the_kind_and_the_beginning_of_an_answer_are_kept(wild: str) -> None:
    """Without being asked for: nobody knows beforehand which answer will have to be explained."""
    answer = request(wild, Ask("/broken"), Bounds(5.0))
    assert answer.words() == 'text/html "Internal Server Error"'


@pytest.mark.parametrize(("status", "told"), [(400, True), (403, True), (404, True), (421, True), (500, False)])
def test_an_app_may_answer_to_its_own_name_alone(status: int, told: bool) -> None:
    answer = Answer(status, b"", 1.0)
    for words in (unwell(Ask("/"), answer), unhealthy(answer, HEALTH)):
        assert (
            "asked for as localhost: where the app answers to its own name alone, declare `host`" in str(words)
        ) is told
    named = {"HOST": "shop.example.com"}
    assert "declare" not in unwell(Ask("/", headers=named), answer)
    assert "declare" not in str(unhealthy(answer, {**HEALTH, "headers": named}))


def test_an_answer_that_lacks_what_it_must_contain() -> None:
    basket = Ask.of_path({"path": "/basket", "contains": "Your basket"})
    sorry = Answer(200, b"<h1>Sorry</h1>", 1.0, kind="text/html")
    words = "GET /basket answered 200 (text/html \"Sorry\"), but its body does not contain 'Your basket'"
    assert unwell(basket, sorry) == words
    assert unwell(basket, Answer(200, b"<b>Your basket</b>", 1.0)) == ""
    assert unwell(basket, Answer(503, b"", 1.0)) == "GET /basket answered 503"
    assert basket.within(5.0).keep_bytes > Ask("/").within(5.0).keep_bytes

    given = [Answer(200, b"Your basket", 1.0)] * 3 + [sorry]
    asked: list[Ask] = []

    def ask(address: Any, one: Ask, bounds: Bounds) -> Answer:
        asked.append(one)
        return given[min(len(asked), len(given)) - 1]

    assert lacking("/run/x.sock", [Ask("/"), basket], 5.0, ask) == words  # the fourth of five
    assert asked == [basket] * 4
    assert lacking("/run/x.sock", [Ask("/")], 5.0, ask) == ""


def test_what_is_no_http_is_told_in_signs_that_a_terminal_can_show() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            peer = listener.accept()[0]
            with peer:
                peer.recv(4096)
                peer.sendall(b"\x00\xff\x1b[2Jthis is not HTTP\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        told = get(listener.getsockname()[:2], "/", 5.0)
    assert told.error.isprintable()
    assert "this is not HTTP" in told.error
