# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Candidates are imported one after the other; what they lack is found out. No code of a project is run here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.django import Django
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.sandbox import Place
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.survey import (
    leads_of,
    linked,
    stand_in,
    survey,
)
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.types import (
    Candidate,
    Error,
    Hints,
    Imported,
    Variable,
)

PLACE = Place(Path("/scratch"), Path("/scratch/project"), Path("/venv/bin/python"))
FOUND = Imported("shop", "app", "flask", stage="done")


class Looking:
    """Answers for the sandbox, and what was asked of it."""

    def __init__(self, answer: Callable[[Place, str, str], Imported]) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, bool, dict[str, str]]] = []

    def __call__(self, place: Place, module: str, target: str) -> Imported:
        self.asked.append((module, target, place.writable, dict(place.environment)))
        return self.answer(place, module, target)


def failing(error: Error, **more: object) -> Imported:
    return Imported("shop", error=error, variables=more.get("variables", ()), written=more.get("written", {}))


def test_importing_decides_which_candidate_is_the_app() -> None:
    def answer(place: Place, module: str, target: str) -> Imported:
        return FOUND if (module, target) == ("shop", "") else failing(Error("NotFound", f"it holds no {target}"))

    look = Looking(answer)
    found = survey([Candidate("old", "app"), Candidate("shop", "web", certain=True)], lambda _: PLACE, Hints(), look)
    assert found.app is not None
    assert [item[:2] for item in look.asked] == [("old", "app"), ("shop", "web"), ("shop", "")]


def test_a_missing_variable_is_given_a_stand_in_until_it_can_be_imported() -> None:
    def answer(place: Place, module: str, target: str) -> Imported:
        lacking = [name for name in ("A_URL", "B") if name not in place.environment]
        return failing(Error("KeyError", lacking[0], missing_variables=(lacking[0],))) if lacking else FOUND

    look = Looking(answer)
    found = survey([Candidate("shop")], lambda _: PLACE, Hints(examples={"B": ("blue", ".env.example")}), look)
    assert found.app is not None
    assert found.app.required == {"A_URL": "http://localhost", "B": "blue"}


def test_a_variable_that_does_not_help_is_not_tried_for_ever() -> None:
    look = Looking(lambda *_: failing(Error("KeyError", "A", missing_variables=("A",))))
    assert survey([Candidate("shop")], lambda _: PLACE, Hints(), look).app is None
    assert len(look.asked) == 2


def test_an_app_that_writes_its_log_into_its_folder_is_told_to_write_to_the_journal() -> None:
    def answer(place: Place, module: str, target: str) -> Imported:
        if place.writable or "LOG_TO_STDOUT" in place.environment:
            return Imported("shop", "app", stage="done", variables=(Variable("LOG_TO_STDOUT"), Variable("MODE")))
        return failing(Error("OSError", "[Errno 30] Read-only file system: 'logs'", read_only=True))

    found = survey([Candidate("shop")], lambda _: PLACE, Hints(), Looking(answer))
    assert found.app is not None
    assert (found.streams, found.writes) == (("LOG_TO_STDOUT",), False)


def test_an_app_that_has_to_write_is_looked_at_where_it_may() -> None:
    refused = Error("OSError", "unable to open database file", read_only=True)
    look = Looking(lambda place, *_: FOUND if place.writable else failing(refused))
    found = survey([Candidate("shop")], lambda _: PLACE, Hints(), look)
    assert found.app is not None
    assert found.writes
    assert found.failed[0][1] == refused


def test_a_peer_that_is_called_while_it_is_imported_is_no_fault_of_the_project() -> None:
    look = Looking(lambda *_: failing(Error("ConnectionError", "refused", unreached=True)))
    found = survey([Candidate("shop", likely="app")], lambda _: PLACE, Hints(), look)
    assert found.app is None
    assert found.unreached is not None
    assert found.unreached.entry_point == "shop:app"


def test_the_same_missing_distribution_three_times_is_enough() -> None:
    look = Looking(lambda *_: failing(Error("ModuleNotFoundError", "No module named 'acme'", missing_module="acme")))
    names = [Candidate(name) for name in "abcdefg"]
    found = survey(names, lambda _: PLACE, Hints(), look)
    assert len(look.asked) == 3
    assert found.cause is not None


def test_the_cause_is_that_of_the_candidate_which_the_project_names() -> None:
    def answer(place: Place, module: str, target: str) -> Imported:
        return failing(Error("NotFound" if module == "shop" else "SyntaxError", module))

    candidates = [Candidate("shop", certain=True), Candidate("other")]
    found = survey(candidates, lambda _: PLACE, Hints(), Looking(answer))
    assert found.cause is not None
    assert found.cause[0].module == "shop"


def test_what_the_project_s_files_give_is_given_but_for_what_is_the_image_s() -> None:
    hints = Hints(variables={"MODE": ("live", "Dockerfile"), "PATH": ("/x", "Dockerfile"), "URL": ("$A", "Dockerfile")})
    look = Looking(lambda *_: FOUND)
    survey([Candidate("shop")], lambda _: PLACE, hints, look)
    assert look.asked[0][3] == {"MODE": "live"}


def test_an_example_of_a_database_server_is_no_stand_in() -> None:
    """It is out of reach, so that an app that makes its tables while it is imported would be told to fail."""
    shown = "mysql+pymysql://[USER]:[PASSWORD]@[HOST]/shop"
    examples = dict.fromkeys(("SQLALCHEMY_DATABASE_URI", "SHOP_API"), (shown, ".env.example"))
    examples["DB_URL"] = ("sqlite:///shop.db", ".env.example")
    assert [stand_in(name, examples) for name in examples] == ["sqlite:///:memory:", shown, "sqlite:///shop.db"]


def test_stand_ins_have_the_form_that_is_likely() -> None:
    names = ["DATABASE_URL", "REDIS_URL", "MAIL_PORT", "USE_TLS", "MAIL_SENDER_EMAIL", "ANYTHING"]
    assert [stand_in(name, {}) for name in names] == [
        "sqlite:///:memory:", "redis://localhost:6379/0", "1", "0", "app@example.com", "headcount-stand-in-anything",
    ]  # fmt: skip


def test_what_an_app_writes_beside_its_code_leads_to_its_data(tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    place = Place(tmp_path, tmp_path, Path("/venv/bin/python"))
    written = {"static/gen/a.js": "file", "instance/x": "file", "/tmp/y": "file"}
    refused = failing(Error("OSError", "Read-only file system", read_only=True), written=written)

    def answer(place: Place, module: str, target: str) -> Imported:
        return replace(FOUND, written=written) if place.writable or place.leads else refused

    found = survey([Candidate("shop")], lambda _: replace(place, kept=tmp_path / "instance"), Hints(), Looking(answer))
    assert (found.leads, found.writes) == (("static/gen/",), False)
    unkept = survey([Candidate("shop")], lambda _: place, Hints(), Looking(answer))
    assert unkept.leads == ("instance/", "static/gen/")


def test_what_an_app_writes_although_it_goes_on_without_leads_to_its_data_too() -> None:
    looking = Looking(lambda place, *_: replace(FOUND, written={"app.db": "sqlite"}, peak_mib=len(place.leads)))
    found = survey([Candidate("shop")], lambda _: PLACE, Hints(), looking)
    assert found.app is not None
    assert (found.leads, found.app.peak_mib) == (("app.db",), 1)


def test_where_leading_it_to_its_data_does_not_help_it_is_asked() -> None:
    refused = failing(Error("OSError", "Read-only file system", read_only=True), written={"logs": "folder"})
    free = replace(FOUND, written={"logs": "folder"})
    found = survey(
        [Candidate("shop")], lambda _: PLACE, Hints(), Looking(lambda at, *_: free if at.writable else refused)
    )
    assert (found.leads, found.writes) == ((), True)


@pytest.mark.parametrize(
    ("path", "kind", "lead"),
    [
        pytest.param("logs", "folder", ("logs/",), id="a folder"),
        pytest.param("logs/2026/shop.log", "file", ("logs/",), id="the whole folder that is not there"),
        pytest.param("shop/uploads/a.png", "file", ("shop/uploads/",), id="one in a folder that is there"),
        pytest.param("shop/app.db", "sqlite", ("shop/app.db",), id="a file in a folder that is there"),
        pytest.param("shop/seen.txt", "file", ("shop/seen.txt",), id="a file that is there"),
        pytest.param("shop", "folder", (), id="a folder that is there"),
        pytest.param(".key", "file", (), id="a file that would be taken for a folder"),
        pytest.param("./uploads", "folder", (), id="the working directory of a package"),
        pytest.param("/tmp/x", "file", (), id="elsewhere"),
    ],
)
def test_what_can_lead_to_the_data(path: str, kind: str, lead: tuple[str, ...]) -> None:
    assert leads_of({path: kind}, {"shop", "shop/__init__.py", "shop/seen.txt"}) == lead


def test_what_takes_too_long_is_no_fault_of_the_project_and_others_are_not_tried() -> None:
    look = Looking(lambda *_: failing(Error("TooLong", "the import took longer than 60 s")))
    candidates = [Candidate("shop", "app", certain=True), Candidate("other", likely="app")]
    found = survey(candidates, lambda _: PLACE, Hints(), look)
    assert found.unreached is not None
    assert (found.unreached.entry_point, len(look.asked)) == ("shop:app", 1)


def test_a_module_that_cannot_be_imported_is_imported_once_and_the_same_error_twice_is_enough() -> None:
    look = Looking(lambda *_: failing(Error("ValueError", "no key", "settings.py:3")))
    assert survey([*map(Candidate, ("a", "b", "c"))], lambda _: PLACE, Hints(), look).app is None
    assert [item[0] for item in look.asked] == ["a", "b"]


def test_what_the_project_names_is_its_app_although_it_fails() -> None:
    look = Looking(lambda _, module, __: FOUND if module == "other" else failing(Error("SystemExit", "no website")))
    candidates = [Candidate("shop", "app", certain=True), Candidate("other")]
    assert survey(candidates, lambda _: PLACE, Hints(), look).app is None
    assert [item[:2] for item in look.asked] == [("shop", "app")]
    absent = Error("ModuleNotFoundError", "No module named 'shop'", missing_module="shop")
    look = Looking(lambda _, module, __: FOUND if module == "other" else failing(absent))
    assert survey(candidates, lambda _: PLACE, Hints(), look).app is not None


def test_what_stood_in_when_it_failed_is_told() -> None:
    def answer(place: Place, module: str, target: str) -> Imported:
        if "TILL_KEY" not in place.environment:
            return failing(Error("KeyError", "TILL_KEY", missing_variables=("TILL_KEY",)))
        return failing(Error("ValueError", "a key has 32 bytes"))

    found = survey([Candidate("shop")], lambda _: PLACE, Hints(), Looking(answer))
    assert found.cause is not None
    assert found.cause[1].stood_in == ("TILL_KEY",)


class Wiki:
    """An app that needs a folder that is there, and as a `repository` one of git."""

    def __init__(self, repository: bool = False) -> None:
        self.repository = repository

    def __call__(self, place: Place, module: str, target: str) -> Imported:
        path = place.environment.get("WIKI_PAGES", "")
        if not path:
            return failing(Error("SystemExit", "WIKI_PAGES is not set", missing_variables=("WIKI_PAGES",)))
        shown = path.replace("{data}", "data")
        if path.removeprefix("{data}/") not in place.folders:
            return failing(Error("SystemExit", f"1, after saying: path {shown!r} not found"))
        if self.repository and not place.repositories:
            return failing(Error("SystemExit", f"1, after saying: no git repository in {shown!r}: run 'git init'"))
        return FOUND


@pytest.mark.parametrize(("shown", "repository"), [("", False), ("/app-data/pages", False), ("", True)])
def test_a_folder_that_has_to_be_there_is_made_in_the_apps_data(shown: str, repository: bool) -> None:
    hints = Hints(examples={"WIKI_PAGES": (shown, ".env.example")} if shown else {})
    found = survey([Candidate("shop")], lambda _: PLACE, hints, Looking(Wiki(repository)))
    assert found.app is not None
    assert found.app.required == {"WIKI_PAGES": "{data}/wiki-pages"}
    assert found.folders == ("wiki-pages",)
    assert found.repositories == (("wiki-pages",) if repository else ())


@pytest.mark.parametrize("said", ["", "/config/shop.cfg"])
def test_an_empty_file_stands_in_for_one_of_settings_that_only_hosts_have(said: str) -> None:
    def answer(place: Place, module: str, target: str) -> Imported:
        path = place.environment.get("SETTINGS", "")
        if not path:
            return failing(Error("KeyError", "SETTINGS", missing_variables=("SETTINGS",)))
        if path != "/dev/null":
            return failing(Error("FileNotFoundError", f"[Errno 2] No such file or directory: '{path}'"))
        return FOUND

    hints = Hints(variables={"SETTINGS": (said, "Dockerfile")} if said else {})
    found = survey([Candidate("shop")], lambda _: PLACE, hints, Looking(answer))
    assert found.app is not None
    assert found.app.required == {"SETTINGS": "/dev/null"}
    assert found.folders == ()


def test_a_variable_that_flask_reads_for_the_project_is_found_by_its_words() -> None:
    words = "The environment variable 'SHOP_FILE' is not set and as such configuration could not be loaded."

    def answer(place: Place, module: str, target: str) -> Imported:
        return FOUND if "SHOP_FILE" in place.environment else failing(Error("RuntimeError", words))

    found = survey([Candidate("shop")], lambda _: PLACE, Hints(), Looking(answer))
    assert found.app is not None
    assert found.app.required == {"SHOP_FILE": "/dev/null"}


def test_a_folder_that_is_missing_is_one_of_its_data() -> None:
    def answer(place: Place, module: str, target: str) -> Imported:
        if "data/" in place.leads:
            return FOUND
        failure = Error("FileNotFoundError", "[Errno 2] No such file or directory: 'data/tasks.sqlite3'")
        return replace(failing(failure), written={"data/tasks.sqlite3": "sqlite"})

    found = survey([Candidate("shop")], lambda _: PLACE, Hints(), Looking(answer))
    assert found.app is not None
    assert found.leads == ("data/",)


def test_the_settings_that_manage_py_names_are_given_where_the_app_names_none() -> None:
    words = "settings are not configured. You must either define the environment variable DJANGO_SETTINGS_MODULE"

    def answer(place: Place, module: str, target: str) -> Imported:
        named = place.environment.get("DJANGO_SETTINGS_MODULE")
        return FOUND if named == "site.live" else failing(Error("ImproperlyConfigured", words))

    hints = Hints(django=Django("manage.py", (("site.live", "manage.py"),)))
    assert survey([Candidate("shop")], lambda _: PLACE, hints, Looking(answer)).app is not None


def test_what_an_error_may_come_from_is_named() -> None:
    """A value of the project's own files that its words hold, and what it asked for in vain."""

    def answer(place: Place, module: str, target: str) -> Imported:
        asked = (Variable("SHOP_SETTINGS"), Variable("SHOP_MODE"), Variable("SHOP_PORT", "80"))
        path = place.environment["SHOP_SETTINGS"].replace("{data}", "data")
        kind, said = ("IsADirectoryError", "Is a directory") if place.folders else ("FileNotFoundError", "No such file")
        return failing(Error(kind, f"{said}: '{path}'"), variables=asked)

    hints = Hints(variables={"SHOP_SETTINGS": ("/config/shop", "Dockerfile"), "SHOP_URL": ("/x", "Dockerfile")})
    found = survey([Candidate("shop")], lambda _: PLACE, hints, Looking(answer))
    assert found.cause is not None
    error = found.cause[1]
    assert (error.leading, error.unset, error.stood_in) == (("SHOP_SETTINGS",), ("SHOP_MODE",), ())


def test_a_word_that_is_not_found_is_no_folder() -> None:
    def answer(place: Place, module: str, target: str) -> Imported:
        mode = place.environment.get("MODE", "")
        missing = () if mode else ("MODE",)
        return failing(Error("KeyError", f"settings {mode.replace('{', '').replace('}', '')!r} not found",
                             missing_variables=missing))  # fmt: skip

    found = survey([Candidate("shop")], lambda _: PLACE, Hints(), Looking(answer))
    assert found.cause is not None
    assert "headcount-stand-in-mode" in found.cause[1].message


def test_a_variable_of_a_folder_is_one_that_is_there_from_the_beginning() -> None:
    look = Looking(lambda place, *_: FOUND if "UPLOAD_DIR" in place.environment else failing(
        Error("KeyError", "UPLOAD_DIR", missing_variables=("UPLOAD_DIR",))))  # fmt: skip
    found = survey([Candidate("shop")], lambda _: PLACE, Hints(), look)
    assert (found.folders, found.app and found.app.required) == (("upload",), {"UPLOAD_DIR": "{data}/upload"})


def test_what_a_person_gives_goes_before_what_files_say() -> None:
    look = Looking(lambda *_: FOUND)
    survey([Candidate("shop")], lambda _: PLACE, Hints(variables={"A": ("1", "x")},
           given={"A": "2", "PORT": "$x"}), look)  # fmt: skip
    assert look.asked[0][3] == {"A": "2", "PORT": "$x"}


def test_an_app_that_answers_to_nothing_is_passed_over_for_one_that_is_put_together() -> None:
    bare = replace(FOUND, rules=0)
    look = Looking(lambda _, module, __: bare if module == "shop" else replace(FOUND, rules=3))
    found = survey([Candidate("shop"), Candidate("shop.main")], lambda _: PLACE, Hints(), look)
    assert found.app is not None
    assert found.app.candidate.module == "shop.main"
    look = Looking(lambda *_: bare)
    alone = survey([*map(Candidate, "abcdef")], lambda _: PLACE, Hints(), look)
    assert alone.app is not None
    assert (alone.app.candidate.module, alone.app.is_bare, len(look.asked)) == ("a", True, 3)


def test_a_secret_that_is_missed_by_another_name_is_given() -> None:
    def answer(place: Place, module: str, target: str) -> Imported:
        if "SHOP_SECRET" in place.environment:
            return FOUND
        asked = (Variable("SHOP_SECRET"), Variable("SECRETS_FILE_MODE"), Variable("MODE"))
        return failing(Error("SystemExit", "1, after saying: server.secret_key is not changed"), variables=asked)

    found = survey([Candidate("shop")], lambda _: PLACE, Hints(), Looking(answer))
    assert found.app is not None
    assert list(found.app.required) == ["SHOP_SECRET"]


@pytest.mark.parametrize("within", [False, True])
def test_links_into_the_release_lead_to_no_data(tmp_path: Path, within: bool) -> None:
    (tmp_path / "static" / ("" if within else "build")).mkdir(parents=True)
    at = Place(tmp_path, tmp_path, Path("/venv/bin/python"))
    writes = {"bangs.json": "file", "static/build/a.css": "link"}
    if within:  # a folder that is new as a whole is made anew as a whole
        writes |= {"static/build/deep": "folder", "static/build/deep/b.css": "link", "static/build/c.css": "file"}
    refused = Error("OSError", "[Errno 30] Read-only file system: 'bangs.json'", read_only=True)

    def answer(place: Place, module: str, target: str) -> Imported:
        if place.writable or set(place.leads) == {"bangs.json", "static/build/"}:
            return replace(FOUND, written=writes)
        return failing(refused, written=writes)

    found = survey([Candidate("shop")], lambda _: at, Hints(), Looking(answer))
    assert found.app is not None
    assert (found.leads, found.anew, found.writes) == (("bangs.json",), ("static/build/",), True)


@pytest.mark.parametrize(("kind", "led"), [("file", ("a.json",)), ("moved", ()), ("link", ()), ("gone", ())])
def test_a_link_in_the_place_of_a_file_is_for_what_is_written_through_it(kind: str, led: tuple[str, ...]) -> None:
    assert leads_of({"a.json": kind}, {"a.json", "."}) == led


def test_a_folder_of_code_is_none_that_a_generation_makes_anew() -> None:
    written = {"a/b/x.css": "link", "c/x.css": "link", "x.css": "link", "/tmp/x": "link"}
    assert linked(written, {"c/x.py", "a", "a/b", "."}) == ("a/b/",)
