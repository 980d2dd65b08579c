# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The exporter's unit comes, moves and goes, and is known again."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._host import exporting
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import exporterunit as unit
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import (
    Completed,
    Runner,
    Systemd,
    SystemdError,
)
from fake_systemd import FakeSystemd

LISTEN = "127.0.0.1:9788"


def manager_of(fake: Runner) -> Systemd:
    return Systemd(fake, lambda seconds: None)


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    return str(tmp_path)


def test_it_is_put_there_once_and_taken_off(root: str) -> None:
    fake = FakeSystemd()
    manager = manager_of(fake)
    assert unit.installed(root) == ""
    assert exporting.install(LISTEN, root, manager)
    assert unit.installed(root) == LISTEN
    assert fake.active == {unit.UNIT}
    said = list(fake.said)
    assert not exporting.install(LISTEN, root, manager)
    assert fake.said == said, "nothing is done where it is as it should be"
    assert exporting.install("0.0.0.0:9788", root, manager)
    assert unit.installed(root) == "0.0.0.0:9788"
    assert exporting.uninstall(root, manager)
    assert (unit.installed(root), fake.active) == ("", set())
    assert not exporting.uninstall(root, manager)


def test_one_that_does_not_run_is_started(root: str) -> None:
    fake = FakeSystemd()
    exporting.install(LISTEN, root, manager_of(fake))
    fake.active.clear()
    assert exporting.install(LISTEN, root, manager_of(fake))
    assert fake.active == {unit.UNIT}


class Restarts(FakeSystemd):
    """Its process ends after `looks` looks at it; then it waits for the next start, for ever."""

    looks, log = 2, ""

    def __call__(self, command: Sequence[str], timeout_seconds: float) -> Completed:
        if command[0] == "journalctl" and "--sync" not in command:
            return Completed(0, self.log, "")
        if "show" in command and self.active:
            self.looks -= 1
            if not self.looks:
                self.active.clear()
        return super().__call__(command, timeout_seconds)


def test_one_that_does_not_stay_up_is_no_success_and_who_has_its_address_is_told(root: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(SystemdError) as failed:
            exporting.install(listen, root, manager_of(Restarts()))
    told = str(failed.value)
    assert told.startswith(f"it does not stay up: listen address {listen} is taken by another process: ")
    assert f"(pid {os.getpid()})" in told
    assert told.endswith("; have headcount_exporter_listen name a free address of this host, or end what has it")


def test_one_that_does_not_stay_up_for_another_reason_has_its_last_words(root: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    fake = Restarts()
    said = [(9, "Traceback"), (9, "MemoryError"), (1, "Main process exited")]
    fake.log = "\n".join(
        json.dumps({"__REALTIME_TIMESTAMP": "1800000000000000", "_PID": str(pid), "MESSAGE": text})
        for pid, text in said
    )
    with pytest.raises(SystemdError, match=r"it does not stay up: MemoryError \(journalctl -u headcount-exporter"):
        exporting.install(listen, root, manager_of(fake))


@pytest.mark.parametrize("there", [True, False])
def test_one_that_runs_has_to_listen(root: str, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    looks: list[int] = []

    def listens(pid: int, listen: str, root: str) -> bool:
        looks.append(pid)
        return there and len(looks) > 2

    monkeypatch.setattr(exporting, "listens", listens)
    if there:
        assert exporting.install(LISTEN, root, manager_of(FakeSystemd()))
        assert len(looks) == 3
    else:
        with pytest.raises(SystemdError, match=f"it runs, but does not listen on {LISTEN} after 20 s"):
            exporting.install(LISTEN, root, manager_of(FakeSystemd()))


def test_one_that_somebody_masked_is_left(root: str) -> None:
    fake, path = FakeSystemd(), Path(root, "etc/systemd/system", unit.UNIT)
    path.symlink_to("/dev/null")
    assert unit.seen(root) == unit.MASKED
    assert not exporting.install(LISTEN, root, manager_of(fake))
    assert not exporting.uninstall(root, manager_of(fake))
    assert (os.readlink(path), fake.said) == ("/dev/null", [])
    assert not (path.parent / "multi-user.target.wants" / unit.UNIT).is_symlink()


def test_one_that_does_not_run_is_seen_without_asking_systemd(root: str) -> None:
    exporting.install(LISTEN, root, manager_of(FakeSystemd()))
    assert unit.seen(root) == LISTEN, "nothing says that systemd keeps units here"
    kept = Path(root, "run/systemd/units")
    kept.mkdir(parents=True)
    assert unit.seen(root) == unit.STOPPED
    (kept / f"invocation:{unit.UNIT}").symlink_to("0123456789abcdef")
    assert unit.seen(root) == LISTEN
    exporting.uninstall(root, manager_of(FakeSystemd()))
    (kept / f"invocation:{unit.UNIT}").unlink()
    assert unit.seen(root) == "", "what is not there is not stopped"


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        (None, ""),
        ("", "changed"),
        (unit.unit(LISTEN), LISTEN),
        (unit.unit(LISTEN).replace("192M", "1G"), "changed"),
        ("[Service]\nExecStart=/usr/bin/other\n", "changed"),
    ],
)
def test_an_edited_unit_is_not_taken_for_ours(text: str | None, listen: str) -> None:
    assert unit.listens_at(text) == listen


@pytest.mark.parametrize(("listen", "closed"), [(LISTEN, True), ("[::1]:9788", True), ("0.0.0.0:9788", False)])
def test_nobody_else_reaches_a_loopback_address(listen: str, closed: bool) -> None:
    assert ("IPAddressDeny=any" in unit.unit(listen)) is closed
