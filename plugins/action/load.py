# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Makes the load of a trial on the machine that the task is delegated to.

The documentation is in plugins/modules/load.py.
"""

from __future__ import annotations

import json

from ansible.errors import AnsibleConnectionFailure

from ..module_utils._declaration.origin import words
from ..plugin_utils._display.unreached import connection_words
from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet.runs import Notes
from ..plugin_utils._stepaction import StepAction, in_words


class ActionModule(StepAction):
    """The part of a trial that is not done on the app's host: when it fails, abandon puts the candidate away."""

    phase = "load"
    module = "headcount.gunicorn.load"
    heals_itself = False

    def on_host(self, name: str, run: dict[str, str], gone: list[str], notes: Notes, variables: Variables) -> Result:
        """Hand over what the trial wants loaded, and keep what came of it for the trial."""
        host = str(variables["inventory_hostname"])
        request = notes.load(host, name)["request"]
        source = words(str(request["from"]))
        try:
            result = self.module_result({"name": name, "request": json.dumps(request)}, variables)
        except AnsibleConnectionFailure as error:
            lost = f"it was lost: {connection_words(getattr(error, 'message', error))}"
            return {"failed": True, "phase": "trial", "cause": f"the load from {source} failed: {lost}"}
        if result.get("failed"):
            cause = in_words(name, self.phase, result)["cause"]
            return {**result, "phase": "trial", "cause": f"the load from {source} failed: {cause}"}
        made = {key: result.pop(key) for key in ("load", "since_warm_seconds")}
        notes.write_load(host, name, {"request": request, "made": made})
        return result
