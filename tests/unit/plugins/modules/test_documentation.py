# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the documentation of the modules repeats is equal, and what it can share comes from a fragment."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.headcount.gunicorn.plugins.doc_fragments import _probe, _run

PLUGINS = Path(__file__).resolve().parents[4] / "plugins"
MODULES = sorted((PLUGINS / "modules").glob("*.py"))
RUN, PROBE = "headcount.gunicorn._run", "headcount.gunicorn._probe"


def texts(module: Path) -> dict[str, str]:
    """DOCUMENTATION, EXAMPLES and RETURN of a module."""
    body = ast.parse(module.read_text(encoding="utf-8")).body
    assigned = [statement for statement in body if isinstance(statement, ast.Assign)]
    names = {node.targets[0].id: node.value for node in assigned if isinstance(node.targets[0], ast.Name)}
    return {name: ast.literal_eval(names[name]) for name in ("DOCUMENTATION", "EXAMPLES", "RETURN")}


def fragments(module: Path) -> list[str]:
    """The documentation fragments that a module extends."""
    found: list[str] = yaml.safe_load(texts(module)["DOCUMENTATION"]).get("extends_documentation_fragment", [])
    return found


STEPS = [module for module in MODULES if RUN in fragments(module)]


def test_there_are_steps() -> None:
    assert len(STEPS) == 9


@pytest.mark.parametrize("module", STEPS, ids=lambda module: module.stem)
def test_every_step_returns_the_same_of_its_failure(module: Path) -> None:
    assert texts(module)["RETURN"].endswith(_run.ModuleDocFragment.RETURN)


READERS = [module for module in MODULES if PROBE in fragments(module)]


@pytest.mark.parametrize("module", READERS, ids=lambda module: module.stem)
def test_what_reads_a_host_returns_the_same(module: Path) -> None:
    assert texts(module)["RETURN"].endswith(_probe.ModuleDocFragment.RETURN)


def test_what_reads_a_host_takes_what_the_fragment_says() -> None:
    assert {module.stem for module in READERS} == {"apps_info", "host_info", "tool_info"}
    told = yaml.safe_load(_probe.ModuleDocFragment.DOCUMENTATION)["options"]
    shared = {name: {key: value for key, value in spec.items() if key != "description"} for name, spec in told.items()}
    for module in READERS:
        found = re.search(r"argument_spec=(\{.*?\n        \}),", module.read_text(encoding="utf-8"), re.DOTALL)
        assert found is not None
        taken = ast.literal_eval(found[1])
        taken.pop("tool", None)
        assert taken == shared


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_every_module_tells_of_check_mode_and_diff_mode_in_the_shared_words(module: Path) -> None:
    own = yaml.safe_load(texts(module)["DOCUMENTATION"]).get("attributes", {})
    assert "headcount.gunicorn._attributes" in fragments(module)
    assert [name for name, attribute in own.items() if "description" in attribute] == []
