# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The preflight action as ansible-playbook runs it: real inventories, real templates, one message, nothing touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration import normalise as declaration
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet import declared as _declared

ROOT = Path(__file__).resolve().parents[4]
SECRET = "correct-horse-battery-staple"
APP: dict[str, Any] = {
    "name": "shop",
    "source": {"path": "shop"},
    "entry_point": "shop:app",
    "listen": "0.0.0.0:{{ headcount_lab_port | default(8000) }}",
    "environment": {"WHERE": "{{ inventory_hostname }} of {{ ansible_play_hosts_all | length }}"},
    "secrets": {"KEY": "{{ vault_key }}"},
    "user": "{{ nobody_set_this | default(omit) }}",
    "limits": {"p95_ms": "{{ p95 | default('250') }}"},
}


def fleet(
    folder: Path, count: int, variables: dict[str, Any], host_vars: dict[str, dict[str, Any]] | None = None
) -> None:
    """A project: an inventory of hosts that do not exist, their variables, the app's source and a playbook."""
    hosts = {f"web{index}": (host_vars or {}).get(f"web{index}", {}) for index in range(1, count + 1)}
    (folder / "inventory").mkdir()
    inventory = {"all": {"hosts": hosts, "vars": {"ansible_host": "192.0.2.1", "vault_key": SECRET, **variables}}}
    (folder / "inventory/hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False), encoding="utf-8")
    (folder / "shop").mkdir()
    (folder / "shop/pyproject.toml").write_text('[project]\nname = "shop"\n', encoding="utf-8")


def run(folder: Path, *arguments: str, play_vars: dict[str, Any] | None = None) -> tuple[int, str, dict[str, Any]]:
    """Exit code, everything that was printed, and the task's result."""
    role = {"name": "headcount.gunicorn.preflight", "rolespec_validate": False}
    tasks = [{"name": "Check", "ansible.builtin.import_role": role}]
    play = {"name": "Check", "hosts": "all", "gather_facts": False, "vars": play_vars or {}, "tasks": tasks}
    (folder / "site.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "ANSIBLE_HOME": str(folder / "home"),
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventory", "site.yml", "-v", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr, _result(done.stdout)


def _result(printed: str) -> dict[str, Any]:
    start = printed.find("=> {")
    if start < 0:
        return {}
    found: dict[str, Any] = json.JSONDecoder().raw_decode(printed[start + 3 :])[0]
    return found


def test_a_sound_fleet_is_counted_and_no_secret_is_shown(tmp_path: Path) -> None:
    fleet(tmp_path, 3, {"headcount_apps": [APP]})
    code, printed, result = run(tmp_path, "-vvv", "--check")
    assert (code, result["msg"]) == (0, "what is declared for 3 hosts is sound: shop on 3")
    assert result["fleet"] == {"shop": 3}
    assert result["hosts"] == {"web1": ["shop"], "web2": ["shop"], "web3": ["shop"]}
    assert result["changed"] is False
    assert SECRET not in printed


def test_all_problems_of_all_hosts_in_one_message(tmp_path: Path) -> None:
    other = {"headcount_apps": [{**APP, "source": {"path": "nowhere"}}]}
    fleet(
        tmp_path,
        30,
        {"headcount_apps": [{**APP, "secrets": {"KEY": "{{ vault_key }}", "LIST": ["{{ vault_key }}"]}}]},
        {"web7": other, "web8": {"headcount_apps": "{{ not_there }}"}, "web9": {"headcount_retian": 3}},
    )
    code, printed, result = run(tmp_path, "-vvv")
    assert code == 2
    assert result["msg"].splitlines() == [
        "4 problems in what is declared; no host was touched:",
        "  hosts web1, web2, web3 and 25 more: headcount_apps[0].secrets.LIST is a list: allowed is a string without"
        " NUL; fix:"
        " LIST: value",
        f"  host web7: headcount_apps[0].source.path is 'nowhere', which is in none of {tmp_path}/inventory,"
        f" {tmp_path},"
        f" {tmp_path.parent}: allowed is a folder on the controller; fix: correct the path, or set headcount_base_dir",
        result["msg"].splitlines()[3],
        "  host web9: headcount_retian is not known: allowed is a variable that docs/variables.md names; fix: did"
        " you mean"
        " headcount_retain?",
    ]
    assert (
        result["msg"]
        .splitlines()[3]
        .startswith("  host web8: headcount_apps cannot be worked out ('not_there' is undefined")
    )
    assert SECRET not in printed


def test_variables_of_the_play_count_and_hosts_go_before_defaults(tmp_path: Path) -> None:
    fleet(tmp_path, 3, {"headcount_on_failure": "keep"}, {"web3": {"headcount_retain": 1}})
    code, _, result = run(
        tmp_path, play_vars={"headcount_apps": [{**APP, "rate": "{{ inventory_hostname[-1] | int - 2 }}"}]}
    )
    assert code == 2
    assert result["msg"].splitlines()[1:] == [
        "  host web1: headcount_apps[0].rate is -1: allowed is a number of requests per second above 0; fix: rate: 120",
        "  host web2: headcount_apps[0].rate is 0: allowed is a number of requests per second above 0; fix: rate: 120",
        "  host web3: headcount_retain is 1: allowed is a whole number from 2 to 100; fix: headcount_retain: 5",
    ]


def test_extra_variables_win_everywhere(tmp_path: Path) -> None:
    fleet(tmp_path, 2, {"headcount_apps": [APP]})
    code, _, result = run(tmp_path, "-e", "p95=fast")
    assert code == 2
    assert result["msg"].splitlines()[1:] == [
        "  hosts web1, web2: headcount_apps[0].limits.p95_ms is 'fast': allowed is a number of milliseconds above 0;"
        " fix:"
        " p95_ms: 250"
    ]


def declared(source: dict[str, Any], **variables: Any) -> declaration.Declaration:
    """A host with one app of this source."""
    app = {"name": "shop", "source": source, "entry_point": "shop:app", "listen": "0.0.0.0:8000"}
    found = declaration.normalise_host({"headcount_apps": [app], **variables}, "web1")
    assert found.problems == []
    return found


@pytest.mark.parametrize(
    ("source", "variables", "sentences"),
    [
        ({"path": "shop"}, {}, []),
        ({"path": "shop", "lock": "locks/shop.txt"}, {}, []),
        ({"path": "mono", "subdirectory": "api"}, {}, []),
        ({"wheel": "shop-1.0-py3-none-any.whl"}, {}, []),
        ({"pip": "shop==1"}, {}, []),
        (
            {"path": "mono"},
            {},
            [
                "headcount_apps[0].source.path is 'mono': nothing in ROOT/mono says what the app depends on: add a"
                " requirements.txt to the project, or name what it needs, as in source.requirements: [flask]; projects"
                " below it, for source.subdirectory: api"
            ],
        ),
        ({"path": "tree"}, {}, []),
        (
            {"path": "tree", "as": "package"},
            {},
            [
                "headcount_apps[0].source.path is 'tree': ROOT/tree is no package (it has neither a pyproject.toml nor"
                " a setup.py): give it a [project] and a [build-system], or take it as it is with source.as: tree"
            ],
        ),
        (
            {"path": "tree", "requirements": ["flask==3.1.3", "requirements/live.txt"]},
            {},
            [
                "headcount_apps[0].source.requirements is 'requirements/live.txt', which is not there: allowed is a"
                " file in ROOT/tree; fix: correct the path"
            ],
        ),
        (
            {"path": "mono", "subdirectory": "web"},
            {},
            [
                "headcount_apps[0].source.subdirectory is 'web', which is not there: allowed is a folder below"
                " ROOT/mono; fix:"
                " correct the path"
            ],
        ),
        (
            {"pip": "shop==1", "lock": "/locks/none.txt"},
            {},
            [
                "headcount_apps[0].source.lock is '/locks/none.txt', which is not there: allowed is a file on the"
                " controller;"
                " fix: correct the path, or set headcount_base_dir"
            ],
        ),
        (
            {"wheel": "other-1.0-py3-none-any.whl"},
            {"headcount_drain_tasks": "drain.yml"},
            [
                "headcount_apps[0].source.wheel is 'other-1.0-py3-none-any.whl', which is in none of ROOT/a, ROOT:"
                " allowed is a"
                " wheel on the controller; fix: correct the path, or set headcount_base_dir",
                "headcount_drain_tasks is 'drain.yml', which is in none of ROOT/a, ROOT: allowed is a task file on the"
                " controller; fix: correct the path, or set headcount_base_dir",
            ],
        ),
    ],
)
def test_files_of_the_controller(
    tmp_path: Path, source: dict[str, Any], variables: dict[str, Any], sentences: list[str]
) -> None:
    files = {
        "shop/pyproject.toml": '[project]\nname = "shop"\n',
        "mono/api/setup.py": "from setuptools import setup\nsetup()\n",
        "tree/app.py": "",
        "tree/requirements.txt": "",
        "locks/shop.txt": "",
        "shop-1.0-py3-none-any.whl": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    problems = _declared.file_problems(declared(source, **variables), [str(tmp_path / "a"), str(tmp_path)])
    assert [problem.text.replace(str(tmp_path), "ROOT") for problem in problems] == sentences


def test_where_relative_paths_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    variables = {"inventory_dir": "/p/inventories/prod", "playbook_dir": "/p/playbooks"}
    assert _declared.base_dirs(variables, None) == ["/p/inventories/prod", "/p/playbooks", "/p", str(tmp_path)]
    assert _declared.base_dirs(variables, "/srv") == ["/srv"]


def test_a_located_source_has_absolute_paths(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "lock.txt").write_text("", encoding="utf-8")
    source = declared({"path": "shop", "lock": "lock.txt"}).apps[0]["source"]
    found = _declared.located_source(source, [str(tmp_path)])
    assert (found["value"], found["lock"]) == (str(tmp_path / "shop"), str(tmp_path / "lock.txt"))
    assert source["value"] == "shop"


def test_values_become_plain() -> None:
    class Marked(str):
        """A string as Ansible marks it."""

    value = _declared.plain(
        {"a": Marked("x"), "b": [Marked("y"), "gone"], "c": "gone", "d": (1, None, 2.5, True)}, "gone"
    )
    assert value == {"a": "x", "b": ["y"], "d": [1, None, 2.5, True]}
    assert type(value["a"]) is str


def test_a_source_in_an_inventory_that_is_a_folder(tmp_path: Path) -> None:
    fleet(tmp_path, 1, {"headcount_apps": [{**APP, "source": {"path": "../shop"}}]})
    assert "lies in the inventory folder" not in run(tmp_path)[1]
    (tmp_path / "shop").rename(tmp_path / "inventory/shop")
    variables = {"headcount_apps": [{**APP, "source": {"path": "shop"}}]}
    code, printed, _ = run(tmp_path, play_vars=variables)
    assert code == 0
    words = " ".join(printed.split())
    assert "shop: its source" in words
    assert f"lies in the inventory folder {tmp_path}/inventory" in words
    code, printed, _ = run(tmp_path, "-i", "inventory/hosts.yml", play_vars=variables)
    assert code == 0


def test_apps_of_two_files_on_the_command_line_are_refused(tmp_path: Path) -> None:
    fleet(tmp_path, 1, {"headcount_apps": [APP]})
    for name in ("one", "two"):
        apps = [{**APP, "name": name}]
        (tmp_path / f"{name}.yml").write_text(yaml.safe_dump({"headcount_apps": apps}), encoding="utf-8")
    code, printed, found = run(tmp_path, "-e", "@one.yml", "-e", "@two.yml")
    assert code == 2, printed
    assert "headcount_apps is given by -e @one.yml and by -e @two.yml" in found["msg"]
    assert run(tmp_path, "-e", "@one.yml")[0] == 0
