# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Packages are installed in one place, which waits for a lock; against a scripted apt, with the roles as they are."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
LOCK = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4711 (apt-get)"
STALE = "Failed to fetch http://mirror.example/g/git_2.deb 404 Not Found"
#: Says the next line of its script; once that is at its end, does well. Notes who it was asked for, and what.
APT = """
import fcntl, json, pathlib
from ansible.module_utils.basic import AnsibleModule
spec = {"name": {"type": "list", "elements": "str"}, "state": {}, "update_cache": {"type": "bool"}}
module = AnsibleModule(spec)
folder = pathlib.Path(FOLDER)
asked = (folder / "asked").open("a")
fcntl.flock(asked, fcntl.LOCK_EX)
with asked:
    asked.write(json.dumps([module.params["name"], bool(module.params["update_cache"])]) + "\\n")
    said = (folder / "says").read_text().splitlines()
    (folder / "says").write_text("\\n".join(said[1:]))
if said:
    module.fail_json(msg=said[0])
module.exit_json(changed=True)
"""


def play(folder: Path, says: Sequence[str], tasks: list[dict[str, Any]], **variables: object) -> tuple[str, list[str]]:
    """What a play of these tasks on two hosts printed, and what apt was asked, with what it was to say one by one."""
    (folder / "library").mkdir()
    (folder / "library/apt.py").write_text(APT.replace("FOLDER", repr(str(folder))), encoding="utf-8")
    (folder / "says").write_text("\n".join(says), encoding="utf-8")
    (folder / "asked").touch()
    first = {"name": "Say who installs", "ansible.builtin.set_fact": {"pkg_mgr": "apt", "cacheable": True}}
    book = [{"name": "Install", "hosts": "web1,web2", "gather_facts": False, "tasks": [first, *tasks]}]
    (folder / "play.yml").write_text(yaml.safe_dump(book), encoding="utf-8")
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {"all": {"hosts": {"web1": {}, "web2": {}, "loader": {}}, "vars": local}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(hosts), encoding="utf-8")
    config = {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_LIBRARY": str(folder / "library"),
        "ANSIBLE_STDOUT_CALLBACK": "default",
    }
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            *("-i", str(folder / "hosts.yml"), str(folder / "play.yml"), "--extra-vars", json.dumps(variables)),
        ],
        cwd=ROOT,
        env={**os.environ, **config, "ANSIBLE_NOCOLOR": "1", "COLUMNS": "1000"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    print(done.stdout + done.stderr)
    return done.stdout, (folder / "asked").read_text(encoding="utf-8").splitlines()


def failed(printed: str) -> dict[str, int]:
    """How many tasks failed for good on each host."""
    return {host: int(count) for host, count in re.findall(r"^(web\d) .*failed=(\d+)", printed, re.MULTILINE)}


LOAD_HOSTS = {"name": "Check", "ansible.builtin.import_role": {"name": "headcount.gunicorn.load_hosts"}}
LACKING = {"results": [{"skipped": True}, {"name": "loader", "packages": ["nghttp2-client"]}]}


def test_a_load_host_waits_for_a_lock(tmp_path: Path) -> None:
    printed, asked = play(tmp_path, [LOCK, LOCK], [LOAD_HOSTS], headcount__load_hosts=LACKING)
    assert asked == ['[["nghttp2-client"], false]', *['[["nghttp2-client"], true]'] * 2]
    assert "changed: [web1 -> loader]" in printed
    assert failed(printed) == {"web1": 0, "web2": 0}


def test_without_the_load_no_host_goes_on(tmp_path: Path) -> None:
    after = {"name": "Go on", "ansible.builtin.debug": {"msg": "it goes on"}}
    printed, asked = play(tmp_path, [STALE, STALE], [LOAD_HOSTS, after], headcount__load_hosts=LACKING)
    assert asked == ['[["nghttp2-client"], false]', '[["nghttp2-client"], true]']
    assert "it goes on" not in printed
    assert failed(printed)["web1"] == 1


def test_each_host_waits_for_its_own_lock(tmp_path: Path) -> None:
    one = {"name": "headcount.gunicorn.deploy", "tasks_from": "packages"}
    install = {"name": "Install", "ansible.builtin.include_role": one, "vars": {"headcount__packages": ["git"]}}
    printed, asked = play(tmp_path, [STALE, LOCK, LOCK], [install])
    assert asked == ['[["git"], false]'] * 2 + ['[["git"], true]'] * 3
    assert failed(printed) == {"web1": 0, "web2": 0}


def test_no_other_place_installs_packages() -> None:
    files = [path for folder in ("roles", "playbooks") for path in (ROOT / folder).rglob("*.yml")]
    named = re.compile(r"^\s*ansible\.builtin\.(package|apt|dnf|dnf5|yum):", re.MULTILINE)
    found = [path.relative_to(ROOT).as_posix() for path in files if named.search(path.read_text(encoding="utf-8"))]
    assert found == ["roles/deploy/tasks/packages.yml"]
