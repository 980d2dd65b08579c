# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Files that accounts without rights may have made are read as they may, and never waited for."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.foreignfiles import (
    as_account,
    names_in,
    roots_alone,
    text_of,
)


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


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that nobody but root writes to, as those above it are."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder = Path(tempfile.mkdtemp(dir="/var/lib"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_what_root_alone_could_have_changed(place: Path, tmp_path: Path) -> None:
    file = place / "file"
    file.write_text("a")
    (place / "link").symlink_to("../" + place.name + "/./file")
    (place / "folder").mkdir(0o755)
    (place / "folder/up").symlink_to("../link")
    for name in ("file", "link", "folder/up"):
        assert roots_alone(str(place / name)), name
    for name in ("missing", "file/below", "a\0b", "loop"):
        (place / "loop").unlink(missing_ok=True)
        (place / "loop").symlink_to("loop")
        assert not roots_alone(str(place / name)), name
    assert not roots_alone(str(tmp_path))  # /tmp is everybody's


@pytest.mark.parametrize("what", ["file", "folder", "link"])
def test_what_others_could_have_changed(place: Path, what: str) -> None:
    (place / "folder").mkdir(0o755)
    (place / "folder/file").touch(0o644)
    (place / "folder/link").symlink_to("file")
    one = place / "folder" if what == "folder" else place / "folder" / what
    way = str(place / "folder/link")
    assert roots_alone(way)
    os.chown(one, 65_534, -1, follow_symlinks=False)
    assert not roots_alone(way)
    os.chown(one, 0, -1, follow_symlinks=False)
    assert roots_alone(way)
    if what != "link":
        for mode in (0o775, 0o757):
            one.chmod(mode)
            assert not roots_alone(way)
