# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Clients that do not close, under a real Gunicorn with the part of its configuration that waits for them."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import gunicorn.util
import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import lingering

APP = """
import gunicorn.util

def app(environ, start_response):
    body = (gunicorn.util.close_graceful.__name__ + " " + environ["PATH_INFO"]).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
LINGERS_SECONDS = 2.0
"""How long Gunicorn's own close_graceful() waits for a client."""


@contextlib.contextmanager
def serving(folder: Path, kind: str) -> Iterator[tuple[str, int]]:
    """One worker of that class without keep-alive; yields its address."""
    (folder / "lingering_app.py").write_text(APP)
    (folder / "gunicorn.conf.py").write_text(lingering.closer(kind))
    # Its socket listens from here on: nobody else takes the port, and who connects before it is up is answered then.
    with contextlib.closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as listening:
        yield from _serving(folder, kind, listening)


def _serving(folder: Path, kind: str, listening: socket.socket) -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "-b", f"fd://{listening.fileno()}"]
    command += ["-k", kind, "--threads", "4" if kind == "gthread" else "1", "--keep-alive", "0", "lingering_app:app"]
    process = subprocess.Popen(
        command, cwd=folder, stderr=subprocess.DEVNULL, start_new_session=True, pass_fds=[listening.fileno()]
    )
    try:
        yield listening.getsockname()
    finally:
        process.terminate()
        process.wait(20)


def asked(address: tuple[str, int], path: str = "/", body: bytes = b"") -> tuple[socket.socket, bytes]:
    """The connection of a client that has read its answer, and has not closed; and what it read."""
    client = socket.create_connection(address, timeout=30)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    client.sendall(head.encode() + body)
    answer = b""
    while data := client.recv(65536):
        answer += data
    return client, answer


@pytest.mark.parametrize("kind", lingering.CLASSES)
def test_clients_that_do_not_close_hold_up_nobody(tmp_path, kind):
    with serving(tmp_path, kind) as address:
        asked(address)[0].close()
        begin = time.monotonic()
        clients = [asked(address, f"/{number}") for number in range(8)]
        took = time.monotonic() - begin
        for number, (client, answer) in enumerate(clients):
            assert answer.endswith(f"close_aside /{number}".encode())
            client.close()
        # One after the other they would hold it up for two seconds each.
        assert took < 4 * LINGERS_SECONDS


@pytest.mark.parametrize("kind", lingering.CLASSES)
def test_what_a_client_still_sends_cuts_off_no_answer(tmp_path, kind):
    # A body that nobody reads: closing at once would reset the connection, and the answer with it.
    with serving(tmp_path, kind) as address:
        for _ in range(20):
            client, answer = asked(address, "/unread", b"x" * 30000)
            assert answer.endswith(b"close_aside /unread")
            client.close()


def test_a_client_that_never_closes_is_given_up(tmp_path):
    with serving(tmp_path, "gthread") as address:
        own = f":{address[1]:04X}"
        clients = [asked(address)[0] for _ in range(20)]
        deadline = time.monotonic() + 30

        def half_open() -> int:
            rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
            return sum(row[1].endswith(own) and row[9] != "0" and row[3] != "0A" for row in rows)

        while half_open():
            assert time.monotonic() < deadline, "connections are kept for ever"
            time.sleep(0.1)  # between two looks
        for client in clients:
            client.close()


@pytest.mark.parametrize("kind", lingering.CLASSES)
def test_a_gunicorn_without_it_is_left_alone(monkeypatch, kind):
    monkeypatch.delattr(gunicorn.util, "close_graceful")
    exec(compile(lingering.closer(kind), "gunicorn.conf.py", "exec"), {})  # what Gunicorn does with its configuration
    assert not hasattr(gunicorn.util, "close_graceful")
