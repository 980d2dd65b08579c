# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a Gunicorn of root's leads to is read as the account that it gives its work to."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._former import asservice
from ansible_collections.headcount.gunicorn.plugins.module_utils._former.asservice import Ids, Reader, reader_of
from ansible_collections.headcount.gunicorn.plugins.module_utils._former.running import Running, _Reading

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="starts processes of other accounts")
NOBODY = 65_534
GONE = 2**22 + 1
"""More than the kernel gives to a process."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that everybody comes to, of an app whose file is a link to one of root's."""
    made = Path(tempfile.mkdtemp(dir="/var/lib"))
    made.chmod(0o755)
    (made / "private.py").write_text("statsd_prefix = 'of-root'\n")
    (made / "private.py").chmod(0o600)
    (made / "app").mkdir()
    (made / "app/gunicorn.conf.py").symlink_to("../private.py")
    os.chown(made / "app", NOBODY, NOBODY)
    yield made
    shutil.rmtree(made)


Start = Callable[..., int]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts a process that looks like a Gunicorn and waits; its number."""
    program = folder / "gunicorn"
    program.write_text("#!/bin/sh\nread end\n")
    program.chmod(0o755)
    started: list[subprocess.Popen[bytes]] = []

    def make(*words: str, uid: int = 0) -> int:
        command = [str(program), *words, "shop:app"]
        pipe, app = subprocess.PIPE, folder / "app"
        one = subprocess.Popen(command, cwd=app, stdin=pipe, user=uid, group=uid, extra_groups=[uid])
        started.append(one)
        return one.pid

    yield make
    for one in started:
        one.communicate()


def read(master: int, *workers: int) -> Running:
    return _Reading("/", master, 4, {}).running(("a.service", "", ()), list(workers), [master, *workers], False)


def test_a_file_of_roots_is_not_read_for_a_service_that_roots_gunicorn_gives_away(folder: Path, start: Start) -> None:
    found = read(start("--user", "nobody"))
    assert "statsd_prefix" not in found.settings
    assert found.unread == ("the whole file, which is no plain file, or is longer than 32 KiB",)
    found = read(start(), start(uid=NOBODY))
    assert "statsd_prefix" not in found.settings
    (folder / "private.py").chmod(0o644)
    assert read(start(), start(uid=NOBODY)).settings["statsd_prefix"] == "of-root"


def test_a_service_of_roots_is_read_where_root_alone_made_it(folder: Path, start: Start) -> None:
    found = read(start(), start())
    assert "statsd_prefix" not in found.settings
    assert found.unread == (
        "the whole file, which accounts beside root could have changed while the service is root's",
    )
    os.chown(folder / "app", 0, 0)
    assert read(start(), start()).settings["statsd_prefix"] == "of-root"
    (folder / "app/gunicorn.conf.py").unlink()
    assert (read(start()).config, read(start()).unread) == ("", ())


def test_nothing_is_read_for_a_service_that_has_ended(folder: Path) -> None:
    found = reader_of("/", GONE, [os.getpid()], "")
    path = str(folder / "app/gunicorn.conf.py")
    assert found.ids is None
    assert (found.text(path, 100), found.names(str(folder)), found.is_there(path)) == (None, [], False)
    assert found.hinders(path) == "whose service ended as it was read"


def test_whose_rights(start: Start) -> None:
    root, nobody, own = start(), start(uid=NOBODY), Ids(NOBODY, NOBODY, (NOBODY,))
    assert reader_of("/", nobody, [root], "").ids == own
    assert reader_of("/", root, [GONE, root, nobody], "").ids == own
    for name in ("nobody", str(NOBODY)):
        ids = reader_of("/", root, [root], name).ids
        assert ids is not None
        assert ids.uid == NOBODY
    for name in ("no-such-account", "9" * 30, "²"):
        assert reader_of("/", root, [], name).ids is None
    assert reader_of("/", root, [GONE], "root").ids == reader_of("/", root, [], "").ids == Ids(0, 0, (0,))


def test_a_directory_that_is_a_host_is_read_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asservice, "read_status", lambda *_: pytest.fail("its accounts are not this host's"))
    (tmp_path / "file").write_text("a")
    found = reader_of(str(tmp_path), 40, [41], "deploy")
    assert found == Reader(str(tmp_path), Ids(0, 0))
    assert (found.text("/file", 1), found.names("/")) == ("a", ["file"])
