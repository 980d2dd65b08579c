# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Heals what a broken run left, as a step of this run. The documentation is in plugins/modules/heal.py."""

from __future__ import annotations

from ..plugin_utils._display.terminal import display
from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet.declared import declaration
from ..plugin_utils._fleet.runs import Notes
from ..plugin_utils._stepaction import StepAction


class ActionModule(StepAction):
    """The step heal; what the host is to do at boot is that of the inventory."""

    phase = "heal"
    module = "headcount.gunicorn.heal"

    def on_host(self, name: str, run: dict[str, str], gone: list[str], notes: Notes, variables: Variables) -> Result:
        """One module call."""
        wanted = declaration(variables, self._templar).variables.get("headcount_retune_at_boot")
        result = self.module_result({"name": name, "run": run, "gone": gone, "retune_at_boot": wanted}, variables)
        for line in result.get("healed") or []:
            display(f"{variables['inventory_hostname']}: {name}: {line}")
        return result
