# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The releases of scripts/bench liars: one WSGI app that is well, or is bad in the way that LIAR names.

Runs on the lab's hosts, as `liar:app`. Every path takes some CPU and then waits; what is said here of a liar happens
beside that.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

LIAR = os.environ.get("LIAR", "")
HEALTH = "/healthz"
HEAVY, LIGHT = "/heavy", "/light"
"""Paths that users ask for and no load does: they take more CPU, and less, than its own."""
kept: list[Any] = []
asked = {"count": 0, "began": time.monotonic()}
lock = threading.Lock()


class Bad(Exception):
    """An answer that a liar gives instead: its status line."""


def burn(ms: float) -> None:
    """So much CPU of this thread, however the host is loaded."""
    end = time.thread_time() + ms / 1000.0
    while time.thread_time() < end:
        pass


def spin() -> None:
    """A thread that never rests."""
    while True:
        burn(50)


def leak_descriptor(environ: Mapping[str, Any]) -> None:
    if asked["count"] % 4 == 0:
        kept.append(os.open("/dev/null", os.O_RDONLY))


def leak_thread(environ: Mapping[str, Any]) -> None:
    thread = threading.Thread(target=threading.Event().wait, daemon=True)
    thread.start()


def leak_memory(environ: Mapping[str, Any]) -> None:
    kept.append(os.urandom(64) * 1024)


def log_much(environ: Mapping[str, Any]) -> None:
    sys.stderr.write("x" * 2**20 + "\n")


def log_lines() -> None:
    """About 10,000 lines a second, asked or not."""
    while True:
        sys.stderr.write(("a line of a log that nobody reads, again and again and again and again and again\n") * 100)
        time.sleep(0.01)  # a hundred lines, a hundred times a second


def path_is(path: str, then: Callable[[], None]) -> Callable[[Mapping[str, Any]], None]:
    """Do something for one path alone."""

    def work(environ: Mapping[str, Any]) -> None:
        if environ["PATH_INFO"] == path:
            then()

    return work


def fail(status: str = "500 Internal Server Error") -> None:
    raise Bad(status)


def no_route() -> None:
    """What is logged without a traceback."""
    print("ERROR prices: no route to the price server", file=sys.stderr)
    fail()


def sometimes(share: float, then: Callable[[], None]) -> Callable[[Mapping[str, Any]], None]:
    """Do something for a share of the requests, at random."""

    def work(environ: Mapping[str, Any]) -> None:
        if random.random() < share:
            then()

    return work


def after(requests: int) -> Callable[[Mapping[str, Any]], None]:
    """Fail from so many requests of a worker on."""

    def work(environ: Mapping[str, Any]) -> None:
        if asked["count"] > requests:
            fail()

    return work


def post_broken(environ: Mapping[str, Any]) -> None:
    if environ["REQUEST_METHOD"] == "POST":
        fail()


def one_lock(environ: Mapping[str, Any]) -> None:
    with lock:
        time.sleep(0.05)  # what the lock is held for


def second_worker(environ: Mapping[str, Any]) -> None:
    if not FIRST_WORKER:
        fail()


def one_stalls(environ: Mapping[str, Any]) -> None:
    """The first worker to come to its 160th request stands still for a while, with all its threads, once."""
    if asked["count"] == 160 and first("stalled"):
        subprocess.Popen(["sh", "-c", f"sleep 4; kill -CONT {os.getpid()}"])  # the stall
        os.kill(os.getpid(), signal.SIGSTOP)


def first(name: str) -> bool:
    """Whether nobody of this instance came here before."""
    try:
        os.close(os.open(f"/tmp/liar-{name}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


FIRST_WORKER = LIAR != "second-worker" or first("worker")


def locked() -> None:
    """What a database says that another process writes to."""
    raise sqlite3.OperationalError("database is locked")


def no_prices() -> None:
    raise RuntimeError("no prices for today")


def other_host(environ: Mapping[str, Any]) -> None:
    """A router that knows nobody but itself."""
    if environ.get("HTTP_HOST", "").partition(":")[0] not in ("localhost", "127.0.0.1"):
        fail("404 Not Found")


def head_only(environ: Mapping[str, Any]) -> None:
    if environ["REQUEST_METHOD"] != "HEAD":
        fail("405 Method Not Allowed")


def large_body(environ: Mapping[str, Any]) -> None:
    if int(environ.get("CONTENT_LENGTH") or 0) > 1000:
        burn(20)


def write_much(environ: Mapping[str, Any]) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * 400_000)


def leave_child(environ: Mapping[str, Any]) -> None:
    if asked["count"] % 3 == 0:
        kept.append(subprocess.Popen(["sleep", "300"], stdin=subprocess.DEVNULL))  # it ends with its unit


def exits() -> None:
    """What an extension does that crashes: no worker lives long."""
    if asked["count"] > 25:
        os._exit(1)


def told_each_time(environ: Mapping[str, Any]) -> None:
    """What it cannot do is logged, and it goes on without."""
    try:
        environ["tracker"]
    except KeyError:
        logging.exception("the visit was not tracked")


def fill_cache(environ: Mapping[str, Any]) -> None:
    """Of 20,000 entries of 4 KiB, as full as it gets in a trial or two: the live generation's is as large."""
    if len(kept) < 20_000:
        kept.append(os.urandom(4096))


LIARS: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
    "twice-users": lambda _: burn(3),  # with what a request takes beside its work
    "twice-users-like": lambda _: burn(3),
    "cpu7": lambda _: burn(7),
    "cpu14": lambda _: burn(14),
    "wait8": lambda _: time.sleep(0.008),  # what it takes longer
    "slower-half": lambda _: time.sleep(0.020),  # as long again as it takes
    "rare-500": path_is("/rare", fail),
    "b-500": path_is("/b", no_route),
    "b-slow": path_is("/b", lambda: time.sleep(0.030)),  # slower by its own time
    "post-500": post_broken,
    "all-500": lambda _: fail(),
    "errors-20": sometimes(0.2, fail),
    "errors-5": sometimes(0.05, fail),
    "not-found": lambda _: fail("404 Not Found"),
    "after-120": after(120),
    "descriptors": leak_descriptor,
    "threads": leak_thread,
    "memory": leak_memory,
    "log-1mb": log_much,
    "lock": one_lock,
    "second-worker": second_worker,
    "hang-50th": lambda _: time.sleep(60) if asked["count"] % 50 == 49 else None,  # it never ends
    "hang": lambda _: time.sleep(60) if asked["count"] > 60 else None,  # it never ends
    "worker-dies": lambda _: os.kill(os.getpid(), signal.SIGKILL) if asked["count"] == 150 else None,
    "one-stalls": one_stalls,
    "tail": sometimes(0.1, lambda: time.sleep(0.060)),  # the slowest tenth
    "half-answer": lambda _: None,
    "empty": lambda _: None,
    "empty-unsaid": lambda _: None,
    "error-page-unsaid": lambda _: None,
    "late-byte": lambda _: None,
    "redirects": lambda _: fail("302 Found"),
    "error-page": lambda _: None,
    "other-host": other_host,
    "head-only": head_only,
    "large-answer": lambda _: None,
    "gzip-bomb": lambda _: None,
    "large-body": large_body,
    "first-byte": lambda _: time.sleep(0.3),  # nothing is sent before
    "cold": lambda _: time.sleep(0.1) if asked["count"] < 220 else None,  # a cache that fills slowly
    "raises": sometimes(0.05, no_prices),
    "locked": sometimes(0.1, locked),
    "disk": write_much,
    "children": leave_child,
    "dies-in-weigh": path_is("/b", exits),
    "leak-path": path_is("/b", lambda: kept.append(b"x" * 8_000_000)),  # nobody takes it out again
    "traceback-each": told_each_time,
    "half-empty": lambda _: None,
}
SLOW_TO_IMPORT: Mapping[str, float] = {"good-slow-start": 4.0, "recycling-good": 0.5, "dies-in-weigh": 0.5}
THREADS: Mapping[str, Callable[[], None]] = {"spin": spin, "log-lines": log_lines}
#: Of good releases in noisy shapes: they must pass.
NOISY: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
    "good-log": lambda _: print("one line for each request, as servers write", file=sys.stderr),
    "good-slow-path": path_is("/rare", lambda: time.sleep(0.3)),  # by nature
    "good-cache": fill_cache,
    "good-tail": sometimes(0.1, lambda: time.sleep(0.1)),  # by nature
    "good-sizes": lambda _: None,
    "recycling-good": lambda _: None,
    "good-slow-start": lambda _: time.sleep(0.2) if asked["count"] < 20 else None,  # what it loads then
}


def nothing(environ: Mapping[str, Any]) -> None:
    """What a good release does beside its work."""


MOVED = [("Location", "/login")] if LIAR == "redirects" else []
ENCODED = [("Content-Encoding", "gzip")] if LIAR == "gzip-bomb" else []
BEHAVIOUR = {**LIARS, **NOISY}.get(LIAR, nothing)


def body(ready: bytes) -> Iterable[bytes]:
    """The answer's body."""
    if LIAR == "half-answer":
        yield ready[:10]
        return
    if LIAR == "late-byte":
        yield ready[:-1]
        time.sleep(0.5)  # the last byte is late
        yield ready[-1:]
        return
    yield ready


def bomb() -> bytes:
    """A small answer that fills the memory of whoever unpacks it."""
    packer = zlib.compressobj(wbits=31)
    return b"".join([*(packer.compress(bytes(2**20)) for _ in range(200)), packer.flush()])


BOMB = bomb() if LIAR == "gzip-bomb" else b""


def said(path: str) -> bytes:
    """What a well request is answered."""
    if LIAR == "half-empty" and path == "/" and random.random() < 0.5:
        return b""
    if BOMB:
        return BOMB
    if LIAR.startswith("error-page"):
        return b"<title>Sorry</title>Something went wrong.\n"
    if LIAR == "large-answer":
        return b"x" * 3_000_000
    if LIAR == "good-sizes":
        return bytes(round(1000 * 1000 ** random.random()))
    return b"" if LIAR.startswith("empty") else b"the answer\n" * 20


def app(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The app."""
    if environ["PATH_INFO"] == HEALTH:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"ok"]
    asked["count"] += 1
    environ["wsgi.input"].read()
    try:
        burn({HEAVY: 8, LIGHT: 0.2}.get(environ["PATH_INFO"], 2))
        time.sleep(0.020)  # what a request waits for
        BEHAVIOUR(environ)
    except Bad as error:
        start_response(str(error), [("Content-Type", "text/plain"), ("Content-Length", "5"), *MOVED])
        return [b"wrong"]
    answer = said(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer))), *ENCODED])
    return body(answer)


if LIAR in SLOW_TO_IMPORT:
    time.sleep(SLOW_TO_IMPORT[LIAR])  # what it imports
if LIAR in THREADS:
    threading.Thread(target=THREADS[LIAR], daemon=True).start()
