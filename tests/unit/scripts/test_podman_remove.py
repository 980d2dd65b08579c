# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A host of the lab is removed, however long a busy machine takes to end what ran in it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import pytest
from headcount_scripts import podman
from headcount_scripts.console import ScriptError

BUSY = "Error: cannot remove container 72b9 as it could not be stopped: given PIDs did not die within timeout"


def podman_says(monkeypatch: pytest.MonkeyPatch, said: Sequence[str]) -> list[list[str]]:
    """Has podman fail with these words, one after the other, and then do well; what it was asked."""
    asked: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        asked.append(command)
        words = said[len(asked) - 1] if len(asked) <= len(said) else ""
        return subprocess.CompletedProcess(command, bool(words), b"", words.encode())

    monkeypatch.setattr(subprocess, "run", run)
    return asked


def test_it_is_asked_again_while_killed_processes_are_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = podman_says(monkeypatch, [BUSY, BUSY])
    podman.remove("lab-small", "lab-large", clock=lambda: 0.0)
    assert len(asked) == 3
    assert asked[-1][-5:] == ["--ignore", "--time", "0", "lab-small", "lab-large"]


def test_it_gives_up_with_podmans_words(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = podman_says(monkeypatch, [BUSY] * 9)
    times = iter([0.0, 60.0, podman.REMOVE_SECONDS + 1])
    with pytest.raises(ScriptError, match="did not die within timeout"):
        podman.remove("lab-small", clock=lambda: next(times))
    assert len(asked) == 2


def test_another_failure_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = podman_says(monkeypatch, ["Error: layer not known"])
    with pytest.raises(ScriptError, match="layer not known"):
        podman.remove("lab-small")
    assert len(asked) == 1
