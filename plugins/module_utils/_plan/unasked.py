# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Paths of which the weigh did not get what users get (they want a login, they refuse it): they count with the times
that are declared of them, as users ask them all the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .._declaration.app import App, LoadPath
from .mix import PATH_REQUESTS_MIN
from .types import Measured, PathTimes, number


def completed(app: App, measured: Measured) -> tuple[Measured, list[str]]:
    """The measurement with the declared times of the paths that no good answer came from, or refusals alone that their
    `status` lets in, and what is told of that.

    Its means are those of all these paths, by their weights. What is weighed of refusals stays where nothing else is.
    """
    said = app.load.paths
    known = measured.cpu_ms is not None and measured.wall_ms is not None
    if not known or [path.path for path in said] != [path.path for path in measured.paths]:
        return measured, []
    paths = [_as_declared(of, seen, measured) for of, seen in zip(said, measured.paths)]
    told = [f"{app.name}: {_told(of, path)}" for of, path, seen in zip(said, paths, measured.paths) if path is not seen]
    return (_of(paths, measured), told) if told else (measured, [])


def _of(paths: Sequence[PathTimes], measured: Measured) -> Measured:
    """The measurement, of these paths."""
    counting = [path for path in paths if path.requests]
    whole = sum(path.weight for path in counting)
    cpu = sum(path.weight * path.cpu_ms for path in counting) / whole
    wait = sum(path.weight * path.wait_ms for path in counting) / whole
    ratio = wait / cpu if cpu > 0 else measured.wait_ratio
    return replace(measured, cpu_ms=cpu, wall_ms=cpu + wait, wait_ratio=ratio, paths=tuple(paths))


def _as_declared(said: LoadPath, seen: PathTimes, measured: Measured) -> PathTimes:
    """A path as if it had been weighed as it is declared, where that is declared and the weigh got nothing of it; else
    as it was."""
    weighed = any(path.requests >= PATH_REQUESTS_MIN and not path.refused for path in measured.paths)
    if said.cpu_ms is None or (seen.requests and not (seen.refused and weighed)):
        return seen
    return replace(
        seen,
        path=f"{said.path} (as declared)",
        requests=PATH_REQUESTS_MIN,
        cpu_ms=float(said.cpu_ms),
        cpu_sd_ms=0.0,
        wait_ms=float(said.wait_ms or 0.0),
        wait_sd_ms=0.0,
    )


def _told(said: LoadPath, path: PathTimes) -> str:
    what = "only refused the weigh, as its status lets it," if path.refused else "could not be weighed,"
    times = f"{number(path.cpu_ms)} ms of CPU and {number(path.wait_ms)} ms of waiting"
    return f"{said.method} {said.path} {what} and counts with what is declared of it: {times}"
