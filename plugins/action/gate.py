# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Decides on the controller whether a batch may begin. The documentation is in plugins/modules/gate.py."""

from __future__ import annotations

from ..plugin_utils._display.terminal import display
from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet.gating import gate_of
from ..plugin_utils._stepaction import ControllerAction, outcomes_so_far


class ActionModule(ControllerAction):
    """One call for a batch; hosts are not connected to."""

    def run(self, tmp: None = None, task_vars: Variables | None = None) -> Result:
        """`stop`, why, the apps that go no further (`stopped`), and which batch this is."""
        variables = task_vars or {}
        result: Result = super().run(tmp, variables)
        found = gate_of(*outcomes_so_far(variables, "gate"), variables["ansible_play_batch"])
        stop = found.stop and not self._task.check_mode
        display(found.why)
        stopped = [] if self._task.check_mode else found.stopped
        result.update(
            changed=False, stop=stop, stopped=stopped, msg=found.why, batch=found.batch, batches=found.batches
        )
        return result
