# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which distribution an app's module is of."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._former import installed as _installed
from ansible_collections.headcount.gunicorn.plugins.module_utils._former.asservice import Ids, Reader
from ansible_collections.headcount.gunicorn.plugins.module_utils._former.installed import Installed, installed, sites

SITE = "/srv/venv/lib/python3.11/site-packages"


class Environment:
    """A Python environment below a folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.reader = root, Reader(str(root), Ids(os.geteuid(), os.getegid()))
        (root / SITE.lstrip("/")).mkdir(parents=True)

    def write(self, path: str, text: str = "") -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def add(
        self,
        name: str,
        version: str,
        *files: str,
        origin: Any = None,
        asked: bool = False,
        needs: Sequence[str] = (),
    ) -> None:
        """A distribution, as pip installs one."""
        info = f"{SITE}/{name.replace('-', '_').lower()}-{version}.dist-info"
        more = "".join(f"Requires-Dist: {one}\n" for one in needs)
        self.write(f"{info}/METADATA", f"Name: {name}\nVersion: {version}\n{more}\nVersion: 9\n")
        self.write(f"{info}/RECORD", "".join(f"{file},sha256=x,1\n" for file in files))
        for file in files:
            self.write(f"{SITE}/{file}")
        if origin is not None:
            self.write(f"{info}/direct_url.json", origin if isinstance(origin, str) else json.dumps(origin))
        if asked:
            self.write(f"{info}/REQUESTED")

    def owner(self, module: str) -> Installed | None:
        return installed(self.reader, sites(self.reader, "/srv/venv"), module)


@pytest.fixture
def venv(tmp_path: Path) -> Environment:
    made = Environment(tmp_path)
    made.add("Flask", "3.1.2", "flask/__init__.py")
    made.add("gunicorn", "23.0.0", "gunicorn/__init__.py", asked=True)
    made.add("psycopg2-binary", "2.9.10", "psycopg2/__init__.py", asked=True)
    return made


def test_the_distribution_that_has_the_module(venv: Environment) -> None:
    venv.add("Otter-Wiki", "2.10.0", "otterwiki/__init__.py", "otterwiki/server.py", asked=True)
    expected = Installed("Otter-Wiki", "2.10.0", beside=("psycopg2_binary==2.9.10",))
    assert venv.owner("otterwiki.server") == expected
    assert venv.owner("otterwiki") == expected
    assert venv.owner("otterwiki.other") is None
    assert venv.owner("shop") is None


def test_what_it_brings_itself_is_not_beside_it(venv: Environment) -> None:
    """Some installers mark all that they install as asked for."""
    venv.add("Jinja2", "3.1", needs=["MarkupSafe>=2.0"], asked=True)
    venv.add("MarkupSafe", "3.0", needs=["jinja2"], asked=True)
    venv.add("redis", "5.0", asked=True)
    venv.add("shop", "1.0", "shop.py", needs=["jinja2 (>=3)", 'redis ; extra == "queue"', "missing"], asked=True)
    found = venv.owner("shop")
    assert found is not None
    assert found.beside == ("psycopg2_binary==2.9.10", "redis==5.0")


def test_one_that_is_called_otherwise(venv: Environment) -> None:
    venv.add("the-shop", "1.0", "wsgi.py")
    found = venv.owner("wsgi")
    assert found is not None
    assert (found.name, found.version, found.origin) == ("the-shop", "1.0", "index")


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (
            {"url": "https://me:pw@git.example.com/s.git", "vcs_info": {"vcs": "git", "commit_id": "a" * 40}},
            ("git", "https://git.example.com/s.git", "a" * 40, ""),
        ),
        ({"url": "file:///tmp/shop-1.0-py3-none-any.whl", "archive_info": {}}, ("file", "", "", "")),
        ({"url": "file:///srv/my%20shop", "dir_info": {}}, ("folder", "", "", "/srv/my shop")),
        ("[]", ("index", "", "", "")),
        ("{", ("index", "", "", "")),
    ],
)
def test_where_it_was_installed_from(venv: Environment, origin: Any, expected: tuple[str, str, str, str]) -> None:
    venv.add("shop", "1.0", "shop/__init__.py", origin=origin)
    found = venv.owner("shop")
    assert found is not None
    url = found.url if expected[0] == "git" else ""
    assert (found.origin, url, found.commit, found.folder) == expected
    assert "pw" not in repr(found)


def test_one_that_is_served_from_its_folder(venv: Environment) -> None:
    origin = {"url": "file:///srv/checkout", "dir_info": {"editable": True}}
    venv.add("shop", "1.0", origin=origin)
    assert venv.owner("shop.web") is None
    venv.write("/srv/checkout/src/shop/web.py")
    found = venv.owner("shop.web")
    assert found is not None
    assert (found.origin, found.folder, found.editable) == ("folder", "/srv/checkout", True)


def test_no_more_is_read_than_is_worth_it(venv: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    venv.add("shop", "1.0", "shop/__init__.py")
    monkeypatch.setattr(_installed, "_MOST_IN_ALL", 0)
    assert venv.owner("shop") is None


def test_a_record_that_is_no_plain_file(venv: Environment) -> None:
    venv.add("shop", "1.0", "shop/__init__.py")
    record = venv.root / SITE.lstrip("/") / "shop-1.0.dist-info/RECORD"
    record.unlink()
    record.symlink_to("/dev/zero")
    assert venv.owner("shop") is None
    venv.write(f"{SITE}/shop-1.0.dist-info/top_level.txt", "shop\n")
    assert venv.owner("shop") is not None
