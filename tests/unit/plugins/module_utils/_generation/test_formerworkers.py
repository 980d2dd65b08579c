# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether the workers of a former service's Gunicorn answer, by the files in which they tell that they live."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import formerworkers
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.listeners import Listener
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import UnitState

HOLDER = Listener("0.0.0.0:8000", 4711, 40, 5)
GUNICORN = "/srv/venv/bin/python\0/srv/venv/bin/gunicorn\0-w\x001"


def test_workers_answer_once_they_have_told_their_master_that_they_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pid, parent in ((40, 1), (41, 40), (42, 40)):
        folder = tmp_path / f"proc/{pid}"
        folder.mkdir(parents=True)
        (folder / "stat").write_text(f"{pid} (gunicorn) S {parent} 1 1")
        (folder / "cmdline").write_text(GUNICORN)
    monkeypatch.setattr(formerworkers, "unit_pids", lambda *_: [40, 41, 42])
    monkeypatch.setattr(formerworkers, "held", lambda *_: [HOLDER])
    state = UnitState("loaded", "active", "running", "success", 40, 0, 0, "/system.slice/s.service", "", "")

    def imported() -> bool:
        return formerworkers.imported(str(tmp_path), state, HOLDER.address)

    assert imported(), "where nothing can be told, it is not waited for"
    (tmp_path / "proc/40/fd").mkdir()
    files = [tmp_path / f"wgunicorn-{number}" for number in (1, 2)]
    for number, file in enumerate(files):
        file.touch()
        (tmp_path / f"proc/40/fd/{number}").symlink_to(file)
    assert not imported()
    now = time.monotonic()
    os.utime(files[0], (now, now))
    assert not imported()
    files[1].chmod(0)
    assert imported()
