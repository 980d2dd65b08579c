# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What hosts that change need for their trials: packages of the distribution, and machines that make the load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from ...module_utils._declaration.app import Load
from ...module_utils._declaration.normalise import Declaration
from ...module_utils._declaration.origin import is_remote
from ...module_utils._declaration.patience import answer_seconds
from ...module_utils._load.command import LoadError, files_needed, h2load_package
from . import choice
from .decision import HostDecision
from .probed import Facts


class LoadHost(TypedDict):
    """A machine that makes the load of trials, and how many open files one process of the load may need there."""

    name: str
    files: int


def missing_packages(facts: Facts) -> list[str]:
    """Packages of the host's distribution that a rollout needs and that are not there."""
    system = facts.get("os") or {}
    package = h2load_package(str(system.get("id") or ""), str(system.get("like") or ""))
    needed = {"h2load": package, "psutil": "python3-psutil"}
    return [package for fact, package in needed.items() if not facts.get(fact)]


def load_hosts(hosts: Sequence[HostDecision], declared: Mapping[str, Declaration]) -> list[LoadHost]:
    """Where the load of the coming trials is made, other than on the apps' own hosts: [{name, files}], by name.

    `files`: open files that one process of the load may need there. A load that cannot be as declared counts for none
    here; its trial says why.
    """
    found: dict[str, int] = {}
    for host in hosts:
        for app in declared[host.host].apps:
            planned = host.apps.get(app["name"])
            if planned is None or planned.action != choice.DEPLOY:
                continue
            load = Load.from_dict(app["load"])
            if not is_remote(load):
                continue
            try:
                files = files_needed(load, answer_seconds(app))
            except LoadError:
                files = 0
            found[load.origin] = max(files, found.get(load.origin, 0))
    return [{"name": name, "files": files} for name, files in sorted(found.items())]
