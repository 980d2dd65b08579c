# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Sends the wheels that the host lacks, and stages the app there. The documentation is in plugins/modules/stage.py."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail

from ..module_utils._declaration.digests import digest
from ..module_utils._release.releases import lock_for, release_id
from ..plugin_utils._display.terminal import display
from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet.decision import AppDecision
from ..plugin_utils._fleet.declared import declaration, plain
from ..plugin_utils._fleet.runs import Notes
from ..plugin_utils._source.project import PACKAGE, TREE
from ..plugin_utils._stepaction import StepAction, send
from ..plugin_utils._wheels.wheelhouse import WheelSet, missing, pack


class ActionModule(StepAction):
    """The step stage: plan and wheels are those of the run's notes, the app and its secrets those of the inventory."""

    TRANSFERS_FILES = True
    phase = "stage"
    module = "headcount.gunicorn.stage"
    in_check_mode = True

    def on_host(self, name: str, run: dict[str, str], gone: list[str], notes: Notes, variables: Variables) -> Result:
        """One copy of what the host lacks, and one module call."""
        declared = declaration(variables, self._templar)
        app = next((item for item in declared.apps if item["name"] == name), None)
        if app is None or declared.problems:
            raise AnsibleActionFail(f"{name}: stage: what is declared changed since the preflight")
        planned = notes.decision(declared.host).apps[name]
        if planned.release:
            found = WheelSet.from_dict(notes.wheels(str(planned.release)))
            app = {**app, "source": {**app["source"], "as": TREE if found.tree else PACKAGE}}
        arguments: Result = {
            "name": name,
            "app": {**app, "secrets": {}},
            "secrets": app["secrets"],
            "plan": planned.plan,
            "planning": planned.planning,
            "digest": planned.digest,
            "source_id": planned.source_id,
            "python": declared.variables["headcount_python"],
            "retune_at_boot": declared.variables["headcount_retune_at_boot"],
            "run": run,
            "gone": gone,
        }
        if not self._task.check_mode:
            arguments.update(self._wheels(planned, str(arguments["python"]), notes, variables))
        result = self.module_result(arguments, variables)
        if result.get("lacking"):
            # It was there when the host was probed; another app's run has pruned it since.
            arguments.update(self._wheels(planned, str(arguments["python"]), notes, variables, set(result["lacking"])))
            result = self.module_result(arguments, variables)
        for line in result.get("healed") or []:
            display(f"{variables['inventory_hostname']}: {name}: {line}")
        return result

    def _wheels(
        self, planned: AppDecision, python: str, notes: Notes, variables: Variables, wanted: set[str] | None = None
    ) -> Result:
        """The release for the interpreter `python`, and the archive of what the host lacks of it, sent to the host.

        `wanted`: what the host itself says that it lacks; None: what the probe did not find.
        """
        found = WheelSet.from_dict(notes.wheels(str(planned.release)))
        lock_text = lock_for(found.lock_text, python)
        release = {"release": {"id": release_id(lock_text), "lock_text": lock_text}}
        probe = plain(variables.get("headcount__probe")) or {}
        lacking = missing(found, set(probe.get("wheels") or []))
        if wanted is not None:
            lacking = tuple(item for item in found.files if item.sha256 in wanted)
        if not lacking:
            return release
        key = digest([item.sha256 for item in lacking])[:16]
        archive = notes.path / "wheels" / f"{key}.tar"
        if not archive.exists():
            pack(lacking, archive)
        return {**release, "wheels_archive": send(self, archive)}
