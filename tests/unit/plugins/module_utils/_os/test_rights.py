# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What an account may do, by modes and access lists: one that is not on the host yet, and of files to come."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from access_lists import let_in
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import rights
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.rights import PASS, READ, WRITE, Who, rules

NEW = Who("hc-shop")
APP = Who("hc-shop", 4001, 4001, frozenset({4001}))
OLD = Who("deploy", 4002, 4002, frozenset({4002, 4009}), 0o022)


@pytest.mark.parametrize(
    ("mode", "who", "wanted", "may"),
    [
        (0o640, OLD, READ, True),
        (0o604, OLD, READ, False),  # its group comes before others
        (0o604, NEW, READ, True),
        (0o660, NEW, READ, False),
        (0o660, Who("hc-shop", None, None, frozenset({4009})), READ | WRITE, True),
        (0o000, Who("root", 0), READ | WRITE, True),
    ],
)
def test_modes(mode: int, who: Who, wanted: int, may: bool) -> None:
    assert rights.Rules(1, 4009, mode >> 6, mode >> 3 & 7, mode & 7).allow(who, wanted) is may


def test_the_owner_has_its_own_rights_alone() -> None:
    assert not rights.Rules(4002, 4009, 0, 7, 7).allow(OLD, READ)


def test_an_access_list_and_its_mask(tmp_path: Path) -> None:
    file = tmp_path / "app.db"
    file.touch()
    let_in(file, 4001)
    assert rules(str(file)).allow(APP, READ | WRITE)
    let_in(file, 4001, mask=4)
    found = rules(str(file))
    assert found is not None
    assert (found.allow(APP, READ), found.allow(APP, WRITE)) == (True, False)
    assert not found.allow(NEW, READ)
    assert rules(str(tmp_path / "missing")) is None


def test_what_somebody_makes_later(tmp_path: Path) -> None:
    folder = str(tmp_path)

    def may(maker: Who, other: Who, wanted: int = READ, mode: int = 0o666) -> bool:
        found = rights.rules_of_new(folder, maker, mode)
        return found is not None and found.allow(other, wanted)

    assert may(APP, APP, READ | WRITE)
    assert (may(OLD, APP), may(OLD, APP, WRITE), may(APP, OLD)) == (True, False, False)
    os.chmod(folder, 0o2770)
    os.chown(folder, -1, os.getgid())
    there = Who("hc-shop", 4001, 4001, frozenset({4001, os.getgid()}), 0o007)
    assert may(there, Who("deploy", 4002, 4002, frozenset({os.getgid()})), READ | WRITE)
    let_in(tmp_path, 4001, 4002, rights=7, default=True)
    assert may(APP, OLD, READ | WRITE)
    assert may(OLD, APP, READ | WRITE)
    assert not may(APP, OLD, WRITE, 0o644)  # the mask of an access list is what its maker says of the group
    assert rights.rules_of_new(f"{folder}/missing", APP, 0o666) is None


def test_a_folder_above_that_is_closed(tmp_path: Path) -> None:
    closed = tmp_path / "srv"
    (closed / "media").mkdir(parents=True)
    for place in (tmp_path, *tmp_path.parents):
        if place != Path("/") and os.stat(place).st_uid == os.geteuid():
            os.chmod(place, os.stat(place).st_mode | 0o011)
    assert rights.closed_above(str(closed / "media"), NEW) == ""
    os.chmod(closed, 0o700)
    assert rights.closed_above(str(closed / "media"), NEW) == str(closed)
    assert rules(str(closed)).allow(NEW, PASS) is False


def test_accounts_by_name_and_by_number() -> None:
    assert Who.named("root").uid == 0
    assert Who.named("hc-no-such-account") == Who("hc-no-such-account", None)
    assert Who.named("999999999").uid == 999_999_999
    assert 0 in Who.named("hc-no-such-account", ["root", "no-such-group"]).gids
