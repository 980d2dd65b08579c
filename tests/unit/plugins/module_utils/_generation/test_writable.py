# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What cannot be written is told with the folder and the fix."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.writable import unwritable
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout


@pytest.mark.parametrize(
    ("flags", "blocks", "files", "told"),
    [
        (0, 4096, 10, ""),
        (0, 4096, 0, "no more file can be made at {path} (`df -i`)"),
        (0, 512, 10, "2.0 MiB are free at {path}, and 4 MiB are needed: free some room there"),
        (os.ST_RDONLY, 0, 0, "{path} is read-only: "),
    ],
)
def test_what_is_read_only_or_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: int, blocks: int, files: int, told: str
) -> None:
    layout = Layout("shop", str(tmp_path))
    os.makedirs(layout.state)
    left = SimpleNamespace(f_flag=flags, f_bavail=blocks, f_frsize=4096, f_files=100, f_favail=files)
    monkeypatch.setattr(os, "statvfs", lambda path: left)
    found = unwritable(layout)
    assert len(found) == bool(told)
    assert not told or found[0].startswith(told.format(path=layout.state))


def test_a_file_system_that_counts_no_files_is_not_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout("shop", str(tmp_path))
    os.makedirs(layout.home)
    left = SimpleNamespace(f_flag=0, f_bavail=4096, f_frsize=4096, f_files=0, f_favail=0)
    monkeypatch.setattr(os, "statvfs", lambda path: left)
    assert unwritable(layout) == []
