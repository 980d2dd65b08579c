# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What root removes: all of a folder, nothing that a link leads to, and nothing that is mounted at it or below it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.failures import sentence
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import removal
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.removal import (
    Mounted,
    mounts_in,
    refuse_mounts,
    remove_tree,
    try_to_remove_tree,
)

LINE = "36 35 98:0 /photos {point} rw,noatime shared:1 - ext4 /dev/sda1 rw\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with something in it, and something mounted (as mountinfo is made to say)."""
    folder = tmp_path / "var/data"
    (folder / "a photos").mkdir(parents=True)
    (folder / "a photos/1.jpg").touch()
    (folder / "before.txt").touch()
    return folder


def mountinfo(root: Path, *points: Path) -> None:
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    text = "".join(LINE.format(point=str(point).replace(" ", "\\040")) for point in points)
    (root / "proc/self/mountinfo").write_text(text, encoding="utf-8")


def test_all_goes_but_not_what_a_link_leads_to(data: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept.txt").touch()
    (data / "deep/er").mkdir(parents=True)
    (data / "link").symlink_to(tmp_path / "outside")
    remove_tree(str(data))
    assert not data.exists()
    assert os.listdir(tmp_path / "outside") == ["kept.txt"]


def test_what_is_mounted_at_it_and_below_is_found(data: Path, tmp_path: Path) -> None:
    mountinfo(tmp_path, data / "a photos", data, tmp_path / "var/database", tmp_path / "var", Path("/"))
    assert mounts_in([str(data)], str(tmp_path)) == [str(data), str(data / "a photos")]
    assert mounts_in([str(tmp_path / "var/data2")], str(tmp_path)) == []


@pytest.mark.parametrize("at", ["", "/a photos"])
@pytest.mark.parametrize("remove", [remove_tree, refuse_mounts])
def test_nothing_goes_where_anything_is_mounted_at_it_or_below(
    data: Path, monkeypatch: pytest.MonkeyPatch, remove: Callable[[str], None], at: str
) -> None:
    point = f"{data}{at}"
    monkeypatch.setattr(removal, "mounts_in", lambda paths: [point])
    with pytest.raises(Mounted) as caught:
        remove(str(data))
    assert sentence(caught.value) == (
        f"{point} is a mount, and what is on it is not Headcount's to remove: `umount {shlex.quote(point)}` first"
    )
    assert sorted(os.listdir(data)) == ["a photos", "before.txt"]


def test_what_is_mounted_while_it_goes_stays(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter(["28", "41"])
    monkeypatch.setattr(removal, "mount_of", lambda descriptor: next(seen))
    with pytest.raises(Mounted, match="a photos is a mount"):
        remove_tree(str(data))
    assert (data / "a photos/1.jpg").exists()


def test_a_bind_mount_is_known_by_its_number_and_a_folder_has_that_of_its_parent(data: Path) -> None:
    descriptors = [os.open(path, os.O_RDONLY) for path in (data, data / "a photos", "/proc")]
    try:
        outer, inner, other = map(removal.mount_of, descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    assert outer == inner != other


def test_what_cannot_be_removed_is_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, dir_fd: int) -> None:
        raise PermissionError(1, "Operation not permitted", name)

    monkeypatch.setattr(removal.os, "unlink", refuse)
    with pytest.raises(OSError, match=r"Operation not permitted: '.*/var/data/.*'"):
        remove_tree(str(data))


def test_what_is_not_there_may_be_removed_all_the_same(tmp_path: Path) -> None:
    try_to_remove_tree(str(tmp_path / "nothing"))
