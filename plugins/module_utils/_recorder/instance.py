# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What counts the requests of an instance, from within: hooks of Gunicorn, and words in memory that others can read.

A copy of this file lies beside gunicorn.conf.py in every generation, which loads it; so it needs nothing but the
standard library, and nothing of this package. `counts` reads what it writes.

The words lie in one file of the instance's runtime directory, which master and workers map. Each worker has a row of
its own, so that no process ever waits for another one. When a worker has ended, its master adds the row to the totals
and frees it. There are two rows of totals: the one that is not in use is filled first, and then one word (CURRENT) says
at once which totals count and which row is in them already. So whoever reads sees each request exactly once, also when
the master is killed between any two instructions; the next master takes the counts over.

A request counts as begun in BEGUN, and, when it has ended, in one of the OUTCOMES: the last word that is written for
it. What a worker that was killed had begun and not ended is LOST. ANSWERED counts those that nobody waits for as for an
answer: they have ended, or theirs has begun (a stream, a download), or they are a WebSocket or send much themselves, or
the app waits for more of their body. OWN_CUT counts those of the cut ones that no user has left: Headcount's own load,
which comes through a private socket, leaves what is in flight when a trial ends. No error in here fails a request or a
boot.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import resource
import sys
import threading
import time
from bisect import bisect_left
from functools import partial
from typing import Any, Callable, NamedTuple, Sequence

FILE = "recorder"
PRIVATE = "/run/headcount/"
"""Here lie the sockets that Headcount alone reaches."""
PROGRAM = "recorder.py"
"""The name of the copy of this file in a generation's folder."""

MAGIC = 0x31306365526448  # "HdRec01"
WORD = 8

BOUNDS_US = (
    *(500, 700),
    *(part * scale for scale in (100, 1_000, 10_000, 100_000, 1_000_000) for part in (10, 15, 20, 30, 50, 70)),
    100_000_000,
)
"""Upper bounds (inclusive) of the histogram, in microseconds; one more bucket has all that took longer."""

LIMITS = ("p50", "p95", "p99")
"""The declared limits whose transgressions are counted, in the order of their words."""

OUTCOMES = ("1xx", "2xx", "3xx", "4xx", "5xx", "cut", "broken")
"""How a request ended: with a status of a class; cut: its client went away; broken: the answer broke off, or there was
none. What the server answers by itself counts too: 500 for an exception, 4xx for a body that is no HTTP."""

ENDS = ("recycled", "timed_out", "killed", "died", "left", "with_master")
"""How a worker ended: by max_requests; silent beyond the time-out; by a signal; by itself with a status or without a
word; in order, as it was told to; or with its master."""

# Words of the header.
H_MAGIC, H_HEADER, H_ROW, H_ROWS, H_BOUNDS, H_MASTER, H_STARTED = 0, 1, 2, 3, 4, 5, 6
H_CURRENT, H_MASTERS, H_UNCOUNTED, H_TROUBLE, H_CPU_US, H_RSS_KIB = 7, 8, 9, 10, 11, 12
H_LIMITS = 13
H_BOUND = 16
H_ANSWERS = 49
HEADER = 64

# Words of a row. BEGUN stands behind the outcomes: whoever copies the row in order never sees more ended than begun.
R_PID, R_AGE, R_SINCE = 0, 1, 2
R_SUM_US = 3
R_OUTCOME = 4
R_BEGUN = R_OUTCOME + len(OUTCOMES)
R_LOST = R_BEGUN + 1
R_OVER = R_LOST + 1
R_END = R_OVER + len(LIMITS)
R_BUCKET = R_END + len(ENDS)
R_ANSWERED = R_BUCKET + len(BOUNDS_US) + 1
R_OWN_CUT = R_ANSWERED + 1
ROW = 64
SUMMED = (*range(R_SUM_US, R_ANSWERED), R_OWN_CUT)
"""The words of a row that are added up."""

TOTALS = 2
SPARE = 8
"""Rows beyond the planned workers, for those that a person adds by hand."""


class Hooks(NamedTuple):
    """What gunicorn.conf.py hands to Gunicorn. `ended(worker, mark, status)`: a worker has ended, with the mark that it
    left and what waitpid() said (None: not known). `ready(worker)`: it has loaded the app."""

    pre_fork: Callable[[Any, Any], None]
    post_fork: Callable[[Any, Any], None]
    pre_request: Callable[[Any, Any], None]
    post_request: Callable[[Any, Any, Any, Any], None]
    ended: Callable[[Any, str, int | None], None]
    ready: Callable[[Any], None]


_started: dict[str, Hooks] = {}


def start(directory: str, workers: int, threads: bool, limits_ms: Sequence[float | None]) -> Hooks:
    """Begin to count in `directory`; hooks that were made there before in this process serve on (a reload).

    `threads`: whether one worker serves requests in several threads. `limits_ms`: in the order of LIMITS.
    Raises OSError where the file cannot be made.
    """
    known = _started.get(directory)
    if known is None:
        words = _open(directory, TOTALS + workers + SPARE, limits_ms)
        known = _started[directory] = _hooks(words, threads)
    return known


def _open(directory: str, rows: int, limits_ms: Sequence[float | None]) -> memoryview:
    """The words, mapped. Counts of a master before this one in the same directory are taken over.

    All room is taken at once, since a page that cannot be had later would kill the process; and nobody has a reason to
    write to the file by its name, which its mode says.
    """
    path, new = os.path.join(directory, FILE), os.path.join(directory, f"{FILE}.new")
    before = _read(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    size = (HEADER + ROW * rows) * WORD
    handle = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    try:
        os.posix_fallocate(handle, 0, size)
        words = memoryview(mmap.mmap(handle, size)).cast("q")
    finally:
        os.close(handle)
    for place, value in (
        (H_MAGIC, MAGIC),
        (H_HEADER, HEADER),
        (H_ROW, ROW),
        (H_ROWS, rows),
        (H_BOUNDS, len(BOUNDS_US)),
        (H_MASTER, os.getpid()),
        (H_STARTED, int(time.time() * 1e6)),
        *((H_LIMITS + place, int((limit or 0) * 1000)) for place, limit in enumerate(limits_ms[: len(LIMITS)])),
        *((H_BOUND + place, bound) for place, bound in enumerate(BOUNDS_US)),
    ):
        words[place] = value
    if before is not None:
        _take_over(words, before)
    os.rename(new, path)
    return words


def _read(path: str) -> memoryview | None:
    """The words that a master before this one left; None where there are none, or none of this kind.

    Nobody is waited for: the app, whose folder it is, may have put a pipe there.
    """
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as stream:
            data = stream.read(1 << 24) or b""
    except OSError:
        return None
    if len(data) % WORD or len(data) < (HEADER + TOTALS * ROW) * WORD:
        return None
    words = memoryview(data).cast("q")
    rows = (len(words) - HEADER) // ROW
    alike = [words[place] for place in (H_MAGIC, H_HEADER, H_ROW, H_ROWS, H_BOUNDS)]
    bounds = tuple(words[H_BOUND : H_BOUND + len(BOUNDS_US)])
    return words if alike == [MAGIC, HEADER, ROW, rows, len(BOUNDS_US)] and bounds == BOUNDS_US else None


def _take_over(words: memoryview, before: memoryview) -> None:
    """Begin with what was counted before: all workers of then have ended with their master."""
    sequence, counted = before[H_CURRENT] >> 16, before[H_CURRENT] & 0xFFFF
    rows = [HEADER + ROW * (sequence & 1)]
    rows += [HEADER + ROW * row for row in range(TOTALS, before[H_ROWS]) if row != counted]
    for row in rows:
        for place in SUMMED:
            words[HEADER + place] += before[row + place]
        if before[row + R_AGE]:
            words[HEADER + R_LOST] += _in_flight(before, row)
            words[HEADER + R_END + ENDS.index("with_master")] += 1
    for place in (H_STARTED, H_UNCOUNTED, H_TROUBLE, H_CPU_US, H_RSS_KIB):
        words[place] = before[place]
    words[H_MASTERS] = before[H_MASTERS] + 1


def _in_flight(words: memoryview, row: int) -> int:
    """How many requests of a row have begun and not ended."""
    return max(0, words[row + R_BEGUN] - sum(words[row + R_OUTCOME : row + R_OUTCOME + len(OUTCOMES)]))


def how_ended(mark: str, status: int | None) -> str:
    """One of ENDS, from the mark that the worker left and what waitpid() said of it."""
    if mark == "T":
        return "timed_out"
    if status is not None and os.WIFSIGNALED(status):
        return "killed"
    if mark == "R":
        return "recycled"
    return "left" if mark == "E" and status in (0, None) else "died"


def how_answered(resp: Any, error: BaseException | None, environ: Any) -> int:
    """Which of OUTCOMES a request came to, by its place. `error`: the exception that ends it, if one does.

    Gunicorn's async workers end each connection that is not kept by a StopIteration, and so do the libraries that serve
    a WebSocket on the connection itself (simple-websocket): Gunicorn knows of no status then.
    """
    if isinstance(error, StopIteration):
        error = error.__context__
    if error is None:
        status = getattr(resp, "status_code", None) or 0
        if not status and is_websocket(environ):
            return UPGRADED
        return status // 100 - 1 if 100 <= status <= 599 else BROKEN
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & CLIENT_GONE or getattr(error, "errno", None) in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
        return CUT
    if getattr(resp, "headers_sent", False) or isinstance(error, OSError):
        return BROKEN
    return CLIENT_ERROR if "ParseException" in kinds and not kinds & OWN_HEADERS else SERVER_ERROR


def is_websocket(environ: Any) -> bool:
    """Whether a request asks for a WebSocket."""
    return str(environ.get("HTTP_UPGRADE", "")).lower() == "websocket"


def is_own(environ: Any) -> bool:
    """Whether a request came through a private socket."""
    try:
        return str(environ["gunicorn.socket"].getsockname()).startswith(PRIVATE)
    except (OSError, LookupError, TypeError, AttributeError):
        return False


def threads_interrupt() -> bool:
    """Whether one thread may interrupt another one between the reading and the writing of a word (`row[word] += 1`).

    CPython with its global lock changes threads, from 3.10 on, only where a function is called and where a loop begins
    anew (bpo-29988, "only check evalbreaker after calls and on backwards edges"): neither is between the two. A lock is
    most of what a request under threads would pay.
    """
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return not gil or sys.implementation.name != "cpython" or sys.version_info < (3, 10)


UPGRADED, CLIENT_ERROR, SERVER_ERROR, CUT, BROKEN = (
    OUTCOMES.index(name) for name in ("1xx", "4xx", "5xx", "cut", "broken")
)
CLIENT_GONE = frozenset({"NoMoreData", "HTTP2StreamError", "HTTP2ConnectionError"})
ENDED = {status: R_OUTCOME + status // 100 - 1 for status in range(100, 600)}
"""The word of a row that counts an answer of a status: each request meets this, so that it is not reckoned out anew."""
OWN_HEADERS = frozenset({"InvalidResponseHeader", "InvalidResponseHeaderName"})
"""Names of Gunicorn's exceptions: not every version has all of them."""


class _Rows:
    """Which worker has which row: the master's business alone."""

    def __init__(self, words: memoryview) -> None:
        self.words = words
        self.free = list(range(words[H_ROWS] - 1, TOTALS - 1, -1))
        self.taken: dict[int, int] = {}
        self.cpu_us = words[H_CPU_US]

    def take(self, worker: Any) -> memoryview:
        """A row for a worker that is about to be forked; where none is free, one that nobody reads."""
        if not self.free:
            self.words[H_UNCOUNTED] += 1
            return memoryview(bytearray(ROW * WORD)).cast("q")
        place = self.taken[worker.age] = self.free.pop()
        row = self.words[HEADER + ROW * place : HEADER + ROW * (place + 1)]
        row[R_AGE], row[R_SINCE] = worker.age, time.monotonic_ns() // 1000
        return row

    def give_back(self, age: int, end: str) -> None:
        """Add the row of a worker that has ended to the totals, and free it."""
        place = self.taken.pop(age, None)
        if place is None:
            return
        words, row = self.words, HEADER + ROW * place
        sequence = (words[H_CURRENT] >> 16) + 1
        before, after = HEADER + ROW * (sequence + 1 & 1), HEADER + ROW * (sequence & 1)
        for word in SUMMED:
            words[after + word] = words[before + word] + words[row + word]
        words[after + R_LOST] += _in_flight(words, row)
        words[after + R_END + ENDS.index(end)] += 1
        words[H_CURRENT] = sequence << 16 | place
        for word in range(ROW):
            words[row + word] = 0
        words[H_CURRENT] = sequence << 16
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        words[H_CPU_US] = self.cpu_us + int((ended.ru_utime + ended.ru_stime) * 1e6)
        words[H_RSS_KIB] = max(words[H_RSS_KIB], ended.ru_maxrss)
        self.free.append(place)

    def sweep(self, workers: Any) -> None:
        """Free the rows of workers that Gunicorn has forgotten without saying so."""
        ages = {worker.age for worker in workers}
        for age in [age for age in self.taken if age not in ages]:
            self.give_back(age, "died")


def _hooks(words: memoryview, threads: bool) -> Hooks:
    rows = _Rows(words)

    def pre_fork(server: Any, worker: Any) -> None:
        try:
            rows.sweep(server.WORKERS.values())
            worker.headcount_row = rows.take(worker)
        except Exception as error:
            _trouble(words, server.log, error)

    def post_fork(server: Any, worker: Any) -> None:
        try:
            worker.headcount_row[R_PID] = os.getpid()
        except Exception as error:
            _trouble(words, server.log, error)

    def ended(worker: Any, mark: str, status: int | None) -> None:
        rows.give_back(worker.age, how_ended(mark, status))

    pre_request, post_request, ready = _request_hooks(words, threads)
    return Hooks(pre_fork, post_fork, pre_request, post_request, ended, ready)


def _trouble(words: memoryview, log: Any, error: Exception) -> None:
    """Count an error of the recorder's own; the first one is logged."""
    with contextlib.suppress(Exception):
        words[H_TROUBLE] += 1
        if words[H_TROUBLE] == 1:
            log.warning("Headcount's recorder: %r", error)


def _counting(words: memoryview, answering: dict[int, int]) -> Callable[[memoryview, int, int, int, Any], None]:
    """What counts a request that has ended in a worker's row: when it began and when it ended (ns), and how.
    `answering`: as in _request_hooks. A limit is held against the time until its answer began: nobody waits for the end
    of a stream or of a download as for an answer."""
    bucket, upgraded, cut = bisect_left, R_OUTCOME + UPGRADED, R_OUTCOME + CUT
    limits = [(words[H_LIMITS + place], R_OVER + place) for place in range(len(LIMITS)) if words[H_LIMITS + place]]
    least = min((limit for limit, _ in limits), default=1 << 62)

    def count(row: memoryview, since: int, until: int, how: int, environ: Any) -> None:
        took = waited = (until - since) // 1000
        answered = answering.pop(id(environ), None)
        if answered is None:
            row[R_ANSWERED] += 1
        elif answered:
            waited = (answered - since) // 1000
        if how != upgraded:
            row[R_SUM_US] += took
            row[R_BUCKET + bucket(BOUNDS_US, took)] += 1
            if waited > least:
                for limit, place in limits:
                    row[place] += waited > limit
        if how == cut and is_own(environ):
            row[R_OWN_CUT] += 1
        row[how] += 1

    return count


def _request_hooks(
    words: memoryview, threads: bool
) -> tuple[Callable[..., None], Callable[..., None], Callable[..., None]]:
    """pre_request, post_request and ready. Each request meets them, so that they look up as little as they can."""
    began: dict[int, int] = {}
    answering: dict[int, int] = {}
    """The environments of requests in flight that are in R_ANSWERED already, and when the answer began (ns), if so."""
    clock, raised, count = time.monotonic_ns, sys.exc_info, _counting(words, answering)
    turn = threading.Lock() if threads and threads_interrupt() else None

    def pre_request(worker: Any, req: Any) -> None:
        try:
            row = worker.headcount_row
            if turn is None:
                row[R_BEGUN] += 1
            else:
                with turn:
                    row[R_BEGUN] += 1
            began[id(req)] = clock()
        except Exception as error:
            _trouble(words, worker.log, error)

    def post_request(worker: Any, req: Any, environ: Any, resp: Any) -> None:
        try:
            until = clock()
            since = began.pop(id(req))
            error = raised()[1]
            how = ENDED.get(resp.status_code) if error is None else None
            if how is None:
                how = R_OUTCOME + how_answered(resp, error, environ)
            if turn is None:
                count(worker.headcount_row, since, until, how, environ)
            else:
                with turn:
                    count(worker.headcount_row, since, until, how, environ)
        except Exception as error:
            _trouble(words, worker.log, error)

    def ready(worker: Any) -> None:
        row = getattr(worker, "headcount_row", None)
        if row is not None:
            worker.wsgi = _telling(worker, row, answering, turn, words)
            words[H_ANSWERS] = 1

    return pre_request, post_request, ready


MUCH = len("1000000")
"""So many digits has the length of a body that takes its time to come."""


class _Body:
    """The body of a request, which tells while the app waits for more of it: then it is the client that is slow."""

    __slots__ = ("_body", "_told")

    def __init__(self, body: Any, told: Callable[[int], bool]) -> None:
        self._body = body
        self._told = told

    def _waiting(self, part: Callable[..., Any], *size: Any) -> Any:
        counted = self._told(1)
        try:
            return part(*size)
        finally:
            if counted:
                self._told(-1)

    def read(self, *size: Any) -> Any:
        return self._waiting(self._body.read, *size)

    def readline(self, *size: Any) -> Any:
        return self._waiting(self._body.readline, *size)

    def readlines(self, *hint: Any) -> Any:
        return self._waiting(self._body.readlines, *hint)

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> Any:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)


def _telling(
    worker: Any, row: memoryview, answering: dict[int, int], turn: Any, words: memoryview
) -> Callable[..., Any]:
    """The app of a worker, which tells on the way when an answer begins."""
    serve, log, clock = worker.wsgi, worker.log, time.monotonic_ns

    def begin(request: int, answered: int) -> None:
        try:
            known = request in answering
            answering[request] = answered
            if known:
                return
            if turn is None:
                row[R_ANSWERED] += 1
            else:
                with turn:
                    row[R_ANSWERED] += 1
        except Exception as error:
            _trouble(words, log, error)

    def reading(request: int, more: int) -> bool:
        try:
            if more > 0 and request in answering:
                return False
            if turn is None:
                row[R_ANSWERED] += more
            else:
                with turn:
                    row[R_ANSWERED] += more
            return True
        except Exception as error:
            _trouble(words, log, error)
            return False

    def watch(environ: Any) -> None:
        length = environ.get("CONTENT_LENGTH")
        if (length and len(length) >= MUCH) or "HTTP_TRANSFER_ENCODING" in environ or is_websocket(environ):
            begin(id(environ), 0)
        elif length and length != "0" and "wsgi.input" in environ:
            environ["wsgi.input"] = _Body(environ["wsgi.input"], partial(reading, id(environ)))

    def app(environ: Any, start_response: Any) -> Any:
        def start(status: Any, headers: Any, exc_info: Any = None) -> Any:
            begin(id(environ), clock())
            return start_response(status, headers, exc_info)

        if "CONTENT_LENGTH" in environ or "HTTP_TRANSFER_ENCODING" in environ or "HTTP_UPGRADE" in environ:
            watch(environ)
        return serve(environ, start)

    return app
