# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import lock as _lock
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.lock import (
    LEASE_SECONDS,
    AppLock,
    Busy,
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
    return AppLock(Layout("shop", str(host)), clock or Clock())


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
    ],
)
def test_when_a_lease_is_stale(lease: dict[str, Any], reason: str | None) -> None:
    assert stale_reason(lease, "x", 1000.0) == reason


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
