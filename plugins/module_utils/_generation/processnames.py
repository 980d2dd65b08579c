# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The units of an app's further processes by their names: what is theirs, which are started, which do not run."""

from __future__ import annotations

import os
import re
from typing import Iterable, Mapping, Sequence

from .._os.paths import Layout
from .._os.systemd import ABSENT, UnitState


def process_units(layout: Layout, number: int, names: Iterable[str]) -> list[str]:
    """Those of `names` that are called as units of generation `number`'s processes, sorted."""
    pattern = re.compile(rf"{re.escape(layout.app)}@{number}-[a-z].*\.(service|timer)")
    return sorted(name for name in names if pattern.fullmatch(name))


def process_units_on_disk(layout: Layout, number: int) -> list[str]:
    """Units of generation `number`'s processes, by what is on disk of it."""
    try:
        names = os.listdir(layout.generation(number))
    except OSError:
        return []
    return process_units(layout, number, names)


def starters(units: Sequence[str]) -> list[str]:
    """Those of the units of processes that are started themselves: the timer of one that has one."""
    timers = [unit for unit in units if unit.endswith(".timer")]
    timed = {unit.replace(".timer", ".service") for unit in timers}
    return sorted([*timers, *(unit for unit in units if unit.endswith(".service") and unit not in timed)])


def number_of(layout: Layout, unit: str) -> int | None:
    """The generation of a process's unit; None for any other unit."""
    match = re.fullmatch(rf"{re.escape(layout.app)}@([0-9]+)-[a-z].*\.(?:service|timer)", unit)
    return int(match[1]) if match else None


def name_of(unit: str) -> str:
    """The process that a unit belongs to: `worker` of `shop@7-worker:2.service`."""
    return unit.partition("@")[2].partition("-")[2].rpartition(".")[0].partition(":")[0]


def down_of(layout: Layout, number: int, states: Mapping[str, UnitState]) -> list[str]:
    """Which processes of generation `number` do not run, in words. `states`: of the app's own units."""
    found = []
    for unit in starters(process_units_on_disk(layout, number)):
        state = states.get(unit, ABSENT)
        if not state.running:
            found.append(f"process {name_of(unit)} does not run: {unit} is {state.active}")
    return found


def left_of(layout: Layout, number: int | None, units: Iterable[str]) -> list[str]:
    """Which of `units`, which run, are processes of another generation than the live one `number`, in words."""
    return [f"{unit} runs, but is not live" for unit in units if number_of(layout, unit) not in (None, number)]
