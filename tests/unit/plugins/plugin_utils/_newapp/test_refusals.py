# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What is said of a project that cannot work as it is for want of a file that it has, and that is not shipped."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.refusals import Cannot, refuse
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.subject import Given
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.survey import Found
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.types import Answers, Candidate, Error

LACKS = Error("FileNotFoundError", "'instance/config.py' (No such file or directory)")


def told(folder: Path, error: Error) -> str:
    found = Found(None, ((Candidate("shop", "app", "a guess"), error),))
    with pytest.raises(Cannot) as raised:
        refuse(found, Given({"path": "../shop"}, folder, "shop"), ["shop.py"], "3.11")
    return raised.value.problem.fix


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "instance").mkdir()
    for name in ("shop.py", "instance/config.py", "local.py", ".env"):
        (tmp_path / name).write_text("A = 1\n")
    (tmp_path / ".gitignore").write_text("instance/\nlocal.py\n.env\n")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return tmp_path


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (LACKS, "instance/config.py"),
        (Error("ModuleNotFoundError", "No module named 'local'", missing_module="local"), "local.py"),
    ],
)
def test_a_file_that_git_ignores_is_named_with_its_fix(folder: Path, error: Error, name: str) -> None:
    fix = told(folder, error)
    assert f"{name} is in the project's folder, but is not shipped, as git ignores it" in fix
    assert f"source.include: [{name!r}]" in fix
    assert "on every host" not in fix


def test_one_that_looks_like_a_secret_is_not_to_be_shipped(folder: Path) -> None:
    fix = told(folder, Error("FileNotFoundError", "'.env'"))
    assert "as it looks like a secret: let the code read what is in it from its environment" in fix
    assert "source.include" not in fix


def test_what_is_nowhere_or_is_shipped_may_be_what_a_host_has(folder: Path) -> None:
    for message in ("'shop.py'", "'/etc/shop/config.py'", "'../x/config.py'"):
        fix = told(folder, Error("FileNotFoundError", message))
        assert "where it lacks a file of settings or a database that a host has" in fix
        assert "on every host" not in fix
    assert "on every host" in told(folder, Error("NameError", "name 'shop' is not defined"))


@pytest.mark.parametrize(
    ("name", "line"),
    [("other.py", "data: {paths: [other.py]} keeps it"), ("data/x/key", "data: {paths: [data/]} leads")],
)
def test_what_the_project_has_nowhere_is_told_with_the_line_that_gives_it(folder: Path, name: str, line: str) -> None:
    said = told(folder, Error("FileNotFoundError", f"[Errno 2] No such file or directory: '{name}'"))
    assert f"make {name}" in said
    assert f"source.include: ['{name}']" in said
    assert line in said


def test_outside_of_a_checkout_its_name_says_why(tmp_path: Path) -> None:
    (tmp_path / "instance").mkdir()
    (tmp_path / "instance/config.py").write_text("A = 1\n")
    assert "is not shipped, as its name, or that of its folder, says" in told(tmp_path, LACKS)


def test_a_module_in_a_folder_that_nothing_looks_in_is_told_with_that_folder(folder: Path) -> None:
    missing = Error("ModuleNotFoundError", "No module named 'till'", missing_module="till.models")
    found = Found(None, ((Candidate("shop", "app", "a guess"), missing),))
    given = Given({"path": "../shop"}, folder, "shop", answers=Answers(environment={"PYTHONPATH": "sandbox"}))
    with pytest.raises(Cannot) as raised:
        refuse(found, given, ["shop.py", "src/till/__init__.py", "src/till/models.py", "tests/till.py"], "3.11")
    assert raised.value.problem.fix == (
        "it is in src/ of the project: --environment PYTHONPATH=sandbox:src has it looked for there"
    )


def test_a_folder_of_the_machine_that_its_import_may_not_write_to_is_told_with_the_line(folder: Path) -> None:
    fix = told(folder, Error("OSError", "[Errno 30] Read-only file system: '/var/lib/till'"))
    assert fix.startswith("data: {outside: [/var/lib/till]} lets it write there")


def test_a_version_that_no_longer_has_what_is_imported_is_told_with_the_pin(folder: Path) -> None:
    fix = told(folder, Error("ImportError", "cannot import name 'url_quote' from 'werkzeug.urls'", "shop.py:2"))
    assert fix.startswith("pin werkzeug<3")


def test_an_asgi_framework_is_told_to_be_one(folder: Path) -> None:
    held = Candidate("quart.app", "", "src/quart/app.py holds an ASGI app")
    found = Found(None, ((held, Error("NotFound", "it holds no WSGI callable")),))
    with pytest.raises(Cannot, match="serve it with an ASGI server"):
        refuse(found, Given({"path": "../shop"}, folder, "shop"), ["shop.py"], "3.11")
