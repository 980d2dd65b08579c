# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""An index of git, as git itself writes it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._former.tracked import tracked

NAMES = ("app.py", "deep/er/module.py", "static/ä.css", "uploads/.gitkeep", "a" * 200, "x" * 9, "x" * 10, "x" * 11)


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init")
    for name in NAMES:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name, encoding="utf-8")
    (tmp_path / "shop.db").write_text("", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("version", ["2", "3", "4"])
def test_what_git_tracks(checkout: Path, version: str) -> None:
    git(checkout, "add", *NAMES)
    if version == "3":
        git(checkout, "rm", "--cached", "app.py")
        git(checkout, "add", "--intent-to-add", "app.py")
    git(checkout, "update-index", "--index-version", version)
    assert tracked((checkout / ".git/index").read_bytes()) == frozenset(NAMES)


def test_what_is_no_index(checkout: Path) -> None:
    git(checkout, "add", *NAMES)
    whole = (checkout / ".git/index").read_bytes()
    assert tracked(b"") is None
    assert tracked(b"DIRX" + whole[4:]) is None
    assert tracked(whole[:4] + b"\0\0\0\5" + whole[8:]) is None
    assert tracked(whole[:8] + b"\xff\xff\xff\xff" + whole[12:]) is None
    for end in range(12, 12 + 70 * len(NAMES)):
        assert tracked(whole[:end]) is None
