# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A host on which systemd cannot make the sandbox of an app's units is refused before anything is built."""

from __future__ import annotations

from typing import Sequence

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import dryrun
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Completed

NAMESPACE = """\
Running as unit: run-u34.service
Finished with result: exit-code
Main processes terminated with: code=exited/status=226
"""


def tried(done: Completed) -> tuple[str, list[str]]:
    asked: list[str] = []

    def runner(command: Sequence[str], _: float) -> Completed:
        asked.extend(command)
        return done

    return dryrun.problem(["PrivateTmp=yes", "SystemCallFilter=~@privileged"], runner), asked


def test_a_host_that_can_is_asked_with_the_units_own_properties() -> None:
    found, asked = tried(Completed(0, "", ""))
    assert found == ""
    assert [word for word in asked if word.startswith("--property")] == [
        "--property=PrivateTmp=yes",
        "--property=SystemCallFilter=~@privileged",
        "--property=User=nobody",
    ]
    assert asked[-2:] == ["--", "/bin/true"]


@pytest.mark.parametrize(
    ("done", "words"),
    [
        (Completed(226, "", NAMESPACE), "systemd cannot set up mount namespaces for the sandbox of an app's units on"),
        (Completed(226, "", ""), "(exit status 226)"),
        (
            Completed(1, "", "code=exited, status=228/SECCOMP"),
            "filter of system calls for the sandbox of an app's",
        ),
        (Completed(1, "", "code=exited, status=228/SECCOMP"), "(exit status 228/SECCOMP); in a container"),
        (
            Completed(217, "", "status=217/USER"),
            "systemd cannot run as the user, who is not there, for the sandbox of an app's units on this host (exit "
            "status 217/USER); `useradd --system nobody`",
        ),
    ],
)
def test_a_host_that_cannot_is_told_by_what_and_with_the_fix(done: Completed, words: str) -> None:
    assert words in tried(done)[0]


@pytest.mark.parametrize("done", [Completed(127, "", "systemd-run: not found"), Completed(1, "", "Failed to connect")])
def test_where_it_cannot_be_tried_nothing_is_said(done: Completed) -> None:
    assert tried(done)[0] == ""
