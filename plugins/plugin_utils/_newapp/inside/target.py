# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which object of a module is the app: as Flask looks for it, or by the name that is given."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

FLASK_NAMES = ("app", "application")
FLASK_FACTORIES = ("create_app", "make_app")


class NotFound(Exception):
    """The module holds no WSGI callable. The message says what it holds instead."""


def kind_of(thing: object) -> str:
    """What an object of a module is: flask, django, dash, wsgi, asgi, or "" for anything else."""
    if isinstance(thing, type) or inspect.ismodule(thing):
        return ""
    names = {f"{item.__module__}.{item.__qualname__}" for item in type(thing).__mro__}
    if "flask.app.Flask" in names:
        return "flask"
    if "django.core.handlers.wsgi.WSGIHandler" in names:
        return "django"
    if "dash.dash.Dash" in names:
        return "dash"
    modules = {name.partition(".")[0] for name in names}
    if modules & {"starlette", "fastapi", "quart", "sanic", "litestar", "channels"} or "asgi" in str(names).lower():
        return "asgi"
    return "wsgi" if callable(thing) and takes_two(thing) else ""


def takes_two(thing: Callable[..., object]) -> bool:
    """Whether a callable has the two arguments of WSGI, by position, needs no more, and is no coroutine."""
    try:
        if inspect.iscoroutinefunction(thing) or inspect.iscoroutinefunction(vars(type(thing)).get("__call__")):
            return False
        parameters = list(inspect.signature(thing).parameters.values())
    except Exception:  # it has no signature; or it is a proxy, as Flask's request is, of what is not there now
        return False
    usual = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    placed = [item for item in parameters if item.kind in usual]
    needed = [item for item in placed if item.default is item.empty]
    return len(placed) >= 2 and len(needed) <= 2


def find(module: ModuleType, target: str) -> tuple[str, Any]:
    """The callable that `target` names, or the one that Flask would take: (how Gunicorn calls it, the object)."""
    if target:
        return named(module, target)
    space = vars(module)
    for name in FLASK_NAMES:
        if kind_of(space.get(name)) in ("flask", "django", "wsgi"):
            return name, space[name]
    flasks = {id(value): name for name, value in space.items() if kind_of(value) == "flask"}
    if len(flasks) == 1:
        (name,) = flasks.values()
        return name, space[name]
    if len(flasks) > 1:
        raise NotFound(f"it holds several Flask apps: {', '.join(sorted(flasks.values()))}")
    for name in FLASK_FACTORIES:
        if inspect.isfunction(space.get(name)):
            return named(module, f"{name}()")
    for name, value in space.items():
        if kind_of(value) == "dash":
            return dash(name, value)
    for name in (*FLASK_NAMES, *space):
        if kind_of(space.get(name)) == "asgi":
            raise NotFound(f"{name} is an ASGI app ({type(space[name]).__module__}), and Gunicorn's workers are WSGI")
    raise NotFound("it holds no WSGI callable: neither app nor application, no Flask app, no create_app or make_app")


def dash(name: str, thing: Any) -> tuple[str, Any]:
    """A Dash app, where it is callable itself."""
    if not takes_two(thing):
        raise NotFound(f"{name} is a Dash app, which is no WSGI callable: add the line `server = {name}.server`")
    return name, thing


def named(module: ModuleType, target: str) -> tuple[str, Any]:
    """What a name or a call (`create_app('x')`) of a module comes to."""
    expression = ast.parse(target, mode="eval").body
    call = expression if isinstance(expression, ast.Call) else None
    name = ast.unparse(call.func if call else expression)
    thing: Any = module
    for part in name.split("."):
        if not hasattr(thing, part):
            raise NotFound(f"it holds no {name}")
        thing = getattr(thing, part)
    if call:
        return target, called(thing, call, target)
    if inspect.isfunction(thing) and name.rpartition(".")[2] in FLASK_FACTORIES:
        return named(module, f"{target}()")
    if kind_of(thing) == "dash":
        return dash(name, thing)
    if kind_of(thing) == "asgi":
        raise NotFound(f"{name} is an ASGI app ({type(thing).__module__}), and Gunicorn's workers are WSGI")
    if not kind_of(thing):
        raise NotFound(f"{name} is {type(thing).__name__}, which is no WSGI callable")
    return target, thing


def called(factory: Callable[..., object], call: ast.Call, target: str) -> object:
    """What a factory makes."""
    given = [ast.literal_eval(item) for item in call.args]
    by_name = {str(item.arg): ast.literal_eval(item.value) for item in call.keywords}
    needed = missing_arguments(factory, given, by_name)
    if needed:
        raise NotFound(f"{ast.unparse(call.func)} needs arguments: {', '.join(needed)}")
    made = factory(*given, **by_name)
    if kind_of(made) in ("", "asgi"):
        raise NotFound(f"{target} gives {type(made).__name__}, which is no WSGI callable")
    return made


def missing_arguments(thing: Callable[..., object], given: list[object], by_name: Mapping[str, object]) -> list[str]:
    """The names of arguments that a factory needs and does not get."""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return []
    bound = signature.bind_partial(*given, **by_name).arguments
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        name
        for name, item in signature.parameters.items()
        if item.default is item.empty and item.kind not in optional and name not in bound
    ]
