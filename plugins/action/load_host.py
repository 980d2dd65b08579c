# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Looks whether a machine can make the load of trials; one that cannot be reached is a failure in words.

The documentation is in plugins/modules/load_host.py.
"""

from __future__ import annotations

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ..module_utils._declaration.origin import words
from ..plugin_utils._display.unreached import connection_words
from ..plugin_utils._edge import Result, Variables


class ActionModule(ActionBase):
    """One read-only call on the machine that the task is delegated to.

    Ansible would take a load host that it cannot reach for an unreachable host of the play, and carry on without that.
    """

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"name", "files", "install"})

    def run(self, tmp: None = None, task_vars: Variables | None = None) -> Result:
        """The module's result."""
        variables = task_vars or {}
        result: Result = super().run(tmp, variables)
        try:
            result.update(self._execute_module(module_name="headcount.gunicorn.load_host", task_vars=variables))
        except AnsibleConnectionFailure as error:
            said = connection_words(getattr(error, "message", error))
            result.update(failed=True, msg=f"load.from: {words(self._task.args['name'])} cannot be reached: {said}")
        result.pop("invocation", None)
        return result
