# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A command that a person runs on the host with the live release: `headcount run shop -- flask users create`."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import Callable, Sequence

from .._generation import generations
from .._generation.commands import Role, transient, words_of
from .._generation.failures import StepFailed
from .._steps.app import AppOnHost

ROLE = "run"
Call = Callable[[Sequence[str]], int]


def run(app: AppOnHost, words: Sequence[str], terminal: bool, call: Call | None = None) -> int:
    """Run `words` in the sandbox of the live generation, with its data, environment and secrets.

    `terminal`: on the caller's terminal, else on its standard input and outputs. Returns the command's exit status.
    It holds no lock: a rollout goes on beside it. StepFailed where nothing is live, or there is no such program.
    """
    number = generations.live(app.layout)
    if number is None:
        raise StepFailed(ROLE, f"nothing of {app.name} is live on this host")
    record = app.record(number)
    unit = app.layout.run_unit(str(os.getpid()))
    role = Role(unit, app.layout.command_directory(unit), ROLE)
    found = words_of(app.layout, number, words)
    options = ["--collect", "--pty" if terminal else "--pipe"]
    status = (call or _call)(transient(app.layout, number, record.app, found, role, *options))
    with contextlib.suppress(OSError):  # it has run: what cannot be written down on a full disk changes nothing
        # The arguments may hold what nobody but the app is to know.
        app.log("ran", generation=number, command=words[0], status=status)
    return status


def _call(words: Sequence[str]) -> int:
    """Run systemd-run on this process's own streams. Who breaks it off ends the command, and not only its watcher."""
    unit = next(word.partition("=")[2] for word in words if word.startswith("--unit="))
    try:
        return subprocess.run(list(words), check=False).returncode
    except KeyboardInterrupt:
        subprocess.run(["systemctl", "stop", unit], check=False)
        return 130
