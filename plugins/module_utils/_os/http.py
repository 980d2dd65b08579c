# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""One HTTP request to an address of this host, over TCP or a unix socket, and what it says of an app's health."""

from __future__ import annotations

import contextlib
import errno
import http.client
import socket
import time
from dataclasses import dataclass
from typing import Any

from .procfs import port_holders


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, or why there was none (`status` 0). `elapsed_ms` is wall time from connect to the last byte."""

    status: int
    body: bytes
    elapsed_ms: float
    error: str = ""


class Connection(http.client.HTTPConnection):
    """An HTTP connection to (host, port) or to the path of a unix socket."""

    def __init__(self, address: str | tuple[str, int], timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._address = address

    def connect(self) -> None:
        if isinstance(self._address, str):
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._address)
        else:
            self.sock = socket.create_connection(self._address, self.timeout)


def local_address(listen: str) -> str | tuple[str, int]:
    """Where this host reaches what listens on `listen` ("host:port" or "unix:/path"): wildcards become loopback."""
    if listen.startswith("unix:"):
        return listen[len("unix:") :]
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1", "*": "127.0.0.1"}.get(host, host), int(port)


def address_taken(listen: str | None) -> str | None:
    """Why nothing new could listen on `listen` of this host: another process does. None when it is free.

    Who listens on a port is named where /proc tells it.
    """
    if not listen:
        return None
    address = local_address(listen)
    if isinstance(address, str):
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(address)
            except OSError:
                return None  # systemd replaces a socket file that nobody listens on
        return f"listen address {listen} is taken by another process"
    host = listen.rpartition(":")[0].strip("[]") or "0.0.0.0"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(address[1])))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                holders = port_holders(int(address[1]))
                words = f": {', '.join(holders[:3])}" if holders else ""
                return f"listen address {listen} is taken by another process{words}"
            return f"listen address {listen} cannot be taken: {error.strerror}"
    return None


def get(address: str | tuple[str, int], path: str, timeout_seconds: float, host: str = "localhost") -> Answer:
    """GET `path`; never raises for what a network or a server can do."""
    begin = time.monotonic()
    connection = Connection(address, timeout_seconds)
    try:
        connection.request("GET", path, headers={"Host": host, "User-Agent": "headcount", "Connection": "close"})
        response = connection.getresponse()
        body = response.read(1 << 20)
        return Answer(response.status, body, (time.monotonic() - begin) * 1000)
    except (OSError, http.client.HTTPException) as error:
        elapsed = (time.monotonic() - begin) * 1000
        words = "timed out" if isinstance(error, socket.timeout) else (str(error) or type(error).__name__)
        return Answer(0, b"", elapsed, words)
    finally:
        connection.close()


def unhealthy(answer: Answer, health: dict[str, Any]) -> str | None:
    """Why `answer` does not satisfy the app's declared `health`, or None when it does."""
    path = health["path"]
    if answer.status == 0:
        return f"GET {path} got no answer: {answer.error}"
    if answer.status not in health["status"]:
        allowed = " or ".join(str(code) for code in health["status"])
        return f"GET {path} answered {answer.status}, expected {allowed}"
    wanted = health.get("contains")
    if wanted and wanted.encode() not in answer.body:
        return f"GET {path} answered {answer.status}, but its body does not contain {wanted!r}"
    return None
