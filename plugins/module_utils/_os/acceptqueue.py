# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How many connections wait to be accepted at a listening socket, and how many were, by what the kernel says of it.

TCP: rx_queue of the LISTEN rows of /proc/net/tcp and tcp6 (proc(5)); unix: UNIX_DIAG_RQLEN (sock_diag(7)).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator

from .sockets import SHOW_NAME, SHOW_QUEUE, UNIX_NAME, UNIX_QUEUE, ask_unix, tcp, unix_rows, users_path


def accept_queue(listen: str, root: str = "/") -> int | None:
    """The longest queue of those that listen at `listen` ("address:port" or "unix:/path"); None if nobody can tell."""
    if listen.startswith("unix:"):
        path = listen[len("unix:") :]
        return max((queue for _, name, queue in _unix(SHOW_NAME | SHOW_QUEUE) if name == path), default=None)
    wanted = int(listen.rpartition(":")[2])
    return max((queue for port, _, queue in tcp_queues(tcp(root)) if port == wanted), default=None)


def waiting(inode: int, root: str = "/") -> int | None:
    """The queue of one socket; None where the kernel does not tell, and of a socket that is gone."""
    for _, number, queue in tcp_queues(tcp(root)):
        if number == inode:
            return queue
    rows = _unix(SHOW_QUEUE) if root == "/" else ()
    return next((queue for number, _, queue in rows if number == inode), None)


def tcp_queues(tables: Iterable[str]) -> Iterator[tuple[int, int, int]]:
    """(port, inode, connections that wait) of each listening socket in the kernel's tables."""
    for line in (line for table in tables for line in table.splitlines()[1:]):
        fields = line.split()
        if len(fields) > 9 and fields[3] == "0A" and fields[9].isdigit():
            yield int(fields[1].rpartition(":")[2], 16), int(fields[9]), int(fields[4].partition(":")[2], 16)


def unix_queues(data: bytes) -> Iterator[tuple[int, str, int]]:
    """(inode, path as users know it, connections that wait) of each socket that sock_diag told the queue of."""
    for inode, told in unix_rows(data):
        queue = told.get(UNIX_QUEUE, b"")
        if len(queue) >= 4:
            name = told.get(UNIX_NAME, b"").rstrip(b"\0").decode("utf-8", "replace")
            yield inode, users_path(name), struct.unpack_from("=I", queue)[0]


def _unix(show: int) -> Iterable[tuple[int, str, int]]:
    try:
        return unix_queues(ask_unix(show))
    except OSError:
        return ()


ACCEPTED = ("01", "08")
"""States of a connection that is open (ESTABLISHED), or that its client alone has closed (CLOSE_WAIT)."""


def held_connections(listen: str, root: str = "/") -> int | None:
    """How many connections to the TCP address `listen` an app has accepted and has open, whatever they have sent; None
    for a unix socket, and where the kernel does not tell.

    By /proc/net/tcp and tcp6: a connection that nobody has accepted has no inode yet.
    """
    tables = tcp(root)
    if listen.startswith("unix:") or not tables:
        return None
    host, _, port = listen.rpartition(":")
    local = None if host in ("0.0.0.0", "[::]", "*", "") else {_in_table(host.strip("[]"))}
    found = 0
    for fields in (line.split() for table in tables for line in table.splitlines()[1:]):
        if len(fields) > 9 and fields[3] in ACCEPTED and fields[9] != "0":
            address, _, own = fields[1].rpartition(":")
            found += int(own, 16) == int(port) and (local is None or address in local)
    return found


def _in_table(address: str) -> str:
    """An address as the kernel's tables have it: its 32-bit words in the byte order of the host."""
    raw = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    return "".join(f"{struct.unpack_from('=I', raw, place)[0]:08X}" for place in range(0, len(raw), 4))
