# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What goes to every host with a probe: each module is sent, and compiled there anew, every time."""

from __future__ import annotations

import ast
from pathlib import Path

PLUGINS = Path(__file__).resolve().parents[4] / "plugins"
UTILS = PLUGINS / "module_utils"

SENT = {
    "_declaration/patience",
    "_declaration/socketmode",
    "_facts/cgroups",
    "_facts/hostfacts",
    "_facts/interpreter",
    "_facts/memoryuse",
    "_facts/neighbours",
    "_facts/unitgroups",
    "_former/asservice",
    "_former/commandline",
    "_former/conffile",
    "_former/masters",
    "_former/slots",
    "_generation/access",
    "_generation/answers",
    "_generation/beside",
    "_generation/clashes",
    "_generation/datafolders",
    "_generation/dryrun",
    "_generation/former",
    "_generation/formerboot",
    "_generation/formerplaces",
    "_generation/formerprograms",
    "_generation/formerunits",
    "_generation/generations",
    "_generation/goingback",
    "_generation/inherited",
    "_generation/ledger",
    "_generation/loadtests",
    "_generation/lock",
    "_generation/names",
    "_generation/outside",
    "_generation/phases",
    "_generation/prepared",
    "_generation/processnames",
    "_generation/run",
    "_generation/settings",
    "_generation/state",
    "_generation/truth",
    "_generation/unmet",
    "_generation/volatile",
    "_host/probe",
    "_os/accounts",
    "_os/background",
    "_os/bounds",
    "_os/causes",
    "_os/exporterunit",
    "_os/files",
    "_os/folders",
    "_os/foreignfiles",
    "_os/groups",
    "_os/http",
    "_os/lines",
    "_os/listeners",
    "_os/logged",
    "_os/ownership",
    "_os/paths",
    "_os/procfs",
    "_os/rights",
    "_os/secrecy",
    "_os/secretfiles",
    "_os/socketfile",
    "_os/systemd",
    "_release/contents",
}


def imported(path: Path) -> set[str]:
    """Modules of module_utils that a file imports, wherever in it, as Ansible finds them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            found |= {str(one.relative_to(UTILS)) for one in (folder, *(folder / alias.name for alias in node.names))
                      if one.is_relative_to(UTILS) and one.with_suffix(".py").exists()}  # fmt: skip
    return found


def test_no_more_is_sent_than_a_probe_reads_with() -> None:
    sent: set[str] = set()
    left = imported(PLUGINS / "modules" / "host_info.py")
    while left:
        sent |= left
        left = set().union(*(imported(UTILS / f"{name}.py") for name in left)) - sent
    assert sent == SENT


def test_nothing_is_sent_where_the_host_has_the_tool() -> None:
    assert imported(PLUGINS / "modules" / "tool_info.py") == set()
