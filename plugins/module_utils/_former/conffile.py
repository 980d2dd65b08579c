# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The settings that a gunicorn.conf.py gives, without running it. Pure.

A file of Python may do anything. What it assigns at its top level is read as far as it is made of literals, the number
of cores and the environment; the rest is named, and is for a person.
"""

from __future__ import annotations

import ast
import operator
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Final, Mapping, Tuple

_CORES: Final = frozenset({"cpu_count", "process_cpu_count"})
_BINARY: Final[Mapping[type, Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv,
}
_CONVERT: Final[Mapping[str, Callable[..., Any]]] = {"int": int, "float": float, "str": str, "max": max, "min": min}
MOST_BYTES: Final = 2**15
"""A file that is longer is not read: Python would take seconds, and much memory, to parse it."""
_MOST, _MOST_OF_ALL = 10_000, 100_000
"""So many characters, numbers and the like one setting has at most, and so many all have: what has more is not read."""
_MOST_WORK: Final = 200_000
"""So many values are looked at in all."""
_LARGEST: Final = 2**63
"""No number is larger."""


@dataclass(frozen=True)
class ConfFile:
    """What a file says. `settings` by Gunicorn's names; `unread`: names whose values only running it would tell;
    `hooks`: functions that it defines."""

    settings: Dict[str, object] = field(default_factory=dict)
    unread: Tuple[str, ...] = ()
    hooks: Tuple[str, ...] = ()


class _Unread(Exception):
    """A value that only running the file would tell."""


def read(text: str, cores: int, environment: Mapping[str, str]) -> ConfFile:
    """Read a file. `cores`: what multiprocessing.cpu_count() gives there; `environment`: what its Gunicorn has."""
    try:
        body = _parsed(text)
    except _Unread as error:
        return ConfFile(unread=(f"the whole file, which is {error}",))
    reader = _Reader(cores, environment)
    hooks: list[str] = []
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            hooks.append(node.name)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                reader.assign(target, node.value)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            reader.assign(node.target, node.value)
        elif not isinstance(node, (ast.Import, ast.ImportFrom, ast.Expr)):
            reader.unread += [one.id for one in ast.walk(node) if isinstance(one, ast.Name) and _stored(one)]
    settings = {name: value for name, value in reader.names.items() if not name.startswith("_")}
    return ConfFile(settings, tuple(dict.fromkeys(reader.unread)), tuple(hooks))


def _parsed(text: str) -> list[ast.stmt]:
    """The statements of a file. _Unread says what it is where it has none."""
    if len(text) > MOST_BYTES:
        raise _Unread(f"longer than {MOST_BYTES // 1024} KiB")
    try:
        return ast.parse(text).body
    except (SyntaxError, ValueError):
        raise _Unread("no Python") from None
    except (RecursionError, MemoryError):
        raise _Unread("nested too deeply") from None


def _stored(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


class _Reader:
    """Values of the names so far."""

    def __init__(self, cores: int, environment: Mapping[str, str]) -> None:
        self.cores, self.environment = cores, environment
        self.names: dict[str, object] = {}
        self.unread: list[str] = []
        self.work, self.room = _MOST_WORK, _MOST_OF_ALL

    def assign(self, target: ast.expr, value: ast.expr) -> None:
        """Take in one assignment."""
        if not isinstance(target, ast.Name):
            return
        self.names.pop(target.id, None)
        try:
            found = self._value(value)
            self.room -= self._size(found)
            if self.room < 0:
                raise _Unread
            self.names[target.id] = found
        except (_Unread, ArithmeticError, TypeError, ValueError, LookupError, RecursionError, MemoryError):
            self.unread.append(target.id)

    def _size(self, value: object) -> int:
        """How much a value holds. _Unread: more than a person would write, or what no setting is."""
        self._count()
        if isinstance(value, str):
            value.encode()  # half a character is no text: ValueError
            size = len(value)
        elif isinstance(value, (list, dict)):
            parts = [*value, *value.values()] if isinstance(value, dict) else value
            size = 1
            for one in parts:
                size += self._size(one)
                if size > _MOST:
                    raise _Unread
        elif value is None or isinstance(value, (int, float)):
            size = 1
            if isinstance(value, (int, float)) and not -_LARGEST < value < _LARGEST:  # nan is in no order
                raise _Unread
        else:
            raise _Unread
        if size > _MOST:
            raise _Unread
        return size

    def _count(self) -> None:
        self.work -= 1
        if self.work < 0:
            raise _Unread

    def _value(self, node: ast.expr) -> Any:
        """The value of an expression; no part of one holds more than a setting may."""
        self._count()
        value = self._read(node)
        if not isinstance(value, (list, dict)):  # their parts were looked at, and the whole is where it is assigned
            self._size(value)
        return value

    def _read(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name) and node.id in self.names:
            return self.names[node.id]
        readers: tuple[tuple[type, Callable[[Any], Any]], ...] = (
            (ast.List, self._list),
            (ast.Tuple, self._list),
            (ast.Dict, self._dict),
            (ast.BinOp, self._binary),
            (ast.BoolOp, self._first_true),
            (ast.JoinedStr, self._joined),
            (ast.Subscript, self._from_environment),
            (ast.Call, self._called),
        )
        for kind, reader in readers:
            if isinstance(node, kind):
                return reader(node)
        raise _Unread

    def _list(self, node: ast.List | ast.Tuple) -> list[Any]:
        return [self._value(one) for one in node.elts]

    def _dict(self, node: ast.Dict) -> dict[Any, Any]:
        return {self._value(key): self._value(one) for key, one in zip(node.keys, node.values) if key is not None}

    def _binary(self, node: ast.BinOp) -> Any:
        if type(node.op) not in _BINARY:
            raise _Unread
        return self._calculated(_BINARY[type(node.op)], self._value(node.left), self._value(node.right))

    def _calculated(self, work: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
        """A number, or two texts after one another; what would grow beyond reason is not read."""
        numbers = all(isinstance(one, (int, float)) for one in (left, right))
        texts = isinstance(left, str) and isinstance(right, str) and work is operator.add
        if not (numbers or texts):
            raise _Unread
        return work(left, right)

    def _first_true(self, node: ast.BoolOp) -> Any:
        if not isinstance(node.op, ast.Or):
            raise _Unread
        value = None
        for one in node.values:
            value = self._value(one)
            if value:
                break
        return value

    def _joined(self, node: ast.JoinedStr) -> str:
        found = ""
        for one in node.values:
            found += self._part(one)
            if len(found) > _MOST:
                raise _Unread
        return found

    def _part(self, node: ast.expr) -> str:
        inner = node
        if isinstance(node, ast.FormattedValue) and node.format_spec is None and node.conversion == -1:
            inner = node.value
        value = self._value(inner)
        self.work -= self._size(value)  # a text is made of all that a list holds
        return str(value)

    def _from_environment(self, node: ast.Subscript) -> str:
        if _dotted(node.value) != "os.environ":
            raise _Unread
        index: Any = node.slice
        return self.environment[str(self._value(index))]

    def _called(self, node: ast.Call) -> Any:
        name = _dotted(node.func)
        if node.keywords:
            raise _Unread
        if name.rpartition(".")[2] in _CORES and not node.args:
            return self.cores
        if name == "len" and len(node.args) == 1 and _dotted(_callee(node.args[0])) == "os.sched_getaffinity":
            return self.cores
        arguments = [self._value(one) for one in node.args]
        if name in ("os.environ.get", "os.getenv", "environ.get", "getenv") and arguments:
            return self.environment.get(str(arguments[0]), arguments[1] if len(arguments) > 1 else None)
        if name in _CONVERT and arguments and None not in arguments:
            if name == "str":
                self._size(arguments[0])
            return _CONVERT[name](*arguments)
        raise _Unread


def _callee(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node


def _dotted(node: ast.expr) -> str:
    """os.environ.get as text; "" of what is no such name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""
