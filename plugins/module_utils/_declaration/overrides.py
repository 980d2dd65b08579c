# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""headcount_app_overrides merged over the apps of a host, and problems told where the value comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from .fields import Context, Field, Problem, did_you_mean, kind_of
from .table import APP_FIELDS, VARIABLES
from .together import APPS

OVERRIDES: Final = "headcount_app_overrides"
_VARIABLE: Final = next(item for item in VARIABLES if item.name == OVERRIDES)


def override(raw: Sequence[Any], overrides: object, context: Context) -> tuple[list[Any], dict[int, tuple[str, Any]]]:
    """The apps with headcount_app_overrides merged in, and which override (name, value) went into the app of which
    index.
    """
    merged = list(raw)
    origins: dict[int, tuple[str, Any]] = {}
    if overrides is None:
        return merged, origins
    if not isinstance(overrides, Mapping):
        context.add((OVERRIDES,), f"is {kind_of(overrides)}", _VARIABLE.allowed_text, "{shop: {concurrency: 50}}")
        return merged, origins
    # A name of another type is a problem of its app, and nothing can be overridden by it.
    declared = {index: app.get("name") for index, app in enumerate(raw) if isinstance(app, Mapping)}
    names = {name: index for index, name in declared.items() if isinstance(name, str)}
    for key, value in overrides.items():
        name = str(key)
        if name not in names:
            meant = did_you_mean(name, names)
            fix = f"did you mean {meant}?" if meant else "remove it"
            context.add((OVERRIDES, name), "is no app of this host", ", ".join(names) or "the name of an app", fix)
        elif not isinstance(value, Mapping):
            if value is not None:
                context.add(
                    (OVERRIDES, name), f"is {kind_of(value)}", "a mapping with keys of an app", "concurrency: 50"
                )
        elif "name" in value:
            context.add(
                (OVERRIDES, name, "name"), "cannot be overridden", "every key of an app but its name", "remove it"
            )
        else:
            index = names[name]
            merged[index] = _merge(merged[index], value, APP_FIELDS)
            origins[index] = (name, value)
    return merged, origins


def _merge(base: Mapping[Any, Any], over: Mapping[Any, Any], fields: Sequence[Field]) -> dict[Any, Any]:
    by_name = {item.name: item for item in fields}
    result = dict(base)
    for key, value in over.items():
        item = by_name.get(key) if isinstance(key, str) else None
        below = _section_of(item, result.get(key))
        above = _section_of(item, value)
        if item is None or item.replace or below is None or above is None:
            result[key] = value
        else:
            result[key] = _merge(below, above, item.fields)
    return result


def _section_of(item: Field | None, value: object) -> Mapping[Any, Any] | None:
    """A section's value as a mapping, its shorthand written out; None for what is not merged."""
    if item is None or item.type not in ("section", "map"):
        return None
    if isinstance(value, str) and item.shorthand:
        return {item.shorthand: value}
    return value if isinstance(value, Mapping) else None


def at_override(problem: Problem, origins: Mapping[int, tuple[str, Any]]) -> Problem:
    """The problem, at the override's place where the override is what brought the value."""
    parts = problem.parts
    if len(parts) < 3 or parts[0] != APPS or not isinstance(parts[1], int) or parts[1] not in origins:
        return problem
    name, value = origins[parts[1]]
    inner: Any = value
    for part in parts[2:]:
        try:
            inner = inner[part]
        except (KeyError, IndexError, TypeError):
            return problem
    return Problem(problem.host, (OVERRIDES, name, *parts[2:]), problem.what, problem.allowed, problem.fix)
