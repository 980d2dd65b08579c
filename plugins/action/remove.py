# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Takes an app off the host, as a step of this run. The documentation is in plugins/modules/remove.py."""

from __future__ import annotations

from ..plugin_utils._display.terminal import display
from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet.runs import Notes
from ..plugin_utils._stepaction import StepAction


class ActionModule(StepAction):
    """The step remove."""

    phase = "remove"
    module = "headcount.gunicorn.remove"
    in_check_mode = True

    def on_host(self, name: str, run: dict[str, str], gone: list[str], notes: Notes, variables: Variables) -> Result:
        """Remove the app, and say where its data is, and what else stays."""
        result = super().on_host(name, run, gone, notes, variables)
        host, only_asked = variables["inventory_hostname"], self._task.check_mode
        for path, size in (result.get("kept") or {}).items():
            stays = "would stay" if only_asked else "stays"
            words = f"{path} {stays} ({size} MiB); -e headcount_remove_data=true takes it away, for good"
            display(f"{host}: {name}: {words}")
        for path in result.get("gone") or []:
            display(f"{host}: {name}: {path} {'would be' if only_asked else 'was'} removed with all that was in it")
        for unit in result.get("ended") or []:
            display(f"{host}: {name}: {unit}, a command that ran with it, was ended")
        for path, owner in (result.get("others") or {}).items():
            display(f"{host}: {name}: {path} is not the app's, belongs to {owner}, and stays")
        if result.get("stands"):
            display(f"{host}: {name}: {result['stands']}")
        return result
