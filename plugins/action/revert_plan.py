# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Decides which hosts revert after a rollout that stopped. The documentation is in plugins/modules/revert_plan.py."""

from __future__ import annotations

from dataclasses import asdict

from ..plugin_utils._display.terminal import display
from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet.gating import revert_plan
from ..plugin_utils._stepaction import ControllerAction, outcomes_so_far


class ActionModule(ControllerAction):
    """One call for the whole rollout; hosts are not connected to."""

    def run(self, tmp: None = None, task_vars: Variables | None = None) -> Result:
        """Whether any host reverts (`needed`), whether a person is to be asked, and which apps of which hosts."""
        variables = task_vars or {}
        result: Result = super().run(tmp, variables)
        fleet, outcomes = outcomes_so_far(variables, "revert_plan")
        settings = fleet["settings"]
        ordered = {host: outcomes[host] for host in fleet["order"] if host in outcomes}
        back = revert_plan(
            ordered,
            fleet["failed_apps"],
            int(settings["max_failed"]),
            str(settings["on_failure"]),
        )
        for line in [back.why, *back.kept]:
            display(line)
        result.update(changed=False, **asdict(back))
        return result
