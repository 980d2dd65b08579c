# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The callback: what each version of ansible-core hands it, with a terminal and without, and in a real playbook."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.headcount.gunicorn.plugins.callback import rollout

ROOT = Path(__file__).resolve().parents[4]


class Display:
    """What is displayed."""

    verbosity = 0

    def __init__(self) -> None:
        self.lines: list[str] = []

    def display(self, text: str, **_: Any) -> None:
        self.lines.append(text)


class Host(str):
    def get_name(self) -> str:
        return str(self)


def task(action: str, name: str = "Trial shop") -> Any:
    return SimpleNamespace(action=action, get_name=lambda: f"headcount.gunicorn.deploy : {name}", loop=None)


def handed(shape: str, of: Any, told: dict[str, Any], host: str = "web1") -> Any:
    """A result as core has handed it to callbacks before 2.19, in between, and since 2.21."""
    private = {"_host": Host(host), "_task": of, "_result": told}
    public = {"host": Host(host), "task": of, "result": told}
    return SimpleNamespace(**{"old": private, "both": {**private, **public}, "new": public}[shape])


@pytest.fixture
def callback(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = rollout.CallbackModule()
    made._display = Display()
    monkeypatch.setattr(made, "_handle_warnings", lambda told: None)
    return made


@pytest.mark.parametrize("shape", ["old", "both", "new"])
def test_the_last_lines_say_which_exporters_do_not_work(
    callback: Any, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stats = SimpleNamespace(processed={"web1": 1, "web2": 1}, summarize=lambda host: {"failures": 0, "unreachable": 0})
    put = task("headcount.gunicorn.exporter", "Have the host tell Prometheus how its apps run")
    callback.v2_runner_on_ok(handed(shape, put, {"listen": "127.0.0.1:9788"}))
    callback.v2_playbook_on_stats(stats)
    assert "exporter" not in "".join(callback._display.lines)
    monkeypatch.setattr(rollout.Default, "v2_runner_on_failed", lambda *_: None)
    callback.v2_runner_on_ok(handed(shape, put, {"listen": "", "cause": "it is masked"}))
    callback.v2_runner_on_failed(handed(shape, put, {"msg": "it does not stay up"}, "web2"))
    callback.v2_playbook_on_stats(stats)
    last = callback._display.lines[-1].split("\n")[-1]
    assert last == "exporter: Prometheus is told nothing of web1, web2: it is masked"
    callback.v2_runner_on_unreachable(handed(shape, put, {"msg": "timed out"}, "web1"))
    assert callback.exporters["web1"].startswith("could not be reached: ")


@pytest.mark.parametrize("shape", ["old", "both", "new"])
def test_a_host_is_a_line_under_each_version_of_core(callback: Any, shape: str) -> None:
    callback.v2_runner_on_ok(handed(shape, task("headcount.gunicorn.plan"), {"load_seconds": {"shop": 15}}))
    callback.v2_runner_on_ok(handed(shape, task("headcount.gunicorn.gate"), {"batch": 1, "batches": 1}))
    for step in ("stage", "weigh", "trial", "promote"):
        of = task(f"headcount.gunicorn.{step}", f"{step.title()} shop")
        callback.v2_playbook_on_task_start(of, False)
        callback.v2_runner_on_start(Host("web1"), of)
        told = {"verdict": {"outcome": "pass", "cause": "well"}, "size": "sync 4", "changed": True}
        callback.v2_runner_on_ok(handed(shape, of, told))
    (line,) = callback._display.lines
    assert line.startswith("[1/1] web1: shop: sync 4; staged 0 s, weighed 0 s, tried 0 s, promoted 0 s; pass: well")
    of = task("headcount.gunicorn.trial")
    callback.v2_runner_on_start(Host("web2"), of)
    callback.v2_runner_on_failed(handed(shape, of, {"cause": "too slow", "phase": "trial", "log": ["last"]}, "web2"))
    assert callback._display.lines[1] == "[1/1] web2: shop: FAILED in trial after 0 s: too slow\n    | last"
    callback.v2_runner_on_failed(handed(shape, task("ansible.builtin.fail"), {"msg": "shop: trial: too slow"}, "web2"))
    callback.v2_runner_on_unreachable(handed(shape, task("setup"), {"msg": "no route"}, "web3"))
    assert callback._display.lines[2] == "web3: could not be reached: no route"
    callback.v2_runner_on_skipped(handed(shape, task("headcount.gunicorn.stage"), {}))
    callback.v2_runner_on_ok(handed(shape, task("command"), {"changed": True}))
    assert len(callback._display.lines) == 3


class Terminal:
    """A terminal that remembers what is written."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        self.written.append(text)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize(
    ("environment", "shown"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({}, False)],
)
def test_only_a_terminal_that_may_be_one_has_a_line_that_moves(
    environment: dict[str, str], shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rollout.C, "ANSIBLE_NOCOLOR", False, raising=False)
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert rollout.wanted() is shown
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: False))
    assert rollout.wanted() is False


def test_what_is_displayed_meanwhile_goes_before_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, display, status = Terminal(), Display(), ["web1 shop trial 8 s"]
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(rollout, "wanted", lambda: True)
    live = rollout.Live(lambda: status[0], display)
    live.draw()
    display.display("a warning")
    live.draw()
    status[0] = ""
    live.draw()
    live.draw()
    assert terminal.written == [
        *("\r\033[Kweb1 shop trial 8 s", "\r\033[K", "\r\033[Kweb1 shop trial 8 s"),
        "\r\033[K",
    ]
    assert display.lines == ["a warning"]


def play(tmp_path: Path, *arguments: str) -> str:
    tasks = [
        {"name": "Be well", "ansible.builtin.debug": {"msg": "nobody wants to read this"}},
        {
            "name": "Fail with the causes",
            "ansible.builtin.fail": {"msg": "shop: trial: too slow"},
            "ignore_errors": True,
        },
        {"name": "Do what cannot be done", "ansible.builtin.command": {"argv": ["/nowhere"]}},
    ]
    (tmp_path / "site.yml").write_text(
        yaml.safe_dump([{"name": "Roll out", "hosts": "localhost", "gather_facts": False, "tasks": tasks}])
    )
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", "site.yml"]
    done = subprocess.run(
        [*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_in_a_playbook_of_the_checkout_it_is_the_callback_and_names_what_fails(tmp_path: Path) -> None:
    said = play(tmp_path)
    assert "nobody wants to read this" not in said
    assert "localhost: shop: trial: too slow\n" in said
    assert "Do what cannot be done" in said
    assert said.endswith("1 host: failed on localhost\n")
    assert "\033" not in said


def test_with_v_it_is_the_default_callback(tmp_path: Path) -> None:
    said = play(tmp_path, "-v")
    assert "TASK [Be well]" in said
    assert "PLAY RECAP" in said
