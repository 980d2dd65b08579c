# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Runs on the controller: identity, liveness, notes, and how outcomes come together."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet import runs
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.decision import AppDecision, HostDecision
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.outcome import Outcome

NOW = 1_795_000_000.0


def process_tree(root: Path, boot: str = "boot-1", **started: int) -> None:
    """A /proc with processes `p<pid>=<start ticks>`."""
    target = root / "proc/sys/kernel/random"
    target.mkdir(parents=True, exist_ok=True)
    (target / "boot_id").write_text(boot + "\n")
    for name, ticks in started.items():
        folder = root / "proc" / name[1:]
        folder.mkdir(exist_ok=True)
        (folder / "stat").write_text(f"{name[1:]} (ansible) play) S " + " ".join(["0"] * 18) + f" {ticks} 0\n")


def begin(tmp_path: Path, pid: int = 7, clock: float = NOW) -> runs.Notes:
    return runs.begin(tmp_path / "work", user="ada", pid=pid, clock=lambda: clock, root=str(tmp_path / "root"))


class TestBegin:
    """A run is named by its moment and kept for its owner only."""

    def test_names_the_run_by_its_moment(self, tmp_path: Path) -> None:
        notes = begin(tmp_path)
        run = notes.run()
        assert run.id.startswith("20261118-110640-")
        assert (run.user, run.started) == ("ada", "2026-11-18T11:06:40Z")
        assert notes.path.stat().st_mode & 0o777 == 0o700

    def test_a_directory_that_cannot_be_written_is_named_with_the_fix(self, tmp_path: Path) -> None:
        (tmp_path / "work").write_text("a file in the way")
        with pytest.raises(runs.RunError) as error:
            begin(tmp_path)
        assert str(error.value) == (
            f"{tmp_path}/work cannot be written: File exists; "
            "run from a directory of your own, or set headcount_work_dir"
        )

    def test_old_runs_are_forgotten_living_ones_are_not(self, tmp_path: Path) -> None:
        process_tree(tmp_path / "root", p7=1)
        first = begin(tmp_path)
        # The first run's process is this one; all others name a process that is not there.
        data = json.loads((first.path / "run.json").read_text())
        data["process"] = {"pid": os.getpid(), "started": "", "boot": ""}
        (first.path / "run.json").write_text(json.dumps(data))
        for index in range(runs.KEEP_RUNS + 5):
            begin(tmp_path, clock=NOW + 1 + index)
        names = sorted(path.name for path in first.path.parent.iterdir())
        assert first.id in names
        assert len(names) == runs.KEEP_RUNS + 1


class TestGone:
    """Which runs are known to have ended."""

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ("nothing", False),
            ("ended", True),
            ("died", True),
            ("pid is another's now", True),
            ("rebooted", True),
            ("runs elsewhere", False),
            ("torn", False),
        ],
    )
    def test_a_run(self, tmp_path: Path, change: str, expected: bool) -> None:
        root = tmp_path / "root"
        process_tree(root, p7=100)
        notes = begin(tmp_path)
        here = notes.run().controller
        if change == "ended":
            notes.end(lambda: NOW + 5)
        if change == "died":
            (root / "proc/7/stat").unlink()
        if change == "pid is another's now":
            process_tree(root, p7=200)
        if change == "rebooted":
            process_tree(root, boot="boot-2")
        if change == "runs elsewhere":
            (root / "proc/7/stat").unlink()
            here = "another"
        if change == "torn":
            (notes.path / "run.json").write_text('{"id": "')
        assert (notes.id in runs.gone(tmp_path / "work", here, str(root))) is expected


class TestNotes:
    """What is kept comes back, under any name that an inventory may hold."""

    @pytest.mark.parametrize("host", ["web1", "web1.example.org", "2001:db8::1", "a/b", "..", "größe"])
    def test_decisions_and_outcomes_by_host(self, tmp_path: Path, host: str) -> None:
        notes = begin(tmp_path)
        decided = HostDecision(host, apps={"shop": AppDecision("shop", "deploy")})
        promoted = Outcome(host, "shop", "promoted", before=2, to=3)
        notes.write_decision(decided)
        notes.write_outcome(promoted)
        assert notes.decision(host) == decided
        assert notes.outcomes() == {host: {"shop": promoted}}

    def test_a_decision_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(runs.RunError, match=r"decision/web1\.json cannot be read"):
            begin(tmp_path).decision("web1")

    def test_an_app_that_nothing_was_done_to(self, tmp_path: Path) -> None:
        notes = begin(tmp_path)
        assert notes.outcome("web1", "shop") == Outcome("web1", "shop")
        assert notes.outcomes() == {}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({}, None), ({"awx_user_name": "ada"}, "ada"), ({"tower_user_name": "eve"}, "eve"), ({"awx_user_name": ""}, None)],
)
def test_who_started_it_on_a_platform(variables: dict[str, Any], expected: str | None) -> None:
    assert runs.platform_user(variables) == expected


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    runs.write_json(path, {"a": 1})
    unwritable: Any = {("no", "key"): 1}
    with pytest.raises(TypeError):
        runs.write_json(path, unwritable)
    assert json.loads(path.read_text()) == {"a": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]
