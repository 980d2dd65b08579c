# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Connections that are answered and wait for their client's own end, out of the way of the requests of others.

From Gunicorn 26 on, `gunicorn.util.close_graceful()` ends a connection as RFC 9112, section 9.6 asks: it ends its own
side, then reads until the client has ended its side too, for two seconds at most. A sync worker does that before it
takes the next request, a gthread worker in the loop that accepts and reads for all of its threads. So each answer
holds the worker up for a round trip to the client, and a client that does not close, or is gone, for two seconds.
"""

from __future__ import annotations

CLASSES = ("sync", "gthread")
"""Worker classes whose connections end in close_graceful(); an event loop waits for one without holding up others."""

PATIENCE_SECONDS = {"sync": 0.002, "gthread": 0.0}
"""How long a worker itself waits first. What is behind a proxy of the same host closes within a fraction of that, which
spares a sync worker the thread (0.15 ms of CPU a request); a gthread worker's loop has others to serve."""

_CLOSER = """\
def _close_aside():
    # Who is answered ends his side of the connection when he likes: a thread waits for that, not the worker's own loop.
    # What it is made of is taken here, because an app may replace it (gevent.monkey) when it is imported.
    import os
    import select
    import socket
    import time
    from _thread import start_new_thread as start

    import gunicorn.util

    epoll, clock, most = select.epoll, time.monotonic, 1024
    process = {"pid": 0}  # of a worker, which is forked after this was read

    def watch(poll, waiting):
        while True:
            for fd, _ in poll.poll(0.5):
                end, left = waiting.get(fd, (0.0, 0))
                try:
                    size = len(os.read(fd, min(left, 4096))) if left else 0
                except BlockingIOError:
                    continue
                except OSError:
                    size = 0
                if size:
                    waiting[fd] = end, left - size
                else:
                    drop(waiting, fd)
            for fd, (end, _) in list(waiting.items()):
                if end > clock():
                    break
                drop(waiting, fd)

    def drop(waiting, fd):
        if waiting.pop(fd, None) is not None:
            os.close(fd)

    def close_aside(sock, timeout=2.0, max_drain=65536):
        try:
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(PATIENCE_SECONDS)
            if PATIENCE_SECONDS and not sock.recv(4096):
                sock.close()
                return
        except socket.timeout:
            pass
        except OSError:
            sock.close()
            return
        if process["pid"] != os.getpid():
            process.update(pid=os.getpid(), poll=epoll(), waiting={})
            start(watch, (process["poll"], process["waiting"]))
        sock.setblocking(False)
        fd, waiting = sock.detach(), process["waiting"]
        if fd < 0 or len(waiting) >= most:
            if fd >= 0:
                os.close(fd)
            return
        waiting[fd] = clock() + timeout, max_drain
        process["poll"].register(fd, select.EPOLLIN)

    if hasattr(gunicorn.util, "close_graceful"):
        gunicorn.util.close_graceful = close_aside


_close_aside()
"""


def closer(worker_class: str) -> str:
    """Part of gunicorn.conf.py for one of the CLASSES. It changes nothing under a Gunicorn without close_graceful()."""
    return _CLOSER.replace("PATIENCE_SECONDS", repr(PATIENCE_SECONDS[worker_class]))
