# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The scratch folder goes with the call that made it, however that ends."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp import held


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_the_folder_goes_with_the_call(tmp_path: Path) -> None:
    def call() -> None:
        with held.scratch_folder() as folder:
            (folder / "venv").mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call()
    assert list(tmp_path.iterdir()) == []


def left(tmp_path: Path, name: str, seconds: float = 3600.0) -> Path:
    folder = tmp_path / f"{held.PREFIX}{name}"
    (folder / "venv").mkdir(parents=True)
    os.utime(folder, (0, folder.stat().st_mtime - seconds))
    return folder


def test_what_a_killed_call_left_goes_with_the_next_one(tmp_path: Path) -> None:
    gone, in_use, fresh = left(tmp_path, "gone"), left(tmp_path, "used"), left(tmp_path, "fresh", 0.0)
    (tmp_path / "target").mkdir()
    (tmp_path / f"{held.PREFIX}link").symlink_to(tmp_path / "target")
    descriptor = os.open(in_use, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with held.scratch_folder():
        assert (gone.exists(), in_use.exists(), fresh.exists()) == (False, True, True)
    assert (tmp_path / "target").is_dir()
    os.close(descriptor)
