# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a step's action makes of a module's answer, or of none."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import secrecy
from ansible_collections.headcount.gunicorn.plugins.plugin_utils import _stepaction as stepaction


@pytest.mark.parametrize(
    ("result", "phase", "cause", "self_healed"),
    [
        ({"phase": "trial", "cause": "p95 is 312 ms", "msg": "x"}, "trial", "p95 is 312 ms", True),
        ({"phase": "internal", "cause": "unexpected KeyError: 'a'"}, "internal", "unexpected KeyError: 'a'", False),
        (
            {"cause": "the connection to the host was lost", "lost": True},
            "stage",
            "the connection to the host was lost",
            False,
        ),
        (
            {"module_stdout": "", "module_stderr": "Killed\r\n", "rc": 137, "msg": "MODULE FAILURE"},
            "stage",
            "the step ended without an answer (exit status 137): Killed",
            None,
        ),
        (
            {"module_stdout": "", "module_stderr": "", "rc": 137, "msg": "MODULE FAILURE"},
            "stage",
            "the step ended without an answer (exit status 137): it was killed",
            None,
        ),
        ({"msg": "Unsupported parameters: x.\n"}, "stage", "Unsupported parameters: x", None),
        ({}, "stage", "no reason was given", None),
    ],
)
def test_a_failed_step_in_words(result: dict[str, Any], phase: str, cause: str, self_healed: bool | None) -> None:
    found = stepaction.in_words("shop", "stage", result)
    assert (found["phase"], found["cause"], found.get("self_healed")) == (phase, cause, self_healed)
    assert found["msg"] == f"shop: {phase}: {cause}"


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ("ModuleNotFoundError: No module named 'distutils.util'", "name setuptools in the project's dependencies"),
        (
            "ModuleNotFoundError: No module named 'pkg_resources'",
            "name setuptools<81 in the project's dependencies, or beside them in source.requirements where",
        ),
        ("ImportError: libpq.so.5: cannot open shared object file: No such file", "install libpq.so.5 on the host"),
        (
            "RuntimeError: schema is at 1, 2 is needed: run flask db upgrade",
            "where its database is the one that is meant, name what makes or migrates the tables in `prepare` "
            "(`prepare: [flask db upgrade]`), which runs it",
        ),
        ("CommandError: run 'python manage.py migrate --noinput' first", "where its database is the one that is meant"),
        ("OperationalError: no such table: user", "where its database is the one that is meant, name what makes"),
        ("OperationalError: no such column: user.email", "where its database is the one that is meant"),
        ('UndefinedColumn: column "email" of relation "user" does not exist', "where its database is the one"),
        ("OperationalError: (1054, \"Unknown column 'user.email' in 'field list'\")", "where its database is the one"),
        ("ValueError: '' does not appear to be an IPv4 or IPv6 address (a.py:7)", "where it listens on a unix socket"),
        ("CommandError: Target database is not up to date.", "where its database is the one that is meant"),
    ],
)
def test_what_no_release_brings_is_told_with_its_fix(said: str, fix: str) -> None:
    cause = f"died while starting: {said}"
    found = stepaction.in_words("shop", "start", {"phase": "start", "cause": cause})
    assert found["cause"].startswith(f"{cause}; fix: {fix}")
    assert found["msg"] == f"shop: start: {found['cause']}"
    again = stepaction.in_words("shop", "start", {"phase": "start", "cause": found["cause"]})
    assert again["cause"] == found["cause"]


@pytest.mark.parametrize(
    ("step", "cause"),
    [
        ("prepare", "`flask db upgrade` exited with status 1: OperationalError: no such table: user"),
        ("start", "died while starting: KeyError: 'migrate'"),
        ("start", "died while starting: FileNotFoundError: migrations/env.py does not exist"),
        ("trial", "GET / answered 500 (ValueError: 'a' does not appear to be an IPv4 or IPv6 address)"),
        ("trial", "GET / answered 500 (ValueError: column 3 of the sheet is not known)"),
    ],
)
def test_what_no_command_before_the_start_would_mend_is_told_as_it_is(step: str, cause: str) -> None:
    assert stepaction.in_words("shop", step, {"phase": step, "cause": cause})["cause"] == cause


def test_a_step_outside_of_a_run_says_what_is_missing() -> None:
    with pytest.raises(AnsibleActionFail) as error:
        stepaction.this_run({}, "trial")
    assert "trial: no run was begun in this playbook" in str(error.value)


def test_the_run_of_a_task() -> None:
    run = {"id": "r1", "user": "ada", "controller": "laptop", "started": "now"}
    fleet = {"run": run, "gone": ["r0"], "notes": "/srv/runs/r1"}
    found, gone, notes = stepaction.this_run({stepaction.FLEET: fleet}, "trial")
    assert (found, gone, notes.id) == (run, ["r0"], "r1")


class Templar:
    """Templates nothing."""

    def template(self, value: object) -> object:
        return value


def test_what_ends_without_a_modules_words_tells_no_secret_either() -> None:
    variables = {"headcount_apps": [{"name": "shop", "secrets": {"DB": "s3cr3t-1-XYZZY"}}, 7]}
    told = {"cause": "the step ended without an answer: s3cr3t-1-XYZZY", "phase": "weigh"}
    cleaned = stepaction.without_secrets(Templar(), variables, "shop", told)
    assert cleaned == {"cause": "the step ended without an answer: ***", "phase": "weigh"}
    secrecy.forget()
    assert stepaction.without_secrets(Templar(), {}, "shop", told) == told
