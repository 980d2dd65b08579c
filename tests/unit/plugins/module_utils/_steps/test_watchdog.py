# SPDX-License-Identifier: GPL-3.0-or-later
"""A step ends: at its deadline, when it is asked to, and within its memory."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import ledger
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.failures import StepFailed
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.record import GenerationRecord
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.run import Run
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import app as _steps
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import watchdog as _watchdog
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.watchdog import step_seconds

ANNA = Run("a1", "anna", "control1", "t0")
record = GenerationRecord.from_dict
RECORD: dict[str, Any] = {
    "app": {
        "health": {"boot_seconds": 20},
        "verify_seconds": 5,
        "load": {"seconds": 30},
        "limits": {"p95_ms": 250},
        "settings": {},
    },
    "plan": {"settings": {"graceful_timeout": {"value": 30}}},
}


def host(tmp_path: Path) -> _steps.AppOnHost:
    return _steps.AppOnHost("shop", ANNA, str(tmp_path))


def work_until(number: signal.Signals) -> None:
    """Be at work, waiting for another process, when the signal comes."""
    threading.Timer(0.2, os.kill, (os.getpid(), number)).start()
    subprocess.run(["sleep", "30"], check=False)


def failures(app: _steps.AppOnHost) -> list[str]:
    return [entry["cause"] for entry in ledger.read(app.layout.ledger) if entry["event"] == "failed"]


def test_a_step_that_does_not_end_is_ended_told_and_gives_the_app_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_steps, "step_seconds", lambda *_: 0.3)
    app, begin = host(tmp_path), time.monotonic()
    with pytest.raises(StepFailed, match="it did not end within 0 s") as failed, app.step("weigh"):
        threading.Event().wait(30.0)
    assert time.monotonic() - begin < 15.0
    assert failed.value.phase == "weigh"
    assert failures(app) == [failed.value.cause]
    assert app.lock.lease() is None
    with _steps.AppOnHost("shop", Run("b2", "bert", "control2", "t1"), str(tmp_path)).step("stage"):
        pass


@pytest.mark.parametrize(
    ("phase", "number", "cause"),
    [
        ("weigh", signal.SIGTERM, "another run on this host asked it to end"),
        ("trial", signal.SIGTERM, "another run on this host asked it to end"),
        ("stage", signal.SIGHUP, "the connection to the host was lost"),
    ],
)
def test_a_step_before_users_are_reached_gives_up_when_asked(
    tmp_path: Path, phase: str, number: signal.Signals, cause: str
) -> None:
    app = host(tmp_path)
    with pytest.raises(StepFailed, match=cause), app.step(phase):
        work_until(number)
    assert len(failures(app)) == 1
    assert app.lock.lease() is None


def test_a_promote_is_not_broken_off_by_a_lost_connection(tmp_path: Path) -> None:
    app, over = host(tmp_path), threading.Event()
    with app.step("promote"):
        os.kill(os.getpid(), signal.SIGHUP)
        assert not over.wait(0.3)
    assert not failures(app)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("alone", [True, False])
def test_what_switches_users_by_hand_is_ended_before_a_signal_ends_the_command(
    tmp_path: Path, number: signal.Signals, alone: bool
) -> None:
    said: list[str] = []
    app = _steps.AppOnHost("shop", ANNA, str(tmp_path), say=said.append, by_hand=True)
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    done = []
    with app.alone("rollback") if alone else app.step("promote"):
        for _ in range(2):
            os.kill(os.getpid(), number)
        done.append(subprocess.run(["true"], check=False).returncode)
    assert done == [0]
    assert app.asked_to_end == number
    assert len(said) == 2
    assert f"{number.name} came during the step {'rollback' if alone else 'promote'}: it is ended first" in said[0]
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert not failures(app)
    with pytest.raises(StepFailed, match=f"not begun: {number.name} came during the step before"), app.step("stage"):
        pytest.fail("a step is begun after that")
    assert app.lock.lease() is None


def test_what_switches_users_by_hand_ends_in_time_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_steps, "step_seconds", lambda *_: 0.5)
    app = _steps.AppOnHost("shop", ANNA, str(tmp_path), by_hand=True)
    with pytest.raises(StepFailed, match="did not end within"), app.step("promote"):
        work_until(signal.SIGINT)
    assert app.asked_to_end == signal.SIGINT


def test_what_reaches_no_users_yet_is_given_up_by_hand(tmp_path: Path) -> None:
    app = _steps.AppOnHost("shop", ANNA, str(tmp_path), by_hand=True)
    with pytest.raises(StepFailed, match="it was broken off by hand"), app.step("weigh"):
        work_until(signal.SIGINT)
    assert app.asked_to_end == signal.SIGINT
    assert len(failures(app)) == 1


def test_a_module_is_broken_off_by_hand_as_ever(tmp_path: Path) -> None:
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with host(tmp_path).step("promote"):
        assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_clearing_up_is_not_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app, cleared = host(tmp_path), []

    def abandon(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        cleared.append(True)

    monkeypatch.setattr(app, "set_aside", abandon)
    with pytest.raises(StepFailed, match="broken"), app.step("trial"):
        raise StepFailed("trial", "broken")
    assert cleared


def test_handlers_and_timers_are_as_before_when_it_is_over(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGHUP)]
    with host(tmp_path).step("trial"):
        pass
    assert [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGHUP)] == before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0.0


DEAF = """
import sys, time
sys.path[:0] = {paths!r}
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import app as _steps
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import watchdog as _watchdog
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.run import Run
_steps.step_seconds = lambda *_: 0.2
_watchdog.GIVE_UP_SECONDS = 0.2
with _steps.AppOnHost("shop", Run("a1", "anna", "control1", "t0"), {root!r}).step("weigh"):
    while True:
        try:
            time.sleep(30)
        except BaseException:
            pass
"""


def test_a_step_that_does_not_give_up_loses_its_process(tmp_path: Path) -> None:
    text = DEAF.format(paths=[path for path in sys.path if path], root=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", text], check=False, timeout=60)
    assert done.returncode == _watchdog.EXIT_STATUS
    assert "its process was ended" in failures(host(tmp_path))[0]


def test_a_step_may_take_what_its_parts_may_take() -> None:
    seconds = {
        phase: step_seconds(phase, record(RECORD), record(RECORD))
        for phase in ("stage", "weigh", "trial", "promote", "boot")
    }
    assert seconds["weigh"] == 120 + 20 + _watchdog.longest_weigh(10.0)
    assert seconds["trial"] == 120 + 20 + 2 * (41 + 30 + 75 + 75 + 15)
    assert seconds["promote"] == 120 + (20 + 80) + 2 * (20 + 5 + 10 + 40) == seconds["boot"]
    slow = {**RECORD, "app": {**RECORD["app"], "limits": {"p95_ms": 40_000}, "settings": {"timeout": 120}}}
    assert step_seconds("weigh", record(slow), None) > seconds["weigh"]
    assert step_seconds("rollback", None, None) > 300


@pytest.mark.parametrize(("available", "mib"), [(None, 512), (4000, 512), (600, 300), (100, 160)])
def test_a_measuring_process_takes_at_most_half_of_what_is_free(available: float | None, mib: float) -> None:
    assert _watchdog.measuring_mib(available) == mib


HUNGRY = """
import subprocess, sys
sys.path[:0] = {paths!r}
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import watchdog as _watchdog
with _watchdog.memory_bounded("weigh"):
    print(open("/proc/self/oom_score_adj").read().strip(), flush=True)
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_DATA)[0])"
    subprocess.run([sys.executable, "-c", code], check=True)
    {body}
"""


def hungry(body: str) -> subprocess.CompletedProcess[str]:
    text = HUNGRY.format(paths=[path for path in sys.path if path], body=body)
    return subprocess.run([sys.executable, "-c", text], check=False, timeout=60, capture_output=True, text=True)


def test_more_memory_than_that_fails_the_step_and_not_the_host() -> None:
    done = hungry("kept = [bytes(1 << 20) for _ in range(600)]")
    assert "StepFailed: measuring takes more than the" in done.stderr
    adjusted, limit = done.stdout.split()
    assert adjusted == "500"
    assert int(limit) <= 512 << 20


def test_what_was_bounded_is_free_afterwards() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with _watchdog.memory_bounded("trial"):
        assert resource.getrlimit(resource.RLIMIT_DATA)[0] <= 512 << 20
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
