# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Addresses that something listens on ("host:port" or "unix:/path"): where they are reached, whether they are free.

Light: a probe of a host that has nothing of Headcount's takes no more of it. Who has an address: `taken`.
"""

from __future__ import annotations

import contextlib
import os
import socket

UNIX = "unix:"


def local_address(listen: str) -> str | tuple[str, int]:
    """Where this host reaches what listens on `listen` ("host:port" or "unix:/path"): wildcards become loopback."""
    if listen.startswith(UNIX):
        return listen[len(UNIX) :]
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1", "*": "127.0.0.1"}.get(host, host), int(port)


def refusal(listen: str) -> OSError | None:
    """What the kernel says to a socket that is to have the address `listen` ("host:port"); None where it may."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]") or "0.0.0.0"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, int(port)))
        except OSError as error:
            return error
    return None


def plainly_free(listen: str | None) -> bool:
    """Whether nothing is in the way at `listen`: no listener, and for a unix socket nothing at its path at all."""
    if not listen:
        return True
    if not listen.startswith(UNIX):
        return refusal(listen) is None
    path = folder = listen[len(UNIX) :]
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    return folder != path and os.path.isdir(folder)
