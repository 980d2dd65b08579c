# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Checks what is declared for all hosts of the play, on the controller, before any host is touched.

The documentation is in plugins/modules/preflight.py.
"""

from __future__ import annotations

from ansible import context

from ..module_utils._declaration.app import App
from ..module_utils._declaration.normalise import (
    Declaration,
    Problem,
    fleet_counts,
    fleet_problems,
    render_problems,
    warnings_for,
)
from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet.declared import base_dirs, declarations, sources_in_inventory
from ..plugin_utils._stepaction import ControllerAction


class ActionModule(ControllerAction):
    """One call for the whole play; reads variables and the controller's files only."""

    def run(self, tmp: None = None, task_vars: Variables | None = None) -> Result:
        """The fleet's counts, or every problem of every host in one message."""
        variables = task_vars or {}
        result: Result = super().run(tmp, variables)
        hosts = [str(host) for host in variables["ansible_play_hosts_all"]]
        declared = declarations(hosts, variables, self._templar)
        problems = [problem for host in declared for problem in host.problems]
        problems += self._dropped(hosts)
        problems += fleet_problems(declared, [str(host) for host in variables["groups"]["all"]])
        result["changed"] = False
        if problems:
            result.update(failed=True, msg=render_problems(problems))
            return result
        fleet = fleet_counts(declared)
        warnings = {
            warning: None for host in declared for app in host.apps for warning in warnings_for(App.from_dict(app))
        }
        warnings.update(dict.fromkeys(_inventory_warnings(declared, variables)))
        result.update(
            msg=_summary(len(hosts), fleet),
            fleet=fleet,
            hosts={host.host: [app["name"] for app in host.apps] for host in declared},
        )
        if warnings:
            result["warnings"] = [*result.get("warnings", []), *warnings]
        return result

    def _dropped(self, hosts: list[str]) -> list[Problem]:
        """What the command line gives of the apps in several places, so that some of it would be dropped."""
        given = context.CLIARGS.get("extra_vars") or ()
        if len(given) < 2:
            return []
        from ..plugin_utils._fleet.aside import dropped

        return dropped(given, self._loader.load_from_file, hosts)


def _inventory_warnings(declared: list[Declaration], variables: Variables) -> list[str]:
    """Sources that lie in a folder which is the inventory."""
    named = variables.get("ansible_inventory_sources") or []
    hostvars = variables["hostvars"]
    found = []
    for host in declared:
        own = dict(hostvars.raw_get(host.host))
        folders = base_dirs({**variables, **own}, host.variables["headcount_base_dir"])
        found += sources_in_inventory(host.apps, folders, [str(source) for source in named])
    return found


def _summary(hosts: int, fleet: dict[str, int]) -> str:
    counts = ", ".join(f"{name} on {count}" for name, count in fleet.items())
    return f"what is declared for {hosts} host{'' if hosts == 1 else 's'} is sound: {counts}"
