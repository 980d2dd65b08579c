# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A second listening socket beside another process's, on its address.

Linux lets two sockets listen on one TCP address when both say SO_REUSEPORT and belong to one user, whenever they say
it. A hold of the first (pidfd_getfd(2)) can say so for a process that never heard of it; a filter of one instruction
then decides which of the two gets the new connections. A unix socket is reached by its file, which a rename replaces.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct

_FILTER, _REUSEPORT_CBPF, _REUSEPORT_DETACH = 26, 51, 68  # linux/socket.h
_RETURN = 0x06  # BPF_RET | BPF_K


def let_beside(one: socket.socket) -> None:
    """Let another socket of root listen on the TCP address of `one`, if it says SO_REUSEPORT too. OSError."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    os.fchown(one.fileno(), os.geteuid(), -1)


def keep_alone(one: socket.socket) -> None:
    """Take back let_beside()."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)


def lead(one: socket.socket, place: int) -> None:
    """Lead all new connections to one of the sockets that share the TCP address of `one`: to the one that began to
    listen `place`th, from 0. Where that is gone, the others get them. OSError."""
    _say(one, _REUSEPORT_CBPF, place)


def _say(one: socket.socket, option: int, answer: int) -> None:
    """Give a socket a filter of one instruction, which always says the same."""
    code = ctypes.create_string_buffer(struct.pack("=HBBI", _RETURN, 0, 0, answer))
    one.setsockopt(socket.SOL_SOCKET, option, struct.pack("@HL", 1, ctypes.addressof(code)))


def shut_beside(one: socket.socket) -> socket.socket:
    """A socket of ours beside `one`, on its TCP address, that takes nobody in; to be closed soon. OSError.

    lead() can be said only where two sockets share an address, and is to be in force before the second one comes that
    does take people in. Who knocks at this one in between is not answered, and knocks again a second later.
    """
    beside = socket.socket(one.family, socket.SOCK_STREAM)
    try:
        if one.family == socket.AF_INET6:
            only = one.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            beside.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        beside.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        beside.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _say(beside, _FILTER, 0)
        beside.bind(one.getsockname())
        beside.listen()
    except OSError:
        beside.close()
        raise
    return beside


def lead_nowhere(one: socket.socket) -> None:
    """Take back lead(). OSError."""
    one.setsockopt(socket.SOL_SOCKET, _REUSEPORT_DETACH, 0)


def point(path: str, kept: str) -> None:
    """Make the name `path` lead to the unix socket that is also called `kept`, at once for everybody who connects."""
    beside = f"{path}.headcount"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)
    os.link(kept, beside)
    os.rename(beside, path)
    if os.path.lexists(beside):  # both were the same file already: then rename(2) does nothing
        os.unlink(beside)
