# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Ends a failed rollout of an app on a host. The documentation is in plugins/modules/abandon.py."""

from __future__ import annotations

import time

from ansible.errors import AnsibleConnectionFailure

from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._stepaction import StepAction, in_words, this_run, without_secrets


class ActionModule(StepAction):
    """Notes the first cause; the host itself is asked only where the failed step could not heal it itself.

    It does not fail: what has failed is noted, and the play goes on to decide about the rollout.
    """

    phase = "abandon"
    module = "headcount.gunicorn.abandon"

    def run(self, tmp: None = None, task_vars: Variables | None = None) -> Result:
        """The cause, and whether the host was reached to clean up."""
        variables = task_vars or {}
        name = str(self._task.args["name"])
        run, gone, notes = this_run(variables, self.phase)
        host = str(variables["inventory_hostname"])
        outcome = notes.outcome(host, name)
        if not outcome.failed:
            failed = dict(variables.get("ansible_failed_result") or {})
            step = str(self._task.args.get("phase") or "begin")
            failed = without_secrets(self._templar, variables, name, failed)
            outcome = outcome.after(step, {**failed, "failed": True, **in_words(name, step, failed)}, 0.0, time.time())
        phase, cause = outcome.phase, outcome.cause
        result: Result = {"changed": False, "phase": phase, "cause": cause, "msg": f"{name}: {phase}: {cause}"}
        if not outcome.self_healed and not self._task.check_mode:
            begin = time.monotonic()
            arguments = {"name": name, "generation": outcome.generation, "phase": phase, "cause": cause}
            try:
                answer = self.module_result({**arguments, "run": run, "gone": gone}, variables)
            except AnsibleConnectionFailure as error:
                answer = {"failed": True, "lost": True, "msg": f"the host cannot be reached: {error}"}
            outcome = outcome.after(self.phase, answer, time.monotonic() - begin, time.time())
            result["reached"] = not answer.get("lost")
            result["changed"] = not answer.get("failed")
        notes.write_outcome(outcome)
        return result
