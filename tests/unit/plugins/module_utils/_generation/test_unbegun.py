# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What is told of a unit that systemd could not begin."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import unbegun
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Completed, Systemd

FILE = [
    "Starting shop@2.service - shop, generation 2...",
    "shop@2.service: Failed to set up special execution directory in /var/lib: File exists",
    "shop@2.service: Failed at step STATE_DIRECTORY spawning /bin/sh: File exists",
    "shop@2.service: Control process exited, code=exited, status=238/STATE_DIRECTORY",
    "shop@2.service: Failed with result 'exit-code'.",
    "Failed to start shop@2.service - shop, generation 2.",
]


@pytest.mark.parametrize(
    ("status", "lines", "told"),
    [
        (
            238,
            FILE,
            "systemd cannot make its folder below /var/lib (exit status 238/STATE_DIRECTORY): Failed to set up special "
            "execution directory in /var/lib: File exists; what its log names is no folder, leads elsewhere, or lies "
            "where nothing can be written: put that right",
        ),
        (
            217,
            ["(sh)[7]: shop@2.service: Failed at step USER spawning /bin/sh: No such process"],
            "systemd cannot run as the user, who is not there, (exit status 217/USER): Failed at step USER spawning "
            "/bin/sh: No such process; the next rollout makes Headcount's own account again",
        ),
        (
            226,
            FILE,
            "systemd cannot set up mount namespaces (exit status 226/NAMESPACE); a path of its sandbox is gone",
        ),
        (200, [], "systemd cannot enter its working directory (exit status 200/CHDIR); the folder is gone, or its"),
        (203, [], "(exit status 203/EXEC); the file or its interpreter is gone, may not be executed, or lies on a"),
    ],
)
def test_each_step_of_systemds_own_is_named_with_what_its_log_says_and_the_fix(
    status: int, lines: list[str], told: str
) -> None:
    assert told in unbegun.words(status, lines)


@pytest.mark.parametrize("status", [0, 1, 3, 9, 127, 255])
def test_what_a_program_ends_with_itself_is_none_of_systemds(status: int) -> None:
    assert unbegun.words(status, []) == ""
    assert unbegun.words(0, [*FILE, f"shop@2.service: Main process exited, code=exited, status={status}/n/a"]) == ""


def test_every_step_can_be_told() -> None:
    told = [unbegun.words(status, []) for status in range(256)]
    assert not [words for words in told if words and "  " in words.replace("cannot  ", "  ")]
    assert len([words for words in told if words]) > 20


def test_the_units_of_what_is_live_that_do_not_run_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {
        "shop@2.service": "ActiveState=activating\nExecMainStatus=0\nExecStartPre={ code=exited ; status=238 }",
        "shop@2-again.service": "ActiveState=activating\nNRestarts=3",
        "shop@2-first.service": "ActiveState=activating",
        "shop@2-worker.service": "ActiveState=active\nResult=exit-code",
        "shop@2-mail.service": "ActiveState=inactive\nResult=success",
    }

    def runner(command: Sequence[str], seconds: float) -> Completed:
        if command[0] == "journalctl":
            return Completed(0, "\n".join(FILE), "")
        return Completed(0, "\n\n".join(f"Id={unit}\n{text}" for unit, text in shown.items() if unit in command), "")

    processes = [
        "shop@2-again.service",
        "shop@2-first.service",
        "shop@2-mail.service",
        "shop@2-worker.service",
        "shop@2-late.timer",
    ]
    monkeypatch.setattr(unbegun, "process_units_on_disk", lambda layout, number: processes)
    assert unbegun.causes(Layout("shop"), 2, Systemd(runner)) == [
        f"{unit}: {unbegun.words(238, FILE)}" for unit in ("shop@2.service", "shop@2-again.service")
    ]
