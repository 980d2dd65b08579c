# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What an app takes from the machine is asked about: no wheel brings it, and a host may lack it."""

from __future__ import annotations

import ctypes.util
import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp import machine
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.refusals import Cannot, refuse
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.subject import Given
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.survey import Found
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.types import Candidate, Error
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import Done, ToolMissing
from test_sandbox import at, imported

__all__ = ["at"]
LIB = "/usr/lib/x86_64-linux-gnu"
SEARCHED = (
    f"libpq5:amd64: {LIB}/libpq.so.5.15\nlibldap-2.5-0:amd64: {LIB}/libldap-2.5.so.0\n"
    f"libssl3:amd64: {LIB}/libssl.so.3\n"
    "git: /usr/bin/git\ncoreutils: /bin/uname\ndiversion by dash from: /bin/sh\n"
)
SHOWN = (
    "libpq5\tno\toptional\tlibc6 (>= 2.36), libldap-2.5-0 (>= 2.5), libssl3 | libssl9:any, \n"
    "libldap-2.5-0\tno\toptional\tlibc6, \n"
    "libssl3\tno\toptional\tlibc6, \n"
    "git\tno\toptional\tlibc6, perl, \n"
    "coreutils\tyes\trequired\t, libc6\n"
    "libpython3.11-stdlib\tno\toptional\tlibsqlite3-0, \n"
)


@pytest.fixture
def dpkg(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(words: list[str], *_: Any) -> Done:
        return Done(0, SEARCHED if "--search" in words else SHOWN, "")

    monkeypatch.setattr(machine, "run", run)


@pytest.mark.usefixtures("dpkg")
def test_packages_that_a_host_may_lack_are_named_without_what_they_bring() -> None:
    paths = [f"{LIB}/libpq.so.5.15", f"{LIB}/libldap-2.5.so.0", f"{LIB}/libssl.so.3", "/usr/bin/git", "/usr/bin/uname"]
    assert machine.words(machine.lacking([*paths, "/opt/own/libown.so"])) == [
        "libown.so",
        "git",
        "libpq5 (libpq.so.5.15)",
    ]


def test_a_machine_that_knows_no_packages_names_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any) -> Done:
        raise ToolMissing("dpkg-query is not there")

    monkeypatch.setattr(machine, "run", run)
    assert machine.words(machine.lacking([f"{LIB}/libpq.so.5.15"])) == ["libpq.so.5.15"]
    assert machine.questions([]) == []


def test_distutils_that_no_host_has_is_asked_about_first() -> None:
    (question,) = machine.questions(["/usr/lib/python3.11/distutils/core.py"])
    assert question.must
    assert question.text.startswith("where does a host have distutils from? It imports that of this machine here")
    assert "name setuptools in the project's dependencies" in question.text
    assert "python3-distutils" in question.text


def test_a_program_and_a_library_that_an_import_uses_are_seen(at: Any) -> None:
    library = ctypes.util.find_library("magic")
    loads = f"import ctypes\nctypes.CDLL({library!r})\n" if library else ""
    found = imported(
        at, f"import subprocess, ssl, sqlite3\nsubprocess.run(['git', '--version'])\n{loads}def app(e, s): return []\n"
    )
    assert shutil.which("git") in found.machine
    assert not library or any("/libmagic.so" in path for path in found.machine)


def test_a_plain_app_takes_nothing_that_a_host_may_lack(at: Any) -> None:
    found = imported(at, "import bz2, ctypes.util, lzma, platform, sqlite3, ssl, uuid\ndef app(e, s): return []\n")
    assert found.found
    assert machine.questions(found.machine) == []


@pytest.mark.parametrize(
    ("kind", "message", "named"),
    [
        ("ImportError", "libpq.so.5: cannot open shared object file: No such file or directory", "install libpq.so.5 "),
        ("ImportError", "failed to find libmagic.  Check your installation", "install libmagic (Debian: libmagic1) "),
        ("OSError", "cannot load library 'libpango-1.0-0': libpango-1.0-0: cannot open", "install libpango-1.0-0 "),
        ("ImportError", "Bad git executable. The git executable must be specified", "install the program git "),
        ("FileNotFoundError", "[Errno 2] No such file or directory: 'git'", "install the program git "),
    ],
)
def test_an_import_that_lacks_something_of_the_machine_is_told_what_to_install(
    tmp_path: Path, kind: str, message: str, named: str
) -> None:
    found = Found(None, ((Candidate("shop", "app", "a guess"), Error(kind, message)),))
    with pytest.raises(Cannot) as raised:
        refuse(found, Given({"path": "../shop"}, tmp_path, "shop"), ["shop.py"], "3.11")
    assert raised.value.problem.fix.startswith(named)
    assert "on each host" in raised.value.problem.fix
