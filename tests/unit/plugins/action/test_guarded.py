# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The tasks before a batch, as ansible-playbook runs them: a promoted host that does not answer stops nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.headcount.gunicorn.plugins.action import promote
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.outcome import Outcome
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.runs import Notes

ROOT = Path(__file__).resolve().parents[4]
RUN = {"id": "20261126-000000-0000", "user": "root", "controller": "c", "started": "2026-11-26T00:00:00Z"}
TASKS = ROOT / "roles" / "deploy" / "tasks" / "guards.yml"


def promoted(host: str, **more: Any) -> dict[str, Any]:
    """What the notes of the run have of a host that was promoted and is guarded."""
    return {"host": host, "app": "no-such-app", "outcome": "promoted", "from": 3, "to": 4, "guarded": True, **more}


def batch(folder: Path, *outcomes: dict[str, Any]) -> str:
    """What ansible-playbook says of the second batch, after the first came to those outcomes."""
    notes = folder / "work" / "runs" / RUN["id"]
    (notes / "outcome").mkdir(parents=True)
    (notes / "run.json").write_text(json.dumps(RUN), encoding="utf-8")
    for one in outcomes:
        (notes / "outcome" / one["host"]).mkdir()
        (notes / "outcome" / one["host"] / "no-such-app.json").write_text(json.dumps(one), encoding="utf-8")
    hosts = ["web1", "web2", "web3"]
    fleet: dict[str, Any] = {
        **{"run": RUN, "gone": [], "notes": str(notes), "order": hosts, "batches": [1, 2], "failed_apps": {}},
        **{"apps": {host: {"no-such-app": "deploy"} for host in hosts}},
        **{"settings": {"max_failed": 0, "wait_seconds": 1}},
    }
    play = {"name": "Batch", "hosts": "web2,web3", "gather_facts": False, "vars": {"headcount__fleet": fleet}}
    gate = {"name": "Decide", "headcount.gunicorn.gate": {}, "run_once": True}
    asked = {"ansible.builtin.import_tasks": str(TASKS), "vars": {"headcount__wait": True}}
    (folder / "site.yml").write_text(yaml.safe_dump([{**play, "tasks": [asked, gate]}]), encoding="utf-8")
    away = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_connection": "ssh"}
    python = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = {"all": {"hosts": {"web1": away, "web2": python, "web3": python}}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    settings = {
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_SSH_RETRIES": "0",
        "ANSIBLE_STDOUT_CALLBACK": "default",
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.yml", "site.yml"]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_host_that_does_not_answer_is_told_of_and_stops_nothing(tmp_path: Path) -> None:
    said = batch(tmp_path, promoted("web1"), promoted("web3"))
    assert "waiting 1 s before batch 2 (headcount_rollout_wait_seconds)" in said
    assert "web1: what its guard came to is not known: " in said
    assert "web3: what its guard" not in said, "it answered"
    assert "batch 2 of 2: web2, web3" in said
    assert "unreachable=1" not in said


def test_what_was_found_before_ends_the_wait(tmp_path: Path) -> None:
    cause = "the guard took generation 4 back, generation 3 is live again: it hangs"
    back = {"outcome": "taken_back", "phase": "guard", "cause": cause, "reverted_to": 3, "guarded": False}
    said = batch(tmp_path, promoted("web1", **back))
    assert "waiting" not in said
    assert f"headcount_rollout_max_failed allows 0; web1: {cause}" in said


FLEET: dict[str, Any] = {
    **{"order": ["web1", "web2"], "batches": [1, 1], "failed_apps": {}, "settings": {"max_failed": 0}},
    "apps": {host: {"shop": "deploy"} for host in ("web1", "web2")},
}


@pytest.mark.parametrize(
    ("outcome", "goes"),
    [
        (Outcome("web1", "shop", "promoted", before=3, to=4), True),
        (Outcome("web1", "shop", "taken_back", before=3, to=4, phase="guard", cause="the guard took it"), False),
    ],
)
def test_nothing_is_promoted_once_a_guard_has_stopped_the_rollout(tmp_path: Path, outcome: Outcome, goes: bool) -> None:
    """Its candidate was on trial meanwhile: it is put away by the step abandon, as no step of the host has done so."""
    notes = Notes(tmp_path)
    notes.write_outcome(outcome)
    action = object.__new__(promote.ActionModule)
    action._task = SimpleNamespace(args={"name": "shop", "generation": 4})  # type: ignore[assignment]
    asked: list[dict[str, Any]] = []

    def module_result(arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        asked.append(arguments)
        return {"changed": True}

    action.module_result = module_result  # type: ignore[method-assign]
    variables = {"headcount__fleet": FLEET, "ansible_play_batch": ["web2"], "inventory_hostname": "web2"}
    result = action.on_host("shop", {}, [], notes, variables)
    assert bool(asked) is goes
    if not goes:
        assert result["cause"] == (
            "not promoted, since shop failed on 1 host (web1), headcount_rollout_max_failed allows 0; "
            "web1: the guard took it"
        )
        assert not action.heals_itself
        assert promote.ActionModule.heals_itself, "other promotes do"
