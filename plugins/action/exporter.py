# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Has a host tell Prometheus how its apps run. The documentation is in plugins/modules/exporter.py."""

from __future__ import annotations

from ansible.plugins.action import ActionBase

from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet.declared import declaration, exporter_listen, plain


class ActionModule(ActionBase):
    """Where the probe saw what the inventory declares, no remote call; where it brought nothing, neither."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"listen"})

    def run(self, tmp: None = None, task_vars: Variables | None = None) -> Result:
        """The module's result."""
        variables = task_vars or {}
        result: Result = super().run(tmp, variables)
        listen = self._task.args.get("listen")
        if listen is None:
            listen = exporter_listen(declaration(variables, self._templar))
            probe = plain(variables.get("headcount__probe")) or {}
            if probe.get("exporter") in (None, listen):
                return {**result, "changed": False, "listen": listen}
        arguments = {"listen": str(listen)}
        result.update(
            self._execute_module(module_name="headcount.gunicorn.exporter", module_args=arguments, task_vars=variables)
        )
        result.pop("invocation", None)
        return result
