# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a project says in its own metadata that it depends on, as requirements; nothing of it is built or run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from .._edge import Json
from .._wheels.tools import BadSource, toml
from .project import setup_cfg, table

Stated = tuple[str, str]
"""Where a requirement is written, and the requirement."""


def is_file_name(word: str) -> bool:
    """Whether an item of `source.requirements` names a file; any other is a requirement."""
    return bool(re.fullmatch(r"[^<>=!~;\[\]@ ]+\.(txt|in|lock|toml)", word))


def own_requirements(folder: Path) -> list[Stated]:
    """The requirements in the pyproject.toml, setup.cfg and setup.py of the project in `folder`, with their markers.

    Those of a setup.py as far as they are written there and not computed: nothing is run.

    Optional ones and those of development are left out. Raises BadSource for one that cannot be read.
    """
    path = folder / "pyproject.toml"
    data: Json = toml(path) if path.is_file() else {}
    stated = [("[project] of pyproject.toml", str(text)) for text in table(data, "project").get("dependencies", [])]
    stated += [("[tool.poetry.dependencies]", text) for text in _poetry(data)]
    lines = setup_cfg(folder).get("options", "install_requires", fallback="").splitlines()
    stated += [("[options] of setup.cfg", line.strip()) for line in lines if line.strip()]
    stated += [("install_requires of setup.py", text) for text in _of_setup_py(folder / "setup.py") or ()]
    return stated


def optional_requirements(folder: Path, extra: str) -> list[Stated]:
    """The requirements of an extra of the project in `folder`. Raises BadSource when it has no such extra."""
    path = folder / "pyproject.toml"
    known = table(toml(path), "project", "optional-dependencies") if path.is_file() else {}
    if extra not in known:
        raise BadSource(f"{folder} has no extra {extra!r}: its pyproject.toml has {', '.join(sorted(known)) or 'none'}")
    return [(f"[project.optional-dependencies] {extra}", str(text)) for text in known[extra]]


def pipfile_requirements(path: Path) -> list[Stated]:
    """[packages] of a Pipfile. Raises BadSource for what only a lock of it says: where something else than an index
    has it."""
    stated = []
    for name, entry in table(toml(path), "packages").items():
        fields = entry if isinstance(entry, Mapping) else {"version": entry}
        if elsewhere := next((kind for kind in ("git", "path", "file") if kind in fields), ""):
            raise BadSource(
                f"Pipfile: {name} has {elsewhere}, which only its lock says exactly: make the Pipfile.lock (`pipenv "
                "lock`), or name what the app needs with source.requirements"
            )
        stated.append(("[packages] of Pipfile", _of_poetry(name, fields)))
    return stated


def says_requirements(folder: Path) -> bool:
    """Whether the metadata of a project has a place for what it depends on, be it empty."""
    path = folder / "pyproject.toml"
    data: Json = toml(path) if path.is_file() else {}
    poetry = table(data, "tool", "poetry")
    if table(data, "project") or "dependencies" in poetry or setup_cfg(folder).has_section("options"):
        return True
    return _of_setup_py(folder / "setup.py") is not None


def _of_setup_py(path: Path) -> list[str] | None:
    """The literal install_requires of a call of setup(), written there or by a name; [] for a call that has none, None
    without a call, and where they are computed."""
    try:
        body = ast.parse(path.read_text(encoding="utf-8", errors="replace")).body
    except (OSError, SyntaxError, ValueError):
        return None
    named = {
        target.id: node.value
        for node in body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    calls = [node.value for node in body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    for call in calls:
        if (call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")) == "setup":
            given = next((item.value for item in call.keywords if item.arg == "install_requires"), None)
            return _literal_list(named.get(given.id, given) if isinstance(given, ast.Name) else given)
    return None


def _literal_list(node: ast.expr | None) -> list[str] | None:
    if node is None:
        return []
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return None
    lines = value.splitlines() if isinstance(value, str) else value
    return [str(line).strip() for line in lines if str(line).strip()] if isinstance(lines, (list, tuple)) else None


def _poetry(data: Json) -> Iterator[str]:
    for name, entries in table(data, "tool", "poetry", "dependencies").items():
        if name.lower() == "python":
            continue
        for entry in entries if isinstance(entries, list) else [entries]:
            fields = entry if isinstance(entry, Mapping) else {"version": entry}
            if not fields.get("optional"):
                yield _of_poetry(name, fields)


def _of_poetry(name: str, fields: Mapping[str, Any]) -> str:
    """A dependency of Poetry's as a requirement. One of a repository, a URL or a path is its name alone."""
    extras = f"[{','.join(map(str, fields['extras']))}]" if fields.get("extras") else ""
    marker = f"; {fields['markers']}" if fields.get("markers") else ""
    return f"{name}{extras}{poetry_range(str(fields.get('version', '*')), name)}{marker}"


def poetry_range(text: str, name: str) -> str:
    """A range in Poetry's words (`^1.2`, `~1.2`, `1.2.*`, `>=1,<2`) as a version specifier; "" for any version."""
    if "|" in text:
        raise BadSource(
            f"[tool.poetry.dependencies] {name}: {text!r} has no word in a requirement: write one range, or name the "
            "requirements with source.requirements"
        )
    parts = [part for part in re.split(r"[,\s]+", re.sub(r"([<>=!~^]+)\s+", r"\1", text.strip())) if part]
    return ",".join(found for found in (_bound(part, name) for part in parts) if found)


def _bound(part: str, name: str) -> str:
    if part == "*":
        return ""
    if part[0] not in "^~" or part.startswith("~="):
        return part if part[0] in "<>=!~" else f"=={part}"
    try:
        version = Version(part[1:])
    except InvalidVersion:
        raise BadSource(f"[tool.poetry.dependencies] {name}: {part!r} is not a range of versions") from None
    release = version.release
    if part[0] == "~":
        kept = min(2, len(release))
    else:
        kept = next((place for place, number in enumerate(release, 1) if number), len(release))
    top = [*release[: kept - 1], release[kept - 1] + 1]
    return f">={part[1:]},<{'.'.join(map(str, top))}"


__all__ = [
    "Stated",
    "is_file_name",
    "optional_requirements",
    "own_requirements",
    "pipfile_requirements",
    "poetry_range",
    "says_requirements",
]
