# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Runs the module promote on the host, as a step of this run. The documentation is in plugins/modules/promote.py."""

from __future__ import annotations

from ..plugin_utils._display.terminal import display
from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet.gating import gate_of
from ..plugin_utils._fleet.runs import Notes
from ..plugin_utils._stepaction import FLEET, StepAction


class ActionModule(StepAction):
    """The step promote; what users got when the live generation was broken is said at once.

    Nothing is promoted any more once the guards of hosts that were promoted before have stopped the app's rollout.
    """

    phase = "promote"
    module = "headcount.gunicorn.promote"

    def on_host(self, name: str, run: dict[str, str], gone: list[str], notes: Notes, variables: Variables) -> Result:
        """One module call."""
        found = gate_of(variables[FLEET], notes.outcomes(), variables["ansible_play_batch"])
        if name in found.stopped:
            self.heals_itself = False  # nobody has put the candidate away yet
            return {"failed": True, "phase": self.phase, "cause": f"not promoted, since {found.why_stopped[name]}"}
        result = super().on_host(name, run, gone, notes, variables)
        for line in result.get("told") or []:
            display(f"{variables['inventory_hostname']}: {name}: {line}")
        return result
