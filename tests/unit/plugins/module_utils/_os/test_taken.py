# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Who listens on a port, from a tree of /proc."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import sockets, taken

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LINE = (
    "   0: {address}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1\n"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """nginx (812) and systemd listen on 8001, systemd alone on 8002 (IPv6); a client has a connection from 8003."""
    net = tmp_path / "proc/net"
    net.mkdir(parents=True)
    rows = [("00000000", 8001, "0A", 11), ("0100007F", 8003, "01", 13)]
    net.joinpath("tcp").write_text(
        HEAD + "".join(LINE.format(address=one, port=port, state=state, inode=node) for one, port, state, node in rows)
    )
    net.joinpath("tcp6").write_text(HEAD + LINE.format(address="0" * 32, port=8002, state="0A", inode=12))
    for pid, name, nodes in ((1, "systemd", (11, 12)), (812, "nginx", (11,)), (900, "curl", (13,))):
        folder = tmp_path / "proc" / str(pid) / "fd"
        folder.mkdir(parents=True)
        (folder.parent / "comm").write_text(name + "\n")
        for node in nodes:
            os.symlink(f"socket:[{node}]", folder / str(node))
    return tmp_path


@pytest.mark.parametrize(
    ("port", "holders"),
    [(8001, ["nginx (pid 812)"]), (8002, ["systemd (pid 1)"]), (8003, []), (8004, [])],
)
def test_who_listens(root: Path, port: int, holders: list[str]) -> None:
    assert taken.port_holders(port, str(root)) == holders


@pytest.mark.parametrize(
    ("group", "unit"),
    [
        ("0::/system.slice/notes.service", "notes.service"),
        (
            "0::/machine.slice/libpod-1.scope/system.slice/system-getty.slice/getty@1.service",
            "getty@1.service",
        ),
        ("3:memory:/x\n1:name=systemd:/system.slice/notes.service/child", "notes.service"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/dev.service", ""),
        ("0::/user.slice/user-0.slice/session-3.scope", ""),
    ],
)
def test_whose_service_listens_and_how_it_is_ended_for_good(root: Path, group: str, unit: str) -> None:
    (root / "proc/812/cgroup").write_text(f"{group}\n", encoding="utf-8")
    (root / "proc/1/fd/11").unlink()
    ends = f" of {unit} (`systemctl disable --now {unit}` ends it for good)" if unit else ""
    assert taken.port_holders(8001, str(root)) == [f"nginx (pid 812){ends}"]


def test_an_app_of_headcounts_is_named_with_the_way_to_end_it(root: Path) -> None:
    (root / "opt/headcount/notes/generations").mkdir(parents=True)
    (root / "proc/812/cgroup").write_text("0::/system.slice/notes@7.service\n", encoding="utf-8")
    (told,) = taken.port_holders(8001, str(root))
    assert told == (
        "nginx (pid 812) of Headcount's app notes (where that is to listen elsewhere, roll it out by itself first; "
        "playbooks/remove.yml -e headcount_app=notes ends it, and its data stays)"
    )
    (root / "proc/812/cgroup").write_text("0::/system.slice/other@7.service\n", encoding="utf-8")
    assert "Headcount" not in taken.port_holders(8001, str(root))[0]


def test_a_service_that_systemd_would_start_again_is_ended_with_its_socket_unit(root: Path) -> None:
    (root / "proc/812/cgroup").write_text("0::/system.slice/shop.service\n", encoding="utf-8")
    (told,) = taken.port_holders(8001, str(root))
    assert told == (
        "nginx (pid 812) of shop.service, to which systemd passes the socket (`systemctl list-sockets` names its socket"
        " unit; `systemctl disable --now` with that and shop.service ends both for good)"
    )


def test_nobody_can_tell(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    assert taken.port_holders(80, str(tmp_path)) == []


@pytest.mark.parametrize(
    ("pid", "listen", "holds"),
    [
        (1, "0.0.0.0:8001", True),
        (812, "0.0.0.0:8001", True),
        (900, "0.0.0.0:8001", False),
        (1, "[::]:8002", True),
        (1, "0.0.0.0:8003", False),  # a connection is no listening socket
        (1, "unix:/run/shop.sock", True),
        (812, "unix:/run/shop.sock", False),
        (1, "unix:/run/else.sock", False),
        (4711, "0.0.0.0:8001", None),
    ],
)
def test_who_has_the_socket_to_give(root: Path, pid: int, listen: str, holds: bool | None) -> None:
    (root / "proc/net/unix").write_text(
        "Num       RefCount Protocol Flags    Type St Inode Path\n"
        "0000: 00000002 00000000 00010000 0001 01 21 /run/shop.sock\n"
        "0000: 00000003 00000000 00000000 0001 03 22 /run/shop.sock\n"
        "0000: 00000003 00000000 00000000 0001 03 23\n"
    )
    os.symlink("socket:[21]", root / "proc/1/fd/21")
    os.symlink("socket:[22]", root / "proc/812/fd/22")
    assert sockets.listens(pid, listen, str(root)) is holds


def test_without_tables_nobody_knows_who_listens(tmp_path: Path) -> None:
    (tmp_path / "proc/1/fd").mkdir(parents=True)
    assert sockets.listens(1, "0.0.0.0:80", str(tmp_path)) is None


def test_a_unix_socket_must_be_reached_by_its_path(tmp_path: Path) -> None:
    """The kernel goes on telling the path of a socket whose file is gone."""
    path = str(tmp_path / "shop.sock")
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        first.bind(path)
        first.listen()
        assert sockets.listens(os.getpid(), f"unix:{path}") is True
        # Gunicorn before 26 calls listen() once more on what systemd gave it: the kernel then names its process.
        subprocess.run(
            [sys.executable, "-c", f"import socket; socket.socket(fileno={first.fileno()}).listen()"],
            pass_fds=[first.fileno()],
            check=True,
        )
        assert sockets.listens(os.getpid(), f"unix:{path}") is True
        os.unlink(path)
        assert sockets.listens(os.getpid(), f"unix:{path}") is False
        second.bind(path)  # another inode is in its place, and nobody listens there
        assert sockets.listens(os.getpid(), f"unix:{path}") is False
