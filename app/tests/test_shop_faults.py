# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The faults: what is read from SHOP_FAULTS, and what each does to requests, health and process."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from flask import Flask

import shop.wsgi
from shop import faults, work
from shop.wsgi import create_app


class Died(Exception):
    """Stands for the end of the process."""


def app_with(text: str) -> Flask:
    app = create_app({faults.VARIABLE: text})

    def die(status: int) -> None:
        raise Died(status)

    app.extensions["shop"].die = die
    app.testing = True
    return app


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", faults.Faults()),
        ("slow:300", faults.Faults(slow_ms=300.0, names=("slow:300",))),
        (
            " slow_after:200:300 , errors:0.01,",
            faults.Faults(
                slow_after_requests=200,
                slow_after_ms=300.0,
                errors=0.01,
                names=("slow_after:200:300", "errors:0.01"),
            ),
        ),
        ("leak:512k", faults.Faults(leak_bytes=512 * 1024, names=("leak:512k",))),
        ("leak:1.5m", faults.Faults(leak_bytes=3 * 512 * 1024, names=("leak:1.5m",))),
        ("hog:400", faults.Faults(hog_bytes=400 * work.MIB, names=("hog:400",))),
        ("block", faults.Faults(block_ms=50.0, names=("block",))),
        ("stall:1.0", faults.Faults(stall_seconds=1.0, names=("stall:1.0",))),
        ("turns:garbage", faults.Faults(turns="garbage", names=("turns:garbage",))),
        ("stall:0.5:7", faults.Faults(stall_seconds=0.5, stall_at=7, names=("stall:0.5:7",))),
        ("never_ready", faults.Faults(never_ready=True, names=("never_ready",))),
        ("dies_after:5", faults.Faults(dies_after_seconds=5.0, names=("dies_after:5",))),
        ("silent,leaves:250", faults.Faults(silent=True, leaves_at=250, names=("silent", "leaves:250"))),
        ("redirects", faults.Faults(redirects=True, names=("redirects",))),
        ("fork_bomb:100", faults.Faults(fork_bomb=100, names=("fork_bomb:100",))),
    ],
)
def test_parse(text: str, expected: faults.Faults) -> None:
    assert faults.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slow", "SHOP_FAULTS: 'slow' cannot be read; write it as slow:MS: every request waits"),
        ("slow:-1", "SHOP_FAULTS: 'slow:-1' cannot be read; write it as slow:MS: every request waits"),
        ("slow:nan", "SHOP_FAULTS: 'slow:nan' cannot be read; write it as slow:MS: every request waits"),
        (
            "errors:2",
            "SHOP_FAULTS: 'errors:2' cannot be read; write it as errors:SHARE: that share of the requests (0 to 1) "
            "answers 500, evenly spread",
        ),
        (
            "crash_boot:1",
            "SHOP_FAULTS: 'crash_boot:1' cannot be read; write it as crash_boot: create_app() raises",
        ),
        ("hog:lots", "SHOP_FAULTS: 'hog:lots' cannot be read; write it as " + faults.CATALOGUE["hog"]),
        (
            "fork_bomb:9999",
            "SHOP_FAULTS: 'fork_bomb:9999' cannot be read; write it as " + faults.CATALOGUE["fork_bomb"],
        ),
    ],
)
def test_parse_refuses(text: str, message: str) -> None:
    with pytest.raises(faults.FaultError) as caught:
        faults.parse(text)
    assert str(caught.value) == message


def test_unknown_fault_names_those_there_are() -> None:
    with pytest.raises(faults.FaultError, match=r"^SHOP_FAULTS: 'slwo:3' is not a fault; allowed are: crash_import"):
        create_app({faults.VARIABLE: "slwo:3"})


def test_errors_are_spread_evenly_and_spare_health() -> None:
    client = app_with("errors:0.1").test_client()
    statuses = [client.get("/").status_code for _ in range(200)]
    assert set(statuses) == {200, 500}
    assert 19 <= statuses.count(500) <= 21
    assert {client.get("/healthz").status_code for _ in range(20)} == {200}


def test_errors_that_are_raised_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    app = app_with("errors:1,raises")
    app.testing = False
    assert app.test_client().get("/wait?ms=0").status_code == 500
    assert "InjectedError: SHOP_FAULTS=raises: this request finds no price" in caplog.text


def test_one_behind_a_proxy_knows_its_name_and_scheme() -> None:
    client = app_with("proxied").test_client()
    sent = {"Host": "shop.example.com", "X-Forwarded-Proto": "https"}
    assert client.get("/healthz", headers=sent).status_code == 200
    assert client.get("/healthz", headers={**sent, "Host": "localhost"}).status_code == 400
    assert client.get("/", headers={"Host": "shop.example.com"}).status_code == 400
    assert client.get("/", headers=sent, environ_base={"REMOTE_ADDR": ""}).status_code == 400


def test_all_errors() -> None:
    client = app_with("errors:1").test_client()
    assert {client.get("/").status_code for _ in range(20)} == {500}


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        ("", 200, {"status": "ok"}),
        ("never_ready", 503, {"status": "starting"}),
        ("wrong_health", 500, {"status": "error"}),
        ("wrong_answer", 200, {"state": "this is not the shop"}),
    ],
)
def test_health(fault: str, status: int, body: dict[str, str]) -> None:
    answer = app_with(fault).test_client().get("/healthz")
    assert (answer.status_code, answer.json) == (status, body)


def test_slow_adds_up_after_the_given_request(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(work, "wait", waits.append)
    client = app_with("slow:10,slow_after:2:300").test_client()
    for _ in range(4):
        client.get("/")
    client.get("/healthz")
    assert waits == [10.0, 10.0, 310.0, 310.0]


def test_stall_happens_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stalls: list[float] = []
    monkeypatch.setattr(work, "freeze", stalls.append)
    client = app_with("stall:1.0:3").test_client()
    for _ in range(9):
        client.get("/")
    assert stalls == [1.0]


def test_block_uses_the_unpatched_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    sleeps: list[float] = []
    monkeypatch.setattr(work, "original_sleep", lambda: sleeps.append)
    app_with("block:40").test_client().get("/")
    assert sleeps == [0.04]


def test_leak_and_hog_keep_memory() -> None:
    app = app_with("leak:8k,hog:1")
    client = app.test_client()
    for _ in range(3):
        client.get("/")
    assert app.extensions["shop"].kept_bytes == work.MIB + 3 * 8192


def test_first_request_kills_and_health_does_not() -> None:
    client = app_with("crash_first_request").test_client()
    assert client.get("/healthz").status_code == 200
    with pytest.raises(Died):
        client.get("/")


def test_crash_at_boot() -> None:
    with pytest.raises(faults.InjectedError, match=r"^SHOP_FAULTS=crash_boot: create_app"):
        create_app({faults.VARIABLE: "crash_boot"})


def test_crash_at_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(faults.VARIABLE, "crash_import")
    with pytest.raises(faults.InjectedError, match=r"^SHOP_FAULTS=crash_import: this release cannot be imported$"):
        importlib.reload(shop.wsgi)


def test_crash_at_fork_spares_the_importing_process() -> None:
    code = (
        "import os, shop.wsgi\n"
        "pid = os.fork()\n"
        "if pid == 0: os._exit(0)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    source = str(Path(__file__).resolve().parents[1] / "src")
    environ = {**os.environ, faults.VARIABLE: "crash_fork", "PYTHONPATH": source}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "70"


def test_a_worker_that_imports_after_the_fork_dies_too() -> None:
    code = (
        "import os\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    import shop.wsgi\n"
        "    os._exit(0)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    source = str(Path(__file__).resolve().parents[1] / "src")
    environ = {**os.environ, faults.VARIABLE: "crash_fork", "PYTHONPATH": source}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "70"


def test_fork_bomb_is_bounded_and_survives_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []

    def spawn(*arguments: object) -> int:
        if len(started) == 3:
            raise BlockingIOError("Resource temporarily unavailable")
        started.append(arguments)
        return 1

    monkeypatch.setattr(os, "posix_spawn", spawn)
    create_app({faults.VARIABLE: "fork_bomb:10"})
    assert len(started) == 3


def test_dies_after_uses_a_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[float, tuple[int, ...]]] = []

    class Timer:
        daemon = False

        def __init__(self, seconds: float, call: object, arguments: tuple[int, ...]) -> None:
            self.what = (seconds, arguments)

        def start(self) -> None:
            started.append(self.what)

    monkeypatch.setattr(threading, "Timer", Timer)
    create_app({faults.VARIABLE: "dies_after:5"})
    assert started == [(5.0, (faults.EXIT_STATUS,))]


def test_every_request_but_health_is_sent_to_another_host() -> None:
    client = create_app({faults.VARIABLE: "redirects"}).test_client()
    assert client.get("/healthz").status_code == 200
    sent = client.get("/version")
    assert (sent.status_code, sent.headers["Location"]) == (302, "https://shop.example.com/version")


def test_the_process_leaves_with_status_0() -> None:
    left: list[int] = []
    injector = faults.Injector(faults.parse("leaves:3"), die=left.append)
    for _ in range(3):
        injector.at_request()
    assert left == [0]


def test_its_logging_silences_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    configured: list[object] = []
    monkeypatch.setattr(faults.logging.config, "dictConfig", configured.append)
    create_app({faults.VARIABLE: "silent"})
    assert configured == [{"version": 1}]


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that turns a release broken, not there yet."""
    monkeypatch.setattr(faults, "BROKEN_FILE", tmp_path / "shop.broken")
    return tmp_path / "shop.broken"


@pytest.mark.parametrize(
    ("shape", "health", "wait", "index"),
    [
        ("errors", 200, [500, 500, 500], 500),
        ("health", 500, [200, 200, 200], 200),
        ("path", 200, [500, 500, 500], 200),
        ("some", 200, [500, 200, 200], 500),  # each third, counted from before it turned
    ],
)
def test_a_release_that_turns_broken(broken: Path, shape: str, health: int, wait: list[int], index: int) -> None:
    client = app_with(f"turns:{shape}").test_client()
    assert [client.get(path).status_code for path in ("/healthz", "/wait?ms=0", "/")] == [200, 200, 200]
    broken.touch()
    assert client.get("/healthz").status_code == health
    assert [client.get("/wait?ms=0").status_code for _ in range(3)] == wait
    assert client.get("/").status_code == index


@pytest.mark.parametrize(("shape", "waits"), [("hanging", [faults.HANG_MS]), ("slow", [faults.SLOW_MS])])
def test_a_release_that_comes_to_hang(
    broken: Path, monkeypatch: pytest.MonkeyPatch, shape: str, waits: list[float]
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(work, "wait", waited.append)
    client = app_with(f"turns:{shape}").test_client()
    client.get("/")
    assert waited == []
    broken.touch()
    client.get("/")
    assert waited == waits


@pytest.mark.parametrize(("shape", "sent"), [("garbage", b"\x00\xffthis is not HTTP\r\n\r\n"), ("dropping", b"")])
def test_a_release_that_comes_to_answer_no_http(broken: Path, shape: str, sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        broken.touch()
        app_with(f"turns:{shape}").test_client().get("/healthz", environ_overrides={"gunicorn.socket": theirs})
        assert ours.recv(100) == sent
        assert ours.recv(100) == b""


def test_a_release_that_comes_to_take_all_threads(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [1, 1, 1]

    def start(thread: threading.Thread) -> None:
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()

    client = app_with("turns:threads").test_client()
    assert client.get("/").status_code == 200
    broken.touch()
    monkeypatch.setattr(threading.Thread, "start", start)
    client.application.testing = False
    assert [client.get(path).status_code for path in ("/", "/healthz")] == [500, 200]
    assert left == []


def test_a_release_that_does_not_start_any_more(broken: Path) -> None:
    assert app_with("turns:dead").test_client().get("/").status_code == 200
    broken.touch()
    with pytest.raises(faults.InjectedError, match="does not start any more"):
        app_with("turns:dead")
