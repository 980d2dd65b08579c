# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Paths that the weigh could not ask (they want a login, they refuse it): they count with the times that are declared
of them, as users ask them all the same."""

from __future__ import annotations

from dataclasses import replace

from .._declaration.app import App
from .mix import PATH_REQUESTS_MIN
from .types import Measured, PathTimes, number


def completed(app: App, measured: Measured) -> tuple[Measured, list[str]]:
    """The measurement with the declared times of the paths that no good answer came from, and what is told of that.

    Its means are those of all these paths, by their weights.
    """
    filled = _filled(app, measured)
    cpu, wall = measured.cpu_ms, measured.wall_ms
    if not filled or cpu is None or wall is None:
        return measured, []
    seen = sum(path.weight for path in measured.paths if path.requests)
    whole = seen + sum(path.weight for path in filled.values())
    cpu = (cpu * seen + sum(path.weight * path.cpu_ms for path in filled.values())) / whole
    wall = (wall * seen + sum(path.weight * (path.cpu_ms + path.wait_ms) for path in filled.values())) / whole
    complete = replace(
        measured,
        cpu_ms=cpu,
        wall_ms=wall,
        wait_ratio=max(0.0, wall - cpu) / cpu if cpu > 0 else measured.wait_ratio,
        paths=tuple(filled.get(path.path, path) for path in measured.paths),
    )
    return complete, [
        f"{app.name}: {name} could not be weighed, and counts with what is declared of it: {number(path.cpu_ms)} ms of"
        f" CPU and {number(path.wait_ms)} ms of waiting"
        for name, path in filled.items()
    ]


def _filled(app: App, measured: Measured) -> dict[str, PathTimes]:
    """The declared times of the paths that were asked in vain, as if each had been weighed."""
    declared = {path.path: path for path in app.load.paths if path.cpu_ms is not None}
    found = {}
    for path in measured.paths:
        said = declared.get(path.path)
        if said is not None and not path.requests:
            name, cpu_ms, wait_ms = f"{path.path} (as declared)", float(said.cpu_ms or 0.0), float(said.wait_ms or 0.0)
            found[path.path] = PathTimes(name, path.weight, PATH_REQUESTS_MIN, cpu_ms, 0.0, wait_ms, 0.0)
    return found
