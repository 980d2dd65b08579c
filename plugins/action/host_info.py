# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Probes a host for the apps that it declares. The documentation is in plugins/modules/host_info.py."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from ansible.plugins.action import ActionBase

from ..module_utils._declaration.app import Load
from ..module_utils._declaration.origin import trial_listen
from ..module_utils._generation import sandbox
from ..plugin_utils._edge import Json, Result, Variables
from ..plugin_utils._fleet.declared import declaration

OWN = Path(__file__).resolve().parents[1] / "module_utils"


class ActionModule(ActionBase):
    """Asks for the apps of the inventory, unless the task names others. Nothing secret is sent.

    One remote call where the tool on the host is this collection's own: that reads with what it has compiled before.
    Else a second one, which brings the code along: to a host that has nothing of Headcount the little that tells what
    it is, and that nothing of an app is there. All the rest, in a third one, only where something is.
    """

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
            arguments.setdefault("sandbox", sandbox.lines({}))
            arguments.setdefault("slice", apps[0]["slice"] if apps else "system.slice")
        found = self._ask("tool_info", arguments, variables)
        if not found.get("unreachable") and not _is_own(found.pop("modules", ()), str(found.pop("digest", ""))):
            fresh = found.pop("nothing", False) and not any(map(_looked_into, arguments["apps"]))
            found = self._ask("host_info", arguments, variables) if fresh else {"beyond": True}
            if found.pop("beyond", ()):
                found = self._ask("apps_info", arguments, variables)
        result.update(found)
        result.pop("invocation", None)
        return result

    def _ask(self, name: str, arguments: Result, variables: Variables) -> Result:
        asked: Result = self._execute_module(
            module_name=f"headcount.gunicorn.{name}", module_args=arguments, task_vars=variables
        )
        return asked


def _is_own(modules: Sequence[str], digest: str) -> bool:
    """Whether the code that answered is the one that would be sent."""
    own = hashlib.sha256()
    for name in modules:
        path = OWN / f"{name}.py"
        if not re.fullmatch(r"\w+(/\w+)*", name) or not path.is_file():
            return False
        own.update(path.read_bytes())
    return bool(modules) and own.hexdigest() == digest


def _looked_into(app: Json) -> bool:
    """Whether an app declares what only `apps_info` looks into."""
    return bool(app.get("former") or (app.get("data") or {}).get("outside"))


def _asked(app: Json) -> Result:
    """What the host is told of an app that is to be looked at."""
    candidate = trial_listen(app["listen"], Load.from_dict(app["load"]))
    keys = ("name", "listen", "slice", "user", "data", "listen_group", "listen_mode", "former")
    asked = {key: app[key] for key in keys if key in app}
    schedules = {name: one["schedule"] for name, one in (app.get("processes") or {}).items() if one.get("schedule")}
    if schedules:
        asked["processes"] = {name: {"schedule": schedule} for name, schedule in schedules.items()}
    if app.get("former") and app.get("sandbox"):
        asked["sandbox"] = {key: app["sandbox"][key] for key in ("groups", "umask") if key in app["sandbox"]}
    if app.get("load_test"):
        asked["load_test"] = {"calendar": app["load_test"]["calendar"]}
    return {**asked, "trial_listen": candidate} if candidate else asked
