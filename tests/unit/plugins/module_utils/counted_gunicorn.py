# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A real Gunicorn on 127.0.0.1 with the configuration that a generation has, and a client that counts for itself."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import units
from ansible_collections.headcount.gunicorn.plugins.module_utils._recorder import configuration, counts, requestlog

PYTHON = os.environ.get("HEADCOUNT_GUNICORN_PYTHON", sys.executable)
"""Whose Gunicorn serves: another version's can be tried by hand."""

PATIENCE_S = 60.0

APP = """
import os, signal, time

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/raises":
        raise RuntimeError("on purpose")
    if path == "/kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if path == "/upload":
        assert len(environ["wsgi.input"].read()) == 6
        time.sleep(2)
    if path == "/websocket":
        environ["gunicorn.socket"].sendall(b"HTTP/1.1 101 Switching Protocols\\r\\n\\r\\n")
        time.sleep(0.1)
        raise StopIteration
    if path.startswith("/wait"):
        time.sleep(float(path[5:]))
    if path.startswith("/stream"):
        start_response("200 OK", [])
        return streaming(float(path[7:]))
    status = {"/missing": "404 Not Found", "/error": "503 Service Unavailable"}.get(path, "200 OK")
    if path == "/breaks":
        start_response(status, [("Content-Length", "100")])
        return breaking()
    if path == "/large":
        start_response(status, [("Content-Length", str(64 << 20))])
        return (b"x" * (1 << 20) for _ in range(64))
    if path == "/id":
        told = environ["HTTP_X_REQUEST_ID"].encode()
        start_response(status, [("Content-Length", str(len(told)))])
        return [told]
    start_response(status, [("Content-Length", "2")])
    return [b"ok"]

def streaming(seconds):
    yield b"begun"
    time.sleep(seconds)
    yield b"ended"

def breaking():
    yield b"x" * 50
    raise RuntimeError("in the middle")
"""


def plan(worker_class: str, **settings: Any) -> dict[str, Any]:
    """A plan with what gunicorn.conf.py needs of it."""
    values = {
        "worker_class": worker_class,
        "workers": 2,
        "threads": 4 if worker_class == "gthread" else None,
        "worker_connections": 50 if worker_class != "sync" else None,
        "preload_app": False,
        "backlog": 256,
        "keepalive": 0,
        "timeout": 30,
        "graceful_timeout": 10,
        "gunicorn_version": "==23.0.0",
        **settings,
    }
    return {"settings": {name: {"value": value, "winner": "", "reason": ""} for name, value in values.items()}}


def idle(found: counts.Counts) -> bool:
    """Whether no request runs."""
    return found.tally.in_flight == 0


@dataclass
class Server:
    """A running Gunicorn, and what its client knows. `seen`: statuses, and "lost" for requests without an answer."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]
    seen: Counter[str] = field(default_factory=Counter)

    def ask(self, path: str) -> str:
        """Ask once, whole; counts what came."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            told = str(response.status)
        except http.client.IncompleteRead:
            told = "broken"
        except (http.client.HTTPException, OSError):
            told = "lost"
        finally:
            connection.close()
        self.seen[told] += 1
        return told

    def send(self, head: str) -> socket.socket:
        """Begin a request with these lines as its head; the connection on which it waits for its answer."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        connection.sendall(f"{head}\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        return connection

    def cut(self) -> None:
        """Ask for much, and leave in the middle of the answer."""
        begun = b""
        with (
            contextlib.suppress(ConnectionError),
            socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S) as connection,
        ):
            connection.sendall(b"GET /large HTTP/1.0\r\n\r\n")
            begun = connection.recv(100)
        self.seen["cut" if begun else "lost"] += 1

    def ask_all(self, paths: Sequence[str], at_once: int = 6) -> None:
        """Ask for all paths, several at once; "cut" is a client that leaves."""
        turns = iter(paths)
        lock, mine = threading.Lock(), Counter[str]()

        def client() -> None:
            own = Server(self.port, self.folder, self.process)
            while True:
                with lock:
                    path = next(turns, None)
                if path is None:
                    break
                own.cut() if path == "cut" else own.ask(path)
            with lock:
                mine.update(own.seen)

        threads = [threading.Thread(target=client) for _ in range(at_once)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.seen.update(mine)

    def counted(
        self, until: Callable[[counts.Counts], bool] = lambda found: found.tally.in_flight == 0
    ) -> counts.Counts:
        """What the recorder has counted, as soon as `until` holds of it."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = counts.read(str(self.folder))
            if found is not None and until(found):
                return found
            assert time.monotonic() < deadline, found
            threading.Event().wait(0.02)

    def kill_workers(self) -> int:
        """SIGKILL to every worker that runs; how many those were."""
        workers = self.counted(lambda found: all(worker.pid for worker in found.workers)).workers
        pids = {worker.pid for worker in workers}
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.counted(lambda found: not pids & {worker.pid for worker in found.workers})  # their master has seen it
        return len(pids)

    def stop(self) -> None:
        """End it in order."""
        self.process.terminate()
        self.process.wait(PATIENCE_S)


@contextlib.contextmanager
def serving(
    folder: Path,
    worker_class: str,
    limits: dict[str, Any] | None = None,
    program: str | None = None,
    declared: dict[str, Any] | None = None,
    **settings: Any,
) -> Iterator[Server]:
    """Serve APP from `folder`, which is the runtime directory as well. `program`: instead of the recorder's;
    `declared`: more of the app. Requests that are logged go to the socket `journal` in `folder`, where
    `private.sock` is the private socket."""
    folder.mkdir(exist_ok=True)
    app = {"name": "shop", "entry_point": "counted:app", "limits": limits or {}, **(declared or {})}
    (folder / "counted.py").write_text(APP)
    (folder / "gunicorn.conf.py").write_text(units.gunicorn_conf(app, plan(worker_class, **settings), 1))
    for name, text in configuration.programs(app).items():
        placed = text.replace(requestlog.PRIVATE, str(folder / "private"))
        (folder / name).write_text(placed.replace(requestlog.JOURNAL, str(folder / "journal")))
    if program is not None:
        (folder / configuration.PROGRAM).write_text(program)
    with (
        contextlib.closing(socket.create_server(("127.0.0.1", 0), backlog=256)) as listener,
        contextlib.closing(socket.socket(socket.AF_UNIX)) as private,
    ):
        port, handle = listener.getsockname()[1], listener.fileno()
        (folder / "private.sock").unlink(missing_ok=True)
        private.bind(str(folder / "private.sock"))
        private.listen(256)
        process = subprocess.Popen(
            [
                PYTHON,
                "-m",
                "gunicorn",
                "--config",
                "gunicorn.conf.py",
                "--bind",
                f"fd://{handle}",
                "--bind",
                f"fd://{private.fileno()}",
            ],
            cwd=folder,
            env={**os.environ, "RUNTIME_DIRECTORY": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
            stderr=(folder / "log").open("ab"),
            pass_fds=[handle, private.fileno()],
            start_new_session=True,
        )
        try:
            yield Server(port, folder, process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
