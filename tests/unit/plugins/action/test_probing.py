# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a probe sends to which host: as few calls as can be, and no more code than it takes there."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.headcount.gunicorn.plugins.action import host_info

NO_TOOL = {"failed": True, "msg": "no tool", "nothing": True}
OLD_TOOL = {"modules": ["_os/paths"], "digest": "0" * 64, "apps": {"shop": "old"}}
FRESH = {"facts": {}, "apps": {"shop": "fresh"}, "beyond": []}
WHOLE = {"facts": {}, "apps": {"shop": "whole"}}


def probe(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, dict[str, Any]], **app: Any
) -> tuple[dict[str, Any], list[str]]:
    """The action's result, and which modules were sent."""
    sent: list[str] = []

    def answered(*_: Any, module_name: str, **__: Any) -> dict[str, Any]:
        sent.append(module_name.rpartition(".")[2])
        return dict(answers[sent[-1]])

    monkeypatch.setattr(ActionBase, "run", lambda *_: {})
    monkeypatch.setattr(ActionBase, "_execute_module", answered)
    action = object.__new__(host_info.ActionModule)
    action._task = SimpleNamespace(args={"apps": [{"name": "shop", **app}]})
    return action.run(task_vars={}), sent


def test_the_hosts_own_tool_answers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256((host_info.OWN / "_os/paths.py").read_bytes()).hexdigest()
    found, sent = probe(monkeypatch, {"tool_info": {**OLD_TOOL, "digest": digest}})
    assert (found, sent) == ({"apps": {"shop": "old"}}, ["tool_info"])


def test_a_fresh_host_is_sent_little(monkeypatch: pytest.MonkeyPatch) -> None:
    found, sent = probe(monkeypatch, {"tool_info": NO_TOOL, "host_info": FRESH})
    assert (found, sent) == ({"facts": {}, "apps": {"shop": "fresh"}}, ["tool_info", "host_info"])


def test_what_is_in_an_apps_way_is_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"tool_info": NO_TOOL, "host_info": {**FRESH, "beyond": ["/opt/headcount"]}, "apps_info": WHOLE}
    found, sent = probe(monkeypatch, answers)
    assert (found, sent) == (WHOLE, ["tool_info", "host_info", "apps_info"])


@pytest.mark.parametrize(
    ("tool", "app"),
    [
        (OLD_TOOL, {}),
        ({"failed": True, "msg": "the tool is of another version"}, {}),
        ({**NO_TOOL, "nothing": False}, {}),
        (NO_TOOL, {"former": "gunicorn.service"}),
        (NO_TOOL, {"data": {"outside": [{"path": "/srv/shared"}]}}),
    ],
)
def test_it_is_looked_into_at_once_where_that_is_known_to_be_needed(
    monkeypatch: pytest.MonkeyPatch, tool: dict[str, Any], app: dict[str, Any]
) -> None:
    assert probe(monkeypatch, {"tool_info": tool, "apps_info": WHOLE}, **app) == (WHOLE, ["tool_info", "apps_info"])


@pytest.mark.parametrize("lost", ["tool_info", "host_info"])
def test_a_host_that_is_lost_is_asked_no_more(monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    found, sent = probe(monkeypatch, {"tool_info": NO_TOOL, "host_info": FRESH, lost: {"unreachable": True}})
    assert (found, sent[-1]) == ({"unreachable": True}, lost)
