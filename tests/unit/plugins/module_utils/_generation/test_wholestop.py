# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Nothing of a service is left when it is stopped, and nothing else is ended."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import wholestop

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
POLITE = "import time; print(1, flush=True); time.sleep(60)"


@pytest.fixture
def started() -> Iterator[Any]:
    """Starts a program of these words; all are ended afterwards."""
    found = []

    def start(code: str) -> subprocess.Popen[bytes]:
        found.append(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE))
        assert found[-1].stdout is not None
        found[-1].stdout.readline()
        return found[-1]

    yield start
    for one in found:
        one.kill()
        one.wait()
        assert one.stdout is not None
        one.stdout.close()


@pytest.mark.parametrize(
    ("code", "words"), [(POLITE, True), (STUBBORN, True), ("", False)], ids=["polite", "stubborn", "nothing left"]
)
def test_what_a_stop_leaves_in_the_group_is_ended(
    monkeypatch: pytest.MonkeyPatch, started: Any, code: str, words: bool
) -> None:
    other, left = started(POLITE), [started(code)] if code else []
    stopped = []
    systemd = SimpleNamespace(
        state=lambda unit: SimpleNamespace(control_group="/system.slice/old.service"),
        stop=lambda unit, timeout_seconds: stopped.append(unit),
    )
    instances: Any = SimpleNamespace(
        systemd=systemd, layout=SimpleNamespace(root="/"), monotonic=time.monotonic, sleep=time.sleep
    )
    monkeypatch.setattr(wholestop, "unit_pids", lambda group, root: [one.pid for one in left if one.poll() is None])
    told = wholestop.stop_whole(instances, "old.service", 0.3)
    assert stopped == ["old.service"]
    assert bool(told) is words
    assert all("ended them" in one for one in told)
    assert all(one.poll() is not None for one in left)
    assert other.poll() is None


def test_what_is_killed_and_does_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    systemd = SimpleNamespace(
        state=lambda unit: SimpleNamespace(control_group="/system.slice/old.service"), stop=lambda *_, **__: None
    )
    instances: Any = SimpleNamespace(
        systemd=systemd, layout=SimpleNamespace(root="/"), monotonic=iter(range(99)).__next__, sleep=lambda _: None
    )
    signals = []
    monkeypatch.setattr(wholestop, "unit_pids", lambda group, root: [41, 42])
    monkeypatch.setattr(wholestop.os, "kill", lambda pid, number: signals.append((pid, int(number))))
    told = wholestop.stop_whole(instances, "old.service", 1.0)
    assert told == ["old.service left processes running, which do not end: 41, 42"]
    assert signals == [(41, 15), (42, 15), (41, 9), (42, 9)]
