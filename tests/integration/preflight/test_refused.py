# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Bad input is refused by the real playbooks before any host is touched: whoever is connected to would be noticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
SECRET = "correct-horse-battery-staple"
APP: dict[str, Any] = {
    "name": "shop",
    "source": {"path": str(ROOT / "app")},
    "entry_point": "shop.wsgi:create_app()",
    "listen": "0.0.0.0:8000",
    "secrets": {"KEY": SECRET},
}


@dataclass(frozen=True)
class Bad:
    """What a host declares, and what the message says: the name, the value, what is allowed, the fix."""

    declares: dict[str, Any]
    says: list[str]
    more: dict[str, Any] = field(default_factory=dict)

    def variables(self) -> dict[str, Any]:
        return {"headcount_apps": [{**APP, **self.declares}], **self.more}


BAD = {
    "key": Bad({"worker_clas": "sync"}, ["worker_clas", "worker_class"]),
    "deep-key": Bad({"load": {"paths": [{"path": "/", "wieght": 2}]}}, ["load.paths[0].wieght", "weight"]),
    "variable": Bad({}, ["headcount_retian", "headcount_retain"], {"headcount_retian": 3}),
    "class": Bad({"worker_class": "threads"}, ["worker_class is 'threads'", "auto, sync, gthread, gevent, eventlet"]),
    "listen": Bad({"listen": "8000"}, ["listen is ", "8000", "port"]),
    "name": Bad({"name": "My Shop"}, ["name is 'My Shop'"]),
    "number": Bad({"concurrency": 0}, ["concurrency is 0", "1 or more"]),
    "share": Bad({"limits": {"error_rate": 2}}, ["limits.error_rate is 2", "below 1"]),
    "source": Bad({"source": {"path": "nowhere"}}, ["source.path is 'nowhere'"]),
    "sources": Bad({"source": {"path": "app", "pip": "shop==1"}}, ["source", "exactly one"]),
    "pin": Bad({"source": {"pip": "httpbin"}}, ["source.pip is 'httpbin'", "NAME==VERSION"]),
    "entry-point": Bad({"entry_point": "shop"}, ["entry_point is 'shop'", "module:callable"]),
    "twice": Bad({}, ["shop"], {"headcount_apps": [APP, {**APP, "listen": "0.0.0.0:8001"}]}),
    "port": Bad({}, ["0.0.0.0:8000"], {"headcount_apps": [APP, {**APP, "name": "shop2"}]}),
    "template": Bad({}, ["headcount_apps cannot be worked out", "not_there"], {"headcount_apps": "{{ not_there }}"}),
    "python": Bad({}, ["headcount_python is 'python3'", "absolute path"], {"headcount_python": "python3"}),
}


def play(folder: Path, playbook: str, hosts: dict[str, dict[str, Any]], *arguments: str) -> tuple[int, str, bool]:
    """Exit code, everything that was printed, and whether a host was connected to."""
    noticed = folder / "connected"
    ssh = folder / "ssh"
    ssh.write_text(f"#!/bin/sh\ntouch {noticed}\nexit 255\n", encoding="utf-8")
    ssh.chmod(0o755)
    common = {"ansible_host": "192.0.2.1", "ansible_ssh_executable": str(ssh), "headcount_work_dir": str(folder / "w")}
    inventory = folder / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": common}}), encoding="utf-8")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), playbook, *arguments],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "COLUMNS": "1000"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    print(done.stdout + done.stderr)
    return done.returncode, done.stdout + done.stderr, noticed.exists()


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, bool]:
    """One rollout of a fleet in which every host but one has something wrong."""
    hosts = {"sound": {"headcount_apps": [APP]}, **{name: bad.variables() for name, bad in BAD.items()}}
    return play(tmp_path_factory.mktemp("refused"), "site.yml", hosts)


@pytest.mark.parametrize("name", BAD)
def test_each_is_named_with_its_fix(refused: tuple[int, str, bool], name: str) -> None:
    line = next(line for line in refused[1].splitlines() if line.startswith(f"  host {name}: "))
    for words in BAD[name].says:
        assert words in line
    assert "; fix: " in line


def test_no_host_is_touched_and_no_secret_is_shown(refused: tuple[int, str, bool]) -> None:
    code, printed, connected = refused
    assert code == 2
    assert "no host was touched" in printed
    assert not connected
    assert SECRET not in printed
    assert "host sound" not in printed


@pytest.mark.parametrize("playbook", ["playbooks/plan.yml", "playbooks/drift.yml", "playbooks/retune.yml"])
def test_the_other_playbooks_refuse_it_too(tmp_path: Path, playbook: str) -> None:
    code, printed, connected = play(tmp_path, playbook, {"one": BAD["number"].variables()})
    assert (code, connected) == (2, False)
    assert "concurrency is 0" in printed


def test_what_is_given_on_the_command_line_counts(tmp_path: Path) -> None:
    extra = json.dumps({"headcount_app_overrides": {"shop": {"concurency": 5}}})
    code, printed, connected = play(tmp_path, "site.yml", {"one": {"headcount_apps": [APP]}}, "-e", extra, "--check")
    assert (code, connected) == (2, False)
    assert "concurency" in printed


@pytest.mark.parametrize("playbook", ["site.yml", "playbooks/plan.yml", "playbooks/drift.yml", "playbooks/retune.yml"])
def test_an_app_that_is_not_there_is_refused_by_name(tmp_path: Path, playbook: str) -> None:
    code, printed, connected = play(tmp_path, playbook, {"one": {"headcount_apps": [APP]}}, "-e", "headcount_app=shoe")
    assert (code, connected) == (2, False)
    assert "headcount_app names 'shoe', which is declared for no host of the play" in printed
    assert "fix: headcount_app: shop" in printed


@pytest.mark.parametrize(
    ("playbook", "said", "words"),
    [
        ("remove", (), "headcount_app is missing: allowed is the name of an app; fix: -e headcount_app=NAME"),
        ("rollback", (), "headcount_app is missing: allowed is the name of an app; fix: -e headcount_app=NAME"),
        (
            "remove",
            ("-e", "headcount_app=shop", "-e", "headcount_remove_data=ture"),
            "headcount_remove_data is 'ture': allowed is true or false; fix: headcount_remove_data: true",
        ),
        ("rollback", ("-e", "headcount_app=shop", "-e", "headcount_to=last"), "headcount_to is 'last': allowed is "),
    ],
)
def test_what_a_playbook_for_one_app_is_told(tmp_path: Path, playbook: str, said: tuple[str, ...], words: str) -> None:
    code, printed, connected = play(tmp_path, f"playbooks/{playbook}.yml", {"one": {"headcount_apps": [APP]}}, *said)
    assert (code, connected) == (2, False)
    assert words in printed


def test_a_sound_host_is_connected_to(tmp_path: Path) -> None:
    """Or the tests above would prove nothing."""
    code, printed, connected = play(tmp_path, "site.yml", {"one": {"headcount_apps": [APP]}})
    assert connected
    assert code != 0
    assert SECRET not in printed
