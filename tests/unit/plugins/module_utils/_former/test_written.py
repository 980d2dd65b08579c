# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a service keeps, on a host that is a directory."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._former import written as _written
from ansible_collections.headcount.gunicorn.plugins.module_utils._former.asservice import Ids, Reader
from ansible_collections.headcount.gunicorn.plugins.module_utils._former.written import Kept, Places, Written, kept
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import bounds

DEPLOYED, LATER = 1_000_000.0, 1_100_000.0
HERE = Places("/srv/shop", apart=("/srv/shop/env311",))


class Host:
    def __init__(self, root: Path) -> None:
        self.root, self.reader = root, Reader(str(root), Ids(os.geteuid(), os.getegid()))
        self.write("/srv/shop/app.py", at=DEPLOYED)

    def write(self, path: str, text: str = "x", at: float = LATER) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        os.utime(file, (at, at))

    def open(self, number: int, target: str, flags: str = "02100002", pid: int = 40) -> None:
        folder = self.root / "proc" / str(pid)
        for name in ("fd", "fdinfo"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "fd" / str(number)).symlink_to(target)
        (folder / "fdinfo" / str(number)).write_text(f"pos:\t0\nflags:\t{flags}\nmnt_id:\t1\n", encoding="utf-8")

    def kept(self, places: Places = HERE) -> Kept:
        return kept(self.reader, [40, 41], places, clock=lambda: 0.0)

    def paths(self, places: Places = HERE) -> list[str]:
        return [one.path for one in self.kept(places).found]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(_written, "_USUAL", ())
    return Host(tmp_path)


def test_what_is_open_for_writing(host: Host) -> None:
    host.write("/srv/data/shop.db", "12345")
    host.open(5, "/srv/data/shop.db")
    host.open(6, "/srv/data/shop.db-wal")
    host.open(7, "/srv/data/shop.db", pid=41)
    host.open(8, "/srv/data/appended.csv", "0102001")
    found = host.kept().found
    assert found[0] == Written("/srv/data/shop.db", "open", files=1, bytes=5, newest=LATER, database=True)
    assert [one.path for one in found] == ["/srv/data/shop.db", "/srv/data/appended.csv"]


@pytest.mark.parametrize(
    ("number", "target", "flags"),
    [
        (5, "/srv/data/read.db", "0100000"),
        (1, "/srv/data/output.txt", "02"),
        (5, "socket:[111]", "02"),
        (5, "/memfd:x (deleted)", "02"),
        (5, "/tmp/wgunicorn-abc (deleted)", "02"),
        (5, "/dev/null", "02"),
        (5, "/proc/40/oom_score_adj", "02"),
        (5, "/run/shop/shop.pid", "02"),
        (5, "/var/log/shop/error.log", "02"),
    ],
)
def test_what_is_open_and_none_of_the_apps(host: Host, number: int, target: str, flags: str) -> None:
    host.open(number, target, flags)
    assert host.paths(replace(HERE, logs=("/var/log/shop/error.log",))) == []


def test_what_lies_beside_the_code_without_git(host: Host) -> None:
    for path in (
        "app.db",
        "app.db-wal",
        "uploads/2026/a.png",
        "uploads/b.png",
        "pkg/static/uploads/c",
        "notes/new.txt",
    ):
        host.write(f"/srv/shop/{path}")
    host.write("/srv/shop/notes/old.txt", at=DEPLOYED - 9)
    host.write("/srv/shop/pkg/__init__.py", at=DEPLOYED)
    for path in ("static/a.css", "README.md", "__pycache__/x.pyc", "env311/lib/x.db", ".git/x.db", ".env", "a.pid"):
        host.write(f"/srv/shop/{path}", at=DEPLOYED)
    found = {one.path: one for one in host.kept().found}
    assert list(found) == [
        "/srv/shop/app.db",
        "/srv/shop/notes/new.txt",
        "/srv/shop/pkg/static",
        "/srv/shop/uploads",
    ]
    assert (found["/srv/shop/app.db"].files, found["/srv/shop/app.db"].folder) == (2, False)
    assert (found["/srv/shop/uploads"].files, found["/srv/shop/uploads"].folder) == (2, True)


def test_what_git_does_not_track(host: Host) -> None:
    for path in ("templates/index.html", "data/seed.json", "uploads/.gitkeep", "logo.png"):
        host.write(f"/srv/shop/{path}", at=LATER)
    folder = host.root / "srv/shop"
    for words in (["init"], ["add", "."]):
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)
    for path in ("data/users.json", "uploads/a.png", "pages/b.html", ".env", "local.py"):
        host.write(f"/srv/shop/{path}", at=DEPLOYED - 9)
    found = host.kept()
    assert [one.path for one in found.found] == ["/srv/shop/data/users.json", "/srv/shop/pages", "/srv/shop/uploads"]
    assert found.settings == (".env", "local.py")


def test_what_is_open_within_what_lies_there(host: Host) -> None:
    host.write("/srv/shop/instance/shop.db")
    host.open(5, "/srv/shop/instance/shop.db")
    host.open(6, "/srv/shop/seed.sqlite3")
    found = [(one.path, one.how, one.database) for one in host.kept().found]
    assert found == [("/srv/shop/instance", "open", True), ("/srv/shop/seed.sqlite3", "open", True)]


def test_links_are_named_and_not_followed(host: Host) -> None:
    host.write("/srv/media/a.png")
    for name, target in (("uploads", "/srv/media"), ("self", "."), ("secrets", "/etc/x"), ("python", "env311")):
        (host.root / "srv/shop" / name).symlink_to(target)
    assert host.kept().found == (Written("/srv/shop/uploads", "link", True, names=("/srv/media",)),)


def test_a_folder_without_code(host: Host) -> None:
    host.write("/var/lib/wiki/wiki.sqlite")
    host.write("/var/lib/wiki/pages/a.md")
    host.write("/var/lib/wiki/.bashrc")
    host.write("/srv/venv/var/wiki-instance/x.db")
    places = Places("/var/lib/wiki", False, ("/srv/venv",), ("/srv/venv/var/wiki-instance", "/srv/venv/var/none"))
    assert host.paths(places) == ["/srv/venv/var/wiki-instance", "/var/lib/wiki/wiki.sqlite", "/var/lib/wiki/pages"]
    host.write("/srv/other.db")
    assert host.paths(Places("/srv", False)) == []
    assert host.paths(Places("/", False)) == []


def test_what_the_unit_and_variables_name(host: Host) -> None:
    for path in ("/var/lib/shop/a", "/srv/media/a", "/srv/other.db", "/etc/shop/x", "/run/x", "/srv/data/shop.db"):
        host.write(path)
    host.open(5, "/srv/data/shop.db")
    places = replace(
        HERE,
        unit={"StateDirectory": ["/var/lib/shop"], "ReadWritePaths": ["/srv/media", "/srv/shop/here", "/missing"]},
        environment={
            "MEDIA": "/srv/media/",
            "DB": "sqlite:////srv/other.db",
            "ETC": "/etc/shop",
            "RUN": "/run/x",
            "DATA": "/srv/data",
            "TEXT": "a /srv/media",
        },
    )
    found = {one.path: (one.how, one.folder, one.names) for one in host.kept(places).found}
    assert found == {
        "/srv/data/shop.db": ("open", False, ()),
        "/var/lib/shop": ("unit", True, ("StateDirectory",)),
        "/srv/media": ("unit", True, ("ReadWritePaths", "MEDIA")),
        "/srv/other.db": ("variable", False, ("DB",)),
    }


def test_folders_of_the_account_in_the_usual_places(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = os.geteuid() or 4711
    for path in ("/var/lib/radicale/a", "/srv/media/a", "/srv/venv/a", "/srv/file"):
        host.write(path)
        os.chown(host.root / os.path.dirname(path).lstrip("/"), uid, -1)
    (host.root / "srv/link").symlink_to("media")
    host.open(5, "/srv/media/a")
    monkeypatch.setattr(_written, "_USUAL", ("/var/lib", "/srv", "/none"))
    host.reader = Reader(str(host.root), Ids(uid, 0))
    found = [(one.path, one.how) for one in host.kept(replace(HERE, apart=("/srv/venv/bin",))).found]
    assert found == [("/srv/media/a", "open"), ("/var/lib/radicale", "owned")]
    host.reader = Reader(str(host.root), Ids(0, 0))
    assert "owned" not in {one.how for one in host.kept().found}


def test_no_more_is_looked_at_and_told_than_is_worth_it(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(25):
        host.write(f"/srv/shop/{number:02}.db")
    found = host.kept()
    assert (len(found.found), found.more, found.cut) == (20, 5, False)
    monkeypatch.setattr(bounds, "MOST", 10)
    assert host.kept().cut
    monkeypatch.setattr(bounds, "MOST", 20_000)
    moments = iter([0.0, *[99.0] * 9])
    assert kept(host.reader, [], HERE, clock=lambda: next(moments)).cut


def test_no_file_is_opened(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write("/srv/shop/shop.db")
    os.mkfifo(host.root / "srv/shop/pipe.db")
    opened: list[str] = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *more: opened.append(str(path)) or real(path, *more))
    assert host.paths() == ["/srv/shop/shop.db"]
    assert [path for path in opened if not path.endswith(".git/index")] == []
