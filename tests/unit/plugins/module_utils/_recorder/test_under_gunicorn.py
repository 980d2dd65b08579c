# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The recorder under a real Gunicorn: it counts what a client counts for itself, whatever happens to workers."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import threading
from collections import Counter
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._recorder import configuration, instance
from counted_gunicorn import PYTHON, Server, serving

CLASSES = ["sync", "gthread", "gevent", "eventlet"]
MIXED = ["/"] * 12 + ["/missing", "/error", "/raises", "/breaks", "/wait0.02", "/wait0.08", "cut"]


def skip_where_missing(worker_class: str) -> None:
    if worker_class in ("gevent", "eventlet"):
        probe = f"import {worker_class}, gunicorn; import gunicorn.workers.g{worker_class}"
        if worker_class == "eventlet":
            probe = "import gunicorn.workers.geventlet"
        if subprocess.run([PYTHON, "-c", probe], check=False, capture_output=True).returncode:
            pytest.skip(f"there is no {worker_class} worker here")


def expected(seen: Counter[str]) -> dict[str, int]:
    """What the recorder should say of what a client saw."""
    return {
        "1xx": 0,
        "2xx": seen["200"],
        "3xx": 0,
        "4xx": seen["404"],
        "5xx": seen["503"] + seen["500"],
        "cut": seen["cut"],
        "broken": seen["broken"],
    }


@pytest.mark.parametrize("worker_class", CLASSES)
def test_it_counts_what_the_client_counts(worker_class: str, tmp_path: Path) -> None:
    skip_where_missing(worker_class)
    limits = {"p50_ms": 10, "p95_ms": 60}
    # An event loop looks only once a second whether it has answered enough: it may answer hundreds more until then.
    recycled = 1 if worker_class in ("gevent", "eventlet") else 3
    with serving(tmp_path / "run", worker_class, limits, max_requests=100, max_requests_jitter=20) as server:
        server.ask_all(MIXED * 40)
        mixed = server.counted(lambda found: found.tally.in_flight == 0 and found.tally.ends["recycled"] >= recycled)
        assert mixed.tally.outcomes == expected(server.seen)
        # Older versions of Gunicorn drop a connection that they have not read from when they recycle a worker.
        dropped = server.seen.pop("lost", 0)
        assert mixed.tally.begun == sum(server.seen.values()) == len(MIXED) * 40 - dropped
        assert (mixed.tally.lost, mixed.tally.answering) == (0, 0)
        assert sum(mixed.tally.buckets) == mixed.tally.ended
        assert mixed.tally.over["p95"] >= 40, "those that wait 80 ms"
        assert mixed.tally.over["p50"] >= 80, "and those that wait 20 ms, and on a busy machine more than 60"
        assert mixed.limits_ms == {"p50": 10, "p95": 60}
        assert (mixed.trouble, mixed.uncounted, mixed.masters) == (0, 0, 1)
        assert mixed.ended_cpu_s > 0
        assert mixed.ended_rss_mib > 5

        server.kill_workers()  # one that has answered enough would count as replaced, whoever ends it
        before = server.counted().tally.ends["killed"]
        killed = sum(lose_what_is_in_flight(server) for _ in range(3)) + 3
        for _ in range(3):
            server.ask("/")
            server.counted()  # who has its answer may kill the worker before that thread has counted it
            server.ask("/kill")
        found = server.counted(lambda found: found.tally.ends["killed"] == before + killed)
        assert found.tally.lost == server.seen["lost"]
        assert found.tally.outcomes == expected(server.seen)
        assert found.tally.begun == sum(server.seen.values())


def lose_what_is_in_flight(server: Server) -> int:
    """Two requests wait in the app when all workers are killed; how many those were."""
    clients = [threading.Thread(target=server.ask, args=("/wait30",)) for _ in range(2)]
    for client in clients:
        client.start()
    server.counted(lambda found: found.tally.in_flight == 2)
    killed = server.kill_workers()
    for client in clients:
        client.join()
    server.counted()
    return killed


HEADS = {
    "GET /wait2 HTTP/1.1": 0,
    "GET /stream2 HTTP/1.1": 1,
    "GET /wait2 HTTP/1.1\r\nUpgrade: WebSocket": 1,
    "GET /wait2 HTTP/1.1\r\nUpgrade: h2c": 0,
    "POST /wait2 HTTP/1.1\r\nContent-Length: 2000000": 1,
    "POST /wait2 HTTP/1.1\r\nContent-Length: 2000": 0,
    "POST /wait2 HTTP/1.1\r\nTransfer-Encoding: chunked": 1,
}
"""Heads of requests that take 2 s, and whether nobody waits for those as for an answer."""


@pytest.mark.parametrize("worker_class", CLASSES)
def test_what_is_answered_in_part_is_not_taken_for_what_waits(worker_class: str, tmp_path: Path) -> None:
    skip_where_missing(worker_class)
    settings = {"workers": 8} if worker_class == "sync" else {"threads": 8}
    with serving(tmp_path, worker_class, **settings) as server:
        server.ask("/")
        assert server.counted().tally.answering == 0
        connections = [server.send(head) for head in HEADS]
        all_begun = server.counted(lambda found: found.tally.in_flight == len(HEADS))
        server.counted(lambda found: found.tally.answering == sum(HEADS.values()))
        assert all_begun.tally.begun == len(HEADS) + 1
        for connection in connections:
            while connection.recv(4096):
                pass
            connection.close()
        ended = server.counted().tally
        assert (ended.answering, ended.unanswered, ended.ended) == (0, 0, len(HEADS) + 1)
        assert server.counted().trouble == 0


@pytest.mark.parametrize("worker_class", CLASSES)
def test_a_websocket_that_ends_well_is_neither_broken_nor_slow(worker_class: str, tmp_path: Path) -> None:
    """Served as simple-websocket does under Flask-SocketIO and Flask-Sock: on the connection itself."""
    skip_where_missing(worker_class)
    with serving(tmp_path, worker_class, {"p95_ms": 20}) as server:
        connection = server.send("GET /websocket HTTP/1.1\r\nUpgrade: websocket")
        assert connection.recv(4096).startswith(b"HTTP/1.1 101 ")
        while connection.recv(4096):
            pass
        connection.close()
        ended = server.counted(lambda found: found.tally.ended == 1)
        assert ended.tally.outcomes == {**expected(Counter()), "1xx": 1}
        assert (sum(ended.tally.buckets), ended.tally.seconds, ended.tally.over["p95"]) == (0, 0, 0)
        assert (ended.tally.answering, ended.tally.unanswered, ended.trouble) == (0, 0, 0)


@pytest.mark.parametrize("worker_class", CLASSES)
def test_limits_are_held_against_the_time_until_an_answer_begins(worker_class: str, tmp_path: Path) -> None:
    skip_where_missing(worker_class)
    with serving(tmp_path, worker_class, {"p95_ms": 200}) as server:
        for path in ("/stream0.5", "/wait0.5"):
            connection = server.send(f"GET {path} HTTP/1.1")
            while connection.recv(4096):
                pass
            connection.close()
        ended = server.counted(lambda found: found.tally.ended == 2)
        assert ended.tally.over["p95"] == 1
        assert ended.tally.seconds >= 1.0, "how long they took is counted whole"


@pytest.mark.parametrize("worker_class", CLASSES)
def test_a_short_body_that_comes_slowly_is_not_waited_for_before_it_has_come(worker_class: str, tmp_path: Path) -> None:
    skip_where_missing(worker_class)
    with serving(tmp_path, worker_class) as server:
        connection = server.send("POST /upload HTTP/1.1\r\nContent-Length: 6")
        connection.sendall(b"abc")
        server.counted(lambda found: (found.tally.in_flight, found.tally.answering) == (1, 1))
        connection.sendall(b"def")
        server.counted(lambda found: (found.tally.in_flight, found.tally.answering) == (1, 0))
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        connection.close()
        ended = server.counted()
        assert (ended.tally.answering, ended.tally.unanswered, ended.trouble) == (0, 0, 0)


def test_requests_of_a_connection_that_is_kept_count_each(tmp_path: Path) -> None:
    with serving(tmp_path, "gthread", keepalive=5) as server:
        server.ask("/")
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        for _ in range(20):
            connection.request("GET", "/")
            connection.getresponse().read()
        connection.close()
        assert server.counted().tally.begun == 21


def test_a_worker_that_hangs_counts_as_timed_out(tmp_path: Path) -> None:
    with serving(tmp_path, "sync", timeout=1) as server:
        server.ask("/wait30")
        found = server.counted(lambda found: found.tally.ends["timed_out"] == 1)
        assert found.tally.lost + found.tally.outcomes["5xx"] == 1


def test_what_was_counted_outlives_the_master(tmp_path: Path) -> None:
    with serving(tmp_path, "sync") as server:
        server.ask_all(["/"] * 20)
        waiting = threading.Thread(target=server.ask, args=("/wait30",))
        waiting.start()
        # In flight is the one that waits, not the last of the others: a client has its answer before that is counted.
        server.counted(lambda found: (found.tally.ended, found.tally.in_flight, len(found.workers)) == (20, 1, 2))
        os.killpg(server.process.pid, signal.SIGKILL)  # as systemd does with the group of a service
        waiting.join()
    with serving(tmp_path, "sync") as again:
        again.ask("/missing")
        found = again.counted(lambda found: found.tally.in_flight == 0 and found.masters == 2)
        assert found.tally.outcomes == {**dict.fromkeys(instance.OUTCOMES, 0), "2xx": 20, "4xx": 1}
        assert (found.tally.lost, found.tally.ends["with_master"]) == (1, 2)


def test_workers_that_leave_in_order_have_left(tmp_path: Path) -> None:
    with serving(tmp_path, "sync") as server:
        served = server.counted()
        while not served.workers or not all(worker.begun for worker in served.workers):
            server.ask_all(["/wait0.05"] * 4, at_once=4)  # a worker that has not begun yet hears no signal to leave
            served = server.counted()
        server.stop()
        found = server.counted()
        assert found.workers == ()
        assert (found.tally.begun, found.tally.ends["left"]) == (served.tally.begun, 2)


OWN = configuration.program()
WRONG = {
    "no program": "",
    "it cannot be imported": "import nowhere",
    "no room": f"{OWN}\ndef _full(*_):\n    raise OSError(28, 'No space left')\nos.posix_fallocate = _full\n",
    "no row": f"{OWN}\n_Rows.take = None\n",
    "no clock": f"{OWN}\ntime.monotonic_ns = None\n",
    "no end": f"{OWN}\n_Rows.give_back = None\n",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_the_app_serves_where_the_recorder_cannot_count(wrong: str, tmp_path: Path) -> None:
    with serving(tmp_path, "sync", program=WRONG[wrong], max_requests=3) as server:
        assert [server.ask("/") for _ in range(20)] == ["200"] * 20
        assert "recorder" in (tmp_path / "log").read_text() or wrong == "no end"


def test_the_app_serves_where_something_is_in_the_place_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "recorder" / "wedged").mkdir(parents=True)
    with serving(tmp_path, "sync") as server:
        assert [server.ask("/") for _ in range(5)] == ["200"] * 5
        assert "Headcount's recorder does not count: " in (tmp_path / "log").read_text()


def test_a_pipe_in_the_place_of_its_file_holds_up_no_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "recorder")
    with serving(tmp_path, "sync") as server:
        assert [server.ask("/") for _ in range(5)] == ["200"] * 5
        assert server.counted(lambda found: found.tally.in_flight == 0).tally.begun == 5


def test_nobody_writes_to_the_file_by_its_name(tmp_path: Path) -> None:
    with serving(tmp_path, "sync") as server:
        server.ask("/")
        assert (tmp_path / "recorder").stat().st_mode & 0o777 == 0o400
        assert (tmp_path / "recorder").stat().st_size < 16384
