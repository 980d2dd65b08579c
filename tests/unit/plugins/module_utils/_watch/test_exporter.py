# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What Prometheus gets: a page that its format allows, with bounded labels, whatever state an app is in."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts.unitusage import UnitMemory
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import ledger
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.exporterunit import split
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout
from ansible_collections.headcount.gunicorn.plugins.module_utils._recorder.counts import BOUNDS_S, Counts, Tally
from ansible_collections.headcount.gunicorn.plugins.module_utils._watch import exporter
from ansible_collections.headcount.gunicorn.plugins.module_utils._watch.metrics import Past, page
from ansible_collections.headcount.gunicorn.plugins.module_utils._watch.view import (
    NOT_DECLARED,
    AppView,
    InstanceView,
    ProcessView,
    WorkerView,
)

BUCKETS = (0, 5, 3, *[0] * (len(BOUNDS_S) - 3), 2)
TALLY = replace(Tally(begun=15, lost=1, seconds=3.5, buckets=BUCKETS, own_cut=2), outcomes={"2xx": 9, "5xx": 1})
COUNTS = Counts(TALLY, (), 1.8e9, 7, {"p95": 250.0}, 1, 0, 0, 0.0, 0.0)
ONE = InstanceView(
    generation=3,
    release="abc",
    live=True,
    unit="shop@3.service",
    state="active",
    counts=COUNTS,
    uncounted="",
    workers=(WorkerView(10, 1, 5.0, 3, 2, 0.5, 20.0), WorkerView(11, 2, 5.0, 3, 0, 0.5, None)),
    slots=8,
    planned_workers=2,
    memory_max_mib=200.0,
    limits=Limits(p95_ms=250),
    memory=UnitMemory("/x", 2, 90.0, 120.5, "", None, 200.0, None, None, 0, None),
    cpu_s=12.25,
    at=100.0,
)
VIEW = AppView("shop", 3, "0.0.0.0:8000", True, 4, (ONE,), 100.0, connections=9)
DEAD = AppView("blog", 2, "unix:/run/blog.sock", False, None, (), 100.0)
SAMPLE = re.compile(r'[a-z_]+(\{[a-z0-9_]+="[^"\n]*"(,[a-z0-9_]+="[^"\n]*")*\})? -?([0-9.e+-]+|\+Inf)')


def samples(text: str) -> dict[str, float]:
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if not line.startswith("#")
    }


def test_the_page_is_in_the_format_of_prometheus() -> None:
    text = page([VIEW, DEAD], {"shop": Past("promoted", "pass", 1.7e9, True)}, {"api": "OSError"}, 0.01)
    assert text.endswith("\n")
    kinds: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in kinds, "a family is told once"
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            assert SAMPLE.fullmatch(line), line
            name = re.split(r"[{ ]", line)[0]
            assert name in kinds or re.sub(r"_(bucket|sum|count)$", "", name) in kinds, line
    assert all(name.endswith("_total") for name, kind in kinds.items() if kind == "counter")
    found = samples(text)
    shop = 'app="shop",generation="3"'
    assert found[f'headcount_requests_total{{{shop},outcome="5xx"}}'] == 1
    assert found[f'headcount_requests_total{{{shop},outcome="trial_cut"}}'] == 2
    assert found[f"headcount_requests_in_flight{{{shop}}}"] == 2
    assert found[f"headcount_slots{{{shop}}}"] == 8
    assert found['headcount_accept_queue_connections{app="shop"}'] == 4
    assert found['headcount_connections{app="shop"}'] == 9
    assert 'headcount_connections{app="blog"}' not in found, "of a unix socket nobody can tell"
    assert found[f"headcount_worker_pss_max_bytes{{{shop}}}"] == 20 * 1024 * 1024
    assert found[f'headcount_request_duration_seconds_bucket{{{shop},le="0.0007"}}'] == 5
    assert found[f'headcount_request_duration_seconds_bucket{{{shop},le="+Inf"}}'] == 10
    assert found[f"headcount_request_duration_seconds_count{{{shop}}}"] == 10
    assert found['headcount_latency_limit_seconds{app="shop",limit="p95"}'] == 0.25
    assert found['headcount_drift{app="shop"}'] == 1
    assert found['headcount_last_run_info{app="shop",event="promoted",verdict="pass"}'] == 1


def test_an_app_that_is_dead_or_cannot_be_looked_at_is_told_of() -> None:
    found = samples(page([VIEW, DEAD], {}, {"api": "OSError"}, 0.01))
    assert found['headcount_app_up{app="shop"}'] == 1
    assert found['headcount_app_up{app="blog"}'] == 0
    assert found['headcount_app_deployed{app="blog"}'] == 1
    assert found['headcount_app_looked_at{app="api"}'] == 0
    assert found['headcount_app_looked_at{app="blog"}'] == 1


def test_one_whose_requests_are_not_counted_is_told_of_all_the_same() -> None:
    uncounted = replace(VIEW, instances=(replace(ONE, counts=None, workers=(), memory=None, cpu_s=None),))
    found = samples(page([uncounted], {}, {}, 0.01))
    assert found['headcount_recorder_up{app="shop",generation="3"}'] == 0
    assert not [name for name in found if "requests" in name or "cpu" in name or "pss" in name]
    unwanted = replace(uncounted, instances=(replace(uncounted.instances[0], uncounted=NOT_DECLARED),))
    assert not [name for name in samples(page([unwanted], {}, {}, 0.01)) if "recorder_up" in name]


def test_further_processes_are_told_of() -> None:
    worker, report = (
        ProcessView("worker:2", False, True, True, 3, 12.5),
        ProcessView("report", True, False, False, 0, None),
    )
    found = samples(page([replace(VIEW, processes=(worker, report))], {}, {}, 0.01))
    assert found['headcount_process_up{app="shop",process="worker:2"}'] == 1
    assert found['headcount_process_restarts{app="shop",process="worker:2"}'] == 3
    assert found['headcount_process_memory_bytes{app="shop",process="worker:2"}'] == 12.5 * 1024 * 1024
    assert found['headcount_process_up{app="shop",process="report"}'] == 0
    assert 'headcount_process_memory_bytes{app="shop",process="report"}' not in found


def test_a_label_is_quoted() -> None:
    odd = replace(VIEW, instances=(replace(ONE, release='a"b\\c\nd'),))
    assert r'release="a\"b\\c\nd"' in page([odd], {}, {}, 0.0)


def test_what_goes_wrong_with_one_app_hides_no_other(tmp_path: Path) -> None:
    for name in ("blog", "shop"):
        layout = Layout(name, str(tmp_path))
        Path(layout.state).mkdir(parents=True)
        ledger.append(layout.ledger, "promoted", **{"from": None, "to": 1}, verdict="pass")

    def look(name: str, root: str) -> AppView:
        if name == "blog":
            raise RuntimeError("on purpose")
        return replace(VIEW, live=None)

    found = samples(exporter.collect(str(tmp_path), look))
    assert found['headcount_app_looked_at{app="blog"}'] == 0
    assert found['headcount_app_looked_at{app="shop"}'] == 1
    assert found['headcount_last_run_timestamp_seconds{app="shop"}'] > 1.6e9


def test_the_time_of_the_ledger_is_read() -> None:
    assert exporter.epoch("2026-11-26T00:03:31.123Z") == 1795651411
    assert exporter.epoch("nonsense") is None


@pytest.fixture
def served() -> Iterator[tuple[int, list[int]]]:
    made: list[int] = []
    fresh = exporter.Fresh(lambda: made.append(1) or f"page {len(made)}\n")
    with exporter.Exporter("127.0.0.1:0", fresh) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], made
        server.shutdown()
        thread.join()


def ask(port: int, path: str) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    told = answer.status, answer.headers["Content-Type"], answer.read().decode()
    connection.close()
    return told


def test_it_answers_over_http_and_looks_at_most_once_in_a_second(served: tuple[int, list[int]]) -> None:
    port, made = served
    status, kind, text = ask(port, "/metrics?x=1")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert text.startswith("page ")
    ask(port, "/metrics")
    assert len(made) <= 2
    assert ask(port, "/")[0] == 404


def test_a_page_is_handed_out_again_while_it_is_fresh() -> None:
    now = [0.0]
    made: list[int] = []
    fresh = exporter.Fresh(lambda: made.append(1) or f"{len(made)}", lambda: now[0])
    assert (fresh.page(), fresh.page()) == ("1", "1")
    now[0] = 1.5
    assert fresh.page() == "2"


@pytest.mark.parametrize(
    ("listen", "parts"), [("127.0.0.1:9788", ("127.0.0.1", 9788)), ("[::1]:80", ("::1", 80)), ("[::]:1", ("::", 1))]
)
def test_an_address_is_taken_apart(listen: str, parts: tuple[str, int]) -> None:
    assert split(listen) == parts


def test_a_textfile_is_written_whole(tmp_path: Path) -> None:
    target = tmp_path / "headcount.prom"
    exporter.write_textfile(str(target), str(tmp_path))
    assert "headcount_exporter_collect_seconds" in target.read_text()


def test_a_textfile_that_cannot_be_written_is_named_as_it_was_asked_for(tmp_path: Path) -> None:
    target = str(tmp_path / "not there" / "headcount.prom")
    with pytest.raises(FileNotFoundError) as raised:
        exporter.write_textfile(target, str(tmp_path))
    assert raised.value.filename == target
