# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What packages are called on Debian and its like, and on Fedora, EL and theirs; on their own words for themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts import hostfacts, interpreter
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet import builds, loadhosts
from host_trees import captured, lay_out
from jinja2 import Environment

ROOT = Path(__file__).resolve().parents[5]
KNOWN: dict[str, dict[str, Any]] = json.loads(
    (ROOT / "tests/unit/fixtures/distributions.json").read_text(encoding="utf-8")
)
"""Of each: /etc/os-release, and what Ansible's setup says of it."""


def probed(name: str, folder: Path) -> dict[str, Any]:
    """The facts of a host of that distribution that has neither h2load nor psutil."""
    document = captured("debian12-vm-v2")
    document["files"]["/etc/os-release"] = KNOWN[name]["os_release"]
    found = {**document["local"], "h2load": None, "psutil": None}
    python, platform = interpreter.Python(**found["python"]), hostfacts.Platform(**found["platform"])
    local = hostfacts.Local(**{**found, "python": python, "platform": platform})
    return hostfacts.read(lay_out(document, folder), "system.slice", lambda _: None, local).to_dict()


@pytest.mark.parametrize("name", KNOWN)
def test_what_a_rollout_installs(name: str, tmp_path: Path) -> None:
    h2load = "nghttp2-client" if KNOWN[name]["like_debian"] else "nghttp2"
    assert loadhosts.missing_packages(probed(name, tmp_path)) == [h2load, "python3-psutil"]


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_said_of_a_compiler_that_lacks(name: str, tmp_path: Path) -> None:
    headers = "python3-dev" if KNOWN[name]["like_debian"] else "python3-devel"
    system = builds.system_of(probed(name, tmp_path))
    said = builds.remedy("done", "error: command 'gcc' failed: No such file or directory", "a", system, "or not")
    assert said == f"install a compiler and Python's headers on a (gcc and {headers}), or not"


@pytest.mark.parametrize("name", KNOWN)
def test_what_pull_mode_installs(name: str) -> None:
    tasks = yaml.safe_load((ROOT / "roles/pull/tasks/main.yml").read_text(encoding="utf-8"))
    asked = next(task["vars"]["headcount__packages"] for task in tasks if "headcount__packages" in task.get("vars", {}))
    found = Environment(autoescape=True).compile_expression(asked.strip("{} "))(ansible_facts=KNOWN[name]["facts"])
    venv = ["python3-venv"] if KNOWN[name]["like_debian"] else []
    assert found == ["git", "python3-packaging", *venv]
