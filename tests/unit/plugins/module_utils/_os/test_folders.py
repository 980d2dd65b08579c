# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders that root makes: nobody has another one made, or given away, by what lies on the way."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Callable

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import folders
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.folders import Unsafe, hindrance
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.madefolders import make_folder


@pytest.fixture
def guest(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """Gives a file or folder to an account without rights; without root, to the eyes of the code under test."""
    given: set[int] = set()

    def give(path: Path) -> Path:
        if os.geteuid() == 0:
            os.lchown(path, 65534, 65534)
        given.add(os.lstat(path).st_ino)
        return path

    def seen(status: os.stat_result) -> os.stat_result:
        return os.stat_result((*status[:4], 65534, *status[5:])) if status.st_ino in given else status

    real_stat, real_fstat = os.stat, os.fstat
    monkeypatch.setattr(folders.os, "stat", lambda *at, **how: seen(real_stat(*at, **how)))
    monkeypatch.setattr(folders.os, "fstat", lambda handle: seen(real_fstat(handle)))
    return give


def test_a_folder_is_made_with_what_is_missing_above_it(tmp_path: Path) -> None:
    path = tmp_path / "a/b/c"
    assert hindrance(str(path)) is None
    assert make_folder(str(path), 0o700, (os.geteuid(), os.getegid()))
    modes = [stat.S_IMODE(one.stat().st_mode) for one in (path, path.parent, path.parent.parent)]
    assert modes == [0o700, 0o755, 0o755]
    path.chmod(0o750)
    assert not make_folder(str(path), 0o700)
    assert stat.S_IMODE(path.stat().st_mode) == 0o750, "what is there is left as it is"


@pytest.mark.parametrize("target", ["{tmp}/disk", "disk", "../{name}/disk"])
def test_a_link_of_roots_is_followed(tmp_path: Path, target: str) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "srv").symlink_to(target.format(tmp=tmp_path, name=tmp_path.name))
    assert make_folder(str(tmp_path / "srv/media"), 0o700)
    assert (tmp_path / "disk/media").is_dir()


def test_nothing_is_made_below_a_folder_of_an_account_without_rights(
    tmp_path: Path, guest: Callable[[Path], Path]
) -> None:
    mine = tmp_path / "media"
    (mine / "inner").mkdir(parents=True)
    guest(mine)
    for path in (mine / "sub", mine / "inner/sub"):
        found = hindrance(str(path))
        assert found is not None
        assert (found.at, found.owner) == (str(mine), "nobody")
        with pytest.raises(Unsafe, match=f"^{mine} belongs to nobody$"):
            make_folder(str(path), 0o700)
        assert not path.exists()


def test_a_link_of_an_account_without_rights_is_not_followed(tmp_path: Path, guest: Callable[[Path], Path]) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "up").symlink_to(tmp_path / "etc")
    guest(tmp_path / "up")
    with pytest.raises(Unsafe, match="up is a link that is not root's alone"):
        make_folder(str(tmp_path / "up/thumbs"), 0o700)
    assert os.listdir(tmp_path / "etc") == []


@pytest.mark.parametrize(("mode", "safe"), [(0o775, False), (0o777, False), (0o1777, True)])
def test_a_link_where_others_could_put_another_is_not_followed(tmp_path: Path, mode: int, safe: bool) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "open").mkdir()
    (tmp_path / "open/up").symlink_to(tmp_path / "etc")
    (tmp_path / "open").chmod(mode)
    assert (hindrance(str(tmp_path / "open/up/thumbs")) is None) == safe


def test_a_folder_that_is_swapped_for_a_link_while_it_is_made_is_not_given_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o755)
    make = os.mkdir

    def swapped(name: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        make(name, mode, dir_fd=dir_fd)
        os.rename(name, "away", src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        os.symlink(victim, name, dir_fd=dir_fd)

    (tmp_path / "srv").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(folders.os, "mkdir", swapped)
        with pytest.raises(Unsafe):
            make_folder(str(tmp_path / "srv/media"), 0o700, (65534, 65534))
    assert (stat.S_IMODE(victim.stat().st_mode), victim.stat().st_uid) == (0o755, os.geteuid())


def test_a_folder_that_is_swapped_for_one_that_holds_something_is_not_given_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/kept").touch()
    make = os.mkdir

    def swapped(name: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        make("away", mode, dir_fd=dir_fd)
        os.rename("other", name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr(folders.os, "mkdir", swapped)
        with pytest.raises(Unsafe, match="was swapped while it was made"):
            make_folder(str(tmp_path / "media"), 0o700, (65534, 65534))
    assert (tmp_path / "media").stat().st_uid == os.geteuid()


def test_what_is_no_folder_and_what_leads_nowhere_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "gone").symlink_to("missing/../../x")
    assert "file is no folder that can be entered" in str(hindrance(str(tmp_path / "file/sub")))
    assert "leads from link to link" in str(hindrance(str(tmp_path / "round/sub")))
    assert "is what a link leads to, and is missing" in str(hindrance(str(tmp_path / "gone/sub")))
