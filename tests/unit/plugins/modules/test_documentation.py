# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the documentation of the modules repeats is equal, and what it can share comes from a fragment."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml
from ansible_collections.headcount.gunicorn.plugins.doc_fragments import _run

PLUGINS = Path(__file__).resolve().parents[4] / "plugins"
MODULES = sorted((PLUGINS / "modules").glob("*.py"))
RUN = "headcount.gunicorn._run"


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


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_every_module_tells_of_check_mode_and_diff_mode_in_the_shared_words(module: Path) -> None:
    own = yaml.safe_load(texts(module)["DOCUMENTATION"]).get("attributes", {})
    assert "headcount.gunicorn._attributes" in fragments(module)
    assert [name for name, attribute in own.items() if "description" in attribute] == []
