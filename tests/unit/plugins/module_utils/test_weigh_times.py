# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a weigh takes for waiting: not the time in which the CPU served others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils import _weigh


def test_schedstat_of_all_threads(tmp_path: Path) -> None:
    for pid, thread, text in ((7, 7, "2000000000 500000000 9"), (7, 8, "1000000000 250000000 4"), (9, 9, "torn")):
        folder = tmp_path / "proc" / str(pid) / "task" / str(thread)
        folder.mkdir(parents=True)
        (folder / "schedstat").write_text(text, encoding="ascii")
    assert _weigh.scheduled_seconds([7, 9, 11], str(tmp_path)) == 3.0
    assert _weigh.queued_seconds([7, 9, 11], str(tmp_path)) == 0.75


class _Unit:
    """A candidate whose 20 requests took 5 ms of CPU each, and stood in the queue of a busy CPU for 10 ms each."""

    main_pid = 1

    def __init__(self) -> None:
        self.cpu, self.queued = [0.0, 0.1], [0.0, 0.2]

    def cpu_seconds(self) -> float:
        return self.cpu.pop(0)

    def queued_seconds(self) -> float:
        return self.queued.pop(0)

    def memory(self) -> dict[int, Any]:
        return {}


@pytest.mark.parametrize(
    ("wall_ms", "expected"),
    [(15.0, {"wall_ms": 5.0, "wait_ratio": 0.0}), (35.0, {"wall_ms": 25.0, "wait_ratio": 4.0})],
)
def test_a_busy_cpu_is_no_waiting(monkeypatch: pytest.MonkeyPatch, wall_ms: float, expected: dict[str, float]) -> None:
    worker = type("Memory", (), {"uss_mib": 16.0, "pss_mib": 18.0})()
    unit = _Unit()
    monkeypatch.setattr(unit, "memory", lambda: {1: worker, 2: worker})
    monkeypatch.setattr(_weigh, "ask", lambda *_: _weigh.Asked([wall_ms] * 20, 0, 2.0))
    monkeypatch.setattr(_weigh, "scheduled_seconds", lambda pids, root="/": 0.0)
    monkeypatch.setattr(_weigh, "queued_seconds", lambda pids, root="/": 0.0)
    found = _weigh.weigh(unit, "/socket", [], 1)  # type: ignore[arg-type]
    assert {name: found[name] for name in expected} == expected
    assert (found["cpu_ms"], found["lost_ms"]) == (5.0, 10.0)
