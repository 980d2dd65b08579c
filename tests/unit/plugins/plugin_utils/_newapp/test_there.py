# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether a release has what a command calls."""

from __future__ import annotations

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.there import There, missing

FLASK = {"db": ("--help",), "db migrate": ("--help", "*"), "db reset": ("--help", "--with-testdb"), "run": ("--help",)}
TREE = There(
    frozenset(["manage.py", "bin/setup", "shop/jobs.py", "shop/__init__.py"]),
    frozenset(["flask", "celery", "python"]),
    frozenset(["celery", "flask"]),
    "flask",
    FLASK,
)


@pytest.mark.parametrize(
    "command",
    [
        "flask db migrate upgrade head",
        "flask --app shop db reset --with-testdb",
        "python -m flask db reset",
        "python manage.py migrate --noinput",
        "python3 -u ./bin/setup",
        "python -m shop.jobs --all",
        "python -m compileall .",
        "./bin/setup --now",
        "sh bin/setup",
        "celery -A shop worker",
        "sh -c 'cd shop && MODE=live flask db migrate; test -f x || mkdir -p y'",
    ],
)
def test_what_a_release_has_can_be_run(command: str) -> None:
    assert missing(command, TREE) == ""


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (
            "flask db upgrade --directory db",
            "`flask --help` lists no flask db upgrade (flask db has migrate, reset)",
        ),
        ("flask translate compile", "`flask --help` lists no flask translate (flask has db, run)"),
        ("flask db reset --hard", "`flask db reset` has no option --hard"),
        ("cmd migrate", "cmd is no program of what the project depends on"),
        ("sh -c 'cmd migrate && flask db reset'", "cmd is no program"),
        ("python tools/setup.py", "there is no file tools/setup.py"),
        ("python -m shop.absent", "there is no module shop.absent"),
        ("/app/bin/setup", "there is no file /app/bin/setup"),
        ("sh 'unclosed", ""),
    ],
)
def test_what_a_release_lacks_is_told(command: str, why: str) -> None:
    assert why in missing(command, TREE) != ""


def test_a_command_of_django_is_one_that_manage_py_lists() -> None:
    there = TREE.of("django", {"migrate": (), "collectstatic": ()})
    assert missing("python manage.py migrate --noinput", there) == ""
    assert missing("./manage.py enable_wal", there) == "manage.py has no command enable_wal"


def test_what_could_not_be_installed_is_told_by_its_files_alone() -> None:
    there = There(frozenset(["manage.py"]))
    assert missing("python manage.py migrate", there) == missing("celery -A shop worker", there) == ""
    assert "nothing of the project could be installed" in missing("flask db upgrade", there)
    assert missing("python run.py", there)


def test_a_package_has_no_files_of_its_project() -> None:
    assert "no file of what is installed" in missing("python manage.py migrate", There(None, frozenset()))
