# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The report action as ansible-playbook runs it: what AWX and ARA keep of a run, and that neither can fail it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[4]
RUN = {"id": "20261126-000000-0000", "user": "root", "controller": "c", "started": "2026-11-26T00:00:00Z"}
TOLD = {"run": RUN, "summary": "0 hosts: nothing was changed", "first_cause": None, "failed": {}}
CALLBACK = """
from ansible.plugins.callback import CallbackBase
from ara.clients import utils

class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "ara_default"
"""
RECORD = """
import json
from ansible.plugins.action import ActionBase

class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        with open(%r, "a") as kept:
            kept.write(json.dumps(self._task.args) + "\\n")
        return %s
"""


def an_ara(folder: Path, comes_to: str) -> dict[str, str]:
    """An ARA that keeps what it is given in `folder`/kept, and whose task comes to that; the environment for it."""
    for name, text in {
        "ara/__init__.py": "",
        "ara/clients/__init__.py": "",
        "ara/clients/utils.py": "",
        "ara/plugins/__init__.py": "",
        "ara/plugins/action/__init__.py": "",
        "ara/plugins/action/ara_record.py": RECORD % (str(folder / "kept"), comes_to),
        "callbacks/ara_default.py": CALLBACK,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    callbacks = {"ANSIBLE_CALLBACKS_ENABLED": "ara_default", "ANSIBLE_CALLBACK_PLUGINS": str(folder / "callbacks")}
    return {"PYTHONPATH": str(folder), **callbacks}


def report(folder: Path, **environment: str) -> str:
    """What ansible-playbook says of a run over no hosts, whose report is written."""
    notes = folder / "work" / "runs" / RUN["id"]
    notes.mkdir(parents=True)
    (notes / "run.json").write_text(json.dumps(RUN), encoding="utf-8")
    fleet: dict[str, Any] = {
        **{"run": RUN, "gone": [], "notes": str(notes), "apps": {}},
        **{"mode": "rollout", "batches": [], "order": [], "stopped": None},
    }
    task = {"name": "Report", "headcount.gunicorn.report": {"path": str(folder / "report.json")}}
    play = {"name": "Report", "hosts": "localhost", "gather_facts": False, "vars": {"headcount__fleet": fleet}}
    (folder / "site.yml").write_text(yaml.safe_dump([{**play, "tasks": [task]}]), encoding="utf-8")
    settings = {
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_STDOUT_CALLBACK": "default",
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", "site.yml"]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **settings, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "report.html").exists()
    return done.stdout


def test_awx_keeps_the_run_in_short(tmp_path: Path) -> None:
    said = report(tmp_path, ANSIBLE_SHOW_CUSTOM_STATS="true")
    _, _, stats = said.partition("CUSTOM STATS: ")
    assert json.loads(stats[stats.index("{") : stats.rindex("}") + 1]) == {"headcount": TOLD}
    assert "ARA" not in said


def test_ara_keeps_it_too_where_it_records_the_playbook(tmp_path: Path) -> None:
    said = report(tmp_path, **an_ara(tmp_path, "{}"))
    assert [json.loads(line) for line in (tmp_path / "kept").read_text().splitlines()] == [
        {"key": "headcount", "value": TOLD, "type": "dict"},
        {"key": "headcount_report", "value": str(tmp_path / "report.html"), "type": "text"},
    ]
    assert "ARA" not in said


@pytest.mark.parametrize(
    ("comes_to", "why"), [("{'failed': True, 'msg': 'no room'}", "no room"), ("1 / 0", "ZeroDivisionError: ")]
)
def test_an_ara_that_takes_nothing_fails_no_run(comes_to: str, why: str, tmp_path: Path) -> None:
    said = report(tmp_path, **an_ara(tmp_path, comes_to))
    assert f"ARA did not take the report of this run: {why}" in said
    assert "failed=0" in said
