# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which modules of a project may hold its app, by what is written at their top level. Nothing is run."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .types import Candidate

MOST_FILES: Final = 1500
_MOST_BYTES: Final = 300_000
_BESIDE: Final = re.compile(
    r"(^|/)(tests?|testing|docs?|examples?|samples?|migrations|alembic|node_modules|scripts?|tools|contrib|benchmarks?|"
    r"conftest\.py|setup\.py|test_[^/]*\.py|[^/]*_tests?\.py|tests\.py|noxfile\.py|fabfile\.py|tasks\.py|celery[^/]*\.py|"
    r"worker[^/]*\.py)(/|$)",
    re.I,
)
_MAKES: Final = frozenset({"Flask", "APIFlask", "OpenAPI", "Dash", "Bottle", "Eve", "Connexion", "App", "FlaskApp"})
_FACTORIES: Final = ("create_app", "make_app", "get_wsgi_application", "get_app", "build_app", "app_factory")
_NAMES: Final = ("app", "application", "server", "wsgi", "wsgi_app", "flask_app")
_USUAL: Final = ("app", "application")
_FILES: Final = ("wsgi", "app", "application", "main", "autoapp", "run", "server", "web", "index", "api", "__init__")
_INSIDE: Final = ("src", "lib")
_DEEP: Final = 2
_CONNEXION: Final = re.compile(r"(connex|connexion|cnx)_?app")
_PAGES: Final = re.compile(
    r"route\(|add_url_rule|register_blueprint|add_resource|errorhandler|\.(get|post|layout|callback|add_api|init_app)\b|"
    r"Dash\(|start_response|get_wsgi_application"
)
"""What gives an app its pages."""


@dataclass(frozen=True)
class Held:
    """What a module holds: callables by name, factories, and arguments that a factory needs."""

    names: tuple[str, ...] = ()
    factories: tuple[str, ...] = ()
    asgi: bool = False


def held(text: str) -> Held | None:
    """What the top level of a module holds that may be an app; None when it holds nothing, or is no Python."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    bottle = "bottle" in "".join(_imported(tree))
    found = [item for node in _top(tree.body) for item in _of_statement(node, bottle)]
    names = tuple(dict.fromkeys(name for name, factory in found if not factory))
    factories = tuple(name for name, factory in found if factory)
    asgi = bool(re.search(r"\b(FastAPI|Starlette|Quart|Sanic|Litestar)\(", text))
    return Held(names, factories, asgi) if names or factories or asgi else None


def _of_statement(node: ast.stmt, bottle: bool) -> Iterator[tuple[str, bool]]:
    """(name, whether it is a factory) of what a statement makes that may be an app."""
    if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if isinstance(target, ast.Name) and _is_app(node.value, target.id):
            yield target.id, False
    elif isinstance(node, ast.FunctionDef):
        yield from _of_function(node.name, len(node.args.args), bottle)
    elif isinstance(node, ast.ImportFrom):
        yield from ((name, False) for name in (alias.asname or alias.name for alias in node.names) if name in _USUAL)


def _of_function(name: str, arguments: int, bottle: bool) -> Iterator[tuple[str, bool]]:
    if name in _FACTORIES:
        yield name, True
    elif name in _USUAL and (arguments == 2 or bottle):
        yield name, arguments != 2


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""


def _top(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that an import runs, but for those of `if __name__ == "__main__"`."""
    for node in body:
        if isinstance(node, ast.If):
            if "__name__" not in ast.dump(node.test):
                yield from _top(node.body)
                yield from _top(node.orelse)
        elif isinstance(node, (ast.Try, ast.With)):
            yield from _top(node.body)
        else:
            yield node


def _is_app(value: ast.expr, name: str) -> bool:
    if isinstance(value, ast.Attribute):
        return value.attr in ("server", "wsgi_app") or name in _USUAL or bool(_CONNEXION.fullmatch(name))
    if not isinstance(value, ast.Call):
        return False
    called = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
    return (
        called in _MAKES or called in _FACTORIES or (name in _NAMES and called not in ("Celery", "Typer", "Blueprint"))
    )


def candidates(
    folder: Path, names: Sequence[str], project: str, prefixes: Sequence[str] = ("", *_INSIDE)
) -> list[Candidate]:
    """The modules of a project that may hold its app, the likeliest first.

    `names` are files within `folder`; `project` is its name; `prefixes` are folders that modules may begin in.
    """
    found: list[tuple[tuple[int, ...], Candidate]] = []
    own = re.sub(r"[^a-z0-9]+", "_", project.lower()).strip("_")
    python = [name for name in names if name.endswith(".py") and not _BESIDE.search(name)]
    python.sort(key=lambda name: (name.count("/"), name))
    for name in python[:MOST_FILES]:
        prefix = next((item for item in prefixes if item and name.startswith(f"{item}/")), "")
        one = _candidate(folder, name, prefix, own)
        found += [one] if one else []
    return [item for _, item in sorted(found, key=lambda pair: (pair[0], pair[1].module))]


def _candidate(folder: Path, name: str, prefix: str, own: str) -> tuple[tuple[int, ...], Candidate] | None:
    """What a file holds that may be the app, and how likely it is; None where it holds nothing."""
    parts = name.removeprefix(f"{prefix}/" if prefix else "").removesuffix(".py").split("/")
    text = text_of(folder / name) if _may_be_imported(parts) else ""
    holds = held(text) if text else None
    if holds is None:
        return None
    module = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
    words = f"{name} holds {_words(holds)}"
    script = len(parts) == 1 and parts[0] not in (*_FILES, own) and not _PAGES.search(text)
    candidate = Candidate(module, _target(holds), words, prefix, likely=_likely(holds), script=script)
    return _order(parts, own, holds), candidate


def _may_be_imported(parts: Sequence[str]) -> bool:
    """Whether a module can be named so. A hyphen in a file's name is no hindrance to Gunicorn; a folder with one is no
    package."""
    return all(part.isidentifier() for part in parts[:-1]) and bool(re.fullmatch(r"[^\W\d][\w-]*", parts[-1]))


def _order(parts: Sequence[str], own: str, holds: Held) -> tuple[int, ...]:
    """How likely a module is the app's, the lowest first: near the top, of the project's name, with an app in it."""
    stem = parts[-1]
    rank = _FILES.index(stem) if stem in _FILES else 3 if stem == own else len(_FILES)
    depth = len(parts) - (stem == "__init__")
    foreign = int(parts[0] != own and len(parts) > 1)
    kind = 0 if set(holds.names) & set(_USUAL) else 1 if holds.names else 2 if holds.factories else 3
    return int(kind == 3), depth, foreign, min(kind, 1), rank, kind


def _target(holds: Held) -> str:
    """The callable to name; "" where Flask's own order finds it."""
    usual = [name for name in holds.names if name in ("app", "application")]
    if usual or holds.asgi:
        return ""
    if holds.names:
        return "server" if "server" in holds.names else holds.names[0] if len(holds.names) == 1 else ""
    odd = [name for name in holds.factories if name not in ("create_app", "make_app")]
    return f"{odd[0]}()" if odd and len(odd) == len(holds.factories) else ""


def _likely(holds: Held) -> str:
    """What Flask's own order would find."""
    names = [*(name for name in ("app", "application") if name in holds.names), *holds.names]
    return names[0] if names else f"{holds.factories[0]}()" if holds.factories else ""


def _words(holds: Held) -> str:
    names = [*holds.names, *(f"{name}()" for name in holds.factories)]
    return ", ".join(names) if names else "an ASGI app"


def text_of(path: Path) -> str:
    """The text of a file; "" where it is none."""
    try:
        return path.read_bytes()[:_MOST_BYTES].decode("utf-8", errors="replace")
    except OSError:
        return ""


def projects(folder: Path, names: Sequence[str], files: Collection[str]) -> list[str]:
    """The folders below, each a project by one of `files`, that hold a WSGI app; none that is a package itself."""
    homes = {name.rpartition("/")[0] for name in names if name.rpartition("/")[2] in files and not is_beside(name)}
    homes = {home for home in homes if home and f"{home}/__init__.py" not in names}
    found: dict[str, None] = {}
    for name in [name for name in names if name.endswith(".py")][:MOST_FILES]:
        home = max((home for home in homes if name.startswith(f"{home}/")), key=len, default="")
        if home and home not in found and _gives_app(folder, name, name.removeprefix(f"{home}/")):
            found[home] = None
    return sorted(found)


def _gives_app(folder: Path, name: str, inside: str) -> bool:
    """Whether a file makes a WSGI app, or is that of a Django project: `inside` is its path in its project."""
    if inside.count("/") > _DEEP or is_beside(inside):
        return False
    holds = held(text_of(folder / name)) if inside != "manage.py" else Held(("application",))
    return holds is not None and bool(holds.names or holds.factories) and not holds.asgi


def folders(folder: Path, names: Sequence[str]) -> list[str]:
    """The folders of a project that hold a module with an app, whatever they are called: for a message."""
    found: dict[str, None] = {}
    for name in sorted(names, key=lambda item: (item.count("/"), item)):
        if (
            "/" in name
            and re.search(r"/(app|wsgi|application|main|manage|__init__)\.py$", name)
            and held(text_of(folder / name))
        ):
            place = name.rpartition("/")[0]
            place = place.rpartition("/")[0] if name.endswith("/__init__.py") else place
            if place and not any(place.startswith(f"{other}/") for other in found):
                found[place] = None
    return list(found)


def modules(text: str) -> list[str]:
    """The modules that code imports by their whole names, and what it imports from one of them, which may be one as
    well; none where it is no Python."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return []
    named = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return [*_imported(tree), *(f"{node.module}.{alias.name}" for node in named for alias in node.names)]


def is_beside(name: str) -> bool:
    """Whether a file is none of those that an app is in: tests, tools, documentation."""
    return bool(_BESIDE.search(name))
