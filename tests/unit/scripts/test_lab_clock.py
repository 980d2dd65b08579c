# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A host of a lab shares the clock of the machine, and cannot set it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from headcount_scripts import labs, paths
from headcount_scripts.labmodel import Host, Lab

HOST = Host("small", 1.0, 512, "bookworm", (0,), "10.100.0.11", "image:bookworm-1")


def test_each_container_is_made_without_the_calls_that_set_the_clock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: dict[str, list[str]] = {}

    def podman(*words: str, **_: object) -> None:
        if words[0] == "create":
            made[words[words.index("--hostname") + 1]] = list(words)

    monkeypatch.setattr(paths, "LABS", tmp_path)
    monkeypatch.setattr(labs, "podman", podman)
    monkeypatch.setattr(labs, "remove", lambda *names: None)
    monkeypatch.setattr(labs, "_seed", lambda lab, host: b"")
    labs._create_all(Lab("t", "10.100.0.0/24", hosts=[HOST]), [HOST])
    words = made["small"]
    option = words[words.index("--security-opt") + 1]
    profile = json.loads(Path(option.removeprefix("seccomp=")).read_text(encoding="utf-8"))
    (rule,) = profile["syscalls"]
    assert {"settimeofday", "clock_settime", "clock_adjtime", "adjtimex"} <= set(rule["names"])
    assert (rule["action"], rule["errnoRet"]) == ("SCMP_ACT_ERRNO", 1)
    assert profile["defaultAction"] == "SCMP_ACT_ALLOW"
