# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a run that changes nothing loads on the controller: Ansible compiles a collection's code anew in each run."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"

ALWAYS = ("action/preflight", "action/host_info", "action/plan", "action/report")
"""The actions of a rollout that finds nothing to do. A drift check has all but the last."""

MOST_BYTES = 750_000
"""Of source, as read for these. To be lowered whenever much goes, never raised: whatever only a run that changes
something needs is imported where it is needed, and constants and types live in light files."""

CHANGES = (
    "module_utils/_generation/lock",
    "module_utils/_generation/units",
    "module_utils/_host/",
    "module_utils/_load/",
    "module_utils/_os/http",
    "module_utils/_os/systemd",
    "module_utils/_recorder/",
    "module_utils/_release/releases",
    "module_utils/_steps/",
    "plugin_utils/_newapp/",
    "plugin_utils/_wheels/fetch",
    "plugin_utils/_wheels/wheelhouse",
)
"""What only a run that changes something needs."""


def at_load(body: Iterable[ast.stmt]) -> Iterator[ast.ImportFrom]:
    """The relative imports that loading a file runs: none within functions, none for type checkers alone."""
    for node in body:
        if isinstance(node, ast.ImportFrom) and node.level:
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.dump(node.test):
            yield from at_load([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from at_load([*node.body, *node.orelse, *(line for one in node.handlers for line in one.body)])


def imported(name: str) -> set[str]:
    """The files of the collection that loading one of them loads, as names below plugins/."""
    path = PLUGINS / f"{name}.py"
    found = set()
    for node in at_load(ast.parse(path.read_text(encoding="utf-8")).body):
        folder = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
        for place in (folder, *(folder / alias.name for alias in node.names)):
            found |= {file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()}
    return {str(file.relative_to(PLUGINS).with_suffix("")) for file in found}


def loaded() -> set[str]:
    """All files that a run loads which changes nothing."""
    found: set[str] = set()
    left = set(ALWAYS)
    while left:
        found |= left
        left = set().union(*map(imported, left)) - found
    return found


def test_a_run_that_changes_nothing_loads_nothing_that_changes_something() -> None:
    assert sorted(name for name in loaded() if name.startswith(CHANGES)) == []


def test_a_run_that_changes_nothing_loads_little() -> None:
    sizes = {name: (PLUGINS / f"{name}.py").stat().st_size for name in loaded()}
    largest = ", ".join(f"{name} {size}" for name, size in sorted(sizes.items(), key=lambda item: -item[1])[:10])
    assert sum(sizes.values()) <= MOST_BYTES, f"it loads {sum(sizes.values())} bytes, most in {largest}"
