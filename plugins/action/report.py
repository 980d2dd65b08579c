# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Prints and keeps the evidence of a run, on the controller. The documentation is in plugins/modules/report.py."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from ansible.errors import AnsibleActionFail

from ..plugin_utils._display.terminal import display
from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet import runs
from ..plugin_utils._fleet.declared import plain
from ..plugin_utils._output import report as _report
from ..plugin_utils._output.page import page
from ..plugin_utils._stepaction import FLEET, ControllerAction, templated, this_run


class ActionModule(ControllerAction):
    """One call for the whole run; hosts are not connected to."""

    _VALID_ARGS = frozenset({"path"})

    def run(self, tmp: None = None, task_vars: Variables | None = None) -> Result:
        """`failed_hosts` with their causes, and where the report is."""
        variables = task_vars or {}
        result: Result = super().run(tmp, variables)
        run, _, notes = this_run(variables, "report")
        fleet = plain(variables[FLEET])
        check = bool(self._task.check_mode)
        path = Path(
            str(
                self._task.args.get("path")
                or runs.work_dir(templated(self._templar, variables, "headcount_work_dir")) / "report.json"
            )
        ).expanduser()
        try:
            hosts = [notes.decision(str(host)) for host in fleet["apps"]]
            report = _report.build(hosts, notes.outcomes(), check, fleet.get("stopped"))
            data = {
                "run": run,
                "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "mode": fleet["mode"],
                "check_mode": check,
                "summary": report.summary,
                "first_cause": report.first_cause,
                "failed": report.failed,
                "batches": fleet["batches"],
                "order": fleet["order"],
                "rows": report.rows,
            }
            runs.write_json(path, data, 0o644)
            shown = path.with_name(f"{path.name}.html") if path.suffix == ".html" else path.with_suffix(".html")
            runs.write_text(shown, page(data), 0o644)
            notes.end()
        except (runs.RunError, OSError) as error:
            raise AnsibleActionFail(f"report: {error}") from error
        display("\n" + _report.text(report.rows, report.summary) + "\n")
        result.update(
            changed=False,
            msg=report.summary,
            path=str(path),
            page=str(shown),
            first_cause=report.first_cause,
            failed_hosts=report.failed,
        )
        # As set_stats does: what AWX keeps of a job.
        told = {key: data[key] for key in ("run", "summary", "first_cause", "failed")}
        result["ansible_stats"] = {"data": {"headcount": told}, "per_host": False, "aggregate": False}
        if "ara.clients.utils" in sys.modules:  # ARA's callback records this playbook
            from ..plugin_utils._output import ara

            why = ara.record(self, variables, told, str(shown))
            if why:
                display(f"ARA did not take the report of this run: {why}")
        return result
