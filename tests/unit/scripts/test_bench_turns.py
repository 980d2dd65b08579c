# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest
from headcount_bench import _turns


def held(path: Path) -> bool:
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(handle)


def test_lanes_of_one_benchmark_share_its_turn(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    turns = _turns.Turns("judge", lock)
    with turns.mine(), turns.mine():
        assert held(lock)
    assert held(lock), "the turn is not over yet"
    turns.close()
    assert not held(lock)


def test_a_turn_that_is_over_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_turns, "TURN_SECONDS", -1.0)
    monkeypatch.setattr(_turns, "_YIELD_SECONDS", 0.0)
    lock = tmp_path / "lock"
    with _turns.Turns("plan", lock).mine():
        assert held(lock)
    assert not held(lock)


def test_another_benchmark_waits_and_is_told_for_whom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = tmp_path / "lock"
    first, second = _turns.Turns("judge", lock), _turns.Turns("plan", lock)
    entered = threading.Event()

    def other() -> None:
        with second.mine():
            entered.set()

    thread = threading.Thread(target=other, daemon=True)
    with first.mine():
        thread.start()
        assert not entered.wait(0.5)
    first.close()
    assert entered.wait(5)
    thread.join(5)
    second.close()
    assert "waiting: scripts/bench judge" in capsys.readouterr().err
