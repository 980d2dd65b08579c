# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases that are kept where they are lost, as the kernel shows the files of a running process."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import volatile
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.volatile import databases, words

PID = 41


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    """The files of process 41, as /proc shows them."""
    root = tmp_path / "proc/41/root"
    for place in ("tmp/deep", "dev/shm", "var/tmp", "run/headcount-instances/shop-trial-3", "srv"):
        (root / place).mkdir(parents=True)
    return root


def make(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("create table t (a)")
    connection.close()


def test_databases_are_known_by_name_or_by_content(seen: Path, tmp_path: Path) -> None:
    make(seen / "tmp/deep/records")
    (seen / "dev/shm/cache.sqlite3").touch()
    make(seen / "srv/kept.db")
    (seen / "tmp/upload.png").write_bytes(b"png")
    (seen / "run/headcount-instances/shop-trial-3/worker-ends").touch()
    found = databases(PID, root=str(tmp_path))
    assert found == ["/dev/shm/cache.sqlite3", "/tmp/deep/records"]
    assert databases(PID, ["/tmp/deep/*"], str(tmp_path)) == ["/dev/shm/cache.sqlite3"]
    assert words(found).startswith("it keeps a database in /dev/shm/cache.sqlite3, /tmp/deep/records, which is lost")
    assert "`data: {scratch: [/dev/shm/cache.sqlite3]}`" in words(found)


def test_a_link_is_no_database_and_a_process_that_is_gone_has_none(seen: Path, tmp_path: Path) -> None:
    make(seen / "srv/kept.db")
    (seen / "tmp/kept.db").symlink_to("/srv/kept.db")
    assert databases(PID, root=str(tmp_path)) == []
    assert databases(0, root=str(tmp_path)) == []
    assert databases(7, root=str(tmp_path)) == []


def test_a_fifo_that_the_app_puts_in_the_place_of_a_file_holds_nobody_up(
    seen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(seen / "tmp/swapped")
    regular = (tmp_path / "proc").stat()
    monkeypatch.setattr(volatile, "_files", lambda top: [(f"{top}/swapped", regular)] if top.endswith("/tmp") else [])
    assert databases(PID, root=str(tmp_path)) == []
