# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How many connections wait at a socket, of the kernel's tables and of real sockets."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.acceptqueue import (
    accept_queue,
    held_connections,
    tcp_queues,
    unix_queues,
    waiting,
)

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F40 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0
   1: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 112 1 0 100 0 0 10 0
   2: 0100007F:1F40 00000000:0000 0A 00000000:00000005 00:00000000 00000000     0        0 113 1 0 100 0 0 10 0
   3: 0100007F:1F40 0100007F:D431 01 00000000:00000009 00:00000000 00000000     0        0 114 1 0 100 0 0 10 0
"""


def test_the_queue_of_a_unix_socket_and_of_a_port(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with contextlib.ExitStack() as stack:
        unix = stack.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX)))
        unix.bind(path)
        unix.listen(20)
        port = stack.enter_context(contextlib.closing(socket.socket()))
        port.bind(("127.0.0.1", 0))
        port.listen(20)
        listen = f"127.0.0.1:{port.getsockname()[1]}"
        assert (accept_queue(f"unix:{path}"), accept_queue(listen)) == (0, 0)
        for _ in range(3):
            one = stack.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX)))
            one.connect(path)
            stack.enter_context(contextlib.closing(socket.create_connection(port.getsockname())))
        assert (accept_queue(f"unix:{path}"), accept_queue(listen)) == (3, 3)
        assert [waiting(os.fstat(one.fileno()).st_ino) for one in (unix, port)] == [3, 3]
    assert accept_queue(f"unix:{path}") is None
    assert accept_queue("127.0.0.1:1") is None


def test_what_is_no_answer_of_the_kernel_is_nothing() -> None:
    assert list(unix_queues(b"")) == []
    assert list(unix_queues(b"\1\0\0\0" * 9)) == []
    assert list(tcp_queues(["", "  sl  local_address\n   0: nonsense\n"])) == []


def test_a_table_of_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/tcp").write_text(TABLE, encoding="ascii")
    root = str(tmp_path)
    assert accept_queue("0.0.0.0:8000", root) == 5  # the longest of those on the port
    assert accept_queue("0.0.0.0:8001", root) == 0
    assert accept_queue("0.0.0.0:8002", root) is None
    assert [waiting(inode, root) for inode in (111, 112, 113, 114, 999)] == [3, 0, 5, None, None]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_connections_that_an_app_has_open_whatever_they_have_sent(host: str) -> None:
    """Those of the accept queue are none of them."""
    with contextlib.ExitStack() as stack:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = stack.enter_context(contextlib.closing(socket.socket(family)))
        listener.bind((host, 0))
        listener.listen(20)
        port = listener.getsockname()[1]
        listen = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        clients = [stack.enter_context(contextlib.closing(socket.create_connection((host, port)))) for _ in range(5)]
        accepted = [stack.enter_context(contextlib.closing(listener.accept()[0])) for _ in range(3)]
        assert (held_connections(listen), accept_queue(listen)) == (3, 2)
        assert held_connections(f"0.0.0.0:{port}") == held_connections(f"[::]:{port}") == 3
        assert held_connections(f"127.0.0.9:{port}") == 0, "somebody else listens there"
        clients[0].close()
        assert held_connections(listen) == 3, "its client has left, and the app has not seen that yet"
        accepted[0].close()
        assert held_connections(listen) == 2
    assert held_connections("unix:/run/shop.sock") is None
