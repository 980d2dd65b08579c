# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Connections that a gthread worker has accepted, and that have sent nothing yet, under Gunicorn 20 to 23.

From 21 to 23 (the last that run on Python 3.9) such a connection waits in the loop of the worker, which looks at it no
more once it has as many of them as `worker_connections`: it serves nobody from then on, also when all of them have
gone, and shows the master that it goes on. A burst of as many clients as there are threads is enough. Gunicorn 20
and 24 hand it to a thread at once. Up to 23 threads and the loop count connections without a lock, so that one that
has gone may stay counted.
"""

from __future__ import annotations

CLASSES = ("gthread",)
"""Worker classes that this concerns."""

ACCEPTER = """\
def _accept_for_threads():
    # A thread waits for what a client says, not the loop that accepts, which some silent clients end for good.
    import errno

    from gunicorn.workers import gthread

    worker = gthread.ThreadWorker
    if hasattr(worker, "set_accept_enabled") or hasattr(worker, "counts_alone"):  # Gunicorn 24 and later, or done
        return

    def accept(self, server, listener):
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        with self._lock:
            self.nr_conns += 1
        self.enqueue_req(gthread.TConn(self.cfg, sock, client, server))

    def counts_alone(function):
        def alone(self, *arguments):
            with self._lock:
                return function(self, *arguments)

        return alone

    worker.accept = accept
    worker.finish_request = counts_alone(worker.finish_request)
    worker.murder_keepalived = counts_alone(worker.murder_keepalived)
    worker.counts_alone = True


_accept_for_threads()
"""
"""Part of gunicorn.conf.py for one of the CLASSES. It changes nothing under Gunicorn 24 and later."""
