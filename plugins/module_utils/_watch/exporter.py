# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The exporter: one service of a host that answers GET /metrics with how its apps run now.

It looks when it is asked, at most once in a second, and never asks an app. What goes wrong with one app is told of that
app, and hides no other.
"""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Callable

from .._generation import generations, ledger, loadtests
from .._os.exporterunit import split
from .._os.files import as_mapping, read_mapping, write_file
from .._os.paths import Layout, installed_apps
from .metrics import CONTENT_TYPE, Past, epoch, page
from .view import AppView, app_view

FRESH_S = 1.0
"""A page younger than this is handed out again: whoever asks often costs the host no more."""

PATIENCE_S = 10.0
"""A client that sends or reads more slowly than this is left."""

_RUNS = ("promoted", "failed", "rolled_back")


def past(layout: Layout, live: int | None) -> Past:
    """What the ledger and the host say of the app, beside how it runs."""
    entries = [entry for entry in ledger.read(layout.ledger, last=200) if entry.get("event") in _RUNS]
    last = entries[-1] if entries else {}
    noted = as_mapping(read_mapping(layout.local_fact).get(layout.app)).get("drift")
    changed = None if live is None else bool(noted or generations.problems(layout, live))
    verdict = last.get("verdict")
    return Past(
        event=str(last["event"]) if last else None,
        verdict=str(verdict) if verdict else None,
        time=epoch(str(last.get("time") or "")),
        drift=changed,
        tested=next(iter(loadtests.read(layout)[-1:]), None),
    )


def collect(root: str = "/", look: Callable[[str, str], AppView] = app_view) -> str:
    """The page, as of now."""
    begin = time.monotonic()
    views, told, failed = [], {}, {}
    for name in installed_apps(root):
        try:
            view = look(name, root)
            told[name] = past(Layout(name, root), view.live)
            views.append(view)
        except Exception as error:  # of Headcount itself, or of a host in trouble: the other apps are told of
            failed[name] = f"{type(error).__name__}: {error}"
    return page(views, told, failed, time.monotonic() - begin)


def write_textfile(path: str, root: str = "/") -> None:
    """The page as a file for node_exporter's textfile collector: whole or not at all."""
    text = collect(root)
    try:
        write_file(path, text)
    except OSError as error:  # what it names is the file that was to take its place
        raise OSError(error.errno, error.strerror, path) from error


@dataclass
class Fresh:
    """The newest page; it is made anew by one thread at a time."""

    make: Callable[[], str]
    clock: Callable[[], float] = time.monotonic
    lock: threading.Lock = field(default_factory=threading.Lock)
    text: str = ""
    at: float = -1e9

    def page(self) -> str:
        """A page of at most FRESH_S."""
        with self.lock:
            if self.clock() - self.at > FRESH_S:
                self.text, self.at = self.make(), self.clock()
            return self.text


class _Handler(BaseHTTPRequestHandler):
    server_version = "headcount-exporter"
    sys_version = ""
    timeout = PATIENCE_S

    def do_GET(self) -> None:
        """/metrics; everything else is a hint at it."""
        found = self.path.partition("?")[0] == "/metrics"
        server = self.server
        assert isinstance(server, Exporter)
        body = (server.fresh.page() if found else "The metrics are at /metrics.\n").encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", CONTENT_TYPE if found else "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """A scrape is not worth a line in the journal."""


class Exporter(ThreadingHTTPServer):
    """Serves `fresh` at an address of this host."""

    daemon_threads = True

    def __init__(self, listen: str, fresh: Fresh) -> None:
        host, port = split(listen)
        self.fresh = fresh
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)


def serve(listen: str, root: str = "/") -> None:
    """Answer until the process ends."""
    with Exporter(listen, Fresh(lambda: collect(root))) as server:
        server.serve_forever()
