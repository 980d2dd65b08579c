# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Fails where no host had the app that was to be removed. The documentation is in plugins/modules/removed.py."""

from __future__ import annotations

from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet.declared import plain
from ..plugin_utils._fleet.removed import nowhere
from ..plugin_utils._stepaction import ControllerAction

REMOVED = "headcount__removed"
"""The variable in which a host keeps what its module remove said."""


class ActionModule(ControllerAction):
    """One call for the whole play; hosts are not connected to."""

    _VALID_ARGS = frozenset({"name"})

    def run(self, tmp: None = None, task_vars: Variables | None = None) -> Result:
        """Nothing, or why a name is wrong."""
        variables = task_vars or {}
        result: Result = super().run(tmp, variables)
        hostvars = variables["hostvars"]
        results = {
            str(host): plain(hostvars.raw_get(host).get(REMOVED)) for host in variables["ansible_play_hosts_all"]
        }
        wrong = nowhere(str(self._task.args.get("name")), results)
        result.update(changed=False)
        if wrong:
            result.update(failed=True, msg=wrong)
        return result
