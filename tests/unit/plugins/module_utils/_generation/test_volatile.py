# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases that are kept where they are lost, as the kernel shows the files of a running process."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import volatile
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.volatile import (
    databases,
    kept_files,
    losing_words,
    scratch_of,
    words,
)

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


def test_what_prometheus_client_counts_in_is_no_database(seen: Path, tmp_path: Path) -> None:
    """A file for each kind and worker, which has to begin anew with each instance: nobody's loss, wherever it lies."""
    for name in ("counter_41.db", "histogram_41.db", "summary_7.db", "gauge_livesum_41.db", "gauge_all_9.db"):
        for place in ("tmp", "tmp/deep", "dev/shm", "run/headcount-instances/shop-trial-3"):
            (seen / place / name).write_bytes(b"\x10\x01\x00\x00" + bytes(60))
    assert databases(PID, root=str(tmp_path)) == []
    assert kept_files(PID, root=str(tmp_path)) == []
    make(seen / "tmp/counter_8.db")
    (seen / "tmp/counter_of_visits.db").write_bytes(b"theirs")
    assert databases(PID, root=str(tmp_path)) == ["/tmp/counter_8.db", "/tmp/counter_of_visits.db"]


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


def test_files_of_users_in_the_private_tmp_are_told_with_when_they_were_written(seen: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("tmp/Ab3.data", "tmp/Ab3.meta", "tmp/deep/x.png", "var/tmp/y.csv")):
        (seen / name).write_text("theirs", encoding="utf-8")
        os.utime(seen / name, (1764140400 + 60 * number,) * 2)
    found = kept_files(PID, root=str(tmp_path))
    assert [path for path, _ in found] == ["/var/tmp/y.csv", "/tmp/deep/x.png", "/tmp/Ab3.meta", "/tmp/Ab3.data"]
    assert losing_words(3, found) == (
        "4 files in the private /tmp of generation 3, which is live, are lost when it leaves: /var/tmp/y.csv, "
        "/tmp/deep/x.png, /tmp/Ab3.meta and 1 more, written 2025-11-26 07:00Z to 2025-11-26 07:03Z; if users gave "
        "them, keep them in the app's data (`{data}` in `environment`) and copy them there before; else say that they "
        "may be lost (`data: {scratch: [/var/tmp/y.csv]}`)"
    )
    assert losing_words(3, found[:1]).startswith("1 file in the private /tmp of generation 3, which is live, is lost")
    assert kept_files(PID, ["/tmp/*", "/var/tmp/*"], str(tmp_path)) == []


def test_what_is_thrown_away_anyway_is_nobodys_loss(seen: Path, tmp_path: Path) -> None:
    names = [
        "tmp/tmpk3_x9a2b", "tmp/tmpk3_x9a2b.png", "tmp/tmpabcd1234/inner.txt", "tmp/matplotlib-8x2/fontlist.json",
        "tmp/flask_cache/2029240f6d1128be89ddc32729463129", "tmp/app.lock", "tmp/shop.pid", "tmp/.org/x", "tmp/a.pyc",
        "tmp/prometheus_multi/gauge_1", "tmp/pymp-3f/sock", "dev/shm/ring", "tmp/shop.db",
    ]  # fmt: skip
    for name in names:
        (seen / name).parent.mkdir(parents=True, exist_ok=True)
        (seen / name).write_text("x", encoding="utf-8")
    (seen / "tmp/empty.txt").touch()
    (seen / "srv/x").write_text("x", encoding="utf-8")
    (seen / "tmp/link.txt").symlink_to("/srv/x")
    assert kept_files(PID, root=str(tmp_path)) == []
    assert losing_words(3, []) == ""
    assert kept_files(0, root=str(tmp_path)) == kept_files(7, root=str(tmp_path)) == []
    for name in ("torch.jpg", "promo.csv", "pipeline.txt", "snapshot.png", "uvb.txt", "tmp.txt"):
        (seen / "tmp" / name).write_text("x", encoding="utf-8")
    assert len(kept_files(PID, root=str(tmp_path))) == 6


def test_what_may_be_lost_by_either_declaration_counts() -> None:
    assert scratch_of({"data": {"scratch": ["/tmp/a*"]}}, None, {"data": None}, {"data": {"scratch": ["/tmp/b"]}}) == [
        "/tmp/a*",
        "/tmp/b",
    ]
