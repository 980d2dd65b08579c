# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Who builds what exists only as source, and what is said when that fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet import builds, runs
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.builds import Attempt, Candidate
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.wheelhouse import HostBuild, Platform, Wheel

BOOKWORM = Platform("3.11", "x86_64", "glibc 2.36")
TRIXIE = Platform("3.13", "x86_64", "glibc 2.41")


def wheel(filename: str) -> Wheel:
    name, version = filename.removesuffix(".tar.gz").split("-")[:2]
    return Wheel(name, version, filename, (name * 64)[:64], 1, f"/cache/{filename}")


def request(platform: Platform = BOOKWORM) -> builds.Request:
    tools = (wheel("setuptools-84.0-py3-none-any.whl"),)
    return builds.Request(HostBuild(wheel("native-1.0.tar.gz"), tools), wheel("pip-26.3-py3-none-any.whl"), platform)


def host(name: str, platform: Platform = BOOKWORM, compiler: str | None = None) -> Candidate:
    return Candidate(name, platform.key, compiler)


@pytest.mark.parametrize(
    ("candidates", "canary", "lost", "chosen"),
    [
        ([host("a"), host("b")], None, [], "a"),
        ([host("a"), host("b")], "b", [], "b"),
        ([host("a", TRIXIE), host("b")], "a", [], "b"),
        ([host("a"), host("b", compiler="/usr/bin/cc")], "a", [], "b"),
        ([host("a", compiler="/usr/bin/cc"), host("b", compiler="/usr/bin/cc")], "b", [], "b"),
        ([host("a"), host("b")], None, ["a"], "b"),
        ([host("a")], None, ["a"], None),
        ([host("a", TRIXIE)], None, [], None),
    ],
)
def test_the_canary_or_the_first_that_can_builds(
    candidates: list[Candidate], canary: str | None, lost: list[str], chosen: str | None
) -> None:
    assert builds.builder(BOOKWORM, candidates, canary, lost) == chosen


@pytest.mark.parametrize(
    ("attempts", "chosen", "cause"),
    [
        ([], "a", ""),
        ([Attempt("a", "lost", "the connection to a was lost: timed out")], "b", ""),
        ([Attempt("a", "asked")], "b", ""),
        ([Attempt("a", "failed", "no compiler")], None, "no compiler"),
        (
            [Attempt("a", "built")],
            None,
            "native 1.0 was built on a, and is asked for again: its source changes",
        ),
        (
            [Attempt("a", "lost", "the connection to a was lost: timed out"), Attempt("b", "asked")],
            None,
            "native 1.0 has no wheel for Python 3.11 on x86_64 (glibc 2.36), and no host built it: "
            "a: the connection to a was lost: timed out; b: no answer came",
        ),
    ],
)
def test_a_build_is_tried_again_only_where_a_host_was_lost(
    attempts: list[Attempt], chosen: str | None, cause: str
) -> None:
    decided = builds.assign(request(), attempts, [host("a"), host("b")], None)
    assert (decided.host, decided.cause) == (chosen, cause)


SETUPTOOLS = """\
  error: subprocess-exited-with-error

  × Building wheel for native (pyproject.toml) did not run successfully.
  │ exit code: 1
  ╰─> [9 lines of output]
      running build_ext
      building 'native' extension
      {lines}
      [end of output]

  note: This error originates from a subprocess, and is likely not a problem with pip.
  ERROR: Failed building wheel for native
ERROR: Failed to build one or more wheels
"""
OR = "or put a wheel of it where pip finds it, or allow a version that has one"


@pytest.mark.parametrize(
    ("result", "log", "system", "said"),
    [
        (
            "done",
            SETUPTOOLS.format(lines="error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory"),
            "debian",
            "error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory; "
            f"install a compiler and Python's headers on a (gcc and python3-dev), {OR}",
        ),
        (
            "done",
            SETUPTOOLS.format(lines="error: command '/usr/bin/g++' failed: No such file or directory"),
            "rocky",
            "error: command '/usr/bin/g++' failed: No such file or directory; "
            f"install a C++ compiler and Python's headers on a (gcc-c++ and python3-devel), {OR}",
        ),
        (
            "done",
            SETUPTOOLS.format(
                lines="src/native.c:1:10: fatal error: Python.h: No such file or directory\n"
                "      compilation terminated.\n"
                "      error: command '/usr/bin/x86_64-linux-gnu-gcc' failed with exit code 1"
            ),
            "debian",
            "src/native.c:1:10: fatal error: Python.h: No such file or directory | "
            "error: command '/usr/bin/x86_64-linux-gnu-gcc' failed with exit code 1; "
            f"install Python's headers on a (python3-dev), {OR}",
        ),
        (
            "done",
            SETUPTOOLS.format(lines="n.c:2:10: fatal error: libpq-fe.h: No such file or directory"),
            "debian",
            "n.c:2:10: fatal error: libpq-fe.h: No such file or directory; "
            f"install the development package that has libpq-fe.h on a, {OR}",
        ),
        (
            "done",
            SETUPTOOLS.format(lines="/usr/bin/ld: cannot find -lxml2: No such file or directory"),
            "debian",
            "/usr/bin/ld: cannot find -lxml2: No such file or directory; "
            f"install the development package of libxml2 on a, {OR}",
        ),
        (
            "done",
            "ERROR: Could not find a version that satisfies the requirement ninja>=1.5 (from versions: none)\n"
            "ERROR: No matching distribution found for ninja>=1.5\n",
            "debian",
            "ERROR: Could not find a version that satisfies the requirement ninja>=1.5 (from versions: none) | "
            "ERROR: No matching distribution found for ninja>=1.5; "
            "name ninja, which its build needs, in `requires` of [build-system] in the pyproject.toml of its source, "
            f"{OR}",
        ),
        (
            "done",
            "error: [Errno 28] No space left on device",
            "debian",
            f"error: [Errno 28] No space left on device; free some room in /var/tmp of a, {OR}",
        ),
        ("done", "it went\nwrong\n", "debian", f"it went | wrong; correct what it says on a, {OR}"),
        (
            "timeout",
            "",
            "debian",
            f"it was not finished within 1800 s; build it on a faster machine, {OR}",
        ),
        ("oom-kill", "", "debian", f"the kernel killed it for want of memory; give a more memory, {OR}"),
        ("watchdog", "", "debian", f"systemd ended it (watchdog); correct what it says on a, {OR}"),
    ],
)
def test_a_failed_build_names_the_last_lines_and_the_fix(result: str, log: str, system: str, said: str) -> None:
    assert builds.failure(request(), "a", result, log, 1800.0, system) == (
        f"native 1.0 has no wheel for Python 3.11 on x86_64 (glibc 2.36), and its build on a failed: {said}"
    )


def test_the_notes_tell_who_was_asked_and_what_came_of_it(tmp_path: Path) -> None:
    notes = runs.begin(tmp_path)
    one, two = request(), request(TRIXIE)
    builds.ask(notes, "a/b", [one])
    builds.ask(notes, "c", [two])
    assert builds.asked(notes, "a/b") == [one]
    assert builds.asked(notes, "nobody") == []
    builds.note(notes, "a/b", one.key, builds.FAILED, "no compiler", log="gcc: not found")
    assert builds.asked(notes, "a/b") == []
    assert builds.attempts(notes) == {
        one.key: [Attempt("a/b", "failed", "no compiler")],
        two.key: [Attempt("c", "asked", "")],
    }


def test_what_a_host_is_told_and_people_too() -> None:
    told = request().for_host()
    assert told["sdist"].endswith("/native-1.0.tar.gz")
    assert [name.partition("/")[2] for name in told["tools"]] == ["setuptools-84.0-py3-none-any.whl"]
    assert told["pip"].endswith("/pip-26.3-py3-none-any.whl")
    assert builds.asked_text({"a": [request()], "b": [request(TRIXIE)]}) == (
        "a: builds native 1.0: there is no wheel for Python 3.11 on x86_64 (glibc 2.36)\n"
        "b: builds native 1.0: there is no wheel for Python 3.13 on x86_64 (glibc 2.41)"
    )


def test_a_build_where_no_compiler_was_found_is_told_before() -> None:
    told = builds.without_compiler(request(), "a", "debian")
    assert told == (
        "native 1.0 has no wheel for Python 3.11 on x86_64 (glibc 2.36) and is built on a, where no C compiler was "
        f"found: most such builds fail without one; install gcc and python3-dev there first, {OR}"
    )


def test_what_else_can_be_done_than_to_build() -> None:
    asked = request()
    newer = replace(asked, build=replace(asked.build, with_wheel="2.1"))
    assert builds.without_build(newer).endswith("or allow a version that has one (2.1 is the oldest after it)")
    assert builds.Request.from_dict(newer.to_dict()) == newer
    other = replace(asked, build=replace(asked.build, with_wheel="2.1", pythons=("3.9", "3.10")))
    assert builds.without_build(other).endswith(
        "(2.1 is the oldest after it), or have headcount_python name Python 3.9, 3.10, which it has a wheel for"
    )
    assert builds.Request.from_dict(other.to_dict()) == other
    sdist = replace(asked.build.sdist, name="psycopg2")
    told = builds.failure(replace(asked, build=replace(asked.build, sdist=sdist)), "a", "timeout", "", 9.0, "debian")
    assert told.endswith(f"{OR}, or depend on psycopg2-binary, which is the same with wheels")


@pytest.mark.parametrize(
    ("result", "compiler", "log", "fix"),
    [
        ("done", "", "AttributeError: 'NoneType' object has no attribute 'split'", "a has no C compiler, which most"),
        ("done", "gcc 12", "AttributeError: 'NoneType' object has no attribute 'split'", "correct what it says on a, "),
        ("no-answer", "", "killed", "correct what it says on a, "),
        ("done", "", "Python.h: No such file", "install Python's headers on a (python3-dev), "),
    ],
)
def test_the_absence_of_a_compiler_goes_before_what_a_build_makes_of_it(
    result: str, compiler: str, log: str, fix: str
) -> None:
    assert f"; {fix}" in builds.failure(request(), "a", result, log, 9.0, "debian", compiler)
