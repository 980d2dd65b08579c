# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Prints the ledgers of the play's hosts as one history. The documentation is in plugins/modules/history_report.py."""

from __future__ import annotations

from ..plugin_utils._display.terminal import display
from ..plugin_utils._display.text import last_line
from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet.declared import plain
from ..plugin_utils._output import history
from ..plugin_utils._stepaction import ControllerAction

HISTORY = "headcount__history"


class ActionModule(ControllerAction):
    """One call for the whole play; hosts are not connected to."""

    _VALID_ARGS = frozenset({"last"})

    def run(self, tmp: None = None, task_vars: Variables | None = None) -> Result:
        """The events, newest first, and the hosts that did not answer."""
        variables = task_vars or {}
        result: Result = super().run(tmp, variables)
        ledgers, silent = {}, {}
        for host in variables["ansible_play_hosts_all"]:
            read = plain(variables["hostvars"].raw_get(host).get(HISTORY)) or {}
            if "entries" in read:
                ledgers[str(host)] = read["entries"]
            else:
                silent[str(host)] = f"its ledger could not be read: {last_line(read.get('msg')) or 'no answer'}"
        entries = history.merge(ledgers, int(self._task.args.get("last", 20)))
        display(history.text(entries, silent))
        result.update(changed=False, entries=entries, silent=silent)
        return result
