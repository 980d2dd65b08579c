# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Sockets that listen on a host, by what the kernel says of them: tables below /proc/net, and sock_diag(7)."""

from __future__ import annotations

import os
import socket
import struct
from typing import Iterable

from .paths import under
from .procfs import read_text

LISTENS = 0x10000
"""__SO_ACCEPTCON of the flags in /proc/net/unix."""


def tcp(root: str) -> list[str]:
    """What the kernel's tables of TCP sockets say, for version 4 and 6; none where they cannot be read."""
    return [text for table in ("/proc/net/tcp", "/proc/net/tcp6") if (text := read_text(root, table)) is not None]


def listening(port: int, tables: Iterable[str]) -> set[str]:
    """The sockets that listen on a TCP port, as links below /proc/PID/fd name them."""
    found: set[str] = set()
    for text in tables:
        for line in text.splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found


BOUND_BESIDE = ".headcount-second"
"""Ends the name under which a unix socket was bound that took the place of another one by a rename since then."""


def users_path(bound: str) -> str:
    """The path by which users know a unix socket, of the one that it was bound to, which is what the kernel tells."""
    return bound[: -len(BOUND_BESIDE)] if bound.endswith(BOUND_BESIDE) else bound


def _listening_unix(path: str, table: str) -> set[str]:
    found: set[str] = set()
    for line in table.splitlines()[1:]:
        fields = line.split(None, 7)
        if len(fields) > 7 and users_path(fields[7]) == path and int(fields[3], 16) & LISTENS:
            found.add(f"socket:[{fields[6]}]")
    return found


def listens(pid: int, listen: str, root: str = "/") -> bool | None:
    """Whether process `pid` has a socket that listens on `listen` ("host:port" or "unix:/path"); None: who knows.

    A unix socket must be reached by its path, too.
    """
    unix = listen.startswith("unix:")
    folder = under(root, f"/proc/{pid}/fd")
    try:
        links = {target_of(os.path.join(folder, name)) for name in os.listdir(folder)}
    except OSError:
        return None
    tables = [text for text in (read_text(root, "/proc/net/unix"),) if text is not None] if unix else tcp(root)
    if not tables:
        return None
    wanted = _listening_unix(listen[5:], tables[0]) if unix else listening(int(listen.rpartition(":")[2]), tables)
    held = links & wanted
    if not unix or root != "/" or not held:
        return bool(held)
    return leads_to(listen[5:], (int(link[len("socket:[") : -1]) for link in held))


def leads_to(path: str, inodes: Iterable[int]) -> bool:
    """Whether who connects to the unix socket at `path` comes to one of the sockets `inodes`.

    A socket outlives its file, and /proc goes on telling its path: where the file is gone, or another one is in its
    place, nobody comes to it any more. The kernel knows to which file each socket is bound (UNIX_DIAG_VFS of
    sock_diag(7)); who called listen() last, which a connection tells, need not be who holds the socket.
    """
    wanted = set(inodes)
    try:
        file = os.stat(path).st_ino & 0xFFFFFFFF
    except OSError:
        return False
    try:
        bound = [told.get(UNIX_FILE, b"") for inode, told in unix_rows(ask_unix(SHOW_FILE)) if inode in wanted]
    except OSError:
        return True  # a kernel that does not tell
    return any(len(where) >= 4 and struct.unpack_from("=I", where)[0] == file for where in bound)


_SOCK_DIAG, _BY_FAMILY, _DUMP, _DONE, _ERROR, _LISTENING = 4, 20, 0x301, 3, 2, 1 << 10
SHOW_NAME, SHOW_FILE, SHOW_QUEUE = 1, 2, 0x10
UNIX_NAME, UNIX_FILE, UNIX_QUEUE = 0, 1, 4


def ask_unix(show: int) -> bytes:
    """The answer of sock_diag(7) for all unix sockets that listen; `show`: what of each. Raises OSError."""
    request = struct.pack("=BBHIII8s", socket.AF_UNIX, 0, 0, _LISTENING, 0, show, b"\xff" * 8)
    header = struct.pack("=IHHII", 16 + len(request), _BY_FAMILY, _DUMP, 1, 0)
    told = b""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        kernel.settimeout(1.0)
        kernel.sendto(header + request, (0, 0))
        while not _is_last(part := kernel.recv(1 << 16)):
            told += part
    return told + part


def _is_last(part: bytes) -> bool:
    kinds = [kind for kind, _ in _messages(part)]
    return not kinds or kinds[-1] in (_DONE, _ERROR)


def _messages(data: bytes) -> list[tuple[int, bytes]]:
    """(kind, content) of the netlink messages in `data`."""
    found, place = [], 0
    while place + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, place)
        if length < 16:
            break
        found.append((kind, data[place + 16 : place + length]))
        place += (length + 3) & ~3
    return found


def unix_rows(data: bytes) -> list[tuple[int, dict[int, bytes]]]:
    """(inode, {attribute: its bytes}) of each unix socket in what ask_unix() answered."""
    rows = []
    for content in (content for kind, content in _messages(data) if kind == _BY_FAMILY and len(content) >= 16):
        told, place = {}, 16
        while place + 4 <= len(content):
            length, attribute = struct.unpack_from("=HH", content, place)
            if length < 4:
                break
            told[attribute] = content[place + 4 : place + length]
            place += (length + 3) & ~3
        rows.append((struct.unpack_from("=I", content, 4)[0], told))
    return rows


def target_of(path: str) -> str:
    """What a link below /proc/PID/fd names; empty where it is gone."""
    try:
        return os.readlink(path)
    except OSError:
        return ""
