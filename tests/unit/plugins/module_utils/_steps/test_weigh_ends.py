# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Workers that end while they are weighed: what waits for the next one is no measure of a path, and it is told."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import LoadPath
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts.workerends import WorkerEnd
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import http
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import measure
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.endings import Endings, listed, told_of_ends

GONE = http.Answer(0, b"", 1.0, "Remote end closed connection without response")
GOOD = http.Answer(200, b"", 1.0)


class _Dying:
    """A candidate whose requests take 2 ms of CPU. Each `every`th of one path ends its worker; the next request of any
    path waits 600 ms for another, which takes 500 ms of CPU to begin. `late`: an end is written down only then."""

    main_pid = 1

    def __init__(self, every: int, late: bool = False, silent: bool = True) -> None:
        self.every, self.late, self.silent = every, late, silent
        self.cpu = self.now = 0.0
        self.asked = 0
        self.down = False
        self.written: list[WorkerEnd] = []

    def cpu_seconds(self) -> float:
        return self.cpu

    def queued_seconds(self) -> float:
        return 0.0

    def memory(self) -> dict[int, Any]:
        worker = type("Memory", (), {"uss_mib": 16.0, "pss_mib": 18.0})()
        return {1: worker, 2: worker}

    def own_mib(self) -> float:
        return 16.0

    def ends(self) -> list[WorkerEnd]:
        return list(self.written)

    def _end(self) -> None:
        self.written.append(WorkerEnd(len(self.written) + 1, 100, False, "exited with status 1"))

    def request(self, _address: str, asked: Any, _bounds: Any) -> Any:
        wall_ms, cpu_ms = 2.0, 2.0
        if self.down:
            wall_ms, cpu_ms, self.down = 602.0, 502.0, False
            if self.late:
                self._end()
        self.asked += asked.path == "/exit"
        self.cpu, self.now = self.cpu + cpu_ms / 1000, self.now + wall_ms / 1000
        if asked.path == "/exit" and self.asked % self.every == 0:
            self.down = True
            if not self.late:
                self._end()
            return GONE
        return http.Answer(200, b"", wall_ms)


def weighed(monkeypatch: pytest.MonkeyPatch, unit: _Dying) -> measure.Weighing:
    asked = measure.Asked([5.0] * 20, 0, 2.0)
    monkeypatch.setattr(measure, "ask", lambda *_: asked)
    monkeypatch.setattr(measure, "request", unit.request)
    monkeypatch.setattr(measure, "queued_seconds", lambda pids, root="/": 0.0)
    monkeypatch.setattr(measure.time, "monotonic", lambda: unit.now)
    monkeypatch.setattr(measure.time, "process_time", lambda: 0.0)
    return measure.weigh(unit, "/socket", [LoadPath("/"), LoadPath("/exit")], 1)


@pytest.mark.parametrize("late", [False, True])
def test_what_waits_for_the_next_worker_is_no_waiting_of_a_path(monkeypatch: pytest.MonkeyPatch, late: bool) -> None:
    found = weighed(monkeypatch, _Dying(10, late))
    assert (found["cpu_ms"], found["wait_ratio"]) == (2.0, 0.0)
    assert [path["wait_sd_ms"] for path in found["paths"]] == [0.0, 0.0]
    (said,) = found["uncounted"]
    assert "times while it was weighed (exited with status 1), while GET /exit was under way: what waited" in said
    assert told_of_ends(found["uncounted"]).endswith("GET /exit was under way")


def test_a_path_that_ends_its_worker_each_time_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        r"^the worker ended 5 times .*while GET /exit was under way; only 1 requests were answered by one that was warm"
    )
    with pytest.raises(measure.NotMeasured, match=said):
        weighed(monkeypatch, _Dying(1))


def test_a_connection_that_breaks_off_while_no_worker_ends_is_told_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = _Dying(10)
    monkeypatch.setattr(unit, "_end", lambda: None)
    (said,) = weighed(monkeypatch, unit)["uncounted"]
    assert said.startswith("GET /exit got no answer: Remote end closed connection without response in ")


def test_a_worker_that_is_replaced_on_purpose_is_not_told() -> None:
    ends: list[WorkerEnd] = []
    endings = Endings(lambda: ends)
    ends.append(WorkerEnd(1, 9, True, "exited with status 0"))
    assert endings.met("GET /", GOOD)
    assert endings.sentence() == ""


def test_the_first_answers_of_a_new_worker_do_not_count() -> None:
    ends: list[WorkerEnd] = []
    endings = Endings(lambda: ends)
    assert not endings.met("GET /", GOOD)
    ends.append(WorkerEnd(1, 9, False, "killed by SIGKILL"))
    assert [endings.met(name, GOOD) for name in ("GET /", "GET /", "GET /b", "GET /b")] == [True, True, True, False]


def test_what_was_asked_beside_the_one_that_ends_workers_is_not_named() -> None:
    ends: list[WorkerEnd] = []
    endings = Endings(lambda: ends)
    ends.append(WorkerEnd(1, 9, False, "exited with status 1"))
    endings.met("GET /exit", GONE)
    assert not endings.among({"GET /": 1})
    ends.append(WorkerEnd(2, 10, False, "exited with status 1"))
    assert endings.among({"GET /": 3, "GET /exit": 1})
    assert endings.sentence().endswith("(exited with status 1), while GET /exit was under way")
    alone = Endings(lambda: ends)
    ends.append(WorkerEnd(3, 11, False, "killed by SIGKILL"))
    assert alone.among({"GET /": 3, "GET /b": 1})
    assert alone.sentence().endswith("(killed by SIGKILL), while GET / and GET /b were under way")


@pytest.mark.parametrize(
    ("names", "said"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (list("abcde"), "a, b, c and 2 other paths")]
)
def test_many_names_are_counted(names: list[str], said: str) -> None:
    assert listed(names) == said
