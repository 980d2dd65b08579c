# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Who connects to a unix socket, by its file and the folders on the way."""

from __future__ import annotations

import grp
import os
import pwd
import socket
from pathlib import Path

import pytest
from access_lists import let_in
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import socketfile
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.rights import closed_above
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.socketfile import Reach, reach

USER = next(user for user in pwd.getpwall() if user.pw_name == "daemon")
GROUP = next(group for group in grp.getgrall() if group.gr_name == "adm")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A socket of USER and GROUP in a folder of its own, which everybody comes to."""
    if os.geteuid():
        pytest.skip("needs root")
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    file = str(folder / "old.sock")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(file)
    os.chown(file, USER.pw_uid, GROUP.gr_gid)
    for place in (tmp_path, *tmp_path.parents):
        os.chmod(place, os.stat(place).st_mode | 0o011)
    return file


@pytest.mark.parametrize(
    ("mode", "groups", "users", "words"),
    [
        (0o777, (), {}, "everybody"),
        (0o660, ("adm",), {"daemon": "daemon"}, "the group adm and daemon"),
        (0o770, ("adm",), {"daemon": "daemon"}, "the group adm and daemon"),
        (0o700, (), {"daemon": "daemon"}, "daemon"),
        (0o060, ("adm",), {}, "the group adm"),
        (0o440, (), {}, "root alone"),
    ],
)
def test_by_mode(path: str, mode: int, groups: tuple[str, ...], users: dict[str, str], words: str) -> None:
    os.chmod(path, mode)
    found = reach(path)
    assert found == Reach(f"{mode:04o}", words == "everybody", groups, users)
    assert found.words == words


def test_a_folder_on_the_way_that_is_closed(path: str) -> None:
    os.chmod(path, 0o777)
    os.chown(os.path.dirname(path), 0, GROUP.gr_gid)
    os.chmod(os.path.dirname(path), 0o750)
    assert reach(path) == Reach("0777", False, ("adm",), {})


def test_an_access_list(path: str) -> None:
    os.chown(path, 0, 0)
    let_in(Path(path), USER.pw_uid)
    found = reach(path)
    assert found is not None
    assert (found.everybody, found.groups, found.users) == (False, (), {"daemon": "daemon"})


def test_none_is_there(tmp_path: Path) -> None:
    assert reach(str(tmp_path / "no.sock")) is None
    assert closed_above("/", socketfile.Who("")) == ""
