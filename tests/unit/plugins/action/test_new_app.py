# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The action new_app: what it writes, and that a file of a person's stays."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.headcount.gunicorn.plugins.action import new_app
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp import flow
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.types import Answers
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import BadSource, TooSlow

PROPOSAL: Any = SimpleNamespace(
    entry={"name": "shop"}, questions=[SimpleNamespace(text="headcount_apps[0].x: who?", must=True)]
)


def run(monkeypatch: pytest.MonkeyPatch, answer: Any, check: bool = False, **arguments: Any) -> dict[str, Any]:
    """The result of the action where a look at the project comes to `answer`."""

    def look(*_: Any, **__: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return flow.Entry(PROPOSAL, answer)

    monkeypatch.setattr(ActionBase, "run", lambda *_: {})
    monkeypatch.setattr(flow, "entry", look)
    action = object.__new__(new_app.ActionModule)
    action._task = SimpleNamespace(args=arguments, check_mode=check)
    action._templar = None
    return action.run(task_vars={})


def test_the_entry_is_written_once_and_stays_a_persons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dest = tmp_path / "shop.yml"
    first = run(monkeypatch, "headcount_apps: []\n", source="../shop", dest=str(dest))
    assert (first["changed"], first["ready"]) == (True, False)
    assert first["questions"] == ["QUESTION, to be answered first: headcount_apps[0].x: who?"]
    assert dest.read_text(encoding="utf-8") == first["entry"] == "headcount_apps: []\n"
    dest.write_text("mine\n", encoding="utf-8")
    again = run(monkeypatch, "headcount_apps: []\n", source="../shop", dest=str(dest))
    assert (again["changed"], again["msg"]) == (
        False, f"{dest} is there already and is left as it is; force: true writes it anew",
    )  # fmt: skip
    assert dest.read_text(encoding="utf-8") == "mine\n"
    assert run(monkeypatch, "new\n", source="../shop", dest=str(dest), force=True)["changed"]
    assert dest.read_text(encoding="utf-8") == "new\n"


def test_check_mode_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = run(monkeypatch, "headcount_apps: []\n", check=True, source="../shop")
    assert (found["changed"], found["dest"]) == (True, "shop.yml")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "arguments", "message"),
    [
        (BadSource("it holds no Python"), {"source": "x"}, "new_app: x cannot work as it is: it holds no Python"),
        (TooSlow("too slow"), {"source": "x"}, "new_app: x could not be looked at: too slow; call it again"),
        ("", {}, "new_app: source is missing: a folder, a wheel, a URL of git or NAME==VERSION"),
    ],
)
def test_what_cannot_be_looked_at_is_told(
    monkeypatch: pytest.MonkeyPatch, answer: Any, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(AnsibleActionFail) as caught:
        run(monkeypatch, answer, **arguments)
    assert str(caught.value) == message


def test_what_is_known_without_a_look_is_written_and_the_task_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "shop.yml"
    half = flow.Unfinished(BadSource("it holds no Python"), flow.Entry(PROPOSAL, "headcount_apps: []\n"))
    found = run(monkeypatch, half, source="../shop", dest=str(dest))
    assert (found["failed"], found["changed"], dest.read_text(encoding="utf-8")) == (True, True, "headcount_apps: []\n")
    assert found["msg"] == (
        f"new_app: ../shop cannot work as it is: it holds no Python; what is known without it is in {dest}, and asks "
        "for the rest"
    )


def test_answers_are_handed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    action = object.__new__(new_app.ActionModule)
    arguments = {"environment": {"PORT": 1}, "requirements": ["x==1"], "entry_point": "shop:app", "name": "till"}
    action._task = SimpleNamespace(args=arguments)
    assert action._answers() == Answers("till", {"PORT": "1"}, ("x==1",), entry_point="shop:app")
    action._task = SimpleNamespace(args={"environment": "PORT=1"})
    with pytest.raises(AnsibleActionFail, match="environment is a mapping"):
        action._answers()
