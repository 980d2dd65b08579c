# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Links that are pointed elsewhere, also where the file system has no inode left."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import files


def no_inode(monkeypatch: pytest.MonkeyPatch, path: Path, also: int = 0) -> None:
    """A file system on which a link can be made only where one was taken away, `also` so many times not even then."""
    real: Callable[[str, str], None] = os.symlink
    refused = [also]

    def symlink(target: str, at: str) -> None:
        if os.path.islink(path) or (target == "new" and refused[0] > 0):
            refused[0] -= not os.path.islink(path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), at)
        real(target, at)

    monkeypatch.setattr(os, "symlink", symlink)


def test_it_leads_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "live"
    assert files.replace_link(str(path), "old")
    assert files.replace_link(str(path), "new")
    assert not files.replace_link(str(path), "new")
    assert (os.readlink(path), os.listdir(tmp_path)) == ("new", ["live"])


def test_without_an_inode_it_gives_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "live"
    os.symlink("old", path)
    no_inode(monkeypatch, path)
    assert files.replace_link(str(path), "new")
    assert os.readlink(path) == "new"


def test_it_is_as_it_was_where_another_takes_the_inode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "live"
    os.symlink("old", path)
    no_inode(monkeypatch, path, also=1)
    with pytest.raises(OSError, match="No space left"):
        files.replace_link(str(path), "new")
    assert os.readlink(path) == "old"


def test_a_link_that_was_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def symlink(target: str, at: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), at)

    monkeypatch.setattr(os, "symlink", symlink)
    with pytest.raises(OSError, match="No space left"):
        files.replace_link(str(tmp_path / "live"), "new")
