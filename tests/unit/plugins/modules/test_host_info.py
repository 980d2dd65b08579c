# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What goes to hosts with a probe: each module is sent, and compiled there anew, every time."""

from __future__ import annotations

import ast
import base64
import io
import zipfile
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import HOME, STATE, TOOL

PLUGINS = Path(__file__).resolve().parents[4] / "plugins"
UTILS = PLUGINS / "module_utils"

FRESH = {
    "_facts/cgroups",
    "_facts/hostfacts",
    "_facts/interpreter",
    "_facts/memoryuse",
    "_facts/others",
    "_generation/asked",
    "_generation/inert",
    "_host/firstlook",
    "_os/accounts",
    "_os/addresses",
    "_os/background",
    "_os/groups",
    "_os/paths",
    "_os/procfs",
    "_os/unitfiles",
}
"""What a host is sent that has nothing of Headcount."""

SENT = {
    "_declaration/patience",
    "_declaration/socketmode",
    "_facts/cgroups",
    "_facts/hostfacts",
    "_facts/interpreter",
    "_facts/memoryuse",
    "_facts/others",
    "_facts/unitgroups",
    "_former/asservice",
    "_former/commandline",
    "_former/conffile",
    "_former/masters",
    "_former/slots",
    "_former/starters",
    "_generation/access",
    "_generation/answers",
    "_generation/asked",
    "_generation/dropins",
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
    "_generation/inert",
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
    "_generation/shared",
    "_generation/state",
    "_generation/truth",
    "_generation/unmet",
    "_generation/volatile",
    "_host/probe",
    "_os/accounts",
    "_os/addresses",
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
    "_os/sockets",
    "_os/systemd",
    "_os/taken",
    "_os/unitfiles",
    "_release/contents",
}
"""And one that has something, but no tool of the same version, or from which an app is to take over."""

MOST = {"host_info": 53_000, "apps_info": 253_000}
"""Characters of the collection's own part in what is sent. Ansible's are 168,000, so that a fresh host gets 221 kB.
To be lowered whenever much goes, never raised: what acts on a host lies in other files than what reads it, and what is
only told in words, once something is there, is not in what finds that nothing is."""


def imported(path: Path) -> set[str]:
    """Modules of module_utils that a file imports, wherever in it, as Ansible finds them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            found |= {str(one.relative_to(UTILS)) for one in (folder, *(folder / alias.name for alias in node.names))
                      if one.is_relative_to(UTILS) and one.with_suffix(".py").exists()}  # fmt: skip
    return found


def reached(module: str) -> set[str]:
    """Modules of module_utils that go to a host with a module."""
    sent: set[str] = set()
    left = imported(PLUGINS / "modules" / f"{module}.py")
    while left:
        sent |= left
        left = set().union(*(imported(UTILS / f"{name}.py") for name in left)) - sent
    return sent


def own_part(module: str) -> int:
    """Characters that the collection's files take up in what is sent, as Ansible packs them: a zip, as base64."""
    names = reached(module)
    packages = {f"{name.partition('/')[0]}/__init__" for name in names}
    files = [f"modules/{module}.py", *(f"module_utils/{name}.py" for name in sorted(names | packages))]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in files:
            archive.write(PLUGINS / name, f"ansible_collections/headcount/gunicorn/plugins/{name}")
    return len(base64.b64encode(packed.getvalue()))


@pytest.mark.parametrize(("module", "sent"), [("host_info", FRESH), ("apps_info", SENT)])
def test_no_more_is_sent_than_a_probe_reads_with(module: str, sent: set[str]) -> None:
    assert reached(module) == sent


@pytest.mark.parametrize("module", sorted(MOST))
def test_what_is_sent_does_not_grow_unseen(module: str) -> None:
    assert own_part(module) <= MOST[module]


def test_nothing_is_sent_where_the_host_has_the_tool() -> None:
    assert imported(PLUGINS / "modules" / "tool_info.py") == set()


def test_what_is_sent_then_knows_where_headcount_lies() -> None:
    source = (PLUGINS / "modules" / "tool_info.py").read_text(encoding="utf-8")
    assert [path for path in (f"/{TOOL}/current", f"/{HOME}", f"/{STATE}") if f'"{path}"' not in source] == []
