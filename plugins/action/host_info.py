# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Probes a host for the apps that it declares. The documentation is in plugins/modules/host_info.py."""

from __future__ import annotations

from ansible.plugins.action import ActionBase

from ..module_utils._declaration.app import Load
from ..module_utils._declaration.origin import trial_listen
from ..module_utils._generation.units import HARDENING
from ..plugin_utils._edge import Json, Result, Variables
from ..plugin_utils._fleet.declared import declaration


class ActionModule(ActionBase):
    """Asks for the apps of the inventory, unless the task names others. One remote call; nothing secret is sent."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"apps", "slice", "python", "sandbox"})

    def run(self, tmp: None = None, task_vars: Variables | None = None) -> Result:
        """The module's result."""
        variables = task_vars or {}
        result: Result = super().run(tmp, variables)
        arguments = dict(self._task.args)
        if "apps" not in arguments:
            declared = declaration(variables, self._templar)
            apps = declared.apps
            arguments["apps"] = [_asked(app) for app in apps]
            arguments.setdefault("python", declared.variables["headcount_python"])
            arguments.setdefault("sandbox", HARDENING.splitlines())
            arguments.setdefault("slice", apps[0]["slice"] if apps else "system.slice")
        result.update(
            self._execute_module(module_name="headcount.gunicorn.host_info", module_args=arguments, task_vars=variables)
        )
        result.pop("invocation", None)
        return result


def _asked(app: Json) -> Result:
    """What the host is told of an app that is to be looked at."""
    candidate = trial_listen(app["listen"], Load.from_dict(app["load"]))
    asked = {key: app[key] for key in ("name", "listen", "slice", "user")}
    return {**asked, "trial_listen": candidate} if candidate else asked
