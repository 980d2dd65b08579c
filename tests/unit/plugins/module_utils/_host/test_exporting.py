# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The exporter's unit comes, moves and goes, and is known again."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._host import exporting
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import exporterunit as unit
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Systemd
from fake_systemd import FakeSystemd

LISTEN = "127.0.0.1:9788"


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    return str(tmp_path)


def test_it_is_put_there_once_and_taken_off(root: str) -> None:
    fake = FakeSystemd()
    manager = Systemd(fake)
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
    exporting.install(LISTEN, root, Systemd(fake))
    fake.active.clear()
    assert exporting.install(LISTEN, root, Systemd(fake))
    assert fake.active == {unit.UNIT}


def test_one_that_does_not_run_is_seen_without_asking_systemd(root: str) -> None:
    exporting.install(LISTEN, root, Systemd(FakeSystemd()))
    assert unit.seen(root) == LISTEN, "nothing says that systemd keeps units here"
    kept = Path(root, "run/systemd/units")
    kept.mkdir(parents=True)
    assert unit.seen(root) == unit.STOPPED
    (kept / f"invocation:{unit.UNIT}").symlink_to("0123456789abcdef")
    assert unit.seen(root) == LISTEN
    exporting.uninstall(root, Systemd(FakeSystemd()))
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
