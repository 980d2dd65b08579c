# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Decides on the controller whether a batch may begin. The documentation is in plugins/modules/gate.py."""

from __future__ import annotations

import time

from ..plugin_utils._display.terminal import display
from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet.verdicts import gate
from ..plugin_utils._stepaction import ControllerAction, outcomes_so_far


class ActionModule(ControllerAction):
    """One call for a batch; hosts are not connected to."""

    def run(self, tmp: None = None, task_vars: Variables | None = None) -> Result:
        """`stop`, why, the apps that go no further (`stopped`), and which batch this is.

        Waits between two batches when the inventory says so.
        """
        variables = task_vars or {}
        result: Result = super().run(tmp, variables)
        fleet, outcomes = outcomes_so_far(variables, "gate")
        settings = fleet["settings"]
        found = gate(
            [str(host) for host in fleet["order"]],
            [int(size) for size in fleet["batches"]],
            {str(host): fleet["apps"].get(host, {}) for host in variables["ansible_play_batch"]},
            outcomes,
            fleet["failed_apps"],
            int(settings["max_failed"]),
        )
        stop = found.stop and not self._task.check_mode
        display(found.why)
        wait = float(settings["wait_seconds"])
        if found.batch > 1 and wait and not stop and not self._task.check_mode:
            display(f"waiting {wait:.0f} s before batch {found.batch} (headcount_rollout_wait_seconds)")
            time.sleep(wait)  # what the inventory asks for between two batches
        stopped = [] if self._task.check_mode else found.stopped
        result.update(
            changed=False, stop=stop, stopped=stopped, msg=found.why, batch=found.batch, batches=found.batches
        )
        return result
