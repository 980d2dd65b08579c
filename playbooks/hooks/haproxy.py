#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Takes a server out of an HAProxy backend and puts it back, through HAProxy's admin socket. Runs on the balancer.

    haproxy.py drain BACKEND SERVER [--socket PATH] [--seconds N] [--keep N]
    haproxy.py ready BACKEND SERVER [--socket PATH] [--seconds N]

drain: new requests go to the other servers; ends when the requests that the server has are answered, or fails after
--seconds. It refuses to leave fewer than --keep other servers that take requests. ready: ends when HAProxy sends
requests again. Both leave a server as it is that is so already. Exit status: 0 done, 1 not done, 2 wrong use.
"""

from __future__ import annotations

import argparse
import csv
import fcntl
import os
import socket
import sys
import time
from typing import Dict, List

Row = Dict[str, str]


class Refused(Exception):
    """It cannot be done; the message says why and what to do."""


def ask(path: str, command: str) -> str:
    """HAProxy's answer to one command."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10.0)
        try:
            connection.connect(path)
        except OSError as error:
            raise Refused(
                f"{path}: {error.strerror}; haproxy.cfg needs: stats socket {path} mode 660 level admin"
            ) from error
        connection.sendall(command.encode() + b"\n")
        parts: List[bytes] = []
        while True:
            part = connection.recv(65536)
            if not part:
                return b"".join(parts).decode(errors="replace")
            parts.append(part)


def servers(text: str, backend: str) -> Dict[str, Row]:
    """The servers of a backend by name, from the answer to `show stat` (CSV)."""
    rows = csv.DictReader(text.lstrip("# ").splitlines())
    return {
        row["svname"]: row for row in rows if row["pxname"] == backend and row["svname"] not in ("BACKEND", "FRONTEND")
    }


def takes_requests(row: Row) -> bool:
    """Whether HAProxy sends new requests to a server."""
    return row["status"].startswith(("UP", "no check"))


def busy(row: Row) -> int:
    """Requests that a server has, or that wait for it."""
    return int(row["scur"] or 0) + int(row["qcur"] or 0)


def others_left(found: Dict[str, Row], server: str) -> List[str]:
    """The other servers that take requests."""
    return sorted(name for name, row in found.items() if name != server and takes_requests(row))


class Balancer:
    """One backend of the HAProxy behind an admin socket."""

    def __init__(self, path: str, backend: str) -> None:
        self.path, self.backend = path, backend

    def servers(self) -> Dict[str, Row]:
        """The backend's servers now."""
        found = servers(ask(self.path, "show stat"), self.backend)
        if not found:
            raise Refused(f"HAProxy has no backend {self.backend!r} with servers; set haproxy_backend")
        return found

    def server(self, name: str) -> Row:
        """One server now."""
        found = self.servers()
        if name not in found:
            raise Refused(
                f"backend {self.backend} has no server {name!r}; there are: {', '.join(sorted(found))}; "
                "set haproxy_server"
            )
        return found[name]

    def set_state(self, name: str, state: str) -> None:
        """`set server`: HAProxy answers with nothing when it is done."""
        said = ask(self.path, f"set server {self.backend}/{name} state {state}").strip()
        if said:
            raise Refused(f"set server {self.backend}/{name} state {state}: {said}")


def drain(balancer: Balancer, server: str, seconds: float, keep: int) -> str:
    """Take `server` out; returns what was done."""
    # One at a time: two hosts of a batch must not both count on the other.
    with open(f"/run/lock/headcount-haproxy-{balancer.backend}", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        row = balancer.server(server)
        if not row["status"].startswith(("DRAIN", "MAINT")):
            left = others_left(balancer.servers(), server)
            if len(left) < keep:
                raise Refused(
                    f"without {server} backend {balancer.backend} would have {len(left)} servers that take requests, "
                    f"and haproxy_keep asks for {keep}; make headcount_rollout_batches smaller"
                )
            balancer.set_state(server, "drain")
    deadline = time.monotonic() + seconds
    while True:
        waiting = busy(balancer.server(server))
        if not waiting:
            return f"{server} is out of {balancer.backend}"
        if time.monotonic() >= deadline:
            raise Refused(f"{server} still has {waiting} requests after {seconds:.0f} s; raise haproxy_drain_seconds")
        time.sleep(0.1)


def ready(balancer: Balancer, server: str, seconds: float) -> str:
    """Put `server` back; returns what was done."""
    balancer.server(server)
    balancer.set_state(server, "ready")
    deadline = time.monotonic() + seconds
    while True:
        row = balancer.server(server)
        if takes_requests(row):
            return f"{server} is back in {balancer.backend}"
        if time.monotonic() >= deadline:
            raise Refused(
                f"{server} is {row['status']} in {balancer.backend} {seconds:.0f} s after it was put back: "
                f"{row.get('last_chk') or row.get('check_status') or 'HAProxy does not say why'}"
            )
        time.sleep(0.1)


def main(arguments: List[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="haproxy.py", description=__doc__)
    parser.add_argument("command", choices=("drain", "ready"))
    parser.add_argument("backend")
    parser.add_argument("server")
    parser.add_argument("--socket", default="/run/haproxy/admin.sock")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--keep", type=int, default=1)
    options = parser.parse_args(arguments)
    balancer = Balancer(options.socket, options.backend)
    try:
        if options.command == "drain":
            print(drain(balancer, options.server, options.seconds, options.keep))
        else:
            print(ready(balancer, options.server, options.seconds))
    except (Refused, OSError) as error:
        print(f"{error}" if isinstance(error, Refused) else f"{options.socket}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(sys.argv[1:]))
