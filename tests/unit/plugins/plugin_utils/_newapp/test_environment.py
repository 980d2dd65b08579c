# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The release that new-app makes locally: what is said of what cannot be built."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp import environment
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.subject import Unknown
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels import conflicts
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.gathered import HostBuild, Wheel
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import (
    BuildFailed,
    Done,
    ResolutionConflict,
)

BUILD = """  × Failed to build `psycopg2==2.7.3`
      psycopg/psycopgmodule.c:949:31: error: lvalue required as left operand of assignment
      error: Command '['x86_64-linux-gnu-gcc', '-DNDEBUG']' returned non-zero exit status 1.
"""


def test_a_package_that_cannot_be_built_is_named_with_the_compilers_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdist = Wheel("psycopg2", "2.7.3", "psycopg2-2.7.3.tar.gz", "0" * 64, 1, "/s/psycopg2-2.7.3.tar.gz")
    found = SimpleNamespace(wheels=(), needs_host_build=(HostBuild(sdist, (), "2.9.11"),))

    def run(words: list[Any], _: float) -> Done:
        return Done(1, "", BUILD) if sdist.path in words else Done(0, "", "")

    monkeypatch.setattr(environment, "gather", lambda *_: found)
    monkeypatch.setattr(environment, "run", run)
    with pytest.raises(BuildFailed) as caught:
        environment.make({}, tmp_path, tmp_path)
    assert str(caught.value) == (
        f"psycopg2 2.7.3 has no wheel for Python {environment.interpreter().platform.minor}, and cannot be built here: "
        "psycopg/psycopgmodule.c:949:31: error: lvalue required as left operand of assignment; allow a version of it "
        "that has a wheel (2.9.11 is the oldest after it that has one)"
    )


def test_the_python_that_a_person_names_is_asked_what_it_is(tmp_path: Path) -> None:
    found = environment.interpreter(sys.executable)
    assert (found.named, found.platform) == (True, environment.interpreter().platform)
    link = tmp_path / "python9"
    os.symlink(sys.executable, link)
    assert environment.interpreter(str(link)).platform.python == platform.python_version()
    assert "as --python says" in found.words
    assert "this machine's; --python names another" in environment.interpreter().words


@pytest.mark.parametrize("named", ["9.99", "/nowhere/python3", "/etc/hostname"])
def test_a_python_that_is_not_there_is_told_with_what_is_allowed(named: str) -> None:
    with pytest.raises(Unknown) as caught:
        environment.interpreter(named)
    assert str(caught.value).startswith(
        f"--python is {named!r}, which is no Python of this machine: allowed is the path of one, or a version of one"
    )
    assert "fix: install it" in str(caught.value)


NO_SOLUTION = """  × No solution found when resolving dependencies:
  ╰─▶ Because the requested Python version (3.11.2) does not satisfy Python>=3.12 and forum==2.1.0 depends on
      Python>=3.12, we can conclude that forum==2.1.0 cannot be used.
"""


def test_whose_python_a_project_does_not_take_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = conflicts.resolution_error("source path '../forum'", NO_SOLUTION, "3.11.2")
    assert "forum==2.1.0 needs Python>=3.12, but the host has Python 3.11.2; allow another version" in str(error)

    def gather(*_: Any) -> None:
        raise error

    monkeypatch.setattr(environment, "gather", gather)
    with pytest.raises(ResolutionConflict) as caught:
        environment.make({}, tmp_path, tmp_path)
    told, using = str(caught.value), environment.interpreter()
    assert told == (
        "source path '../forum': forum==2.1.0 needs Python>=3.12, but it is looked at with "
        f"Python {using.platform.python} ({sys.executable}, this machine's; --python names another): name a "
        "Python>=3.12 of this machine with --python, allow another version of it, or see that hosts have one "
        "(headcount_python names it)"
    )
    assert environment.of_this_machine("shop 1 needs x, but y is required", using).endswith("but y is required")


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (
            "x needs Python>=3.12, but the host has Python 3.11.2; allow another version of it, or have "
            "headcount_python name a Python>=3.12 of the host ([project] of pyproject.toml has x)",
            "(headcount_python names it) ([project] of pyproject.toml has x)",
        ),
        (
            "jsmin 2 cannot be built; allow another version of it, or have headcount_python name an older Python of "
            "the host",
            "or name an older Python of this machine with --python",
        ),
    ],
)
def test_what_is_said_of_a_host_is_said_of_this_machine(said: str, wanted: str) -> None:
    told = environment.of_this_machine(said, environment.interpreter())
    assert wanted in told
    assert "of the host" not in told
    assert "the host has" not in told


def test_what_was_compiled_here_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sdist = Wheel("uwsgi", "2.0.22", "uwsgi-2.0.22.tar.gz", "0" * 64, 1, "/s/uwsgi-2.0.22.tar.gz")
    builds = (HostBuild(sdist, (), "2.0.29"),)
    found = SimpleNamespace(wheels=(), needs_host_build=builds, app="", app_version="", notes=())
    (tmp_path / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    monkeypatch.setattr(environment, "gather", lambda *_: found)
    monkeypatch.setattr(environment, "run", lambda *_: Done(0, "", ""))
    made = environment.make({"kind": "pip"}, tmp_path, tmp_path)
    assert made.compiled == ("uwsgi 2.0.22 (2.0.29 is the oldest after it that has one)",)
