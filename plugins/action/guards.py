# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Says which guards are asked before a rollout goes on. The documentation is in plugins/modules/guards.py."""

from __future__ import annotations

import time

from ansible.module_utils.parsing.convert_bool import boolean

from ..plugin_utils._display.terminal import display
from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet.gating import gate_of
from ..plugin_utils._fleet.guards import questions, shared, working
from ..plugin_utils._stepaction import ControllerAction, outcomes_so_far


class ActionModule(ControllerAction):
    """One call for a batch; hosts are not connected to."""

    _VALID_ARGS = frozenset({"wait", "name"})

    def run(self, tmp: None = None, task_vars: Variables | None = None) -> Result:
        """`ask`: whom each host of the batch asks. Waits between two batches first when the inventory says so."""
        variables = task_vars or {}
        result: Result = super().run(tmp, variables)
        fleet, outcomes = outcomes_so_far(variables, "guards")
        batch = [str(host) for host in variables["ansible_play_batch"]]
        if boolean(self._task.args.get("wait", False)) and not self._task.check_mode:
            found = gate_of(fleet, outcomes, batch)
            wait = float(fleet["settings"]["wait_seconds"])
            if found.batch > 1 and wait and not found.stop:
                display(f"waiting {wait:.0f} s before batch {found.batch} (headcount_rollout_wait_seconds)")
                time.sleep(wait)  # what the inventory asks for between two batches
        name = self._task.args.get("name")
        asking = working(batch, fleet["apps"], outcomes, str(name)) if name else batch
        result.update(changed=False, ask=shared(questions(outcomes), asking))
        return result
