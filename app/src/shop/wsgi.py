# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The entry point: `shop.wsgi:create_app()`."""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from typing import Any, Mapping

from flask import Flask, Response, abort, jsonify, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from . import __version__, faults, work

MAX_CPU_MS = 10_000.0
MAX_WAIT_MS = 60_000.0
MAX_MIB = 4096.0
MAX_SECONDS = 60.0
MAX_STREAM_SECONDS = 3600.0
HEALTH = "/healthz"

faults.at_import(os.environ)


def create_app(environ: Mapping[str, str] | None = None) -> Flask:
    """The app, with the faults of SHOP_FAULTS in `environ` (the process's environment when None).

    SHOP_RELEASE is a free text that `/version` repeats, to tell releases of the same code apart.
    """
    environ = os.environ if environ is None else environ
    injector = faults.Injector(faults.parse(environ.get(faults.VARIABLE, "")))
    injector.at_boot()
    born = time.monotonic()
    release = environ.get("SHOP_RELEASE", "")
    app = Flask("shop")
    app.extensions["shop"] = injector

    @app.before_request
    def inject() -> tuple[Response, int] | BaseResponse | None:
        status = injector.at_any_request(request.path, request.environ)
        if status is None and request.path != HEALTH:
            status = injector.at_request()
        if status == 302:
            return redirect(f"https://shop.example.com{request.path}")
        return None if status is None else (jsonify(error="injected by SHOP_FAULTS"), status)

    @app.errorhandler(400)
    def refuse(error: Any) -> tuple[Response, int]:
        return jsonify(error=error.description), 400

    @app.get("/")
    def index() -> Response:
        return jsonify(shop="open", version=__version__)

    @app.get(HEALTH)
    def healthz() -> tuple[Response, int]:
        body, status = injector.health()
        return jsonify(body), status

    @app.get("/cpu")
    def cpu() -> Response:
        return jsonify(cpu_ms=round(work.burn(_number("ms", 5.0, MAX_CPU_MS)), 3))

    @app.get("/wait")
    def wait() -> Response:
        milliseconds = _number("ms", 50.0, MAX_WAIT_MS)
        work.wait(milliseconds)
        return jsonify(wait_ms=milliseconds)

    @app.get("/mixed")
    def mixed() -> Response:
        cpu_ms, wait_ms = _number("cpu_ms", 2.0, MAX_CPU_MS), _number("wait_ms", 20.0, MAX_WAIT_MS)
        used = work.burn(cpu_ms)
        work.wait(wait_ms)
        return jsonify(cpu_ms=round(used, 3), wait_ms=wait_ms)

    @app.get("/memory")
    def memory() -> Response:
        mib, seconds = _number("mib", 10.0, MAX_MIB), _number("seconds", 0.0, MAX_SECONDS)
        block = work.hold(int(mib * work.MIB))
        work.wait(seconds * 1000.0)
        return jsonify(mib=len(block) / work.MIB, seconds=seconds)

    @app.get("/stream")
    def stream() -> Response:
        size, every_ms = _number("bytes", 2.0, work.MIB), _number("every_ms", 50.0, MAX_WAIT_MS)
        seconds = _number("seconds", MAX_STREAM_SECONDS, MAX_STREAM_SECONDS)
        return Response(work.pieces(int(size), every_ms, seconds), mimetype="text/event-stream")

    @app.route("/records", methods=["GET", "POST"])
    def records() -> Response:
        count = work.record if request.method == "POST" else work.records
        return jsonify(records=count(app.instance_path))

    @app.get("/version")
    def version() -> Response:
        return jsonify(
            version=__version__, release=release, faults=injector.faults.names, python=platform.python_version()
        )

    @app.get("/whoami")
    def whoami() -> Response:
        return jsonify(
            pid=os.getpid(),
            ppid=os.getppid(),
            uid=os.getuid(),
            worker_class=worker_class(request.environ),
            server=request.environ.get("SERVER_SOFTWARE", ""),
            threads=threading.active_count(),
            requests=injector.requests,
            kept_bytes=injector.kept_bytes,
            uptime_seconds=round(time.monotonic() - born, 3),
            release=release,
        )

    return app


def worker_class(environ: Mapping[str, Any]) -> str:
    """The kind of worker that serves this request, from what it did to the process: gevent, eventlet, gthread, sync."""
    for name, module in (("gevent", "gevent.monkey"), ("eventlet", "eventlet.patcher")):
        loaded = sys.modules.get(module)
        patched = getattr(loaded, "is_module_patched" if name == "gevent" else "is_monkey_patched", None)
        if patched is not None and patched("socket"):
            return name
    return "gthread" if environ.get("wsgi.multithread") else "sync"


def _number(name: str, default: float, most: float) -> float:
    """The query parameter `name`, a number from 0 to `most`; answers 400 when it is something else."""
    text = request.args.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= most:  # false for NaN as well
        abort(400, f"{name}={text!r} is not allowed: a number from 0 to {most:g}")
    return value
