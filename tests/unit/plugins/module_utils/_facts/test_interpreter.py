# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The Python that releases run on: what it is, and the sentence that says why none can run on it."""

from __future__ import annotations

import ast
import json
import os
import sys
from pathlib import Path
from typing import Any, Sequence

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts import interpreter
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts.hardware import fact_parts, rebuild_reasons

SAYS: dict[str, Any] = {
    "version": [3, 12, 1],
    "full": "3.12.1",
    "executable": "/opt/python/bin/python3.12",
    "base": "/opt/python/bin/python3.12",
    "inside": False,
    "library": "/opt/python/lib/python3.12",
    "implementation": "CPython",
    "free_threaded": False,
    "machine": "x86_64",
    "libc": "glibc 2.36",
    "lacking": [],
}


def host(root: Path, *paths: str) -> str:
    """A host with executables at `paths`, and with the library of the one that SAYS describes."""
    for path in (*paths, str(SAYS["executable"])):
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        file.chmod(0o755)
    (root / SAYS["library"].lstrip("/")).mkdir(parents=True, exist_ok=True)
    return str(root)


def read(root: str, declared: str = "/opt/python/bin/python3.12", **said: Any) -> interpreter.Found:
    def ask(command: Sequence[str]) -> tuple[int, str, str]:
        assert command[0] == declared
        return 0, json.dumps({**SAYS, **said}), ""

    return interpreter.read(declared, ask, root)


def test_the_declared_interpreter_is_asked_and_not_the_one_that_asks(tmp_path: Path) -> None:
    found = read(host(tmp_path), machine="aarch64")
    assert found.python == interpreter.Python(
        "3.12", "/opt/python/bin/python3.12", "CPython", "3.12.1", False, "/opt/python/bin/python3.12"
    )
    assert (found.machine, found.libc) == ("aarch64", "glibc 2.36")


def test_one_in_a_virtual_environment_is_the_one_that_made_it(tmp_path: Path) -> None:
    found = read(host(tmp_path), "/srv/venv/bin/python", executable="/srv/venv/bin/python", inside=True)
    assert found.python.executable == "/opt/python/bin/python3.12"
    assert found.python.problem == ""


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        pytest.param(
            {"version": [3, 8, 10], "full": "3.8.10"},
            "headcount_python is /opt/python/bin/python3.12, which is Python 3.8.10 on this host: 3.9 or later is"
            " needed; fix: headcount_python: /usr/bin/python3.11 (or /usr/local/bin/python3.10), which is on this host",
            id="3.8",
        ),
        pytest.param({"version": [3, 6, 9], "full": "3.6.9"}, "which is Python 3.6.9 on this host: 3.9 or", id="3.6"),
        pytest.param({"version": [2, 7, 18], "full": "2.7.18"}, "which is Python 2.7.18 on this host", id="2.7"),
        pytest.param(
            {"implementation": "PyPy"}, "which is PyPy 3.12.1 on this host: wheels are gathered for", id="PyPy"
        ),
        pytest.param({"lacking": ["venv"]}, "which lacks the module venv on this host; fix: install", id="no venv"),
        pytest.param(
            {"lacking": ["distutils.core"]},
            "which lacks the module distutils.core on this host; fix: install the whole of its standard library"
            " (Debian: python3-distutils, Fedora: python3-libs)",
            id="no distutils",
        ),
        pytest.param(
            {"lacking": ["venv", "distutils.core"]},
            "lacks the modules venv and distutils.core on this host; fix: install the whole of its standard library"
            " (Debian: python3-venv, python3-distutils,",
            id="neither",
        ),
        pytest.param(
            {"executable": "/home/me/py/bin/python3.12"},
            "headcount_python is /opt/python/bin/python3.12, which needs"
            " /home/me/py/bin/python3.12: ProtectHome= of the app's units hides /home, so that no"
            " app could start; fix: install that Python below /opt or /usr/local, and let headcount_python name it"
            " there",
            id="a link below /home",
        ),
        pytest.param({"library": "/root/lib/python3.12"}, "ProtectHome= of the app's units hides /root", id="library"),
        pytest.param({"library": "/var/tmp/lib"}, "PrivateTmp= of the app's units hides /var/tmp", id="temporary"),
    ],
)
def test_one_that_no_release_can_run_on_is_named_with_the_fix(
    said: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    root = host(tmp_path, "/usr/bin/python3.11", "/usr/bin/python3.8", "/usr/local/bin/python3.10")
    (tmp_path / "opt/python/bin/python3.12").unlink()
    assert sentence in read(root, **said).python.problem


def test_one_that_is_not_there_and_one_that_is_none_are_told(tmp_path: Path) -> None:
    root = host(tmp_path)

    def missing(_: Sequence[str]) -> tuple[int, str, str]:
        raise FileNotFoundError(2, "No such file or directory")

    def broken(_: Sequence[str]) -> tuple[int, str, str]:
        return 1, "", "ModuleNotFoundError: No module named 'encodings'\n"

    def other(_: Sequence[str]) -> tuple[int, str, str]:
        return 0, "GNU bash\n", ""

    assert interpreter.read("/usr/bin/python3.13", missing, root).python.problem == (
        "headcount_python is /usr/bin/python3.13, which is not on this host; fix: headcount_python:"
        " /opt/python/bin/python3.12, which is on this host"
    )
    assert "No module named 'encodings'" in interpreter.read("/opt/x", broken, root).python.problem
    assert (
        "which is no Python that runs on this host: GNU bash" in interpreter.read("/opt/x", other, root).python.problem
    )


def test_without_another_one_the_fix_is_to_install_one(tmp_path: Path) -> None:
    assert interpreter._fix(str(tmp_path)) == "fix: install Python 3.9 or later, and let headcount_python name it"


def test_one_that_the_account_of_an_app_cannot_reach_is_told(tmp_path: Path) -> None:
    root = host(tmp_path)
    (tmp_path / "opt/python").chmod(0o750)
    assert read(root).python.problem == (
        "headcount_python is /opt/python/bin/python3.12, and the account of an app may not enter /opt/python; fix:"
        " chmod o+rx /opt/python on this host"
    )
    (tmp_path / "opt/python").chmod(0o755)
    assert read(root).python.problem == ""


def test_the_interpreter_that_asks_is_not_started_again() -> None:
    found = interpreter.read(sys.executable)
    assert found == interpreter.Found(found.python)
    assert found.python.full == ".".join(map(str, sys.version_info[:3]))
    assert found.python.declared == sys.executable


def test_another_interpreter_is_asked_in_earnest(tmp_path: Path) -> None:
    wrapper = tmp_path / "python3"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    wrapper.chmod(0o755)
    found = interpreter.read(str(wrapper))
    assert (found.python.full, found.machine) == (".".join(map(str, sys.version_info[:3])), os.uname().machine)
    assert "hides /tmp" in found.python.problem or not str(tmp_path).startswith("/tmp/")


def test_an_old_python_can_run_what_it_is_asked() -> None:
    ast.parse(interpreter._ASK, feature_version=(3, 0))
    assert 'f"' not in interpreter._ASK
    assert "print(json.dumps(" in interpreter._ASK


def test_another_interpreter_of_the_same_version_is_another_platform() -> None:
    def facts(declared: str | None) -> dict[str, Any]:
        python = {"version": "3.11", **({"declared": declared} if declared else {})}
        return {
            "cores": {"effective": 1},
            "memory": {"effective_mib": 512},
            "python": python,
            "platform": {"machine": "x86_64", "libc": "glibc 2.36"},
        }

    before, usual, other = facts(None), facts("/usr/bin/python3"), facts("/opt/python/bin/python3.11")
    assert fact_parts(before) == fact_parts(usual)
    assert fact_parts(usual)["platform"] != fact_parts(other)["platform"]
    assert rebuild_reasons(usual, before) == []
    assert rebuild_reasons(other, usual) == ["headcount_python /usr/bin/python3 -> /opt/python/bin/python3.11"]
