# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Prepares a release before its candidate is first started. The documentation is in plugins/modules/prepare.py."""

from __future__ import annotations

from collections.abc import Sequence

from ansible.errors import AnsibleConnectionFailure

from ..plugin_utils._display.terminal import display
from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet.prepares import LOST, Claims, Todo
from ..plugin_utils._fleet.runs import Notes
from ..plugin_utils._stepaction import StepAction, in_words


def _waits_for(first: str, host: str, todo: Sequence[Todo], claims: Claims) -> str:
    """Why no host but `first` may run what the fleet needs once: it may be under way there. Empty where `host` may."""
    if first in ("", host) or all(one.each_host for one in todo) or claims.done_by(first):
        return ""
    return (
        f"a command that the fleet needs once was begun on {first} by a run before, nothing is known of its end, and "
        f"{first} did not come to run it: no other host does; fix: roll {claims.name} out to {first} first"
    )


class ActionModule(StepAction):
    """The step prepare: what the whole fleet needs once is run by one host, and the others wait for its end."""

    phase = "prepare"
    module = "headcount.gunicorn.prepare"

    def on_host(self, name: str, run: dict[str, str], gone: list[str], notes: Notes, variables: Variables) -> Result:
        """One module call, or none where nothing is left to run here."""
        host = str(variables["inventory_hostname"])
        decided = notes.decision(host).apps[name]
        todo = [Todo.from_dict(one) for one in decided.prepare]
        claims = Claims(notes.path, name)
        with claims.turn():
            failed = claims.failure(todo) or _waits_for(decided.unsettled, host, todo, claims)
            if failed:
                self.heals_itself = False  # nothing was asked of this host: its candidate is still to be put away
                return {"failed": True, "changed": False, "phase": self.phase, "cause": failed}
            left = claims.left(todo)
            shared = [one for one in left if not one.each_host]
            if shared:
                claims.begin(shared, host)
                try:
                    result = self._call(left, run, gone, variables)
                except AnsibleConnectionFailure:
                    claims.end(shared, host, LOST)
                    raise
                cause = in_words(name, self.phase, result)["cause"] if result.get("failed") else ""
                claims.end(shared, host, str(cause))
                return result
        return self._call(left, run, gone, variables) if left else {"changed": False, "prepared": []}

    def _call(self, left: Sequence[Todo], run: dict[str, str], gone: list[str], variables: Variables) -> Result:
        arguments = {key: self._task.args[key] for key in ("name", "generation")}
        commands = [{"run": one.run, "key": one.key, "seconds": one.seconds, "creates": one.creates} for one in left]
        result = self.module_result({**arguments, "commands": commands, "run": run, "gone": gone}, variables)
        who = f"{variables['inventory_hostname']}: {arguments['name']}"
        for line in result.get("told") or []:
            display(f"{who}: {line}")
        for one in result.get("prepared") or []:
            display(f"{who}: `{one['run']}` has run ({one['seconds']} s)")
        return result
