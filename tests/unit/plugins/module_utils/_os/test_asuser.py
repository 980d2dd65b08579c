# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether other accounts reach a unix socket: it is tried as they would."""

from __future__ import annotations

import grp
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import asuser
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.asuser import Account, ask_as, barriers, members

REQUEST = "GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
NOBODY = asuser.anybody()
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another account")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that others come to, below /tmp (pytest's own are closed)."""
    place = Path("/tmp") / f"headcount-asuser-{os.getpid()}"
    place.mkdir(mode=0o755)
    place.chmod(0o755)
    yield place
    for path in place.iterdir():
        path.unlink()
    place.rmdir()


@pytest.fixture
def listening(folder: Path) -> Iterator[str]:
    path = str(folder / "shop.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(path)
        server.listen(8)

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        yield path
        server.shutdown(socket.SHUT_RDWR)


@needs_root
def test_modes_decide_who_connects(listening: str, folder: Path) -> None:
    group = grp.getgrgid(os.getgid())
    member = Account("www", 65534, group.gr_gid, (group.gr_gid,))
    os.chmod(listening, 0o666)
    assert ask_as(NOBODY, listening, REQUEST) == ("", False)
    os.chmod(listening, 0o660)
    words, refused = ask_as(NOBODY, listening, REQUEST)
    assert refused
    assert "Permission denied" in words
    assert asuser.shut_out(listening, [NOBODY, member], REQUEST) == ""
    why = asuser.shut_out(listening, [NOBODY], REQUEST)
    assert why.startswith(
        f"an account of its own cannot connect to {listening} ([Errno 13] Permission denied): the socket"
    )
    assert why.endswith("has mode 0660")
    folder.chmod(0o700)
    assert f": {folder} belongs to root:root and has mode 0700" in asuser.shut_out(listening, [member], REQUEST)


@needs_root
def test_a_socket_that_is_not_there_says_that_its_folder_is_passed(folder: Path) -> None:
    assert ask_as(NOBODY, str(folder / "none.sock"), "")[1] is False
    folder.chmod(0o700)
    assert ask_as(NOBODY, str(folder / "none.sock"), "")[1] is True


def test_what_could_not_be_tried_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("no such interpreter")

    monkeypatch.setattr(asuser.subprocess, "run", broken)
    assert ask_as(NOBODY, "/run/shop.sock", REQUEST) == ("", False)


def test_the_members_of_a_group() -> None:
    assert all(account.uid for account in members("root"))
    name = grp.getgrgid(next(entry.gr_gid for entry in grp.getgrall() if entry.gr_name == "nogroup")).gr_name
    assert [account.gid for account in members(name)] != []
    with pytest.raises(KeyError):
        members("no-such-group")


def test_a_path_that_is_not_there_has_no_barrier() -> None:
    assert list(barriers("/no/such/place", NOBODY)) == []
