# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The action adopt: what it writes, who can read it, and that a file of a person's stays."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.headcount.gunicorn.plugins.action import adopt
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts.given import declared
from ansible_collections.headcount.gunicorn.plugins.module_utils._former.sealed import seal

RUNNING: dict[str, Any] = {
    "unit": "gunicorn.service",
    "user": "deploy",
    "folder": "/srv/shop",
    "entry_point": "shop.wsgi:app",
    "listen": ["0.0.0.0:8000"],
    "secrets": {"DATABASE_URL": "postgres://a:hunter2@db/x"},
    "workers": 3,
}

ANSWER = {"running": [RUNNING], "facts": declared(2, 2048).to_dict()}


def run(monkeypatch: pytest.MonkeyPatch, answer: Any = None, check: bool = False, **arguments: Any) -> dict[str, Any]:
    """The result of the action where the host answers `answer`."""
    monkeypatch.setattr(ActionBase, "run", lambda *_: {})

    def answered(*_: Any, module_args: dict[str, Any], **__: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        told = ANSWER if answer is None else answer
        if "running" not in told:
            return told
        sealed = seal(json.dumps(told["running"]), module_args["key"])
        return {**{key: value for key, value in told.items() if key != "running"}, "sealed": sealed}

    monkeypatch.setattr(ActionBase, "_execute_module", answered)
    action = object.__new__(adopt.ActionModule)
    action._task = SimpleNamespace(args=arguments, check_mode=check)
    return action.run(task_vars={"inventory_hostname": "web1"})


def test_entry_and_secrets_are_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(monkeypatch, dest=str(tmp_path))
    entry, secrets = tmp_path / "web1/shop.yml", tmp_path / "web1/shop.secrets.yml"
    assert (found["changed"], found["apps"][0]["dest"]) == (True, str(entry))
    assert secrets.stat().st_mode & 0o777 == 0o600
    assert "hunter2" in secrets.read_text(encoding="utf-8")
    assert "hunter2" not in entry.read_text(encoding="utf-8") + repr(found) + capsys.readouterr().out
    entry.write_text("mine\n", encoding="utf-8")
    assert run(monkeypatch, dest=str(tmp_path))["changed"] is False
    assert entry.read_text(encoding="utf-8") == "mine\n"
    assert run(monkeypatch, dest=str(tmp_path), force=True)["changed"] is True
    assert entry.read_text(encoding="utf-8") != "mine\n"


def test_a_file_of_secrets_stays_without_its_entry_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry, secrets = tmp_path / "web1/shop.yml", tmp_path / "web1/shop.secrets.yml"
    secrets.parent.mkdir()
    secrets.write_text("$ANSIBLE_VAULT;1.1;AES256\n", encoding="utf-8")
    assert run(monkeypatch, dest=str(tmp_path))["changed"] is False
    said = " ".join(capsys.readouterr().out.split())
    assert f"{secrets} is there already and is left as it is; nothing is written" in said
    assert "has its entry" not in said
    assert (secrets.read_text(encoding="utf-8"), entry.exists()) == ("$ANSIBLE_VAULT;1.1;AES256\n", False)
    entry.write_text("mine\n", encoding="utf-8")
    run(monkeypatch, dest=str(tmp_path))
    assert f"{entry} and {secrets} are there already" in " ".join(capsys.readouterr().out.split())
    assert run(monkeypatch, dest=str(tmp_path), force=True)["changed"] is True
    assert "hunter2" in secrets.read_text(encoding="utf-8")


def test_check_mode_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, check=True, dest=str(tmp_path))["changed"] is True
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("own", "arguments", "words"),
    [
        ([], {}, "web1: no service runs a Gunicorn"),
        ([], {"unit": "x.service"}, "web1: x.service is no service that runs a Gunicorn"),
        (
            ["api (api@1.service)", "shop (shop@3.service)"],
            {},
            "web1: nothing to adopt: what runs Gunicorn there is Headcount's own already, api (api@1.service),"
            " shop (shop@3.service)",
        ),
        (
            ["shop (shop@3.service)"],
            {"unit": "shop@3.service"},
            "web1: nothing to adopt: what runs Gunicorn there is Headcount's own already, shop (shop@3.service)",
        ),
    ],
)
def test_why_there_is_nothing_to_adopt(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    own: list[str],
    arguments: dict[str, str],
    words: str,
) -> None:
    found = run(monkeypatch, {**ANSWER, "running": [], "own": own}, **arguments)
    assert (found["changed"], found["apps"]) == (False, [])
    assert " ".join(capsys.readouterr().out.split()) == words


SUDO = "sudo: sorry, you must have a tty to run sudo"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            AnsibleError("Missing sudo password"),
            "becoming root asks for a password on this host; fix: --ask",
        ),
        ({"failed": True, "msg": "no json", "module_stderr": SUDO}, "sudo wants a terminal on this host (requiretty)"),
        ({"failed": True, "msg": "MODULE FAILURE", "module_stdout": "hunter2"}, "MODULE FAILURE"),
    ],
)
def test_why_a_host_could_not_be_read(monkeypatch: pytest.MonkeyPatch, answer: Any, words: str) -> None:
    found = run(monkeypatch, answer)
    assert found["failed"] is True
    assert found["msg"].startswith(words)
    assert "hunter2" not in repr(found)


def test_a_host_that_is_not_reached_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, {"unreachable": True, "msg": "no route"}) == {"unreachable": True, "msg": "no route"}
    with pytest.raises(AnsibleConnectionFailure):
        run(monkeypatch, AnsibleConnectionFailure("no route"))


def test_a_host_that_runs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(monkeypatch, {"running": [], "facts": {}}, dest=str(tmp_path), unit="nginx.service")
    assert (found["changed"], found["apps"]) == (False, [])


def test_a_host_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, {"failed": True, "msg": "no Python"}) == {"failed": True, "msg": "no Python"}


def test_what_was_not_looked_at_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(monkeypatch, {"running": [], "facts": {}, "not_looked_at": ["not looked at: a"]}, dest=str(tmp_path))
    assert found["not_looked_at"] == ["not looked at: a"]
    assert "web1: not looked at: a" in capsys.readouterr().out


@pytest.mark.parametrize(("list_of_git", "said"), [("venv/\n", True), ("# mine\n*.secrets.yml\n", False)])
def test_a_list_of_git_that_lacks_the_secrets_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], list_of_git: str, said: bool
) -> None:
    (tmp_path / ".gitignore").write_text(list_of_git, encoding="utf-8")
    run(monkeypatch, dest=str(tmp_path))
    assert ("does not keep *.secrets.yml from git" in " ".join(capsys.readouterr().out.split())) is said
    assert (tmp_path / ".gitignore").read_text(encoding="utf-8") == list_of_git
