# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Who looks at a connection that has been accepted, by the part of a configuration that is for Gunicorn 20 to 23."""

from __future__ import annotations

import errno
import sys
import threading
import types
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import accepting
from gunicorn.workers import gthread


class Before:
    """What the worker of Gunicorn 23 has that this is about. It notes who held its lock as connections were counted."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.cfg = object()
        self.nr_conns = 0
        self.handed: list[Any] = []
        self.waiting: list[Any] = []
        self.alone: list[bool] = []

    def accept(self, server: Any, listener: Any) -> None:
        self.nr_conns += 1
        self.waiting.append(listener.accept())

    def enqueue_req(self, conn: Any) -> None:
        self.handed.append(conn)

    def finish_request(self, future: Any) -> str:
        self.alone.append(self._lock._is_owned())
        self.nr_conns -= 1
        return f"finished {future}"

    def murder_keepalived(self) -> None:
        self.alone.append(self._lock._is_owned())


class Listener:
    """One client, or an error."""

    def __init__(self, error: int = 0) -> None:
        self.error = error

    def accept(self) -> tuple[str, str]:
        if self.error:
            raise OSError(self.error, "no client")
        return "socket", "client"


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Before:
    """A worker of the class that Gunicorn 23 has, after its configuration was read twice (a reload)."""
    older = types.SimpleNamespace(
        ThreadWorker=type("ThreadWorker", (Before,), {}), TConn=lambda cfg, sock, client, server: (sock, client, server)
    )
    monkeypatch.setitem(sys.modules, "gunicorn.workers.gthread", older)
    monkeypatch.setattr(sys.modules["gunicorn.workers"], "gthread", older)
    for _ in range(2):
        exec(compile(accepting.ACCEPTER, "gunicorn.conf.py", "exec"), {})
    made: Before = older.ThreadWorker()
    return made


def test_a_thread_waits_for_what_a_client_says_and_the_loop_for_nobody(worker: Before) -> None:
    worker.accept("server", Listener())
    assert worker.handed == [("socket", "client", "server")]
    assert (worker.waiting, worker.nr_conns) == ([], 1)


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.ECONNABORTED])
def test_a_client_that_another_worker_has_is_none(worker: Before, error: int) -> None:
    worker.accept("server", Listener(error))
    assert (worker.handed, worker.nr_conns) == ([], 0)


def test_an_error_of_the_socket_is_raised(worker: Before) -> None:
    with pytest.raises(OSError, match="no client"):
        worker.accept("server", Listener(errno.EBADF))
    assert worker.nr_conns == 0


def test_connections_are_counted_by_one_thread_at_a_time(worker: Before) -> None:
    worker.accept("server", Listener())
    assert worker.finish_request(7) == "finished 7"
    worker.murder_keepalived()
    assert worker.alone == [True, True]
    assert worker.nr_conns == 0


def test_a_gunicorn_that_does_so_by_itself_is_left_alone() -> None:
    before = dict(vars(gthread.ThreadWorker))
    exec(compile(accepting.ACCEPTER, "gunicorn.conf.py", "exec"), {})
    assert dict(vars(gthread.ThreadWorker)) == before
