# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Begins a run of Headcount on the controller. The documentation is in plugins/modules/begin_run.py."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail

from ..module_utils._declaration.normalise import command_problems
from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet import runs
from ..plugin_utils._fleet.declared import plain
from ..plugin_utils._stepaction import ControllerAction, templated


class ActionModule(ControllerAction):
    """One call for a playbook that changes hosts without a plan."""

    _VALID_ARGS = frozenset({"said"})

    def run(self, tmp: None = None, task_vars: Variables | None = None) -> Result:
        """The run, where its notes are, and which runs are gone."""
        variables = task_vars or {}
        result: Result = super().run(tmp, variables)
        wrong = command_problems(plain(self._task.args.get("said")) or {})
        if wrong:
            raise AnsibleActionFail(f"no host was touched: {'; '.join(wrong)}")
        work = runs.work_dir(templated(self._templar, variables, "headcount_work_dir"))
        try:
            notes = runs.begin(work, user=runs.platform_user(variables))
        except runs.RunError as error:
            raise AnsibleActionFail(f"begin_run: {error}") from error
        gone = [run for run in runs.gone(work) if run != notes.id]
        result.update(changed=False, run=notes.run().to_dict(), notes=str(notes.path), gone=gone)
        return result
