# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Runs the module trial on the host, as a step of this run. The documentation is in plugins/modules/trial.py."""

from __future__ import annotations

import json

from ansible.module_utils.parsing.convert_bool import boolean

from ..plugin_utils._display.terminal import display
from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet.pooled import pool_for
from ..plugin_utils._fleet.runs import Notes
from ..plugin_utils._stepaction import StepAction, templated


class ActionModule(StepAction):
    """The step trial: one call, or, where the load is remote, one before it and one after it.

    A verdict that is no pass, and is promoted as on_inconclusive says, tells its reason at once.

    What is to be loaded, and what came of it, goes through the notes of the run: it is large, and none of a task's
    output.
    """

    phase = "trial"
    module = "headcount.gunicorn.trial"

    def on_host(self, name: str, run: dict[str, str], gone: list[str], notes: Notes, variables: Variables) -> Result:
        """Run the module on the host."""
        host = str(variables["inventory_hostname"])
        arguments = {key: value for key, value in self._task.args.items() if value is not None}
        if arguments.pop("loaded", False):
            arguments["loaded"] = json.dumps(notes.load(host, name)["made"])
        wanted = boolean(templated(self._templar, variables, "headcount_pool_evidence") or False)
        pool = pool_for(notes, host, name) if wanted else None
        if pool:
            arguments["pool"] = pool
        arguments["address"] = str(templated(self._templar, variables, "ansible_host") or host)
        result = self.module_result({**arguments, "run": run, "gone": gone}, variables)
        verdict = result.get("verdict") or {}
        if verdict.get("outcome") == "inconclusive" and not result.get("failed"):
            display(f"{host}: {name}: inconclusive, promoted as on_inconclusive says: {verdict.get('cause')}")
        request = result.pop("load", None)
        if request is not None:
            notes.write_load(host, name, {"request": request})
            result["load"] = {key: request[key] for key in ("from", "candidate", "baseline", "factor")}
        return result
