# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A server that answers each path in a way of its own, most of them wrong, on a port of the loopback or a socket."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import socket
import threading
from collections.abc import Iterator

CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BLOCK = b"x" * (1 << 20)
BOMB = gzip.compress(b"\0" * (8 << 20))
ZIPPED = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB)
BROKEN = b"<h1>Internal Server Error</h1>"
PAUSE = 0.02


def _slowly(first: bytes, again: bytes) -> Iterator[bytes]:
    yield first
    while True:
        yield b""
        yield again


def answers(path: str) -> Iterator[bytes]:
    """What is sent for a path, piece by piece; before an empty piece the server pauses for PAUSE seconds."""
    known: dict[str, Iterator[bytes]] = {
        "/good": iter([CLOSE + b"hello"]),
        "/length": iter([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more"]),
        "/chunks": iter([CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"]),
        "/hints": iter([b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + CLOSE + b"hello"]),
        "/continue": iter([b"HTTP/1.1 100 Continue\r\n\r\n" + CLOSE + b"hello"]),
        "/zipped": iter([ZIPPED + BOMB]),
        "/events": _slowly(CLOSE, b"\n\n"),
        "/events-chunked": _slowly(CHUNKED, b"2\r\n\n\n\r\n"),
        "/flood": itertools.chain([CLOSE], itertools.repeat(BLOCK)),
        "/flood-chunked": itertools.chain([CHUNKED], itertools.repeat(b"100000\r\n" + BLOCK + b"\r\n")),
        "/status": _slowly(b"HTTP/1.1", b" "),
        "/head": _slowly(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        "/head-flood": itertools.chain([b"HTTP/1.1 200 OK\r\nX: "], itertools.repeat(BLOCK)),
        "/interim": itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"),
        "/interim-hints": itertools.repeat(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        "/trailers": itertools.chain([CHUNKED, b"0\r\n"], itertools.repeat(b"X: y\r\n")),
        "/short": iter([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"]),
        "/short-chunks": iter([CHUNKED + b"64\r\nhello"]),
        "/stalls": itertools.chain([CLOSE + b"hello"], itertools.repeat(b"")),
        "/long": _slowly(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
        "/silent": itertools.repeat(b""),
        "/garbage": iter([b"\x00\xff" * 4000 + b"\r\n\r\n"]),
        "/nothing": iter([]),
        "/broken": iter([b"HTTP/1.1 500 Oh no\r\nContent-Type: text/html\r\nContent-Length: 30\r\n\r\n", BROKEN]),
    }
    return known[path]


class Ticking:
    """A clock that goes on by `step_seconds` with each look at it: a stream that is read by it comes to its bound after
    so many pieces, however slow the machine is."""

    def __init__(self, step_seconds: float) -> None:
        self._step = step_seconds
        self._looks = itertools.count()

    def __call__(self) -> float:
        return next(self._looks) * self._step


def _serve(connection: socket.socket, over: threading.Event) -> None:
    with contextlib.closing(connection), contextlib.suppress(OSError):
        path = connection.recv(65536).decode("latin-1").split(" ")[1]
        for piece in answers(path):
            if over.is_set():
                return
            if piece:
                connection.sendall(piece)
            else:
                over.wait(PAUSE)


@contextlib.contextmanager
def server(path: str = "") -> Iterator[str | tuple[str, int]]:
    """Serve on the unix socket `path`, or on a free port of the loopback; yields its address."""
    over = threading.Event()
    family = socket.AF_UNIX if path else socket.AF_INET
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as listening:
        listening.bind(path or ("127.0.0.1", 0))
        listening.listen(128)
        address = path or listening.getsockname()

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    connection.settimeout(10.0)
                    threading.Thread(target=_serve, args=(connection, over), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield address
        finally:
            over.set()
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
