# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Gives an app's socket back to the generation before this run. The documentation is in plugins/modules/revert.py."""

from __future__ import annotations

from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet.runs import Notes, RunError
from ..plugin_utils._stepaction import StepAction


class ActionModule(StepAction):
    """The step revert: the exact generation that was live before, by the notes of the run."""

    phase = "revert"
    module = "headcount.gunicorn.rollback"

    def on_host(self, name: str, run: dict[str, str], gone: list[str], notes: Notes, variables: Variables) -> Result:
        """One module call with the generation from the notes."""
        outcome = notes.outcome(str(variables["inventory_hostname"]), name)
        before = outcome.before
        if outcome.outcome != "promoted" or before is None:
            raise RunError(f"{name} was not promoted over another generation in run {notes.id}; nothing to revert")
        return self.module_result(
            {"name": name, "to": before, "leave": outcome.to, "event": "reverted", "run": run, "gone": gone}, variables
        )
