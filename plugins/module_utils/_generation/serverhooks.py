# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Server hooks of a generation's gunicorn.conf.py beside those that count: what a request looks like, and a project's
own hooks. Pure texts; each part stands behind those before it and calls what they have defined."""

from __future__ import annotations

from .._declaration.app import Plain

ADDRESS = """\
# Users come over TCP and so have an address; what is asked through the private socket gets one as well.
_before_address = globals().get("post_worker_init")


def post_worker_init(worker):
    if _before_address is not None:
        _before_address(worker)
    serve = worker.wsgi

    def with_address(environ, start_response):
        if not environ.get("REMOTE_ADDR"):
            environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = "127.0.0.1", "0"
        return serve(environ, start_response)

    worker.wsgi = with_address
"""
"""An app that reads REMOTE_ADDR (rate limits, audit logs) would fail where it is empty, which is on the private socket
alone."""


def address(app: Plain) -> str:
    """The part that gives requests on the private socket an address; empty where users come without one too."""
    return "" if str(app["listen"]).startswith("unix:") else ADDRESS
