# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the code takes where a variable is not set and that is not named as it is asked for: `get("MODE") or "dev"`."""

from __future__ import annotations

import ast
import functools
import os
from types import FrameType

_CALLS = ("abspath", "dirname", "expanduser", "fspath", "join", "realpath", "str", "Path")
"""What may be called once more to know the value: it changes nothing."""
_PLAIN = (
    ast.Constant,
    ast.JoinedStr,
    ast.FormattedValue,
    ast.BinOp,
    ast.operator,
    ast.UnaryOp,
    ast.unaryop,
    ast.Name,
    ast.Attribute,
    ast.expr_context,
)


@functools.cache
def _alternatives(filename: str) -> list[ast.BoolOp]:
    """The expressions of a file that are one value or else another."""
    try:
        with open(filename, "rb") as stream:
            tree = ast.parse(stream.read())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []
    return [node for node in ast.walk(tree) if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or)]


def otherwise(name: str, frame: FrameType) -> object:
    """What the line that runs in `frame` takes where the variable `name` says nothing; None where that is not plain."""
    for node in _alternatives(os.path.realpath(frame.f_code.co_filename)):
        here = node.lineno <= frame.f_lineno <= (node.end_lineno or node.lineno)
        if here and any(_asks(value, name) for value in node.values[:-1]) and _is_plain(node.values[-1]):
            return _value(node.values[-1], frame)
    return None


def _asks(value: ast.expr, name: str) -> bool:
    """Whether a value is what a call gives that names the variable first."""
    first = value.args[0] if isinstance(value, ast.Call) and value.args else None
    return isinstance(first, ast.Constant) and first.value == name


def _is_plain(node: ast.AST) -> bool:
    """Whether an expression is put together of what is there, without anything made or asked for."""
    if isinstance(node, ast.Call):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called not in _CALLS:
            return False
    elif not isinstance(node, _PLAIN):
        return False
    return all(map(_is_plain, ast.iter_child_nodes(node)))


def _value(node: ast.expr, frame: FrameType) -> object:
    code = compile(ast.Expression(node), "<what a variable is otherwise>", "eval")
    try:
        return eval(code, frame.f_globals, dict(frame.f_locals))
    except Exception:  # the code itself will say so
        return None
