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
    def test_plans_and_outcomes_by_host(self, tmp_path: Path, host: str) -> None:
        notes = begin(tmp_path)
        notes.write_plan(host, {"host": host})
        notes.write_outcome(host, "shop", {"outcome": "promoted"})
        assert notes.plan(host) == {"host": host}
        assert notes.outcomes() == {host: {"shop": {"outcome": "promoted"}}}

    def test_a_plan_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(runs.RunError, match=r"plan/web1\.json cannot be read"):
            begin(tmp_path).plan("web1")

    def test_an_app_that_nothing_was_done_to(self, tmp_path: Path) -> None:
        notes = begin(tmp_path)
        assert notes.outcome("web1", "shop") == {}
        assert notes.outcomes() == {}


OK: dict[str, Any] = {"changed": True}
STAGED = {"generation": 3, "release": "abc", "healed": ["stopped a candidate"]}
FAILED = {"failed": True, "phase": "trial", "cause": "p95 is 312 ms, limit 250", "self_healed": True}


class TestProgress:
    """The outcome of an app over its steps."""

    def go(self, *steps: tuple[str, dict[str, Any]]) -> dict[str, Any]:
        progress = runs.Progress.start("web1", "shop")
        for phase, result in steps:
            progress = progress.step(phase, result, 1.26)
        progress.data.pop("failed_at", None)
        return progress.data

    def test_all_the_way(self) -> None:
        data = self.go(("stage", STAGED), ("weigh", OK), ("trial", OK), ("promote", {"from": 2, "to": 3}))
        assert (data["outcome"], data["from"], data["to"], data["generation"]) == ("promoted", 2, 3, 3)
        assert data["steps"][0] == {"phase": "stage", "ok": True, "seconds": 1.3, "healed": ["stopped a candidate"]}

    def test_a_step_in_between(self) -> None:
        assert self.go(("stage", STAGED))["outcome"] == "working"

    def test_the_first_cause_stays(self) -> None:
        data = self.go(("trial", FAILED), ("abandon", {"failed": True, "msg": "something else"}))
        assert (data["outcome"], data["phase"], data["cause"]) == ("failed", "trial", "p95 is 312 ms, limit 250")

    def test_a_host_that_is_lost_while_it_is_cleaned_up(self) -> None:
        data = self.go(("stage", {"failed": True, "msg": "killed"}), ("abandon", {"failed": True, "lost": True}))
        assert (data["outcome"], data["phase"], data["cause"]) == ("lost", "stage", "killed")

    def test_a_host_that_is_lost(self) -> None:
        data = self.go(("trial", {"failed": True, "lost": True, "cause": "the connection was lost"}))
        assert (data["outcome"], data["self_healed"]) == ("lost", False)

    def test_a_refused_lock(self) -> None:
        assert self.go(("stage", {"failed": True, "cause": "held by run 1", "busy": True}))["busy"] is True

    def test_the_way_back(self) -> None:
        promoted = ("promote", {"from": 2, "to": 3})
        data = self.go(promoted, ("revert", {"from": 3, "to": 2}))
        assert (data["outcome"], data["reverted_to"]) == ("reverted", 2)
        data = self.go(promoted, ("revert", {"failed": True, "cause": "generation 2 is not intact"}))
        assert (data["outcome"], data["revert_cause"]) == ("revert_failed", "generation 2 is not intact")

    def test_healed(self) -> None:
        assert self.go(("heal", {"healed": []}))["outcome"] == "healed"


def test_hosts_with_an_outcome() -> None:
    outcomes = {"a": {"x": {"outcome": "failed"}}, "b": {"x": {"outcome": "promoted"}, "y": {"outcome": "lost"}}}
    assert runs.hosts_with(outcomes, ("failed", "lost")) == ["a", "b"]


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
