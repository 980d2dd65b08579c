# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Plans every host of the play on the controller, gathers the wheels that will be needed, and says who goes when.

The documentation is in plugins/modules/plan.py.
"""

from __future__ import annotations

from ansible import context
from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean

from ..plugin_utils._display.terminal import display
from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet import runs
from ..plugin_utils._fleet.builds import asked_text
from ..plugin_utils._fleet.schedule import Schedule, Scheduler
from ..plugin_utils._output.plantable import drift_items, drift_text, fleet_text
from ..plugin_utils._stepaction import ControllerAction, templated, this_run
from ..plugin_utils._wheels.tools import WheelhouseError


class ActionModule(ControllerAction):
    """One call for the whole play; hosts are not connected to."""

    _supports_diff = False
    _VALID_ARGS = frozenset({"mode", "again"})

    def run(self, tmp: None = None, task_vars: Variables | None = None) -> Result:
        """The run, the batches, and what is to be done on each host, in short; the plans are in the run's notes."""
        variables = task_vars or {}
        result: Result = super().run(tmp, variables)
        mode = str(self._task.args.get("mode", "rollout"))
        if mode not in ("rollout", "retune", "plan", "drift"):
            raise AnsibleActionFail(f"plan: mode is {mode!r}; allowed: rollout, retune, plan, drift")
        check = bool(self._task.check_mode) or mode in ("plan", "drift")
        try:
            notes = self._notes(variables)
            planner = Scheduler(variables, self._templar, notes, mode=mode, check=check, display=display)
            fleet = planner.plan()
        except (runs.RunError, WheelhouseError) as error:
            raise AnsibleActionFail(f"plan: {error}") from error
        result["changed"] = False
        warnings = [*fleet.warnings, *self._left_aside(fleet)]
        if warnings and not boolean(self._task.args.get("again", False)):
            result["warnings"] = [*result.get("warnings", []), *warnings]
        if mode == "drift":
            result.update(self._tell_drift(fleet))
        else:
            # A plan that waits for builds is made again with them, and told then.
            display(asked_text(fleet.builds) if fleet.builds else fleet_text(fleet.hosts, whole=check, mode=mode))
            display("" if fleet.builds else "\n".join(f"{name}: {words}" for name, words in fleet.forms.items()))
            display("" if fleet.builds else fleet.stopped or "\n".join(fleet.held))
            result.update(fleet.to_result())
        if mode in ("plan", "drift"):
            notes.end()
        return result

    def _left_aside(self, fleet: Schedule) -> list[str]:
        """What hosts have that this run does not declare, where the command line gives its apps."""
        given = context.CLIARGS.get("extra_vars") or ()
        if not given:
            return []
        from ..plugin_utils._fleet.aside import gives_apps, left_aside

        return left_aside(fleet.hosts) if gives_apps(given, self._loader.load_from_file) else []

    def _notes(self, variables: Variables) -> runs.Notes:
        """Those of a new run; of the same run when a plan is made again."""
        if boolean(self._task.args.get("again", False)):
            return this_run(variables, "plan")[2]
        work = runs.work_dir(templated(self._templar, variables, "headcount_work_dir"))
        return runs.begin(work, user=runs.platform_user(variables))

    def _tell_drift(self, fleet: Schedule) -> Result:
        """Print the drift and keep it as JSON; any drift is a failure, for the exit code."""
        display(drift_text(fleet.hosts))
        path = fleet.notes.work / "drift.json"
        rows = [
            {"host": host.host, "app": app or None, "kind": kind, "difference": difference}
            for host in fleet.hosts
            for app, kind, difference in drift_items(host)
        ]
        run = fleet.notes.run().to_dict()
        runs.write_json(path, {"run": run, "hosts": [host.host for host in fleet.hosts], "drift": rows}, 0o644)
        if not rows:
            return {"path": str(path)}
        first = rows[0]
        where = ": ".join(str(first[key]) for key in ("host", "app", "kind") if first[key])
        more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
        return {"path": str(path), "failed": True, "msg": f"drift: {where}: {first['difference']}{more}"}
