# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Thin access to podman."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

from .console import ScriptError

#: crun refuses the hybrid cgroup layout that Debian machines may have; runc takes all of them.
PODMAN = ("podman", "--runtime", "runc")

REMOVE_SECONDS = 120.0
STILL_THERE = "did not die within timeout"
"""So podman says that what it killed was not gone when it looked."""


def podman(
    *arguments: str, check: bool = True, stdin: bytes | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Runs podman and captures its output; with `check`, a failure raises ScriptError with podman's own words."""
    try:
        done = subprocess.run(
            [*PODMAN, *arguments],
            input=stdin if stdin is not None else b"",
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise ScriptError("podman is not installed: scripts/lab up installs it on Debian, as root") from None
    except subprocess.TimeoutExpired:
        raise ScriptError(f"podman {' '.join(arguments[:2])} did not end within {timeout:g} s") from None
    result = subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )
    if check and result.returncode:
        words = " ".join(arguments[:3])
        raise ScriptError(f"podman {words} … failed: {(result.stderr or result.stdout).strip()}")
    return result


def remove(*names: str, clock: Callable[[], float] = time.monotonic) -> None:
    """Removes containers, and ends what runs in them; those that are not there are well.

    podman waits for a few seconds until the processes that it killed are gone. On a busy machine they take longer: it
    is asked again, for REMOVE_SECONDS at most. Raises ScriptError with podman's own words.
    """
    deadline = clock() + REMOVE_SECONDS
    while True:
        try:
            podman("rm", "--force", "--ignore", "--time", "0", *names)
        except ScriptError as error:
            if STILL_THERE not in str(error) or clock() > deadline:
                raise
        else:
            return


def exists(kind: str, name: str) -> bool:
    """Whether podman has an object of a kind ("image", "network") by that name."""
    done = podman(kind, "exists", name, check=False)
    if done.returncode not in (0, 1):
        raise ScriptError(f"podman {kind} exists {name} failed: {done.stderr.strip()}")
    return done.returncode == 0


def podman_json(*arguments: str) -> Any:
    """What podman prints as JSON (None when it prints nothing)."""
    text = podman(*arguments).stdout.strip()
    return json.loads(text) if text else None
