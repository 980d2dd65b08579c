# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Listening sockets of other processes: who has one, and a hold of it. A second one beside it: `twosockets`."""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import os
import re
import socket
import struct
from dataclasses import dataclass
from typing import Iterable

from .paths import under
from .procfs import read_text
from .sockets import LISTENS, users_path

SYSTEM_MANAGER = 1
"""The process that holds the sockets of systemd's socket units."""

_PIDFD_GETFD = 438  # the same on all machines; Linux 5.6 and later


@dataclass(frozen=True)
class Listener:
    """A socket that listens. `address`: "unix:/path", "0.0.0.0:8000" or "[::]:8000"; `pid`, `fd`: who holds it, and
    under which number; `inode`: what tells it from others."""

    address: str
    inode: int
    pid: int = 0
    fd: int = -1


def normal(listen: str) -> str:
    """An address as Listener has it: [0:0::1]:80 becomes [::1]:80."""
    if listen.startswith("unix:"):
        return listen
    host, _, port = listen.rpartition(":")
    address = ipaddress.ip_address(host.strip("[]"))
    return f"[{address}]:{int(port)}" if address.version == 6 else f"{address}:{int(port)}"


def alike(one: str, other: str) -> bool:
    """Whether two addresses, as Listener has them, are one: /var/run/a.sock is /run/a.sock where that is a link."""
    if one == other or not (one.startswith("unix:/") and other.startswith("unix:/")):
        return one == other
    return os.path.realpath(one[len("unix:") :]) == os.path.realpath(other[len("unix:") :])


_CONTROL = re.compile(r"unix:.*/[^/]*\.ctl")
_PYTHONS_OWN = re.compile(r"unix:@?(.*/)?(pymp-[^/]*/)?listener-[^/]*")


def for_users(address: str, control: str = "") -> bool:
    """Whether users may come by an address; by two kinds nobody does: where Gunicorn 25 and later takes commands of
    whoever runs it, and what Python's multiprocessing listens on for the processes of one program.

    `control`: the path that Gunicorn's `control_socket` says, "" where nothing does; a relative one is below a folder
    that Gunicorn chooses.
    """
    if _CONTROL.fullmatch(address) or _PYTHONS_OWN.fullmatch(address):
        return False
    named = os.path.normpath(control) if control else ""
    if named.startswith("/"):
        return not alike(address, f"unix:{named}")
    return not (named and address.startswith("unix:/") and address.endswith(f"/{named}"))


def _tcp_address(text: str) -> str:
    """The address of a row of /proc/net/tcp or tcp6, whose words of 32 bits are in the machine's order."""
    host, _, port = text.partition(":")
    words = [struct.pack("=I", int(host[at : at + 8], 16)) for at in range(0, len(host), 8)]
    name = socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, b"".join(words))
    return normal(f"{name}:{int(port, 16)}" if len(words) == 1 else f"[{name}]:{int(port, 16)}")


def listening(root: str = "/") -> list[Listener]:
    """All stream sockets of this host that listen, by the kernel's tables; nobody is named."""
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in (read_text(root, table) or "").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == "0A":
                found.append(Listener(_tcp_address(fields[1]), int(fields[9])))
    for line in (read_text(root, "/proc/net/unix") or "").splitlines()[1:]:
        fields = line.split(None, 7)
        if len(fields) > 7 and fields[4] == "0001" and int(fields[3], 16) & LISTENS:
            found.append(Listener(f"unix:{users_path(fields[7])}", int(fields[6])))
    return found


def held(pids: Iterable[int], root: str = "/") -> list[Listener]:
    """The listening sockets that these processes hold, each once: by the process that comes first."""
    known = {f"socket:[{one.inode}]": one for one in listening(root)}
    found: dict[int, Listener] = {}
    for pid in pids:
        folder = under(root, f"/proc/{pid}/fd")
        try:
            names = sorted(os.listdir(folder), key=int)
        except OSError:
            continue
        for name in names:
            one = known.get(_link(os.path.join(folder, name)))
            if one is not None:
                found.setdefault(one.inode, Listener(one.address, one.inode, pid, int(name)))
    return list(found.values())


def connected(pids: Iterable[int], address: str, root: str = "/") -> int:
    """How many connections to an address these processes have, by the kernel's tables: a port of any of the host's
    addresses, or the path of a unix socket."""
    wanted = _accepted_unix(address, root) if address.startswith("unix:") else _accepted(address, root)
    found: set[str] = set()
    for folder in (under(root, f"/proc/{pid}/fd") for pid in pids if wanted):
        with contextlib.suppress(OSError):
            found.update(_link(os.path.join(folder, name)) for name in os.listdir(folder))
    return len(found & wanted)


def _accepted(address: str, root: str) -> set[str]:
    """The established connections to a port, as links below /proc/PID/fd name them."""
    port, found = int(address.rpartition(":")[2]), set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in (read_text(root, table) or "").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == "01" and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found


def _accepted_unix(address: str, root: str) -> set[str]:
    found = set()
    for line in (read_text(root, "/proc/net/unix") or "").splitlines()[1:]:
        fields = line.split(None, 7)
        told = len(fields) > 7 and not int(fields[3], 16) & LISTENS
        if told and alike(f"unix:{users_path(fields[7])}", address):
            found.add(f"socket:[{fields[6]}]")
    return found


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def hold(listener: Listener) -> socket.socket:
    """A second hold of a listening socket: it is the same one, and stays open as long as anybody holds it. OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(listener.pid)
    try:
        number = libc.syscall(_PIDFD_GETFD, process, listener.fd, 0)
        if number < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), f"/proc/{listener.pid}/fd/{listener.fd}")
    finally:
        os.close(process)
    os.set_inheritable(number, False)
    return socket.socket(fileno=number)
