# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a weigh takes for waiting: not the time in which the CPU served others."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import LoadPath
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import http
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import measure as _weigh
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import weighed


def test_schedstat_of_all_threads(tmp_path: Path) -> None:
    for pid, thread, text in ((7, 7, "2000000000 500000000 9"), (7, 8, "1000000000 250000000 4"), (9, 9, "torn")):
        folder = tmp_path / "proc" / str(pid) / "task" / str(thread)
        folder.mkdir(parents=True)
        (folder / "schedstat").write_text(text, encoding="ascii")
    assert weighed.scheduled_seconds([7, 9, 11], str(tmp_path)) == 3.0
    assert weighed.queued_seconds([7, 9, 11], str(tmp_path)) == 0.75


def load(**weights: float) -> list[LoadPath]:
    return [LoadPath(f"/{name}", weight) for name, weight in weights.items()]


class _Candidate:
    """A candidate whose requests take so many ms of CPU, stand in the queue of a busy CPU, and are answered after so
    many in all: by path, in turn. Time passes with the requests alone."""

    main_pid = 1

    def __init__(self, times: dict[str, list[tuple[float, float, float]]]) -> None:
        self.times = {path: itertools.cycle(each) for path, each in times.items()}
        self.cpu = self.queued = self.now = 0.0
        self.asked: list[str] = []

    def cpu_seconds(self) -> float:
        return self.cpu

    def queued_seconds(self) -> float:
        return self.queued

    def memory(self) -> dict[int, Any]:
        worker = type("Memory", (), {"uss_mib": 16.0, "pss_mib": 18.0})()
        return {1: worker, 2: worker}

    def own_mib(self) -> float:
        return 16.0

    def ends(self) -> list[Any]:
        return []

    def request(self, _address: str, asked: Any, _bounds: Any) -> Any:
        self.asked.append(asked.path)
        cpu_ms, queued_ms, wall_ms = next(self.times[asked.path])
        self.cpu, self.queued = self.cpu + cpu_ms / 1000, self.queued + queued_ms / 1000
        self.now += wall_ms / 1000
        return http.Answer(200, b"", wall_ms)


def candidate(monkeypatch: pytest.MonkeyPatch, times: dict[str, list[tuple[float, float, float]]]) -> Any:
    unit = _Candidate(times)
    monkeypatch.setattr(_weigh, "ask", lambda *_: _weigh.Asked([5.0] * 20, 0, 2.0))
    monkeypatch.setattr(_weigh, "request", unit.request)
    monkeypatch.setattr(_weigh, "queued_seconds", lambda pids, root="/": 0.0)
    monkeypatch.setattr(_weigh.time, "monotonic", lambda: unit.now)
    monkeypatch.setattr(_weigh.time, "process_time", lambda: 0.0)
    return unit


@pytest.mark.parametrize(
    ("wall_ms", "expected"),
    [(15.0, {"wall_ms": 5.0, "wait_ratio": 0.0}), (35.0, {"wall_ms": 25.0, "wait_ratio": 4.0})],
)
def test_a_busy_cpu_is_no_waiting(monkeypatch: pytest.MonkeyPatch, wall_ms: float, expected: dict[str, float]) -> None:
    unit = candidate(monkeypatch, {"/page": [(5.0, 10.0, wall_ms)]})
    found = _weigh.weigh(unit, "/socket", load(page=1), 1)
    assert {name: found[name] for name in expected} == expected
    assert (found["cpu_ms"], found["lost_ms"]) == (5.0, 10.0)


def test_each_path_is_told_apart_and_counts_by_its_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = candidate(monkeypatch, {"/page": [(4.0, 0.0, 4.0), (6.0, 0.0, 26.0)], "/report": [(300.0, 0.0, 300.0)]})
    found = _weigh.weigh(unit, "/socket", load(page=19, report=1), 1)
    page, report = found["paths"]
    assert (page["path"], page["weight"], page["cpu_ms"], page["cpu_sd_ms"]) == ("/page", 19.0, 5.0, 1.0)
    assert (page["wait_ms"], page["wait_sd_ms"]) == (10.0, 10.0)
    assert (report["cpu_ms"], report["cpu_sd_ms"]) == (300.0, 0.0)
    assert report["requests"] >= _weigh.PATH_REQUESTS
    assert found["cpu_ms"] == pytest.approx(0.95 * 5.0 + 0.05 * 300.0)
    assert found["wait_ratio"] == pytest.approx(0.95 * 10.0 / 19.75, abs=0.001)


def test_a_path_that_fails_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = candidate(monkeypatch, {"/page": [(5.0, 0.0, 5.0)], "/lost": [(50.0, 0.0, 50.0)]})
    good = unit.request

    def request(address: str, asked: Any, bounds: Any) -> Any:
        answer = good(address, asked, bounds)
        return answer if asked.path == "/page" else http.Answer(404, b"", answer.elapsed_ms)

    monkeypatch.setattr(_weigh, "request", request)
    found = _weigh.weigh(unit, "/socket", load(page=1, lost=1), 1)
    assert [path["requests"] > 0 for path in found["paths"]] == [True, False]
    assert found["cpu_ms"] == 5.0
    assert found["failures"] >= _weigh.PATH_REQUESTS


@pytest.mark.parametrize(
    ("size", "most", "peak_mib", "room_mib", "expected"),
    [
        (2, 64, 30.0, 100.0, 8),  # requests that hold nothing: four times as many
        (8, 20, 30.0, 100.0, 20),  # at most the worker's slots
        (20, 20, 30.0, 100.0, None),
        (2, 64, 46.0, 100.0, 8),  # 8 MiB each: eight take 64 of the 70 that are left
        (8, 64, 94.0, 100.0, None),  # and a ninth does not fit
        (2, 64, 46.0, 80.0, 6),
        (2, 64, 200.0, 100.0, None),
    ],
)
def test_the_crowd_grows_to_what_fits(
    size: int, most: int, peak_mib: float, room_mib: float, expected: int | None
) -> None:
    assert _weigh.next_crowd(size, most, 30.0, peak_mib, room_mib) == expected


class _Server:
    """A candidate of 30 MiB, whose requests hold 8 MiB each."""

    main_pid = 1

    def __init__(self) -> None:
        self.in_flight = 0
        self.most = 0
        self.seen = threading.Event()

    def memory(self) -> dict[int, Any]:
        self.seen.set()
        process = type("Memory", (), {})
        master, worker = process(), process()
        master.uss_mib = master.pss_mib = 10.0
        worker.uss_mib = worker.pss_mib = 30.0 + 8.0 * self.in_flight
        return {1: master, 2: worker}

    def cpu_seconds(self) -> float:
        return 0.0

    def queued_seconds(self) -> float:
        return 0.0

    def own_mib(self) -> float:
        return 30.0

    def ends(self) -> list[Any]:
        return []

    def ask(self, _address: str, _paths: Any, _seconds: float, at_once: int, *_: Any) -> _weigh.Asked:
        self.most = max(self.most, at_once)
        self.in_flight = at_once if at_once > 1 else 0
        self.seen.clear()
        if at_once > 1:  # a crowd is watched
            assert self.seen.wait(10.0)
            self.seen.clear()
            assert self.seen.wait(10.0)
        return _weigh.Asked([30.0] * 20, 0, 2.0)


def test_a_weigh_stays_within_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    server: Any = _Server()
    monkeypatch.setattr(_weigh, "ask", server.ask)
    monkeypatch.setattr(
        _weigh, "_solo", lambda *_: _weigh.Solo([_weigh.OnePath("/", 1.0, [1.0] * 9, [0.0] * 9, [0.0] * 9)], 0, 2.0)
    )
    found = _weigh.weigh(server, "/socket", load(page=1), 64, memory_max_mib=224.0)
    assert found["crowd"] == server.most == 18  # 0.85 x 224 - 10 - 30 = 150.4 MiB hold 18 requests
    assert (found["slot_mib"], found["worker_loaded_mib"], found["worker_pss_mib"]) == (8.0, 174.0, 30.0)
