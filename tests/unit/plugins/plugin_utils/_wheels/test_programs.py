# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A program that Gunicorn is to be started by and that no wheel brings is told by what was gathered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.gathered import (
    HostBuild,
    Platform,
    WheelSet,
)
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.programs import problem_of
from made_wheels import wheel

ENTRY_POINTS = "[console_scripts]\nddtrace-run = ddtrace.run:main\nUp:Per = a:b [extra]\n\n[other]\nno-program = a:b\n"


@pytest.fixture
def found(tmp_path: Path) -> WheelSet:
    wheels = (
        wheel(tmp_path, "ddtrace", {"ddtrace-1.dist-info/entry_points.txt": ENTRY_POINTS}),
        wheel(tmp_path, "wrap", {"wrap-1.data/scripts/wrap.sh": "", "wrap/scripts/not-one": ""}),
        wheel(tmp_path, "odd", {"odd-1.dist-info/entry_points.txt": "no section\n"}),
    )
    return WheelSet("id", "path:1", "", "", Platform("3.11", "x86_64", "glibc 2.36"), "", wheels, wheels[0])


@pytest.mark.parametrize("word", ["ddtrace-run", "Up:Per", "wrap.sh", "/usr/bin/nice", "python", "python3.11"])
def test_what_is_there_or_is_the_hosts_is_no_problem(found: WheelSet, word: str) -> None:
    assert problem_of({"command_prefix": [word, "-n"]}, found) == ""


@pytest.mark.parametrize("app", [{}, {"command_prefix": None}])
def test_an_app_without_one_has_no_problem(found: WheelSet, app: dict[str, object]) -> None:
    assert problem_of(app, found) == ""


@pytest.mark.parametrize(
    ("word", "fix"),
    [
        ("ddtrace_run", "fix: did you mean ddtrace-run?"),
        ("nice", "or name a program of the host by its path (/usr/bin/nice)"),
        ("no-program", "fix: have the project require the package that brings it"),
        ("not-one", "fix: have the project require the package that brings it"),
    ],
)
def test_what_no_wheel_brings_is_told(found: WheelSet, word: str, fix: str) -> None:
    words = problem_of({"command_prefix": [word]}, found)
    assert words.startswith(f"command_prefix: {word} is a program of none of the packages that its release holds")
    assert fix in words


def test_nothing_is_known_while_a_package_is_still_to_be_built(found: WheelSet) -> None:
    building = replace(found, needs_host_build=(HostBuild(found.pip, ()),))
    assert problem_of({"command_prefix": ["nice"]}, building) == ""
