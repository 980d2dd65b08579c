# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Who listens, from a tree of /proc, and two sockets on one address of this machine's loopback."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import listeners, twosockets
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.listeners import Listener, alike, connected

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F40 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0
   1: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 112 1 0 100 0 0 10 0
   2: 0100007F:1F41 0100007F:9C40 01 00000000:00000000 00:00000000 00000000  1000        0 113 1 0 100 0 0 10 0
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue ... inode
   0: 00000000000000000000000000000000:1F42 00000000000000000000000000000000:0000 0A 00000000:00000000 0:0 0 0 0 114 1
   1: 00000000000000000000000001000000:1F43 00000000000000000000000000000000:0000 0A 00000000:00000000 0:0 0 0 0 115 1
"""
UNIX = """\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 116 /run/old app.sock
0000000000000000: 00000003 00000000 00000000 0001 03 117 /run/old app.sock
0000000000000000: 00000002 00000000 00010000 0005 01 118 /run/udev/control
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "proc/net").mkdir(parents=True)
    for name, text in (("tcp", TCP), ("tcp6", TCP6), ("unix", UNIX)):
        (tmp_path / "proc/net" / name).write_text(text, encoding="ascii")
    for pid, links in (
        ("1", {"3": "socket:[111]", "4": "/dev/null"}),
        ("40", {"5": "socket:[111]", "12": "socket:[116]"}),
    ):
        folder = tmp_path / "proc" / pid / "fd"
        folder.mkdir(parents=True)
        for name, target in links.items():
            (folder / name).symlink_to(target)
    return tmp_path


def test_a_link_in_the_path_of_a_socket_makes_no_other_address(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "var-run").symlink_to("run")
    assert alike(f"unix:{tmp_path}/var-run/a.sock", f"unix:{tmp_path}/run/a.sock")
    assert not alike(f"unix:{tmp_path}/run/a.sock", f"unix:{tmp_path}/run/b.sock")
    assert alike("127.0.0.1:80", "127.0.0.1:80")
    assert not alike("127.0.0.1:80", f"unix:{tmp_path}/run/a.sock")


def test_all_that_listen(root: Path) -> None:
    assert [(one.address, one.inode) for one in listeners.listening(str(root))] == [
        ("0.0.0.0:8000", 111),
        ("127.0.0.1:8001", 112),
        ("[::]:8002", 114),
        ("[::1]:8003", 115),
        ("unix:/run/old app.sock", 116),
    ]


def test_what_processes_hold_is_told_once(root: Path) -> None:
    assert listeners.held([1, 40, 99], str(root)) == [
        Listener("0.0.0.0:8000", 111, 1, 3),
        Listener("unix:/run/old app.sock", 116, 40, 12),
    ]


@pytest.mark.parametrize(
    ("listen", "same"),
    [
        ("0.0.0.0:8000", "0.0.0.0:8000"),
        ("[0:0::1]:080", "[::1]:80"),
        ("unix:/run/a.sock", "unix:/run/a.sock"),
    ],
)
def test_one_spelling(listen: str, same: str) -> None:
    assert listeners.normal(listen) == same


def _held(one: socket.socket) -> socket.socket:
    name = f"{one.getsockname()[0]}:{one.getsockname()[1]}"
    found = [it for it in listeners.held([os.getpid()]) if it.address == name]
    try:
        return listeners.hold(found[0])
    except OSError as error:
        pytest.skip(f"this kernel, or this account, does not let a socket be held: {error}")


@contextlib.contextmanager
def _asked(port: int) -> Iterator[None]:
    with contextlib.ExitStack() as open_:
        for _ in range(8):
            open_.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        yield


def _accepted(one: socket.socket) -> int:
    one.setblocking(False)
    found = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            one.accept()[0].close()
            found += 1
    return found


def test_a_second_socket_gets_the_new_connections_when_it_is_to() -> None:
    with socket.socket() as first, socket.socket() as second:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        first.bind(("127.0.0.1", 0))
        first.listen(64)
        port = first.getsockname()[1]
        with _held(first) as held:
            twosockets.let_beside(held)
            second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            second.bind(("127.0.0.1", port))
            second.listen(64)
            for place, expected in ((0, (8, 0)), (1, (0, 8)), (0, (8, 0)), (1, (0, 8))):
                twosockets.lead(held, place)
                with _asked(port):
                    assert (_accepted(first), _accepted(second)) == expected
        first.close()
        with _asked(port):
            assert _accepted(second) == 8
        twosockets.lead_nowhere(second)
        twosockets.keep_alone(second)
        with _asked(port):
            assert _accepted(second) == 8


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_where_to_lead_can_be_said_before_the_second_socket_comes(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as first, socket.socket(family) as second:
        try:
            first.bind((address, 0))
        except OSError as error:
            pytest.skip(f"this machine has no {address}: {error}")
        first.listen(64)
        name = first.getsockname()[:2]
        twosockets.let_beside(first)
        with pytest.raises(OSError, match="Invalid argument"):
            twosockets.lead(first, 0)
        with twosockets.shut_beside(first) as shut:
            twosockets.lead(first, 1)
            with socket.socket(family) as user:
                user.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    user.connect(name)
            assert _accepted(shut) == 0
            twosockets.lead(first, 0)
            second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            second.bind(name)
            second.listen(64)
        for place, one in ((0, first), (1, second)):
            twosockets.lead(first, place)
            with socket.create_connection(name, timeout=5):
                assert _accepted(one) == 1


def test_a_name_leads_to_another_socket_at_once(tmp_path: Path) -> None:
    path, kept = tmp_path / "app.sock", tmp_path / "app.sock.new"
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        for one, where in ((first, path), (second, kept)):
            one.bind(str(where))
            one.listen(4)
        inode = kept.stat().st_ino
        twosockets.point(str(path), str(kept))
        assert path.stat().st_ino == inode
        twosockets.point(str(path), str(kept))  # again: nothing is left beside it
        assert sorted(os.listdir(tmp_path)) == ["app.sock", "app.sock.new"]
        with socket.socket(socket.AF_UNIX) as user:
            user.connect(str(path))
            assert (_accepted(first), _accepted(second)) == (0, 1)


@pytest.mark.parametrize("unix", [True, False])
def test_connections_to_an_address_are_counted_of_who_has_them(tmp_path: Path, unix: bool) -> None:
    with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as one:
        one.bind(str(tmp_path / "a.sock") if unix else ("127.0.0.1", 0))
        one.listen()
        name = one.getsockname()
        address = f"unix:{name}" if unix else f"127.0.0.1:{name[1]}"
        pids = [os.getpid()]
        assert connected(pids, address) == 0
        with socket.socket(one.family) as client:
            client.connect(name)
            accepted, _ = one.accept()
            with accepted:
                assert connected(pids, address) == 1
                assert connected([1 << 22], address) == 0
            assert connected(pids, address) == 0
