# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.http import Answer, get, local_address, unhealthy

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
        (Answer(0, b"", 1.0, "timed out"), None, "GET /healthz got no answer: timed out"),
        (Answer(200, b"no", 1.0), "ok", "GET /healthz answered 200, but its body does not contain 'ok'"),
        (Answer(200, b"all ok", 1.0), "ok", None),
    ],
)
def test_what_is_unhealthy(answer: Answer, contains: str | None, reason: str | None) -> None:
    assert unhealthy(answer, {**HEALTH, "contains": contains}) == reason


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
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
    assert get(("127.0.0.1", port), "/else", 2.0).status == 404


def test_nobody_there_is_no_exception(port: int) -> None:
    assert get("/nonexistent/socket", "/", 0.5).status == 0
