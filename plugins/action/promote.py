# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Runs the module promote on the host, as a step of this run. The documentation is in plugins/modules/promote.py."""

from __future__ import annotations

from ..plugin_utils._display.terminal import display
from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet.runs import Notes
from ..plugin_utils._stepaction import StepAction


class ActionModule(StepAction):
    """The step promote; what users got when the live generation was broken is said at once."""

    phase = "promote"
    module = "headcount.gunicorn.promote"

    def on_host(self, name: str, run: dict[str, str], gone: list[str], notes: Notes, variables: Variables) -> Result:
        """One module call."""
        result = super().on_host(name, run, gone, notes, variables)
        for line in result.get("told") or []:
            display(f"{variables['inventory_hostname']}: {name}: {line}")
        return result
