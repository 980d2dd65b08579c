# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""scripts/monitoring writes its files once, and tells when they are not what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from headcount_scripts import monitoring
from headcount_scripts.console import ScriptError

NAMES = ["headcount.dashboard.json", "headcount.html", "headcount.rules.yml"]


def test_the_files_are_written_once(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert monitoring.main(["--check", str(folder)]) == 1
    assert not folder.exists()
    assert monitoring.main([str(folder), "--job", "watch"]) == 0
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    assert 'up{job="watch"}' in (folder / NAMES[2]).read_text()
    assert (
        "https://github.com/headcount/headcount.gunicorn/blob/main/docs/alerts.md#headcountdrift"
        in (folder / NAMES[2]).read_text()
    )
    assert json.loads((folder / NAMES[0]).read_text())["uid"] == "headcount"
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert monitoring.main([str(folder), "--job", "watch"]) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert monitoring.main(["--check", "--job", "watch", str(folder)]) == 0
    assert monitoring.main(["--check", str(folder)]) == 1, "another job"


def test_a_job_that_breaks_the_rules_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        monitoring.main([str(tmp_path), "--job", 'a"b'])


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ScriptError, match="file/there"):
        monitoring.main([str(tmp_path / "file" / "there")])
