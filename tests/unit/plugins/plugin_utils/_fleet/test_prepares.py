# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which commands a host runs before a candidate starts, and who runs those that the fleet needs once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import App, Prepare
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.normalise import normalise_apps
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.prepares import (
    Claims,
    Todo,
    prepared_anywhere,
    to_run,
)

APP = App("shop", prepare=(Prepare("flask db upgrade"), Prepare("flask collect", each_host=True, seconds=5.0)))


def keys(app: App = APP, source: str = "s1", secrets: str = "d1") -> list[str]:
    return [one.key for one in to_run(app, source, secrets, (), ())]


def runs(here: tuple[str, ...] = (), anywhere: tuple[str, ...] = ()) -> list[str]:
    return [one.run for one in to_run(APP, "s1", "d1", here, anywhere)]


def test_once_for_the_fleet_or_on_each_host() -> None:
    first, second = keys()
    assert runs() == ["flask db upgrade", "flask collect"]
    assert runs(anywhere=(first, second)) == ["flask collect"]
    assert runs(here=(first, second)) == ["flask db upgrade"]
    assert runs((second,), (first,)) == []
    assert [str(one) for one in to_run(APP, "s1", "d1", (), ())] == [
        "`flask db upgrade` once for the fleet",
        "`flask collect` here",
    ]


def test_again_for_another_release_or_other_inputs_alone() -> None:
    same = App("shop", listen="0.0.0.0:1", prepare=APP.prepare[::-1])
    assert sorted(keys(same)) == sorted(keys())
    others = [keys(source="s2"), keys(secrets="d2"), keys(App("shop", environment={"A": "1"}, prepare=APP.prepare))]
    assert all(not set(other) & set(keys()) for other in others)


def test_what_any_host_has_run() -> None:
    assert prepared_anywhere([{"shop": {"prepared": ["a"]}, "api": {}}, {}, {"shop": {"prepared": ["b"]}}]) == {
        "shop": {"a", "b"},
        "api": set(),
    }


ONCE, EACH = Todo("flask db upgrade", "k1", False, 60.0), Todo("flask collect", "k2", True, 60.0)


class TestClaims:
    """One host runs what the fleet needs once."""

    def test_the_others_find_it_done(self, tmp_path: Path) -> None:
        claims = Claims(tmp_path, "shop")
        with claims.turn():
            assert (claims.failure([ONCE, EACH]), claims.left([ONCE, EACH])) == ("", [ONCE, EACH])
            claims.begin([ONCE], "web1")
            claims.end([ONCE], "web1", "")
        with claims.turn():
            assert (claims.failure([ONCE, EACH]), claims.left([ONCE, EACH])) == ("", [EACH])
            assert Claims(tmp_path, "api").left([ONCE]) == [ONCE]

    @pytest.mark.parametrize(
        ("cause", "why"),
        [("exited", "exited"), (None, "`flask db upgrade` was begun, and nothing is known of its end")],
    )
    def test_no_other_host_goes_on_where_it_failed(self, tmp_path: Path, cause: str | None, why: str) -> None:
        claims = Claims(tmp_path, "shop")
        with claims.turn():
            claims.begin([ONCE], "web1")
            if cause is not None:
                claims.end([ONCE], "web1", cause)
        assert claims.failure([ONCE]) == f"{why} (on web1, which ran it for the whole fleet)"
        assert claims.failure([EACH]) == ""

    def test_the_others_wait_for_its_end(self, tmp_path: Path) -> None:
        order: list[str] = []
        entered, leave = threading.Event(), threading.Event()

        def first() -> None:
            with Claims(tmp_path, "shop").turn():
                entered.set()
                leave.wait(10)
                order.append("first")

        def second() -> None:
            with Claims(tmp_path, "shop").turn():
                order.append("second")

        threads = [threading.Thread(target=first), threading.Thread(target=second)]
        threads[0].start()
        assert entered.wait(10)
        threads[1].start()
        leave.set()
        for thread in threads:
            thread.join(10)
        assert order == ["first", "second"]


def declared(prepare: object, **more: object) -> tuple[object, list[str]]:
    app = {"name": "shop", "source": {"path": "app"}, "entry_point": "a:b", "listen": "0.0.0.0:1", "prepare": prepare}
    apps, problems = normalise_apps([{**app, **more}], "web1")
    return apps[0].get("prepare"), [problem.text for problem in problems]


def test_it_is_declared_in_short_or_in_full() -> None:
    full = {"run": "flask db upgrade", "each_host": False, "seconds": 600.0}
    assert declared(["flask db upgrade", {"run": "x", "each_host": True, "seconds": 5}]) == (
        [full, {"run": "x", "each_host": True, "seconds": 5.0}],
        [],
    )
    assert App.from_dict({"name": "shop", "prepare": [full]}).to_dict()["prepare"] == [full]
    assert "prepare" not in App("shop").to_dict()  # so that what was deployed before it was known has no other digest


@pytest.mark.parametrize(
    ("given", "each_host"),
    [
        pytest.param({"environment": {"DATABASE_URL": "sqlite:///{data}/shop.db"}}, True, id="a file of each host"),
        pytest.param({"secrets": {"DB": "sqlite+pysqlite:///{data}/a.db?timeout=5"}}, True, id="the same as a secret"),
        pytest.param({"environment": {"DB": "{data}/m"}}, True, id="a plain path that is called a database"),
        pytest.param({"environment": {"NOTES": "{data}/notes.sqlite3"}}, True, id="a plain path that ends like one"),
        pytest.param({"environment": {"UPLOADS": "{data}/uploads"}}, False, id="a folder of another kind"),
        pytest.param({"secrets": {"DATABASE_URL": "postgresql://db/shop"}}, False, id="a server"),
        pytest.param(
            {"environment": {"DB": "sqlite:////srv/shared/shop.db"}, "data": {"outside": ["/srv/shared"]}},
            False, id="a folder that may be shared",
        ),
        pytest.param({}, False, id="nothing says"),
    ],
)  # fmt: skip
def test_a_database_that_each_host_has_is_prepared_on_each(given: dict[str, object], each_host: bool) -> None:
    prepare, problems = declared(["flask db upgrade", {"run": "once", "each_host": not each_host}], **given)
    assert problems == []
    assert isinstance(prepare, list)
    assert [one["each_host"] for one in prepare] == [each_host, not each_host], "what is declared is honoured"


def test_what_a_command_creates_is_of_each_host() -> None:
    prepare, problems = declared([{"run": "flask init-db", "creates": "{data}/instance/shop.sqlite"}])
    kept = "/var/lib/hc-shop/instance/shop.sqlite"
    full = {"run": "flask init-db", "each_host": True, "seconds": 600.0, "creates": kept}
    assert (prepare, problems) == ([full], [])
    app = App.from_dict({"name": "shop", "prepare": [full]})
    assert app.to_dict()["prepare"] == [full]
    (todo,) = to_run(app, "source", "", (), ())
    assert Todo.from_dict(todo.to_dict()) == todo
    assert str(todo) == f"`flask init-db` here, unless {kept} is there"


def test_what_a_generation_needs_is_run_for_each_one() -> None:
    built = {"data": {"built": ["shop/static/gen"]}}
    prepare, problems = declared([{"run": "flask assets build", "creates": "shop/static/gen/all.css"}], **built)
    full = {"run": "flask assets build", "each_host": True, "seconds": 600.0, "creates": "shop/static/gen/all.css"}
    assert (prepare, problems) == ([full], [])
    app = App.from_dict({"name": "shop", "prepare": [full]})
    (todo,) = to_run(app, "source", "", (), ())
    assert to_run(app, "source", "", {todo.key}, {todo.key}) == [todo], (
        "another generation of the same release has none"
    )
    assert str(todo) == "`flask assets build` here, for each generation"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"creates": "shop/static/gen/all.css"},
            "has a command that creates shop/static/gen/all.css, which is neither in the app's data nor in a folder of "
            "data.built: allowed is a path that begins with {data}/, or one in a folder of data.built; fix: creates: "
            '"{data}/shop/static/gen/all.css", or data: {built: [shop/static/gen]}',
        ),
        ({"creates": "../shop.db"}, "creates is '../shop.db' (no place in the app's data)"),
        ({"creates": "{cache}/shop.db"}, "creates is '{cache}/shop.db' (no place in the app's data)"),
        ({"creates": "/srv/shop.db"}, "creates is '/srv/shop.db' (no place in the app's data): allowed is a path that"),
        ({"creates": "{data}/../shop.db"}, 'of data.built; fix: creates: "{data}/shop.db"'),
        ({"creates": "{data}/"}, "allowed is a path that begins with {data}/"),
        ({"creates": "{data}/shop.db", "each_host": False}, "each host has for itself: allowed is each_host: true"),
    ],
)
def test_what_a_command_creates_is_in_the_data_of_a_host(given: dict[str, object], words: str) -> None:
    _, problems = declared([{"run": "flask init-db", **given}])
    assert words in "".join(problems)


def test_a_folder_stands_in_the_place_of_its_name() -> None:
    commands = ["flask init {data}/shop.db", "sh -c 'echo ${data} {other}'"]
    prepare, problems = declared(commands, processes={"beat": "celery -A shop beat -s {data}/beat"})
    assert (prepare, problems) == (
        [{"run": "flask init /var/lib/hc-shop/shop.db", "each_host": False, "seconds": 600.0},
         {"run": "sh -c 'echo ${data} {other}'", "each_host": False, "seconds": 600.0}],
        [],
    )  # fmt: skip
    _, problems = declared(["flask warm {cache}"], processes={"beat": {"run": "celery beat --logfile {logs}/beat"}})
    assert problems == [
        "headcount_apps[0].prepare[0].run names {cache}, and the app has no such folder: allowed is a folder that "
        "`data` declares; fix: data: {cache: true}",
        "headcount_apps[0].processes.beat.run names {logs}, and the app has no such folder: allowed is a folder that "
        "`data` declares; fix: data: {logs: true}",
    ]


@pytest.mark.parametrize(
    ("run", "shows"),
    [
        ("rq worker --url redis://:hunter22@db/0 shop", "a password of a URL"),
        ("flask init --key 0123456789abcdef", "the value of the secret KEY"),
        ("flask init 'it'\"'\"'s-a-secret'", "the value of the secret QUOTED"),
        ("flask init 01234567'89abcdef'", "the value of the secret KEY"),
        ("flask init two words", "the value of the secret TWO"),
        ("flask init --pin=7351", "the value of the secret PIN"),
        ("flask init 7351", "the value of the secret PIN"),
    ],
)
def test_no_command_shows_a_secret(run: str, shows: str) -> None:
    secrets = {"KEY": "0123456789abcdef", "MODE": "flask", "QUOTED": "it's-a-secret", "TWO": "two words"}
    secrets |= {"PIN": "7351", "DB_NAME": "shop", "SHORT": "db"}
    (problem,) = declared([], processes={"worker": run}, secrets=secrets)[1]
    assert problem == (
        f"headcount_apps[0].processes.worker.run shows {shows} to every user of the host, in the list of processes: "
        "allowed is a command that reads it from a variable of its environment; fix: name it in secrets"
    )
    well = ["flask db upgrade", "rq worker --url redis://db/0 shop", "flask init 173519 --name shop"]
    assert declared(well, secrets=secrets)[1] == []


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        ("flask db upgrade", "allowed is a list of commands"),
        (["flask 'db"], 'is "flask \'db" (no closing quotation)'),
        ([""], "(empty)"),
        (["a && b"], "no shell reads it, so that && would be an argument"),
        ([{"run": "x", "secs": 3}], "prepare[0].secs is not known"),
        ([{"seconds": 3}], "prepare[0].run is missing"),
        ([{"run": "x", "seconds": 0}], "prepare[0].seconds is 0"),
    ],
)
def test_what_is_wrong_is_named(prepare: object, says: str) -> None:
    (problem,) = declared(prepare)[1]
    assert says in problem
    assert "; fix: " in problem


def test_a_shell_may_be_asked_for() -> None:
    assert declared(["sh -c 'a && b'", "bash -ec 'a > b'"])[1] == []
