# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What keeps the code readable: no function does too much at once, and what has a shape has a type.

How many parameters a function may have, and that no file grows too long to read, is held here and in pyproject.toml.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*ROOT.glob("plugins/**/*.py"), *ROOT.glob("scripts/lib/**/*.py")])

MOST_COMPLEX = 15
"""Decisions in a function and one, as radon counts them: boolean operators and comprehensions too."""

MOST_LINES = 600
"""Of a file in plugins/."""

SHAPELESS = re.compile(r"\b(?:dict|Dict|Mapping)\[str, Any\]")
MOST_SHAPELESS = 40
"""`dict[str, Any]` and its like in plugins/: arguments of modules, JSON and variables, where they come in or go out.
To be lowered whenever one goes, never raised."""

_Function = (ast.FunctionDef, ast.AsyncFunctionDef)


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    """All below a node but functions and classes in it, which count for themselves."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, (*_Function, ast.ClassDef)):
            yield from _inside(child)


def _decisions(node: ast.AST) -> int:
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, (ast.For, ast.AsyncFor, ast.While)):
        return 1 + bool(node.orelse)
    if isinstance(node, ast.Try):
        return len(node.handlers) + bool(node.orelse)
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    return int(isinstance(node, (ast.If, ast.IfExp, ast.Assert, ast.match_case)))


def complexity(function: ast.AST) -> int:
    """1 and the decisions of a function."""
    return 1 + sum(map(_decisions, _inside(function)))


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("return 1", 1),
        ("if a and b or c: pass", 4),
        ("return [x for x in y if x if z]", 4),
        ("for x in y: pass\n else: pass", 3),
        ("try: pass\n except A: pass\n except B: pass\n else: pass", 4),
        ("return a if b else c", 2),
        ("while a: b = lambda: c or d", 3),
    ],
)
def test_what_counts_as_a_decision(source: str, count: int) -> None:
    assert complexity(ast.parse(f"def f():\n {source}").body[0]) == count


def test_no_function_does_too_much_at_once() -> None:
    """Split one that does by what its steps are, each with a name; see docs/architecture.md for where things live."""
    found = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": complexity(node)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, _Function)
    }
    assert {name: count for name, count in found.items() if count > MOST_COMPLEX} == {}


def test_no_file_is_too_long_to_read() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    long = {str(path.relative_to(ROOT)): count for path, count in lengths.items() if count > MOST_LINES}
    assert {name: count for name, count in long.items() if name.startswith("plugins/")} == {}


def test_what_has_a_shape_has_a_type() -> None:
    """A value whose keys are known is a frozen dataclass or a TypedDict; one that is only passed on is an `object`."""
    counts = {
        str(path.relative_to(ROOT)): len(SHAPELESS.findall(path.read_text(encoding="utf-8")))
        for path in SOURCES
        if path.is_relative_to(ROOT / "plugins")
    }
    most = sorted(counts.items(), key=lambda item: -item[1])[:10]
    told = ", ".join(f"{name} {count}" for name, count in most)
    assert sum(counts.values()) <= MOST_SHAPELESS, (
        f"there are {sum(counts.values())} of dict[str, Any] and Mapping[str, Any] in plugins/, where "
        f"{MOST_SHAPELESS} are held (most in {told}): give what is new a frozen dataclass or a TypedDict"
    )
