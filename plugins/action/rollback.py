# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Rolls back to an earlier generation, as a step of this run. The documentation is in plugins/modules/rollback.py."""

from __future__ import annotations

from ..plugin_utils._display.terminal import display
from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet.declared import plain
from ..plugin_utils._fleet.leaving import staying
from ..plugin_utils._fleet.runs import Notes
from ..plugin_utils._stepaction import StepAction

HISTORY = "headcount__history"
"""The variable in which the role keeps the ledger of each host, where it was told no generation."""


class ActionModule(StepAction):
    """The step rollback; it says what is live, because no report follows."""

    phase = "rollback"
    module = "headcount.gunicorn.rollback"
    in_check_mode = True

    def on_host(self, name: str, run: dict[str, str], gone: list[str], notes: Notes, variables: Variables) -> Result:
        """One module call, where the host has what is left."""
        of = f"{variables['inventory_hostname']}: {name}"
        stays = _why_it_stays(str(variables["inventory_hostname"]), variables)
        if stays:
            display(f"{of}: stays as it is: {stays}")
            return {"changed": False, "stays": stays}
        result = super().on_host(name, run, gone, notes, variables)
        if not result.get("failed"):
            verb, again = ("would be", "would have") if self._task.check_mode else ("is", "has")
            before = f" (it was {result['from']})" if result.get("from") is not None else ""
            if result.get("former"):
                display(f"{of}: {result['former']} {again} its address again")
            else:
                display(f"{of}: generation {result.get('to')} {verb} live again{before}")
            for line in result.get("told") or []:
                display(f"{of}: {line}")
        return result


def _why_it_stays(host: str, variables: Variables) -> str:
    """Why this host is left as it is; empty where it goes back, or the role was told where to."""
    ledgers = {}
    for other in variables["ansible_play_hosts_all"]:
        read = plain(variables["hostvars"].raw_get(other).get(HISTORY)) or {}
        if "entries" in read:
            ledgers[str(other)] = read["entries"]
    return staying(ledgers).get(host, "") if host in ledgers else ""
