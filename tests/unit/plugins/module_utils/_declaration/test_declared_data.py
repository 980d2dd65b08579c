# SPDX-License-Identifier: GPL-3.0-or-later
"""What an app keeps, as it is declared: places by name, and an environment that leads to none that loses it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration import normalise
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import App, Data
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.digests import public_digest

APP: dict[str, Any] = {
    "name": "shop",
    "source": {"path": "app"},
    "entry_point": "shop.wsgi:app",
    "listen": "0.0.0.0:8000",
}


def declared(**changes: Any) -> tuple[dict[str, Any], list[str]]:
    apps, problems = normalise.normalise_apps([{**APP, **changes}], "web1")
    return apps[0], [problem.text for problem in problems]


def test_places_have_names_in_the_environment_and_in_secrets() -> None:
    app, problems = declared(
        environment={"UPLOADS": "{data}/uploads", "BOTH": "{cache}:{logs}", "PLAIN": "{nothing}"},
        secrets={"DATABASE_URL": "sqlite:///{data}/shop.db?key=tea"},
        data={"cache": True, "logs": True},
    )
    assert problems == []
    assert app["environment"] == {
        "UPLOADS": "/var/lib/hc-shop/uploads",
        "BOTH": "/var/cache/hc-shop:/var/log/hc-shop",
        "PLAIN": "{nothing}",
    }
    assert app["secrets"]["DATABASE_URL"] == "sqlite:////var/lib/hc-shop/shop.db?key=tea"


def test_a_place_that_the_app_does_not_have_is_refused() -> None:
    _, problems = declared(environment={"INDEX": "{cache}/index"})
    assert problems == [
        "headcount_apps[0].environment.INDEX names {cache}, and the app has no such folder: allowed is a folder that"
        " `data` declares; fix: data: {cache: true}"
    ]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("DATABASE_URL", "sqlite:////tmp/shop.db", "is a SQLite database below /tmp, which is emptied with each"),
        ("ANY", "sqlite+pysqlite:////dev/shm/x.db", "is a SQLite database below /dev/shm, which is emptied"),
        ("UPLOAD_FOLDER", "/tmp/uploads", "is a path below /tmp, which is emptied with each generation or restart"),
        ("MEDIA_ROOT", "/run/media", "is a path below /run, which is emptied"),
        ("DATA_DIR", "/opt/headcount/shop/live/release/data", "is a path in the release, which is read-only"),
        ("DB", "sqlite:////srv/shop.db", "is a SQLite database where the app cannot write"),
        ("UPLOADS", "/srv/uploads", "is a path where the app cannot write"),
    ],
)
def test_what_is_kept_where_it_is_lost_is_refused(name: str, value: str, words: str) -> None:
    _, (problem,) = declared(environment={name: value})
    assert problem.startswith(f"headcount_apps[0].environment.{name} {words}")
    assert f"fix: {name}: " in problem
    assert "{data}/" in problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "sqlite:///shop.db"),  # relative: for Flask-SQLAlchemy below `instance`
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "postgresql:///shop?host=/run/postgresql"),
        ("DB_SOCKET", "/run/postgresql/.s.PGSQL.5432"),
        ("DB_HOST", "/run/postgresql"),
        ("DATA_DIR", "/usr/share/geo"),  # it may only be read
        ("TMPDIR", "/tmp"),
        ("CACHE_DIR", "/tmp/cache"),
        ("UPLOADS", "/var/lib/hc-shop/uploads"),
        ("UPLOADS", "/srv/media/uploads"),
        ("DATABASE", "shop"),
    ],
)
def test_what_keeps_nothing_or_is_kept_is_not(name: str, value: str) -> None:
    assert declared(environment={name: value}, data={"outside": ["/srv/media"]})[1] == []


def test_a_secret_path_is_not_shown() -> None:
    _, (problem,) = declared(secrets={"DATABASE_URL": "sqlite:////srv/hunter2/x.db?key=hunter2"})
    assert "key=hunter2" not in problem


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"paths": ["/srv/x"]}, "data.paths[0] is '/srv/x' (an absolute path)"),
        ({"paths": ["../x"]}, "data.paths[0] is '../x' (it names nothing inside)"),
        ({"paths": ["."]}, "data.paths[0] is '.' (it names nothing inside)"),
        ({"paths": ["a", "a/b/"]}, "data.paths[1] is 'a/b', which lies in 'a'"),
        ({"paths": ["a", "a"]}, "data.paths[1] is 'a', which lies in 'a'"),
        ({"paths": ["shop"]}, "data.paths[0] is 'shop', where the code of the entry point is"),
        ({"paths": ["shop/wsgi.py"]}, "data.paths[0] is 'shop/wsgi.py', where the code of the entry point is"),
        ({"outside": ["/etc/shop"]}, "data.outside[0].path is '/etc/shop' (a folder of the system)"),
        ({"outside": ["/"]}, "data.outside[0].path is '/' (a folder of the system)"),
        ({"outside": ["/tmp/x"]}, "data.outside[0].path is '/tmp/x' (what is there is lost)"),
        ({"outside": ["/opt/headcount/shop"]}, "(it is Headcount's own)"),
        ({"outside": ["/var/lib/hc-guest"]}, "(it is the data of the app guest, which the app has as {data}, {cache}"),
        ({"outside": ["/var/log/hc-guest/old"]}, "fix: a folder that both apps are let into"),
        ({"outside": ["srv"]}, "data.outside[0].path is 'srv'"),
        ({"scratch": ["x.db"]}, "data.scratch[0] is 'x.db' (no absolute path)"),
        ({"built": ["/srv/x"]}, "data.built[0].path is '/srv/x' (an absolute path)"),
        ({"built": ["../x"]}, "data.built[0].path is '../x' (it names nothing inside)"),
        ({"built": ["."]}, "data.built[0].path is '.' (it names nothing inside)"),
        ({"built": ["a:b"]}, "data.built[0].path is 'a:b' (systemd cannot be told of it as it is)"),
        ({"built": ["a b"]}, "data.built[0].path is 'a b' (systemd cannot be told of it as it is)"),
        ({"built": ["a", "a/b"]}, "data.built[1] is 'a/b', which lies in 'a'"),
        ({"built": ["a", "a/"]}, "data.built[1] is 'a', which lies in 'a'"),
        ({"built": ["a/b"], "paths": ["a/"]}, "data.built[0] is 'a/b', and 'a' leads to the app's data"),
        ({"built": ["a"], "paths": ["a/b.db"]}, "data.built[0] is 'a', and 'a/b.db' leads to the app's data"),
        ({"built": ["instance"]}, "data.built[0] is 'instance', and 'instance' leads to the app's data"),
        ({"built": ["shop"]}, "data.built[0] is 'shop', where the code of the entry point is"),
        ({"built": [{"path": "shop", "code": True}]}, "data.built[0] is 'shop', where the code of the entry point is"),
    ],
)
def test_what_cannot_be_kept_is_refused(data: dict[str, Any], words: str) -> None:
    _, problems = declared(data=data)
    assert len(problems) == 1
    assert words in problems[0]


def test_what_each_generation_makes_is_no_part_of_what_was_declared_before() -> None:
    app, problems = declared(data={"built": ["shop/static/build/", {"path": "gen", "code": True}]})
    assert problems == []
    assert app["data"]["built"] == [{"path": "shop/static/build", "code": False}, {"path": "gen", "code": True}]
    assert App.from_dict(app).to_dict()["data"] == app["data"]
    before, _ = declared(data={"logs": True})
    assert "built" not in before["data"], "its digest is that of its live generation"


@pytest.mark.parametrize(
    ("value", "fix"),
    [
        ("/srv/shop/app.db", "or data: {outside: [/srv/shop]}"),
        ("/srv/shop/uploads", "or data: {outside: [/srv/shop/uploads]}"),
        ("sqlite:////srv/shop/app", "or data: {outside: [/srv/shop]}"),
        ("/var/lib/app.db", 'DATABASE: "{data}/app.db"'),
    ],
)
def test_a_fix_is_one_that_is_taken(value: str, fix: str) -> None:
    (problem,) = declared(environment={"DATABASE": value})[1]
    assert problem.endswith(fix)
    folder = fix.partition("[")[2].rstrip("]}")
    if folder:
        assert declared(environment={"DATABASE": value}, data={"outside": [folder]})[1] == []


def test_paths_beside_the_code_are_allowed() -> None:
    assert declared(data={"paths": ["shop/static/uploads", "shops", "db.sqlite3", "instance/"]})[1] == []


def test_who_declares_nothing_keeps_the_digest_of_what_is_live() -> None:
    plain = [declared()[0], declared(data={})[0]]
    assert plain[0] == plain[1]
    assert "data" not in plain[0]
    assert App.from_dict(plain[0]).data == Data()
    more = App.from_dict(declared(data={"cache": True})[0])
    assert public_digest(more) != public_digest(App.from_dict(plain[0]))
