# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What Headcount has once on a host: what is of somebody else's there is told, and is never written over."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils import _hosttool
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import clashes, localfact, shared
from ansible_collections.headcount.gunicorn.plugins.module_utils._host import boot, exporting
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import COMMANDS, LOCAL_FACT, Layout

BOOT_UNIT, EXPORTER = "etc/systemd/system/headcount-boot.service", "etc/systemd/system/headcount-exporter.service"
THEIRS = "#!/bin/sh\necho theirs\n"


class Manager:
    """A systemd that reads its files again."""

    def reload(self) -> None:
        """Nothing is to be read."""


MANAGER: Any = Manager()


def put(root: Path, path: str, text: str = THEIRS) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_nothing_is_in_the_way_on_a_fresh_host_or_of_headcounts_own(tmp_path: Path) -> None:
    assert shared.foreign(str(tmp_path)) == []
    _hosttool.install({}, str(tmp_path))
    put(tmp_path, BOOT_UNIT, boot.UNIT_TEXT)
    localfact.update(Layout("shop", str(tmp_path)), lambda _: {"generation": 3})
    assert shared.foreign(str(tmp_path)) == []


@pytest.mark.parametrize("path", [*COMMANDS, BOOT_UNIT, LOCAL_FACT])
def test_what_is_of_somebody_elses_is_told_to_every_app(tmp_path: Path, path: str) -> None:
    put(tmp_path, path)
    (words,) = shared.foreign(str(tmp_path))
    assert words.startswith(f"/{path} is not Headcount's, which has a file of its own by that name: move it")
    host = clashes.Host(str(tmp_path))
    assert clashes.clashes(Layout("shop", str(tmp_path)), {}, {}, host) == [words]


@pytest.mark.parametrize("text", ['{"shop": 3}', "[1]", '"theirs"', "colour: green"])
def test_a_fact_of_somebody_elses_stays_as_it_is(tmp_path: Path, text: str) -> None:
    fact = put(tmp_path, LOCAL_FACT, text)
    localfact.update(Layout("shop", str(tmp_path)), lambda _: {"generation": 3})
    assert fact.read_text() == text
    assert len(shared.foreign(str(tmp_path))) == 1


def test_an_empty_fact_is_nobodys(tmp_path: Path) -> None:
    fact = put(tmp_path, LOCAL_FACT, "")
    localfact.update(Layout("shop", str(tmp_path)), lambda _: {"generation": 3})
    assert json.loads(fact.read_text()) == {"shop": {"generation": 3}}


@pytest.mark.parametrize("path", [COMMANDS[0], BOOT_UNIT, LOCAL_FACT])
def test_a_link_or_a_pipe_of_that_name_is_not_followed(tmp_path: Path, path: str) -> None:
    end = put(tmp_path, "elsewhere", "# Written by Headcount.\n{}")
    link = tmp_path / path
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(end)
    assert len(shared.foreign(str(tmp_path))) == 1
    link.unlink()
    os.mkfifo(link)
    assert len(shared.foreign(str(tmp_path))) == 1


def test_a_unit_at_boot_that_somebody_masked_stays_so(tmp_path: Path) -> None:
    unit = tmp_path / BOOT_UNIT
    unit.parent.mkdir(parents=True)
    unit.symlink_to(os.devnull)
    assert boot.install(str(tmp_path), MANAGER) is False
    assert os.readlink(unit) == os.devnull
    assert shared.foreign(str(tmp_path)) == []


def test_a_unit_at_boot_of_somebody_elses_stays_where_the_last_app_goes(tmp_path: Path) -> None:
    unit = put(tmp_path, BOOT_UNIT)
    boot.uninstall_if_idle(str(tmp_path), MANAGER)
    assert unit.read_text() == THEIRS


def test_an_exporter_of_somebody_elses_is_neither_replaced_nor_taken_away(tmp_path: Path) -> None:
    unit = put(tmp_path, EXPORTER)
    assert exporting.uninstall(str(tmp_path), MANAGER) is False
    assert unit.read_text() == THEIRS
    assert shared.foreign(str(tmp_path)) == []
    (words,) = shared.foreign(str(tmp_path), "headcount-exporter.service")
    assert words.startswith(f"/{EXPORTER} is not Headcount's")


def test_a_closed_folder_with_something_in_it_is_not_opened_for_the_first_app(tmp_path: Path) -> None:
    folder = tmp_path / "opt/headcount"
    folder.mkdir(parents=True, mode=0o700)
    assert shared.foreign(str(tmp_path)) == []
    put(tmp_path, "opt/headcount/books.db")
    (words,) = shared.foreign(str(tmp_path))
    assert words.startswith("/opt/headcount is not Headcount's: it has mode 0700, and 'books.db' in it")
    folder.chmod(0o755)
    assert shared.foreign(str(tmp_path)) == []
