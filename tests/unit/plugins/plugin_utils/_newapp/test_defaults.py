# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What an app is set to as long as nobody says otherwise: temporary folders and secrets that are none are questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp import hints, incode
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.draft import Proposal, Subject
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.inside.settings import (
    settings_of,
    state_of,
    temporary,
)
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.proposal import propose, questions_text
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.survey import Found
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.types import (
    Candidate,
    Hints,
    Imported,
    Page,
    Variable,
)

APP = Imported("paste", "app", "flask", stage="done", pages=(Page("/", 200),), candidate=Candidate("paste", "app"))


class Stub:
    """An app of Flask's kind with settings."""

    def __init__(self, **config: object) -> None:
        self.config = config


def made(app: Imported = APP, known: Hints | None = None) -> Proposal:
    return propose(Subject({"path": "../paste"}, "paste", ""), known or Hints(), Found(app))


def asked(app: Imported = APP, known: Hints | None = None) -> list[str]:
    return questions_text(made(app, known).questions)


def test_settings_that_lead_to_a_temporary_folder_are_seen() -> None:
    app = Stub(
        STORAGE_DIRECTORY="/tmp/",
        UPLOADS={"path": Path("/var/tmp/up"), "deep": {"x": "/dev/shm/y"}, 3: "/tmp/z"},
        SOMEWHERE="/srv/paste",
        TMPFILES="/tmpfiles",
        OWN="/tmp/scratch/tree/up",
        SQLALCHEMY_DATABASE_URI="sqlite:////tmp/paste.db",
    )
    found = settings_of(app, "flask", {}, "/tmp/scratch")
    assert found["temporary"] == {
        "STORAGE_DIRECTORY": "/tmp/",
        "UPLOADS.path": "/var/tmp/up",
        "UPLOADS.deep.x": "/dev/shm/y",
    }
    assert found["within"] == {"OWN": "/tmp/scratch/tree/up"}
    assert found["databases"] == ["sqlite:////tmp/paste.db"]
    assert temporary({1: "/tmp/x"}, "/nowhere") == {}


def test_what_users_send_into_the_project_leads_to_the_data() -> None:
    """No trial sends a file, and a release is read-only: the first user's upload would fail."""
    within = {
        "UPLOAD_FOLDER": "static/uploads",
        "IMG_UPLOAD_FOLDER": "static/uploads/img",
        "MEDIA_ROOT": "media",
        "STATIC_FOLDER": "static",
        "FLATPAGES_ROOT": "content",
        "UPLOADS_OUTSIDE": "/srv/x",
    }
    proposal = made(replace(APP, within=within))
    assert proposal.entry["data"] == {"paths": ["static/uploads", "media"]}
    assert proposal.comments["data.paths"] == (
        "its settings name that for users' files (UPLOAD_FOLDER, MEDIA_ROOT), beside its code, which is read-only on a "
        "host; so it leads to the app's data"
    )


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"ALCHEMICAL_DATABASE_URL": "sqlite:////srv/db.sqlite"}, ["sqlite:////srv/db.sqlite"]),
        ({"DB": {"default": "postgresql+psycopg://shop:word@db/shop"}}, ["postgresql+psycopg://***@db/shop"]),
        ({"SQLALCHEMY_ENGINES": {"default": "sqlite:///a.db"}}, ["sqlite:///a.db"]),
        ({"SQLALCHEMY_DATABASE_URI": "sqlite://", "SQLALCHEMY_BINDS": {"more": "mysql://h/m"}},
         ["sqlite://", "mysql://h/m"]),
        ({"TEST_DATABASE_URI": "sqlite:///test.db", "RESULT_BACKEND": "db+sqlite:///x", "SITE": "https://a"}, []),
    ],
)  # fmt: skip
def test_a_database_is_seen_by_whatever_setting_names_it(config: dict[str, object], found: list[str]) -> None:
    assert settings_of(Stub(**config), "flask", {}, "/tmp/scratch")["databases"] == found


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("dev", "placeholder"),
        ("secret", "placeholder"),
        ("change-me", "placeholder"),
        ("you-will-never-guess", "placeholder"),
        ("hard to guess string", "placeholder"),
        ("<your secret key>", "placeholder"),
        ("8f42a73054b1749f8f58848be5e6502c", ""),
        ("kXo2mVw9Qe71", ""),
        ("headcount-stand-in-secret_key", ""),
    ],
)
def test_a_secret_that_anybody_can_guess_is_none(text: str, state: str) -> None:
    assert state_of(text) == state


def test_secrets_that_are_none_are_seen_with_the_variable_whose_default_they_are() -> None:
    app = Stub(
        SECRET_KEY=b"",
        JWT_SECRET_KEY="secret-key",
        SECURITY_PASSWORD_SALT="8f42a73054b1749f8f58848be5e6502c",
        WTF_CSRF_SECRET_KEY=None,
        PRESERVE_CONTEXT=False,
    )
    defaults = {"CONDUIT_SECRET": "secret-key", "SALT": "8f42a73054b1749f8f58848be5e6502c", "EMPTY": ""}
    assert settings_of(app, "flask", defaults, "/tmp/x")["weak"] == {
        "SECRET_KEY": {"state": "empty", "variable": ""},
        "JWT_SECRET_KEY": {"state": "placeholder", "variable": "CONDUIT_SECRET"},
        "SECURITY_PASSWORD_SALT": {"state": "known", "variable": "SALT"},
    }


@pytest.mark.parametrize(
    ("found", "words", "must"),
    [
        ({"STORAGE_FILESYSTEM_DIRECTORY": "/tmp/"}, "what is in STORAGE_FILESYSTEM_DIRECTORY (/tmp/)?", True),
        ({"MEDIA_ROOT": "/var/tmp/media"}, "what is in MEDIA_ROOT (/var/tmp/media)?", True),
        ({"CACHE_DIR": "/dev/shm/wiki/cache"}, "may what is in CACHE_DIR (/dev/shm/wiki/cache) be lost?", False),
        ({"UPLOAD_CACHE": "/tmp/c"}, "may what is in UPLOAD_CACHE (/tmp/c) be lost?", False),
    ],
)
def test_where_it_keeps_something_is_asked_first(found: Mapping[str, str], words: str, must: bool) -> None:
    (told,) = [text for text in asked(replace(APP, temporary=found)) if "temporary folder" in text]
    assert words in told
    assert told.startswith("QUESTION, to be answered first") is must
    assert "have its settings lead it to a folder in the app's data (`{data}`, data.folders)" in told


def test_the_file_of_settings_that_an_app_reads_is_named() -> None:
    app = replace(
        APP,
        temporary={"STORAGE_DIRECTORY": "/tmp/"},
        weak={"SECRET_KEY": ("empty", "")},
        variables=(Variable("PASTE_CONFIG"),),
        has_secret_key=True,
    )
    told = "\n".join(asked(app))
    assert "have a file that PASTE_CONFIG names lead it to a folder in the app's data" in told
    assert "SECRET_KEY is empty, so that nothing is signed and a sign-in fails: a file that PASTE_CONFIG names" in told


def test_a_variable_of_something_kept_leads_to_the_data() -> None:
    variables = (
        Variable("UPLOAD_DIR", "/tmp/uploads"),
        Variable("NOTES_FILE", "/tmp/notes.json"),
        Variable("CACHE_DIR", "/tmp/cache"),
    )
    found = made(replace(APP, variables=variables, temporary={"UPLOADS": "/tmp/uploads"}))
    assert found.entry["environment"] == {"UPLOAD_DIR": "{data}/upload", "NOTES_FILE": "{data}/notes.json"}
    assert found.entry["data"] == {"folders": ["upload"]}
    (told,) = [text for text in questions_text(found.questions) if "temporary folder" in text]
    assert "CACHE_DIR (/tmp/cache)" in told
    assert 'environment: {CACHE_DIR: "{data}/cache"} and data: {folders: [cache]} keep it where not' in told


def test_a_secret_that_is_the_default_of_a_variable_is_made() -> None:
    found = made(replace(APP, weak={"SECRET_KEY": ("placeholder", "CONDUIT_SECRET")}, has_secret_key=True))
    assert "secrets/paste/CONDUIT_SECRET" in found.entry["secrets"]["CONDUIT_SECRET"]
    assert "its SECRET_KEY, instead of the default" in found.comments["secrets.CONDUIT_SECRET"]
    assert not any("guess" in text for text in questions_text(found.questions))


def test_a_word_in_the_place_of_a_secret_is_asked_about_once() -> None:
    app = replace(APP, weak={"SECRET_KEY": ("placeholder", "")}, has_secret_key=True)
    (told,) = [text for text in asked(app) if "anybody can guess" in text]
    assert 'what the code reads as os.environ["SECRET_KEY"] is set with secrets: {SECRET_KEY: ...}' in told
    written = Hints(written=(("SECRET_KEY", "paste.py:4"),))
    assert not [text for text in asked(app, written) if "anybody can guess" in text]
    from_variable = replace(app, variables=(Variable("PASTE_SECRET_KEY"),))
    assert not [text for text in asked(from_variable) if "anybody can guess" in text]


def test_temporary_folders_in_the_code_are_seen_with_their_lines(tmp_path: Path) -> None:
    text = (
        'CACHE_DIR = "/dev/shm/wiki/cache"\n'
        'class Config:\n    UPLOADS: str = "/tmp/up"\n'
        'class TestConfig:\n    DATA = "/tmp/test"\n'
        'def make():\n    HERE = "/tmp/local"\n'
        'lower = "/tmp/x"\nOTHER = "/srv/x"\nNUMBER = 3\n'
    )
    assert incode.temporary(text) == [("CACHE_DIR", "/dev/shm/wiki/cache", 1), ("UPLOADS", "/tmp/up", 3)]
    assert incode.temporary("def broken(:\n") == []
    (tmp_path / "wiki.py").write_text(text, encoding="utf-8")
    found = hints.read(tmp_path, ["wiki.py"])
    assert found.temporary[0] == ("CACHE_DIR", "/dev/shm/wiki/cache", "wiki.py:1")
    told = [item for item in asked(known=found) if "temporary folder" in item]
    assert "UPLOADS (/tmp/up)" in told[0]
    assert "CACHE_DIR (/dev/shm/wiki/cache)" in told[1]


@pytest.mark.parametrize(
    ("variable", "wanted"),
    [
        (Variable("FFS_PASSWORD", "default_password"), True),
        (Variable("ADMIN_PASSWD", "admin"), True),
        (Variable("FFS_PASSWORD", ""), False),
        (Variable("FFS_PASSWORD"), False),
        (Variable("PASSWORD_MIN_LENGTH", "8"), False),
        (Variable("POSTGRES_PASSWORD", "postgres"), False),
        (Variable("APP_DB_PASSWORD", "app"), False),
        (Variable("MAIL_PASSWORD", "x"), False),
    ],
)
def test_a_password_that_the_code_shows_to_everybody_is_asked_for(variable: Variable, wanted: bool) -> None:
    found = made(replace(APP, variables=(variable,)))
    text = "\n".join(questions_text(found.questions))
    assert (f"what is {variable.name}? By default it is the word that the code shows to everybody" in text) is wanted
    assert (variable.name in found.entry.get("secrets", {})) is wanted


@pytest.mark.parametrize(
    ("variable", "written", "first"),
    [
        (Variable("WIKI_DIRECTORY"), {}, False),
        (Variable("WIKI_DIRECTORY", "wiki"), {}, True),
        (Variable("UPLOAD_FOLDER", "./up"), {}, True),
        (Variable("PLACE", "notes"), {"notes": "folder"}, True),
        (Variable("PLACE", "notes"), {"./notes/a.md": "file"}, True),
        (Variable("PLACE", "notes"), {"notesbook": "folder"}, None),
        (Variable("CACHE_DIR", "cache"), {}, None),
        (Variable("TEMPLATE_FOLDER", "templates"), {}, None),
        (Variable("DATA_DIR", "/srv/data"), {}, None),
        (Variable("DATA_PATH", "https://data.example.com"), {}, None),
    ],
)
def test_a_place_below_where_it_runs_is_asked_about(
    variable: Variable, written: Mapping[str, str], first: bool | None
) -> None:
    found = made(replace(APP, variables=(variable,), written=written))
    about = [one.must for one in found.questions if f"where is it to keep what is in {variable.name}" in one.text]
    assert about == ([] if first is None else [first])


def test_a_place_of_which_all_that_is_written_leads_to_the_data_is_not_asked_about() -> None:
    app = replace(APP, variables=(Variable("APP_ROOT", "app"),), written={"app/up": "folder", "app/up/a.txt": "file"})
    assert [text for text in asked(app) if "APP_ROOT (app)" in text]
    found = propose(Subject({"path": "../paste"}, "paste", ""), Hints(), Found(app, leads=("app/up/",)))
    assert not [text for text in questions_text(found.questions) if "APP_ROOT" in text]
