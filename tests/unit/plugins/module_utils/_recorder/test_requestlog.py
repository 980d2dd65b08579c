# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The log of requests: its two forms, what it leaves out, and a real Gunicorn of each class that writes it."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration import asking
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.http import Ask, Bounds, own_headers
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.http import request as request_of_headcount
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout
from ansible_collections.headcount.gunicorn.plugins.module_utils._recorder import configuration, requestlog
from ansible_collections.headcount.gunicorn.plugins.module_utils._recorder.instance import OUTCOMES
from counted_gunicorn import PATIENCE_S, Server, serving
from test_under_gunicorn import CLASSES, skip_where_missing

TOLD = requestlog.Request(
    at=1_764_137_845.25,
    id="abc-1",
    client="192.0.2.7",
    method="GET",
    path="/products",
    protocol="HTTP/1.1",
    status=200,
    size=512,
    ms=12.34,
    worker=41,
    generation=7,
    agent='Mozil"la',
    referrer="https://shop.example.com/",
    ended="",
    missing=0,
)


def test_combined_is_what_tools_for_web_servers_read_with_the_rest_behind_it() -> None:
    assert requestlog.combined(TOLD) == (
        '192.0.2.7 - - [26/Nov/2025:06:17:25 +0000] "GET /products HTTP/1.1" 200 512'
        ' "https://shop.example.com/" "Mozil\\"la" id=abc-1 ms=12.34 worker=41 generation=7'
    )
    bare = TOLD._replace(client="", agent="", referrer="", status=None, size=0, ended="cut", missing=3)
    assert requestlog.combined(bare) == (
        '- - - [26/Nov/2025:06:17:25 +0000] "GET /products HTTP/1.1" - 0 "-" "-"'
        " id=abc-1 ms=12.34 worker=41 generation=7 ended=cut missing=3"
    )


def test_json_has_every_key_in_every_line() -> None:
    assert json.loads(requestlog.as_json(TOLD)) == {
        "time": "2025-11-26T06:17:25.250Z",
        "id": "abc-1",
        "client": "192.0.2.7",
        "method": "GET",
        "path": "/products",
        "status": 200,
        "bytes": 512,
        "ms": 12.34,
        "worker": 41,
        "generation": 7,
        "agent": 'Mozil"la',
        "referrer": "https://shop.example.com/",
    }
    told = json.loads(requestlog.as_json(TOLD._replace(status=None, ended="broken", missing=2)))
    assert (told["status"], told["ended"], told["missing"]) == (None, "broken", 2)


def request(*headers: tuple[str, str]) -> Any:
    return SimpleNamespace(headers=list(headers), method="GET", path="/", version=(1, 1))


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ("7f3a-19:B/x+y=@.", "7f3a-19:B/x+y=@."),
        ('a b\x1b[31m"<script>\n', "ab31mscript"),
        ("x" * 5000, "x" * 64),
        ("\u00e9-1", "-1"),
    ],
)
def test_an_id_that_somebody_sends_is_cleaned_and_cut_for_the_app_too(sent: str, told: str) -> None:
    req = request(("HOST", "shop"), ("X-REQUEST-ID", sent), ("X-REQUEST-ID", "second"), ("ACCEPT", "*/*"))
    assert requestlog.identify(req) == told
    assert req.headers == [("HOST", "shop"), ("ACCEPT", "*/*"), ("X-REQUEST-ID", told)]


@pytest.mark.parametrize("headers", [[], [("X-REQUEST-ID", " \t")]])
def test_without_one_an_id_is_made(headers: list[tuple[str, str]]) -> None:
    first, second = request(*headers), request(*headers)
    made = requestlog.identify(first)
    assert re.fullmatch("[0-9a-f]{32}", made)
    assert first.headers == [("X-REQUEST-ID", made)]
    assert requestlog.identify(second) != made


@pytest.mark.parametrize(
    ("peer", "said", "trusted", "told"),
    [
        ("198.51.100.4", "192.0.2.7", ["127.0.0.1", "::1"], "198.51.100.4"),
        ("127.0.0.1", "evil, 192.0.2.7", ["127.0.0.1", "::1"], "192.0.2.7"),
        ("", "192.0.2.7", ["127.0.0.1"], "192.0.2.7"),
        ("10.0.0.5", "192.0.2.7", ["10.0.0.0/24"], "192.0.2.7"),
        ("10.0.0.5", "192.0.2.7", ["*"], "192.0.2.7"),
        ("10.0.0.5", "", ["*"], "10.0.0.5"),
        ("", "", [], ""),
    ],
)
def test_who_asked_is_what_a_trusted_proxy_says(peer: str, said: str, trusted: list[str], told: str) -> None:
    environ = {"REMOTE_ADDR": peer, **({"HTTP_X_FORWARDED_FOR": said} if said else {})}
    assert requestlog.client(environ, trusted) == told


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://user:pw@shop.example.com/reset?token=1#x", "https://shop.example.com/reset"),
        ("/basket?item=1", "/basket"),
        ("https://[broken", ""),
        ("", ""),
    ],
)
def test_a_referrer_keeps_no_query_and_no_password(url: str, told: str) -> None:
    assert requestlog.without_query(url) == told


@pytest.mark.parametrize("field", ["client", "method", "path", "agent", "referrer"])
def test_no_line_is_broken_by_what_somebody_sends(field: str) -> None:
    text = requestlog.plain('a\nMESSAGE=b\x00\x1b" \\\u2028' + "x" * 9000, requestlog.MOST_TEXT)
    told = TOLD._replace(**{field: text})
    for line in (requestlog.combined(told), requestlog.as_json(told)):
        assert line.isprintable()
        assert len(line) < 1000
    assert json.loads(requestlog.as_json(told))[field] == text


@pytest.mark.parametrize(
    ("code", "sent", "outcome", "told"),
    [
        (200, True, "2xx", 200),
        (None, False, "5xx", 500),
        (200, False, "5xx", 500),
        (None, False, "4xx", 400),
        (200, True, "cut", 200),
        (200, False, "cut", None),
        (None, False, "broken", None),
    ],
)
def test_the_status_is_what_the_client_was_sent(code: int | None, sent: bool, outcome: str, told: int | None) -> None:
    response = SimpleNamespace(status_code=code, headers_sent=sent)
    assert requestlog.status_of(response, OUTCOMES.index(outcome)) == told


def test_its_outcomes_are_those_of_the_recorder() -> None:
    assert [OUTCOMES[place] for place in requestlog.ENDS] == list(requestlog.ENDS.values())
    assert requestlog.status_of(None, OUTCOMES.index("4xx")) == 400


@contextlib.contextmanager
def journal(folder: Path) -> Iterator[socket.socket]:
    """What listens in the place of the journal."""
    folder.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as taken:
        taken.bind(str(folder / "journal"))
        taken.settimeout(PATIENCE_S)
        yield taken


def entry(taken: socket.socket) -> dict[str, str]:
    """The fields of the next entry."""
    return dict(line.split("=", 1) for line in taken.recv(65536).decode().splitlines())


def ask(server: Server, path: str, **headers: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return connection.getresponse().read().decode()


@pytest.mark.parametrize("worker_class", CLASSES)
def test_each_request_is_a_line_in_the_journal(
    worker_class: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_where_missing(worker_class)
    monkeypatch.delenv("HEADCOUNT_ROLE", raising=False)
    folder = tmp_path / "run"
    with journal(folder) as taken, serving(folder, worker_class, declared={"access_log": "json"}) as server:
        given = ask(
            server, "/id?token=secret", X_Request_ID="from the proxy", Authorization="Basic c2VjcmV0",
            Cookie="s=secret", Referer="https://shop.example.com/?token=secret", X_Forwarded_For="192.0.2.7",
            User_Agent="curl/8",
        )  # fmt: skip
        told = entry(taken)
        line = json.loads(told["MESSAGE"])
        assert given == line["id"] == told["REQUEST_ID"] == "fromtheproxy"
        assert (told["SYSLOG_IDENTIFIER"], told["PRIORITY"], told["REQUEST_STATUS"]) == ("shop-access", "7", "200")
        assert (line["path"], line["status"], line["bytes"]) == ("/id", 200, len(given))
        assert (line["client"], line["agent"]) == ("192.0.2.7", "curl/8")
        assert line["referrer"] == "https://shop.example.com/"
        assert line["worker"] in [worker.pid for worker in server.counted().workers]
        assert "secret" not in json.dumps(told).lower()

        made = ask(server, "/id")
        assert re.fullmatch("[0-9a-f]{32}", made)
        assert json.loads(entry(taken)["MESSAGE"])["id"] == made

        server.ask("/wait0.05")
        assert 50 <= json.loads(entry(taken)["MESSAGE"])["ms"] < 1000 * PATIENCE_S
        for path, status, ended in (
            *(("/missing", 404, None), ("/error", 503, None), ("/raises", 500, None)),
            ("/breaks", 200, "broken"),
        ):
            server.ask(path)
            line = json.loads(entry(taken)["MESSAGE"])
            assert (line["path"], line["status"], line.get("ended")) == (path, status, ended)
        server.cut()
        line = json.loads(entry(taken)["MESSAGE"])
        assert (line["path"], line["status"], line["ended"]) == ("/large", 200, "cut")
        assert "missing" not in line
        assert server.counted().tally.begun == 8, "the recorder counts beside it"


@pytest.mark.parametrize("worker_class", CLASSES)
def test_requests_of_headcount_itself_are_not_among_those_of_users(
    worker_class: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those through the private socket, and those that it asks as users do from the same host."""
    skip_where_missing(worker_class)
    monkeypatch.setenv("HEADCOUNT_ROLE", "live")
    folder, declared = tmp_path / "run", {"access_log": "json", "listen": "0.0.0.0:8000"}
    with journal(folder) as taken, serving(folder, worker_class, declared=declared) as server:
        private, public = str(folder / "private.sock"), ("127.0.0.1", server.port)
        browser = {"User-Agent": "Mozilla"}
        for address, headers, whose in (
            (private, browser, "shop-trial-access"),
            (private, {}, "shop-trial-access"),
            (public, {}, "shop-trial-access"),
            (public, browser, "shop-access"),
            (public, {"X-Forwarded-For": "192.0.2.7"}, "shop-access"),
            (public, {"X-Forwarded-For": asking.CLIENT, **browser}, "shop-trial-access"),
        ):
            assert request_of_headcount(address, Ask("/", headers=headers), Bounds(PATIENCE_S)).status == 200
            assert entry(taken)["SYSLOG_IDENTIFIER"] == whose


@pytest.mark.parametrize("role", ["weigh", "trial"])
def test_all_that_a_candidate_gets_is_headcounts_own(
    role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADCOUNT_ROLE", role)
    with journal(tmp_path) as taken, serving(tmp_path, "sync", declared={"access_log": "combined"}) as server:
        ask(server, "/", User_Agent="Mozilla", X_Forwarded_For="192.0.2.7")
        assert entry(taken)["SYSLOG_IDENTIFIER"] == "shop-trial-access"


def test_who_calls_itself_headcount_elsewhere_is_a_user() -> None:
    connection = SimpleNamespace(family=socket.AF_INET, getsockname=lambda: ("10.0.0.5", 8000))
    environ = {"HTTP_USER_AGENT": "headcount", "REMOTE_ADDR": "10.0.0.5", "gunicorn.socket": connection}
    assert requestlog.is_own(environ)
    assert not requestlog.is_own({**environ, "REMOTE_ADDR": "10.0.0.6"})
    assert not requestlog.is_own({})
    private = SimpleNamespace(family=socket.AF_UNIX, getsockname=lambda: "/run/headcount/shop/7.sock")
    assert requestlog.is_own({"REMOTE_ADDR": "127.0.0.1", "gunicorn.socket": private}), "as the app was told of it"
    public = SimpleNamespace(family=socket.AF_UNIX, getsockname=lambda: "/run/shop.sock")
    assert not requestlog.is_own({"REMOTE_ADDR": "127.0.0.1", "gunicorn.socket": public})
    assert (own_headers({})["User-Agent"], asking.CLIENT) == (requestlog.AGENT, requestlog.CLIENT)
    assert Layout("shop").private_socket(7).startswith(requestlog.PRIVATE)


def test_a_journal_that_does_not_take_lines_holds_up_no_request(tmp_path: Path) -> None:
    """Nobody reads: the queue of the socket is full after some lines. Then the next line says how many are missing."""
    declared = {"access_log": "combined", "recorder": False}
    lines, missing, asked = [], 0, 1000
    with journal(tmp_path) as taken, serving(tmp_path, "sync", declared=declared, workers=1) as server:
        server.ask_all(["/"] * asked, at_once=1)
        assert server.seen == {"200": asked}
        taken.settimeout(0.5)
        while len(lines) + missing < asked < 1020:
            try:
                lines.append(entry(taken)["MESSAGE"])
            except socket.timeout:
                server.ask("/")
                asked += 1
                continue
            told = re.search(r" missing=(\d+)$", lines[-1])
            missing += int(told[1]) if told else 0
    assert re.search(r' "GET / HTTP/1.1" 200 2 "-" "-" id=[0-9a-f]{32} ms=[\d.]+ worker=\d+ generation=1$', lines[0])
    assert len(lines) + missing == asked
    assert missing > 0


def test_without_a_journal_the_app_serves(tmp_path: Path) -> None:
    with serving(tmp_path, "gthread", declared={"access_log": "json"}) as server:
        server.ask_all(["/"] * 10)
        assert server.seen == {"200": 10}


def test_a_program_that_fails_is_told_and_costs_no_request(tmp_path: Path) -> None:
    with serving(tmp_path, "sync", declared={"access_log": "json"}, program="how_answered = None\n") as server:
        server.ask_all(["/"] * 10)
        assert server.seen == {"200": 10}
    log = (tmp_path / "log").read_text()
    said = re.findall(r"\[(\d+)\] \[WARNING\] Headcount's request log: TypeError", log)
    assert said, log
    assert len(said) == len(set(said)), f"a worker says it once: {log}"


def test_what_a_generation_has_of_it() -> None:
    assert configuration.programs({"name": "shop", "recorder": False}) == {}
    assert set(configuration.programs({"name": "shop", "access_log": "off"})) == {"recorder.py"}
    assert set(configuration.programs({"name": "shop", "access_log": "json", "recorder": False})) == {
        "recorder.py",
        "requestlog.py",
    }
    assert configuration.logging({"name": "shop", "access_log": "off"}, 1) == ""
