# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How workers ended: what the hooks of gunicorn.conf.py write under a real Gunicorn, and what is read of it."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts import workerends as ends

APP = """
import os, signal, sys, time
import logging.config
logging.config.dictConfig({"version": 1})   # silences Gunicorn's own loggers
sys.stderr.close()

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/leave":
        os._exit(0)
    if path == "/stop":
        os.kill(os.getpid(), signal.SIGTERM)
    if path == "/kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if path == "/hang":
        time.sleep(60)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


@contextlib.contextmanager
def serving(folder: Path, kind: str = "sync") -> Iterator[Callable[[str], None]]:
    """A Gunicorn with the hooks whose app has silenced its log; yields a function that asks it for a path."""
    (folder / "quiet.py").write_text(APP)
    (folder / "gunicorn.conf.py").write_text(ends.HOOKS)
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "-b", f"127.0.0.1:{port}", "-k", kind]
    command += ["--max-requests", "20", "--timeout", "2", "--threads", "2" if kind == "gthread" else "1", "quiet:app"]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "RUNTIME_DIRECTORY": str(folder)},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def ask(path: str) -> None:
        deadline = time.monotonic() + 20
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request("GET", path)
                connection.getresponse().read()
                return
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, "it never came up"
                time.sleep(0.1)  # between two looks
            except (OSError, http.client.HTTPException):
                return
            finally:
                connection.close()

    try:
        ask("/")
        yield ask
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def awaited(folder: Path, count: int) -> list[ends.WorkerEnd]:
    deadline = time.monotonic() + 20
    while True:
        found = ends.read_ends(str(folder)) or []
        if len(found) >= count or time.monotonic() > deadline:
            return found
        time.sleep(0.05)  # between two looks


@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_a_recycled_worker_is_told_from_dead_ones_whatever_the_app_does_to_the_log(tmp_path: Path, kind: str) -> None:
    with serving(tmp_path, kind) as ask:
        assert ends.read_ends(str(tmp_path)) == []
        for _ in range(25):
            ask("/")
        assert [end.recycled for end in awaited(tmp_path, 1)] == [True]
        for path in ("/leave", "/kill"):
            ask(path)
        found = awaited(tmp_path, 3)
    died = ends.deaths(found, 1, [])
    assert died.died == ("exited at once with status 0", "killed by SIGKILL")
    assert died.recycled == 0


def test_a_worker_that_is_stopped_and_one_that_hangs_are_dead(tmp_path: Path) -> None:
    with serving(tmp_path) as ask:
        ask("/stop")
        awaited(tmp_path, 1)
        ask("/hang")
        found = awaited(tmp_path, 2)
    assert [end.how for end in found][:2] == ["exited with status 0", "not heard of by its master within the time-out"]
    assert not any(end.recycled for end in found[:2])


def test_what_is_written_is_bounded(tmp_path: Path) -> None:
    space: dict[str, object] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
        exec(compile(ends.HOOKS, "gunicorn.conf.py", "exec"), space)  # what Gunicorn does with its configuration

        class Worker:
            age, pid, nr, max_requests = 7, 4711, 20, 20

        for name in ("worker_exit", "child_exit") * 6000:
            hook = space[name]
            assert callable(hook)
            hook(None, Worker)
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert sum(sizes) < 140_000
    found = ends.read_ends(str(tmp_path))
    assert found is not None
    assert ends.last_serial(found) == 6000
    assert ends.deaths(found, 5990, []).recycled == 10


def test_an_instance_without_hooks_says_nothing(tmp_path: Path) -> None:
    assert ends.read_ends(str(tmp_path)) is None
    assert ends.last_serial(None) == 0


@pytest.mark.parametrize("what", ["link", "pipe"])
def test_what_the_app_puts_in_the_place_of_the_file_is_not_read(tmp_path: Path, what: str) -> None:
    place = tmp_path / ends.FILE
    if what == "link":
        (tmp_path / "secret").write_text('[1, 2, "R", 0]')
        place.symlink_to(tmp_path / "secret")
    else:
        os.mkfifo(place)
    assert ends.read_ends(str(tmp_path)) is None


def test_lines_that_are_something_else_are_passed_over() -> None:
    text = '[2, 11, "E", 9]\nnonsense\n[1]\n{"a": 1}\n[1, 10, "R", 0]\n["x", "y", "R", 0]\n[3, 12, " ", null]\n[4, 13'
    assert [(end.serial, end.pid, end.recycled) for end in ends.parse(text)] == [
        (1, 10, True), (2, 11, False), (3, 12, False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("mark", "status", "how"),
    [
        (" ", 9, "killed by SIGKILL"),
        (" ", 0, "exited at once with status 0"),
        ("E", 3 << 8, "exited with status 3"),
        ("T", 9, "not heard of by its master within the time-out"),
        (" ", None, "ended without a word"),
        ("E", None, "ended by itself"),
        (" ", 63, "killed by signal 63"),
    ],
)
def test_how_it_ended(mark: str, status: int | None, how: str) -> None:
    assert ends.how_it_ended(mark, status) == how


def test_a_vanished_worker_whose_end_is_not_told_is_missing() -> None:
    told = ends.parse('[1, 10, "R", 0]\n[2, 11, " ", 9]\n[3, 12, " ", 9]\n[4, 13, " ", 0]')
    found = ends.deaths(told, 1, [10, 11, 99])
    assert (found.count, found.missing, found.recycled) == (5, 2, 0)
    assert found.ways() == "2 killed by SIGKILL, 2 ended untold, 1 exited at once with status 0"
    assert ends.deaths(told, 4, []).ways() == ""
