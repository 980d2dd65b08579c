# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Files that accounts without rights may have made are read as they may, and never waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.foreignfiles import as_account, names_in, text_of


def test_a_plain_file_that_is_not_large(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"12345\xff")
    (tmp_path / "link").symlink_to("a")
    assert text_of(str(file), 6) == "12345\ufffd"
    assert text_of(str(tmp_path / "link"), 6) == "12345\ufffd"
    assert text_of(str(file), 5) is None


def test_everything_else(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("pipe", "loop", "missing", "", "a\0b"):
        assert text_of(str(tmp_path / name), 100) is None
    assert text_of("/dev/zero", 100) is None


def test_names_of_a_folder(tmp_path: Path) -> None:
    for name in "cab":
        (tmp_path / name).touch()
    assert names_in(str(tmp_path)) == ["a", "b", "c"]
    assert len(names_in(str(tmp_path), 2)) == 2
    assert names_in(str(tmp_path / "a")) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another account")
def test_with_the_rights_of_an_account() -> None:
    before = os.geteuid(), os.getegid(), os.getgroups()
    with as_account(65_534, 65_534, [4]):
        assert (os.geteuid(), os.getegid(), os.getgroups()) == (65_534, 65_534, [4])
        assert text_of("/etc/shadow", 2**20) is None
    assert (os.geteuid(), os.getegid(), os.getgroups()) == before
    with as_account(0, 0):
        assert os.geteuid() == 0
