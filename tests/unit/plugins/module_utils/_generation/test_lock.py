# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import lock as _lock
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.lock import (
    LEASE_SECONDS,
    AppLock,
    Busy,
    Hold,
    Holder,
    Run,
    stale_reason,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout

ANNA = Run("a1", "anna", "control1", "2026-11-22T10:00:00.000Z")
BERT = Run("b2", "bert", "control2", "2026-11-22T10:05:00.000Z")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def host(tmp_path: Path) -> Path:
    (tmp_path / "proc/sys/kernel/random").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("boot-1\n")
    (tmp_path / "proc/1").mkdir()
    (tmp_path / "proc/1/stat").write_text("1 (systemd) S 0 1 1 0 -1 4 1 1 1 1 1 1 1 1 20 0 1 0 777 1 1\n")
    return tmp_path


def lock(host: Path, clock: Clock | None = None) -> AppLock:
    clock = clock or Clock()
    return AppLock(Layout("shop", str(host)), clock, since_boot=lambda: clock.now - 900_000.0)


def test_a_second_step_of_another_process_names_the_holder(host: Path) -> None:
    with (
        lock(host).step(ANNA, "trial"),
        pytest.raises(
            Busy, match=r"being changed on this host by process \d+ run a1 of anna on control1 \(trial\) since"
        ),
        lock(host).step(BERT, "stage"),
    ):
        pass


def test_between_two_steps_the_lease_keeps_others_out(host: Path) -> None:
    with lock(host).step(ANNA, "stage"):
        pass
    with (
        pytest.raises(
            Busy,
            match=r"held on this host by run a1 of anna on control1 since 2026-11-22T10:00:00.000Z "
            r"\(last step: stage\)",
        ),
        lock(host).step(BERT, "stage"),
    ):
        pass
    with lock(host).step(ANNA, "trial"):
        pass


def test_a_released_lease_is_free_for_others(host: Path) -> None:
    with lock(host).step(ANNA, "stage"):
        lock(host).release(ANNA)
    with lock(host).step(BERT, "stage") as taken_over:
        assert taken_over is None


def test_a_lease_of_another_run_is_not_released(host: Path) -> None:
    with lock(host).step(ANNA, "stage"):
        pass
    lock(host).release(BERT)
    assert lock(host).lease() is not None


def test_a_stale_lease_is_taken_over_and_said(host: Path) -> None:
    clock = Clock()
    with lock(host, clock).step(ANNA, "stage"):
        pass
    clock.now += LEASE_SECONDS + 5
    with lock(host, clock).step(BERT, "stage") as taken_over:
        assert (
            taken_over
            == "took over from run a1 of anna on control1, started 2026-11-22T10:00:00.000Z: it expired 5 s ago"
        )


def test_a_reboot_ends_every_lease(host: Path) -> None:
    with lock(host).step(ANNA, "stage"):
        pass
    (host / "proc/1/stat").write_text("1 (systemd) S 0 1 1 0 -1 4 1 1 1 1 1 1 1 1 20 0 1 0 999 1 1\n")
    with lock(host).step(BERT, "stage") as taken_over:
        assert taken_over is not None
        assert taken_over.endswith("the host was booted since")


def test_a_dead_controller_loses_its_lease_at_once(host: Path) -> None:
    with lock(host).step(ANNA, "stage"):
        pass
    with lock(host).step(BERT, "stage", gone=frozenset({"a1"})) as taken_over:
        assert taken_over is not None
        assert taken_over.endswith("its controller process is gone")


@pytest.mark.parametrize(
    ("lease", "reason"),
    [
        ({"boot": "x", "expires": 2000.0, "run": {"id": "a"}}, None),
        ({"boot": "x", "expires": 900.0, "run": {"id": "a"}}, "it expired 100 s ago"),
        ({"boot": "y", "expires": 2000.0}, "the host was booted since"),
        ({"boot": "x", "expires": 1000.0 + 3 * LEASE_SECONDS, "seconds": 3 * LEASE_SECONDS, "run": {"id": "a"}}, None),
        ({"boot": "x", "expires": 1000.0 + 3 * LEASE_SECONDS}, "it lies in the future: the host's clock went back"),
        ({}, "the host was booted since"),
        ({"boot": "x", "expires": 1.0, "until": 60.0, "run": {"id": "a"}}, None),  # the clock was set ahead
        ({"boot": "x", "expires": 9e9, "until": 45.0, "run": {"id": "a"}}, "it expired 5 s ago"),  # it went back
    ],
)
def test_when_a_lease_is_stale(lease: dict[str, Any], reason: str | None) -> None:
    assert stale_reason(lease, "x", 1000.0, 50.0) == reason


def test_a_step_that_breaks_keeps_the_lease_for_its_own_run(host: Path) -> None:
    with pytest.raises(RuntimeError), lock(host).step(ANNA, "stage"):
        raise RuntimeError
    lease = lock(host).lease()
    assert lease is not None
    assert lease["run"]["id"] == "a1"


def test_a_run_of_one_step_leaves_no_lease_even_when_it_fails(host: Path) -> None:
    with pytest.raises(RuntimeError), lock(host).alone(ANNA, "rollback"):
        raise RuntimeError
    assert lock(host).lease() is None


def test_a_full_disk_stops_no_run_that_has_its_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = AppLock(Layout("shop", str(tmp_path)))
    run, other = Run("a", "ada", "desk", "t0"), Run("b", "bob", "desk", "t1")
    with lock.step(run, "stage"):
        pass

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_lock, "write_json", full)
    with lock.step(run, "promote"):
        pass
    with lock.alone(other, "rollback", frozenset({"a"})) as taken_over:
        assert taken_over is not None
    assert lock.lease() is None
    with pytest.raises(OSError, match="No space"), lock.step(other, "stage"):
        pass


# -- waiting for a step, and ending it --------------------------------------------------------------------------------

HOLDING = """
import os, signal, sys, time
sys.path[:0] = {paths!r}
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import lock as _lock
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout
if {deaf}:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
run = _lock.Run({run!r}, "anna", "control1", "t0")
hold = _lock.Hold({seconds}, lease={lease})
with _lock.AppLock(Layout("shop", {root!r})).step(run, {step!r}, hold=hold):
    print("held", flush=True)
    sys.stdin.read(1)
"""


@pytest.fixture
def holding(host: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Another process that holds the app, until let_go(): hold(step, ...)."""
    begun: list[subprocess.Popen[str]] = []

    def hold(step: str, **changes: Any) -> subprocess.Popen[str]:
        text = HOLDING.format(
            **{"run": "a1", "seconds": 30.0, "lease": True, "deaf": False, **changes},
            paths=[path for path in sys.path if path],
            root=str(host),
            step=step,
        )
        command = [sys.executable, "-c", text]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        begun.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in begun:
        process.kill()
        process.communicate()


Holding = Callable[..., "subprocess.Popen[str]"]
BERTS = Hold(10.0)


def let_go(process: subprocess.Popen[str]) -> None:
    """Have the process that holds the app end its step."""
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None


def waiting_for(host: Path, process: subprocess.Popen[str], said: list[str] | None = None) -> AppLock:
    """A lock whose holder ends its step once somebody has said that it is waited for, and not before."""
    waiting = lock(host)

    def say(words: str) -> None:
        (said if said is not None else []).append(words)
        let_go(process)

    waiting.say = say
    return waiting


def test_a_step_of_a_run_that_is_gone_is_waited_for_and_told(host: Path, holding: Holding) -> None:
    process = holding("promote")
    said: list[str] = []
    with waiting_for(host, process, said).step(BERT, "stage", frozenset({"a1"}), BERTS) as told:
        assert told is not None
        assert re.match(
            rf"waited \d+ s for process {process.pid} \(promote of run a1\) to end; took over from run", told
        )
    assert said == [f"waiting for process {process.pid} (promote of run a1) to end, at most 90 s"]


def test_a_step_without_a_lease_is_waited_for_whosever_it_is(host: Path, holding: Holding) -> None:
    process = holding("rollback", lease=False)
    with waiting_for(host, process).step(BERT, "stage", hold=BERTS) as told:
        assert re.fullmatch(rf"waited \d+ s for process {process.pid} \(rollback of run a1\) to end", str(told))


@pytest.mark.parametrize("step", ["stage", "weigh", "trial"])
def test_nobody_waits_for_a_weigh_of_a_run_that_is_gone(host: Path, holding: Holding, step: str) -> None:
    process = holding(step)
    with lock(host).step(BERT, "stage", frozenset({"a1"}), BERTS) as told:
        assert f"asked process {process.pid} ({step} of run a1) to end, which it did after" in str(told)
    assert process.wait(5) == -signal.SIGTERM


def test_a_run_ends_its_own_step_whose_connection_broke(host: Path, holding: Holding) -> None:
    process = holding("trial")
    with lock(host).alone(ANNA, "abandon"):
        assert process.wait(5) == -signal.SIGTERM
    with lock(host).step(ANNA, "stage"):
        pass


def test_a_rollback_ends_the_trial_of_another_run_which_does_not_go_on(host: Path, holding: Holding) -> None:
    process = holding("trial")
    with lock(host).alone(BERT, "rollback", hold=Hold(10.0, urgent=True)) as told:
        assert f"asked process {process.pid} (trial of run a1) to end" in str(told)
        assert "took over from run a1" in str(told)
    with (
        pytest.raises(Busy, match=r"run a1 was ended on this host by run b2 of bert on control2 at .*: run again"),
        lock(host).step(ANNA, "promote"),
    ):
        pass


def test_a_rollback_takes_over_between_two_steps_before_users_are_reached(host: Path) -> None:
    with lock(host).step(ANNA, "weigh"):
        pass
    with lock(host).alone(BERT, "rollback", hold=Hold(urgent=True)) as told:
        assert str(told).endswith("it was between two steps (last: weigh), and this one does not wait")
    with pytest.raises(Busy, match="was ended on this host"), lock(host).step(ANNA, "trial"):
        pass


def test_a_rollback_waits_for_a_promote(host: Path, holding: Holding) -> None:
    process = holding("promote")
    patient = AppLock(Layout("shop", str(host)))
    patient.say = lambda _: let_go(process)
    with (
        pytest.raises(Busy, match=r"held on this host by run a1 .*\(last step: promote\)"),
        patient.alone(BERT, "rollback", hold=Hold(urgent=True)),
    ):
        pass
    assert process.wait(5) == 0


def test_a_process_that_does_not_hear_is_killed(host: Path, holding: Holding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lock, "STOP_SECONDS", 0.3)
    process = holding("weigh", deaf=True)
    with lock(host).step(BERT, "stage", frozenset({"a1"}), BERTS) as told:
        assert f"killed process {process.pid} (weigh of run a1), which did not end within" in str(told)
    assert process.wait(5) == -signal.SIGKILL


def test_a_process_whose_time_is_long_over_is_killed_even_when_it_stands_still(
    host: Path, holding: Holding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_lock, "OVERDUE_SECONDS", 0.0)
    process = holding("promote", seconds=0.0)
    process.send_signal(signal.SIGSTOP)
    with lock(host).step(ANNA, "abandon", hold=BERTS) as told:
        assert f"killed process {process.pid} (promote of run a1)" in str(told)
    assert process.wait(5) == -signal.SIGKILL


@pytest.mark.parametrize("text", ["", "1 run x (trial) since t\n", '1 run x\n{"pid": 1, "start": "0", "run": "b2"}\n'])
def test_who_has_not_signed_is_neither_asked_nor_waited_for_long(
    host: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_lock, "UNSIGNED_SECONDS", 0.2)
    signals: list[Any] = []
    monkeypatch.setattr(_lock.os, "kill", lambda *what: signals.append(what))
    with lock(host).step(ANNA, "trial"):
        Path(lock(host).layout.lock).write_text(text)
        begin = time.monotonic()
        with pytest.raises(Busy, match="is being changed on this host by process"), lock(host).step(BERT, "stage"):
            pass
        assert time.monotonic() - begin < 8.0
    assert not signals


@pytest.mark.parametrize(
    ("changes", "gone", "hold", "seconds"),
    [
        ({}, (), Hold(), 0.0),
        ({}, (), Hold(urgent=True), 45.0),
        ({}, ("a1",), Hold(), 45.0),
        ({"step": "promote"}, (), Hold(), 0.0),
        ({"step": "promote"}, ("a1",), Hold(), 160.0),
        ({"step": "promote"}, (), Hold(urgent=True), 160.0),
        ({"step": "promote", "ends": 5000.0}, ("a1",), Hold(), 300.0),
        ({"step": "rollback", "lease": False}, (), Hold(), 160.0),
        ({"run": "b2"}, (), Hold(), 45.0),
        ({"pid": 0}, ("a1",), Hold(urgent=True), 0.0),
    ],
)
def test_how_long_a_step_is_waited_for(
    changes: dict[str, Any], gone: tuple[str, ...], hold: Hold, seconds: float
) -> None:
    plain = {"words": "7", "pid": 7, "start": "1", "run": "a1", "step": "trial", "ends": 1100.0, "lease": True}
    assert Holder(**{**plain, **changes}).patience(BERT, frozenset(gone), hold, 1000.0) == seconds
