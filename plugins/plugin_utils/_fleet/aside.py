# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the apps of the command line (`-e`) leave aside: those of another file, of the inventory, of an earlier run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import yaml

from ...module_utils._declaration.normalise import Problem
from .._display.text import listed
from .._edge import Json
from .decision import HostDecision

_WHOLE: Final = ("headcount_apps", "headcount_app_overrides")
"""Variables that hold what is said of several apps."""


def dropped(words: Iterable[str], load: Callable[[str], Any], hosts: Sequence[str]) -> list[Problem]:
    """A problem of all `hosts` for each variable of apps that several of the `words` of -e give, each something else.

    `load` reads a file. What cannot be read is Ansible's to refuse.
    """
    given: dict[str, list[tuple[str, object]]] = {name: [] for name in _WHOLE}
    for word in words:
        values = _values(str(word), load)
        for name in _WHOLE:
            if name in values:
                given[name].append((_shown(str(word)), values[name]))
    twice = [name for name, items in given.items() if any(value != items[-1][1] for _, value in items)]
    return [_problem(host, name, [place for place, _ in given[name]]) for name in twice for host in hosts]


def _values(word: str, load: Callable[[str], Any]) -> Json:
    try:
        found = load(word[1:]) if word.startswith("@") else yaml.safe_load(word) if word.startswith("{") else {}
    except Exception:  # whatever a file or a vault has: ansible-playbook has read it, or refused it
        return {}
    return found if isinstance(found, Mapping) else {}


def _shown(word: str) -> str:
    if not word.startswith("@"):
        return "{...}"
    path = os.path.relpath(word[1:])
    return word if path.startswith("..") else f"@{path}"


def _problem(host: str, name: str, places: Sequence[str]) -> Problem:
    return Problem(
        host,
        (name,),
        f"is given by -e {' and by -e '.join(places)}, of which Ansible takes the last alone, and drops the others",
        "one list of all apps of a host",
        "put them into one file, or into the inventory's group_vars, and call it with that alone",
    )


def gives_apps(words: Iterable[str], load: Callable[[str], Any]) -> bool:
    """Whether the command line declares the apps of the run, in the place of the inventory."""
    return any(_WHOLE[0] in _values(str(word), load) for word in words)


def left_aside(hosts: Sequence[HostDecision]) -> list[str]:
    """Warnings of what hosts have of Headcount's that a run does not declare whose apps the command line gives."""
    found: dict[str, list[str]] = {}
    for host in hosts:
        if host.undeclared:
            told = f"{listed(host.undeclared)} there is not declared in this run, and is left as it is"
            found.setdefault(told, []).append(host.host)
        if host.exporter.endswith("none is declared"):
            told = "headcount_exporter is not declared in this run, so that its exporter is removed"
            found.setdefault(told, []).append(host.host)
    fix = "what -e gives takes the place of what the inventory says: declare all of a host in one place"
    return [f"{listed(names)}: {told}; {fix}" for told, names in found.items()]


__all__ = ["dropped", "gives_apps", "left_aside"]
