# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Is there what an entry point names, in what was gathered? Told before a host is touched, and without running it."""

from __future__ import annotations

import ast
import difflib
import re
import sys
import tarfile
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from .._display.text import listed
from .._edge import Json
from .gathered import Wheel, WheelSet

_HOLDS_MORE = re.compile(r"\bglobals\(|\bexec\(|\b__getattr__\b|\bsys\.modules\b|\bsetattr\(")
"""What gives a module names that are not written in it."""
_COMPILED = re.compile(r"\.(cpython-[^/]*|abi3)?\.?so$|\.pyc$")


@dataclass(frozen=True)
class Code:
    """Files that modules are imported from: names, as paths in them, and what reads one. `links`: folders that are
    links, so that what is in them is not among the names."""

    archive: Path
    names: frozenset[str]
    links: tuple[str, ...] = ()
    under: Mapping[str, str] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """The text of a file."""
        if zipfile.is_zipfile(self.archive):
            with zipfile.ZipFile(self.archive) as wheel:
                return wheel.read(self.under.get(name, name)).decode("utf-8", errors="replace")
        with tarfile.open(self.archive) as tree:
            stream = tree.extractfile(name)
            return stream.read().decode("utf-8", errors="replace") if stream else ""


def problem(entry_point: str, found: WheelSet, pythonpath: str = "") -> str:
    """What is wrong with an entry point, in words that follow "entry_point "; "" where nothing is, or cannot be told.

    `pythonpath`: folders that modules may begin in too, as the variable has them; they begin at the tree.
    """
    module, _, target = entry_point.partition(":")
    folders = [folder.strip("/") for folder in pythonpath.split(":") if folder]
    if module.partition(".")[0] in sys.stdlib_module_names or any(
        item.startswith("/") for item in pythonpath.split(":")
    ):
        return ""
    there = list(places(found, folders))
    for code, folder in there:
        if any(f"{_below(folder, module)}/".startswith(f"{link}/") for link in code.links):
            return ""
        name = _file(code, folder, module)
        if name is not None:
            return _lacking(entry_point, target, code, name) if name else ""
    if found.needs_host_build:
        return ""
    return _no_module(entry_point, module, there, found)


def problem_of(app: Json, found: WheelSet) -> str:
    """The same of a normalised app. A file of hooks may add to what can be imported: then nothing can be told."""
    entry_point, hooks = str(app.get("entry_point") or ""), (app.get("gunicorn") or {}).get("hooks")
    if hooks or not entry_point:
        return ""
    return _known(entry_point, str((app.get("environment") or {}).get("PYTHONPATH") or ""), found)


@lru_cache(maxsize=256)
def _known(entry_point: str, pythonpath: str, found: WheelSet) -> str:
    """What many hosts have alike is looked at once."""
    return problem(entry_point, found, pythonpath)


def places(found: WheelSet, folders: Sequence[str]) -> Iterator[tuple[Code, str]]:
    """Where modules are imported from, with the folder in it: the tree, the project's own wheel, all others."""
    if found.tree is not None:
        tree = _tree(found.tree)
        for folder in ("", *folders):
            yield tree, folder
    for wheel in sorted(found.wheels, key=lambda item: item.name != found.app):
        yield _wheel(wheel), ""


def _tree(archive: Wheel) -> Code:
    with tarfile.open(archive.path) as tree:
        members = tree.getmembers()
    links = tuple(member.name for member in members if member.issym())
    return Code(Path(archive.path), frozenset(member.name for member in members), links)


def _wheel(wheel: Wheel) -> Code:
    with zipfile.ZipFile(wheel.path) as archive:
        names = {re.sub(r"^[^/]+\.data/(purelib|platlib)/", "", name): name for name in archive.namelist()}
    return Code(Path(wheel.path), frozenset(names), under=names)


def _below(folder: str, module: str) -> str:
    path = module.replace(".", "/")
    return f"{folder}/{path}" if folder else path


def _file(code: Code, folder: str, module: str) -> str | None:
    """The file that a module is in; "" for one whose text says nothing of what it holds; None where there is none."""
    path = _below(folder, module)
    for name in (f"{path}/__init__.py", f"{path}.py"):
        if name in code.names:
            return name
    others = any(
        name.startswith(f"{path}/") or (name.startswith(path) and _is_compiled(name, path)) for name in code.names
    )
    return "" if others else None


def _is_compiled(name: str, path: str) -> bool:
    return bool(_COMPILED.fullmatch(name[len(path) :]))


def _lacking(entry_point: str, target: str, code: Code, name: str) -> str:
    """What a module lacks of what an entry point names in it; "" where it is there, or may be."""
    wanted = target.partition("(")[0]
    text = code.text(name)
    held = held_names(text)
    inside = name.removesuffix("__init__.py") if name.endswith("__init__.py") else ""
    submodule = inside and any(item.startswith((f"{inside}{wanted}.py", f"{inside}{wanted}/")) for item in code.names)
    if held is None or wanted in held or submodule or _HOLDS_MORE.search(text):
        return ""
    module = entry_point.partition(":")[0]
    near = difflib.get_close_matches(wanted, sorted(held), 3) or [
        item for item in held if item in ("app", "application")
    ]
    fix = f"; fix: {listed([f'{module}:{item}' for item in near], 3)}" if near else ""
    return (
        f"is {entry_point!r}, and {name} gives nothing the name {wanted}: allowed is a callable of that module, or a "
        f"factory with its arguments{fix}"
    )


def held_names(text: str) -> frozenset[str] | None:
    """The names that the top level of a module gives to something; None where that cannot be told."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    found: set[str] = set()
    for node in _top(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {alias.asname or alias.name.partition(".")[0] for alias in node.names}
            if "*" in names:
                return None
            found |= names
        elif isinstance(node, ast.Global):
            found |= set(node.names)
    return frozenset(found)


def _top(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that an import runs, and what functions declare as global."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            yield from (inner for inner in ast.walk(node) if isinstance(inner, ast.Global))
        else:
            yield from _top(node)


def _no_module(entry_point: str, module: str, places: Sequence[tuple[Code, str]], found: WheelSet) -> str:
    """That a module is nowhere, and those of the project that it may be meant for."""
    own = found.tree or next((wheel for wheel in found.wheels if wheel.name == found.app), None)
    archive = Path(own.path) if own else None
    modules = {
        _module(name, folder)
        for code, folder in places
        if code.archive == archive
        for name in code.names
        if name.endswith(".py")
    }
    where = "in the project, or in what it depends on" if found.tree else "in what is installed of it"
    fix = _other_module(module, entry_point.partition(":")[2], modules, found.tree is not None)
    return (
        f"is {entry_point!r}, and there is no module {module} {where}: allowed is module:callable, as it can be "
        f"imported there{fix}"
    )


def _other_module(module: str, target: str, modules: Collection[str], is_tree: bool) -> str:
    """The fix for a module that is not there: what leads to it, or what it may be meant for."""
    inside = [item for item in sorted(modules) if is_tree and item.endswith(f".{module}")]
    if inside:
        folder = inside[0].removesuffix(f".{module}").replace(".", "/")
        return f"; fix: environment: {{PYTHONPATH: {folder}}}"
    last = module.rpartition(".")[2]
    near = difflib.get_close_matches(module, sorted(modules), 3)
    near = near or [item for item in sorted(modules) if item.rpartition(".")[2] == last][:3]
    return f"; fix: {listed([f'{item}:{target}' for item in near], 3)}" if near else ""


def _module(name: str, folder: str) -> str:
    path = name.removeprefix(f"{folder}/") if folder else name
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


__all__ = ["held_names", "places", "problem", "problem_of"]
