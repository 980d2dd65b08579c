# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Open-loop load of several kinds of request: every request at its own time, on its own connection.

A program: `python _mix_client.py` reads {host, port, heads, due, timeout} as JSON from standard input and writes
{rows, cpu_seconds} to standard output. `due`: [second, kind] of each request, ascending; `heads`: the request line's
path of each kind; a row: [kind, seconds that it was sent late, seconds from when it was due to the end of its answer
or null, status]. The schedule is fixed before the first request, so that a slow server cannot slow it down, and a
latency counts from when a request was due. Answers later than `timeout` are none.

One thread, raw sockets and epoll, no garbage collection: about a tenth of a millisecond of CPU for a request. It goes
before everything else of the machine where that is allowed, so that its clock does not wait for a server's CPU.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import select
import socket
import sys
import time
from typing import Any, Final

LEAD_SECONDS: Final = 0.05
CHUNK: Final = 65536


def go_first() -> None:
    """Real-time priority, or the best nice value that is allowed."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, -20)


def whole(data: bytes) -> bool:
    """Whether an answer is complete by its Content-Length; one without it ends with its connection."""
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return False
    for line in head.split(b"\r\n")[1:]:
        if line[:15].lower() == b"content-length:":
            return len(body) >= int(line[15:])
    return False


class Client:
    """The open requests of one run."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.address = (str(spec["host"]), int(spec["port"]))
        self.heads = [f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode() for path in spec["heads"]]
        self.due: list[tuple[float, int]] = [(float(at), int(kind)) for at, kind in spec["due"]]
        self.timeout = float(spec["timeout"])
        self.rows: list[Any] = [[kind, 0.0, None, 0] for _, kind in self.due]
        self.epoll = select.epoll()
        self.open: dict[int, tuple[int, socket.socket, bytearray]] = {}
        self.begin = 0.0

    def run(self) -> list[Any]:
        """Send all, and wait for the answers until the last one's time-out."""
        now = time.monotonic
        self.begin = now() + LEAD_SECONDS
        following, count = 0, len(self.due)
        end = self.begin + self.due[-1][0] + self.timeout
        while following < count or (self.open and now() < end):
            at = self.begin + self.due[following][0] if following < count else end
            wait = at - now()
            if wait <= 0 and following < count:
                self.send(following, -wait)
                following += 1
                continue
            # epoll's own clock has whole milliseconds, select's microseconds
            if select.select([self.epoll], (), (), max(0.0, wait))[0]:
                for descriptor, event in self.epoll.poll(0):
                    self.ready(descriptor, event)
        for _, connection, _ in self.open.values():
            connection.close()
        return self.rows

    def send(self, index: int, late: float) -> None:
        """Open the connection of one request and send it, or leave that to `ready`."""
        self.rows[index][1] = round(late, 6)
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.setblocking(False)
        connection.connect_ex(self.address)
        interest = select.EPOLLIN
        try:
            connection.send(self.heads[self.rows[index][0]])
        except BlockingIOError:
            interest |= select.EPOLLOUT
        except OSError:
            connection.close()
            return
        self.open[connection.fileno()] = (index, connection, bytearray())
        self.epoll.register(connection.fileno(), interest)

    def ready(self, descriptor: int, event: int) -> None:
        """Send what waited for its connection, or take what came."""
        index, connection, data = self.open[descriptor]
        try:
            if event & select.EPOLLOUT:
                connection.send(self.heads[self.rows[index][0]])
                self.epoll.modify(descriptor, select.EPOLLIN)
            if not event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                return
            more = connection.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        data += more
        ended = not more
        if ended or whole(bytes(data)):
            took = time.monotonic() - self.begin - self.due[index][0]
            if data[:5] == b"HTTP/" and took <= self.timeout:
                self.rows[index][2:] = [round(took, 6), int(data[9:12])]
            del self.open[descriptor]
            self.epoll.unregister(descriptor)
            connection.close()


def main() -> None:
    """One run."""
    spec = json.loads(sys.stdin.readline())
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536, hard))
    client = Client(spec)
    go_first()
    gc.disable()
    before = time.process_time()
    rows = client.run()
    print(json.dumps({"rows": rows, "cpu_seconds": round(time.process_time() - before, 6)}), flush=True)


if __name__ == "__main__":
    main()
