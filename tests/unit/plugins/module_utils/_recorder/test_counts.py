# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The recorder's words: each request is seen once, whenever the master is killed; what is no recorder's is not read."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._recorder import counts, instance

LIMITS = (10.0, None, 500.0)


class Log:
    """Gunicorn's log, as far as the recorder uses it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, text: str, *values: object) -> None:
        self.lines.append(text % values)


class Master:
    """A master of Gunicorn that forks nothing."""

    def __init__(self, folder: Path, workers: int = 2, threads: bool = False) -> None:
        self.log = Log()
        self.WORKERS: dict[int, Any] = {}
        instance._started.clear()
        self.hooks = instance.start(str(folder), workers, threads, LIMITS)

    def fork(self, age: int) -> Any:
        worker = SimpleNamespace(age=age, pid=1000 + age, log=self.log)
        self.hooks.pre_fork(self, worker)
        self.hooks.post_fork(self, worker)
        self.WORKERS[worker.pid] = worker
        return worker

    def end(self, worker: Any, mark: str = "E", status: int | None = 0) -> None:
        del self.WORKERS[worker.pid]
        self.hooks.ended(worker, mark, status)


def answer(master: Master, worker: Any, status: int = 200, times: int = 1) -> None:
    for _ in range(times):
        request = object()
        master.hooks.pre_request(worker, request)
        master.hooks.post_request(worker, request, {}, SimpleNamespace(status_code=status, headers_sent=True))


def read(folder: Path) -> counts.Counts:
    found = counts.read(str(folder))
    assert found is not None
    return found


def leave(master: Master, worker: Any, name: Any) -> None:
    """A client goes away within an answer; `name`: of the socket that it came through."""
    request = object()
    master.hooks.pre_request(worker, request)
    try:
        raise BrokenPipeError(errno.EPIPE, "")
    except BrokenPipeError:
        environ = {"gunicorn.socket": SimpleNamespace(getsockname=lambda: name)}
        master.hooks.post_request(worker, request, environ, SimpleNamespace(status_code=200, headers_sent=True))


def test_where_nothing_counts_nothing_is_read(tmp_path: Path) -> None:
    assert counts.read(str(tmp_path)) is None


@pytest.mark.parametrize("threads", [False, True])
def test_requests_count_while_they_run_and_when_they_have_ended(tmp_path: Path, threads: bool) -> None:
    master = Master(tmp_path, threads=threads)
    one, other = master.fork(1), master.fork(2)
    answer(master, one, 200, 3)
    answer(master, other, 404)
    waiting = object()
    master.hooks.pre_request(other, waiting)
    found = read(tmp_path)
    assert found.tally.outcomes == {"1xx": 0, "2xx": 3, "3xx": 0, "4xx": 1, "5xx": 0, "cut": 0, "broken": 0}
    assert (found.tally.begun, found.tally.in_flight, found.tally.ended) == (5, 1, 4)
    assert [(worker.age, worker.begun, worker.in_flight) for worker in found.workers] == [(1, 3, 0), (2, 2, 1)]
    assert all(worker.pid == os.getpid() for worker in found.workers)
    assert found.limits_ms == {"p50": 10.0, "p99": 500.0}


def test_threads_that_change_as_often_as_they_can_lose_no_request(tmp_path: Path) -> None:
    master = Master(tmp_path, threads=True)
    worker = master.fork(1)
    threads, times = 8, 3_000
    together = threading.Barrier(threads)

    def ask() -> None:
        together.wait()
        answer(master, worker, times=times)

    asking = [threading.Thread(target=ask) for _ in range(threads)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    tally = read(tmp_path).tally
    assert (tally.outcomes["2xx"], tally.begun) == (threads * times, threads * times)


def test_threads_take_turns_where_they_may_change_within_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    for version, name in (((3, 9, 2), "cpython"), ((3, 10, 0), "cpython"), ((3, 11, 2), "pypy")):
        monkeypatch.setattr(sys, "version_info", version)
        monkeypatch.setattr(sys, "implementation", SimpleNamespace(name=name))
        told.append(instance.threads_interrupt())
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    monkeypatch.setattr(sys, "implementation", SimpleNamespace(name="cpython"))
    assert (*told, instance.threads_interrupt()) == (True, False, True, True)


def test_a_worker_that_ended_is_in_the_totals_and_its_row_serves_the_next(tmp_path: Path) -> None:
    master = Master(tmp_path, workers=1)
    for age in range(1, 200):
        worker = master.fork(age)
        answer(master, worker, times=2)
        master.end(worker, "R")
    found = read(tmp_path)
    assert (found.tally.begun, found.tally.outcomes["2xx"], found.tally.ends["recycled"]) == (398, 398, 199)
    assert (found.workers, found.uncounted) == ((), 0)


def test_what_a_killed_worker_had_begun_is_lost(tmp_path: Path) -> None:
    master = Master(tmp_path)
    worker = master.fork(1)
    answer(master, worker)
    master.hooks.pre_request(worker, object())
    master.end(worker, " ", signal.SIGKILL)
    tally = read(tmp_path).tally
    assert (tally.begun, tally.lost, tally.in_flight, tally.errors, tally.ends["killed"]) == (2, 1, 0, 1, 1)


@pytest.mark.parametrize("threads", [False, True])
def test_an_answer_that_has_begun_is_told_from_one_that_is_waited_for(tmp_path: Path, threads: bool) -> None:
    master = Master(tmp_path, threads=threads)
    worker = master.fork(1)
    master.hooks.pre_request(worker, object())
    assert read(tmp_path).tally.answering is None, "not counted before a worker has loaded the app"
    calls: list[Any] = []

    def serve(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        start_response("500 Oh", [], exc_info=(None, None, None))
        return [b"ok"]

    worker.wsgi = serve
    master.hooks.ready(worker)
    request, environ = object(), {"CONTENT_LENGTH": ""}
    master.hooks.pre_request(worker, request)
    assert worker.wsgi(environ, lambda *given, **named: calls.append((given, named))) == [b"ok"]
    assert [given[2] for given, _ in calls] == [None, (None, None, None)]
    tally = read(tmp_path).tally
    assert (tally.in_flight, tally.answering, tally.unanswered) == (2, 1, 1)
    master.hooks.post_request(worker, request, environ, SimpleNamespace(status_code=200, headers_sent=True))
    tally = read(tmp_path).tally
    assert (tally.in_flight, tally.answering, tally.unanswered) == (1, 0, 1)
    master.end(worker, " ", signal.SIGKILL)
    assert (read(tmp_path).tally.lost, read(tmp_path).tally.answering) == (1, 0)


@pytest.mark.parametrize("threads", [False, True])
def test_a_body_that_is_still_coming_is_no_wait_for_the_app(tmp_path: Path, threads: bool) -> None:
    """However short it is: its client is slow, and not the app. What follows is waited for."""
    master = Master(tmp_path, threads=threads)
    worker = master.fork(1)
    seen: list[int | None] = []

    def look() -> None:
        seen.append(read(tmp_path).tally.answering)

    class Coming(io.BytesIO):
        name = "of the server's own"

        def read(self, size: int | None = -1) -> bytes:
            look()
            return super().read(size)

        def readline(self, size: int | None = -1) -> bytes:
            look()
            return super().readline(size)

        def readlines(self, hint: int | None = -1) -> list[bytes]:
            look()
            raise OSError("it went away")

    def serve(environ: Any, start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"]
        look()
        assert (body.read(2), body.readline(), list(body), body.name) == (b"ab", b"c\n", [b"d\n"], Coming.name)
        look()
        with pytest.raises(OSError, match="it went away"):
            body.readlines()
        look()
        start_response("200 OK", [])
        assert body.read() == b""
        return []

    worker.wsgi = serve
    master.hooks.ready(worker)
    request, environ = object(), {"CONTENT_LENGTH": "6", "wsgi.input": Coming(b"abc\nd\n")}
    master.hooks.pre_request(worker, request)
    worker.wsgi(environ, lambda *_: None)
    assert seen == [0, 1, 1, 1, 1, 0, 1, 0, 1]
    master.hooks.post_request(worker, request, environ, SimpleNamespace(status_code=200, headers_sent=True))
    tally = read(tmp_path).tally
    assert (tally.in_flight, tally.answering, tally.unanswered) == (0, 0, 0)
    assert read(tmp_path).trouble == 0


def test_a_request_without_a_body_keeps_the_servers_own(tmp_path: Path) -> None:
    master = Master(tmp_path)
    worker = master.fork(1)
    given = io.BytesIO()
    worker.wsgi = lambda environ, _: [environ["wsgi.input"]]
    master.hooks.ready(worker)
    for more in ({}, {"CONTENT_LENGTH": ""}, {"CONTENT_LENGTH": "0"}):
        assert worker.wsgi({"wsgi.input": given, **more}, None) == [given]


def test_a_worker_that_gunicorn_forgets_gives_its_row_back(tmp_path: Path) -> None:
    master = Master(tmp_path)
    worker = master.fork(1)
    answer(master, worker, times=4)
    master.WORKERS.clear()
    master.fork(2)
    found = read(tmp_path)
    assert (found.tally.begun, found.tally.ends["died"], len(found.workers)) == (4, 1, 1)


def test_more_workers_than_there_is_room_for_are_told_of(tmp_path: Path) -> None:
    master = Master(tmp_path, workers=1)
    workers = [master.fork(age) for age in range(1, 12)]
    for worker in workers:
        answer(master, worker)
        master.end(worker)
    found = read(tmp_path)
    assert (found.uncounted, found.tally.begun) == (2, 9)
    assert master.log.lines == []


class Killed(Exception):
    """The master, in the middle of a step."""


class Dying:
    """Words whose owner is killed before it writes for the nth time."""

    def __init__(self, words: Any, left: int) -> None:
        self.words, self.left = words, left

    def __getitem__(self, place: Any) -> Any:
        return self.words[place]

    def __setitem__(self, place: Any, value: Any) -> None:
        if not self.left:
            raise Killed
        self.left -= 1
        self.words[place] = value


@pytest.mark.parametrize("writes", [0, 1, 20, *range(50, 60), 61, 70, 90, 110, *range(118, 125)])
def test_each_request_counts_once_wherever_the_master_is_killed(
    tmp_path: Path, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    monkeypatch.setattr(instance, "_Rows", lambda words, kind=instance._Rows: made.append(kind(words)) or made[-1])
    master = Master(tmp_path)
    one, other = master.fork(1), master.fork(2)
    answer(master, one, 200, 5)
    answer(master, other, 500, 3)
    master.end(master.fork(3))
    rows = made[0]
    rows.words = Dying(rows.words, writes)
    with contextlib.suppress(Killed):
        master.end(one)
    assert read(tmp_path).tally.outcomes["2xx"] == 5
    assert read(tmp_path).tally.outcomes["5xx"] == 3
    again = Master(tmp_path)
    answer(again, again.fork(1), 200)
    found = read(tmp_path)
    assert (found.tally.begun, found.tally.outcomes["2xx"], found.tally.outcomes["5xx"]) == (9, 6, 3)
    assert (found.tally.lost, found.masters) == (0, 2)


def test_a_reload_counts_on(tmp_path: Path) -> None:
    master = Master(tmp_path)
    assert instance.start(str(tmp_path), 4, False, LIMITS) is master.hooks


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it was emptied or written over"),
        (b"x" * 5000, "no recorder's file"),
        (None, "cut off"),
    ],
)
def test_what_is_no_recorders_file_is_refused(tmp_path: Path, data: bytes | None, why: str) -> None:
    Master(tmp_path)
    path = tmp_path / instance.FILE
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[:-8] if data is None else data)
    with pytest.raises(counts.Unreadable, match=why):
        counts.read(str(tmp_path))


@pytest.mark.parametrize("place", [instance.H_ROW, instance.H_BOUND + 3])
def test_another_versions_file_is_told_as_such_and_is_not_taken_over(tmp_path: Path, place: int) -> None:
    master = Master(tmp_path)
    answer(master, master.fork(1))
    path = tmp_path / instance.FILE
    data = bytearray(path.read_bytes())
    data[place * 8 : place * 8 + 8] = (12345).to_bytes(8, "little")
    path.unlink()
    path.write_bytes(data)
    with pytest.raises(counts.Unreadable, match="another version"):
        counts.read(str(tmp_path))
    Master(tmp_path)
    assert read(tmp_path).tally.begun == 0


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (instance.H_STARTED, -1),
        (instance.H_STARTED, 1 << 62),
        (instance.H_CPU_US, -5),
        (instance.H_RSS_KIB, 1 << 60),
        (instance.HEADER + instance.R_BEGUN, -7),
        (instance.HEADER + instance.ROW + instance.R_BEGUN, 1 << 60),
        (instance.HEADER + 2 * instance.ROW + instance.R_OUTCOME + 4, 1 << 60),
        (instance.HEADER + 2 * instance.ROW + instance.R_BUCKET, -(1 << 40)),
        (instance.HEADER + 2 * instance.ROW + instance.R_PID, -1),
    ],
)
def test_what_nothing_can_have_counted_is_not_told(tmp_path: Path, place: int, value: int) -> None:
    """The app wrote to the file: neither a status nor a guard goes by it."""
    master = Master(tmp_path)
    answer(master, master.fork(1), 200, 3)
    path = tmp_path / instance.FILE
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    memoryview(data).cast("q")[place] = value
    with pytest.raises(counts.Unreadable, match=f"it holds {value}, which nothing can have counted"):
        counts.parse(bytes(data))


def test_what_an_instance_has_counted_in_years_is_told(tmp_path: Path) -> None:
    master = Master(tmp_path)
    row = master.fork(1).headcount_row
    row[instance.R_BEGUN] = row[instance.R_OUTCOME + 1] = 1 << 41
    row[instance.R_SUM_US] = 1 << 57
    assert read(tmp_path).tally.ended == 1 << 41


def test_what_is_counted_in_a_file_that_somebody_removed_is_read_from_its_master(tmp_path: Path) -> None:
    master = Master(tmp_path)
    answer(master, master.fork(1))
    (tmp_path / instance.FILE).unlink()
    assert counts.read(str(tmp_path)) is None
    assert counts.read(str(tmp_path), 1 << 22) is None, "that process is gone"
    answer(master, master.fork(2))
    for something_else in (None, b"x" * 5000):
        if something_else is not None:
            (tmp_path / instance.FILE).write_bytes(something_else)
        found = counts.read(str(tmp_path), os.getpid())
        assert found is not None
        assert found.tally.begun == 2


def test_links_and_pipes_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / instance.FILE).symlink_to("/etc/shadow")
    assert counts.read(str(tmp_path)) is None
    (tmp_path / instance.FILE).unlink()
    os.mkfifo(tmp_path / instance.FILE)
    assert counts.read(str(tmp_path)) is None


def test_an_error_of_its_own_fails_no_request_and_is_told_once(tmp_path: Path) -> None:
    master = Master(tmp_path)
    worker = SimpleNamespace(age=9, log=master.log)  # which nobody gave a row
    for _ in range(3):
        answer(master, worker)
    assert read(tmp_path).trouble == 6
    assert len(master.log.lines) == 1


@pytest.mark.parametrize(
    ("mark", "status", "end"),
    [
        ("R", 0, "recycled"),
        ("T", signal.SIGABRT, "timed_out"),
        ("T", 256, "timed_out"),
        (" ", signal.SIGKILL, "killed"),
        ("E", signal.SIGTERM, "killed"),
        ("E", 0, "left"),
        ("E", None, "left"),
        ("E", 256, "died"),
        (" ", 0, "died"),
    ],
)
def test_how_a_worker_ended(mark: str, status: int | None, end: str) -> None:
    assert instance.how_ended(mark, status) == end


def gunicorns(name: str, *bases: type[BaseException]) -> BaseException:
    return type(name, bases or (Exception,), {})("on purpose")


def after(error: BaseException) -> StopIteration:
    stop = StopIteration()
    stop.__context__ = error
    return stop


SENT, UNSENT = SimpleNamespace(status_code=200, headers_sent=True), SimpleNamespace(status_code=200, headers_sent=False)
PARSE = type("ParseException", (Exception,), {})


@pytest.mark.parametrize(
    ("resp", "error", "outcome"),
    [
        (SimpleNamespace(status_code=101), None, "1xx"),
        (SENT, None, "2xx"),
        (SENT, StopIteration(), "2xx"),
        (SENT, after(RuntimeError()), "broken"),
        (SimpleNamespace(status_code=599), None, "5xx"),
        (SimpleNamespace(status_code=999), None, "broken"),
        (SimpleNamespace(), None, "broken"),
        (None, RuntimeError(), "5xx"),
        (UNSENT, RuntimeError(), "5xx"),
        (UNSENT, SystemExit(1), "5xx"),
        (SENT, RuntimeError(), "broken"),
        (SENT, BrokenPipeError(errno.EPIPE, ""), "cut"),
        (UNSENT, ConnectionResetError(errno.ECONNRESET, ""), "cut"),
        (None, FileNotFoundError(errno.ENOENT, ""), "broken"),
        (None, gunicorns("NoMoreData", OSError), "cut"),
        (None, gunicorns("HTTP2StreamError"), "cut"),
        (None, gunicorns("ExpectationFailed", PARSE), "4xx"),
        (UNSENT, gunicorns("InvalidResponseHeader", PARSE), "5xx"),
    ],
)
def test_how_a_request_was_answered(resp: Any, error: BaseException | None, outcome: str) -> None:
    assert instance.OUTCOMES[instance.how_answered(resp, error, {})] == outcome


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        (None, StopIteration(), "1xx"),
        (None, None, "1xx"),
        (None, after(RuntimeError()), "5xx"),
        (None, ConnectionResetError(errno.ECONNRESET, ""), "cut"),
        (400, None, "4xx"),
    ],
)
def test_a_websocket_that_its_library_serves_has_no_status_of_gunicorns(
    status: int | None, error: BaseException | None, outcome: str
) -> None:
    resp = SimpleNamespace(status_code=status, headers_sent=False)
    assert instance.OUTCOMES[instance.how_answered(resp, error, {"HTTP_UPGRADE": "WebSocket"})] == outcome


@pytest.mark.parametrize("threads", [False, True])
def test_what_the_end_of_a_trial_cuts_is_told_apart_from_users_who_leave(tmp_path: Path, threads: bool) -> None:
    """Also once its worker has ended, and once another master has taken the counts over."""
    master = Master(tmp_path, threads=threads)
    worker = master.fork(1)
    answer(master, worker, 200, 4)
    leave(master, worker, ("127.0.0.1", 8000))
    for name in ("/run/headcount/shop/live.sock", "/run/headcount/shop/live.sock", "/run/shop.sock"):
        leave(master, worker, name)
    whole = counts.Tally(outcomes={**counts.Tally().outcomes, "2xx": 4, "cut": 2}, own_cut=2)
    for again in (lambda: None, lambda: master.end(worker), lambda: Master(tmp_path, threads=threads)):
        again()
        told = read(tmp_path).tally
        assert (told.outcomes, told.own_cut, told.ended, told.in_flight) == (whole.outcomes, 2, 8, 0)
        assert sum(told.buckets) == 8
    assert told.since(whole).own_cut == 0


def test_a_quantile_lies_in_its_bucket() -> None:
    buckets = [0] * (len(counts.BOUNDS_S) + 1)
    buckets[counts.BOUNDS_S.index(0.05)] = 90
    buckets[counts.BOUNDS_S.index(0.3)] = 10
    tally = counts.Tally(buckets=buckets)
    assert tally.quantile_s(0.5) == pytest.approx(0.03 + 0.02 * 50 / 90)
    assert 0.2 < (tally.quantile_s(0.95) or 0) <= 0.3
    assert counts.Tally().quantile_s(0.5) is None
    buckets[-1] = 1000
    assert counts.Tally(buckets=buckets).quantile_s(0.5) == counts.BOUNDS_S[-1]


def test_what_came_since_a_reading_is_a_difference(tmp_path: Path) -> None:
    master = Master(tmp_path)
    worker = master.fork(1)
    answer(master, worker, 200, 5)
    before = read(tmp_path).tally
    answer(master, worker, 500, 2)
    late = read(tmp_path).tally.since(before)
    assert (late.begun, late.outcomes["2xx"], late.outcomes["5xx"], sum(late.buckets)) == (2, 0, 2, 2)
    assert late.to_dict()["outcomes"] == dict(late.outcomes)
