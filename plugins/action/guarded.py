# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Asks a host that was promoted earlier in this run what its guards came to. The documentation is in
plugins/modules/guarded.py."""

from __future__ import annotations

import time

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ..plugin_utils._display.terminal import display
from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet.declared import plain
from ..plugin_utils._fleet.guards import heard
from ..plugin_utils._fleet.runs import Notes
from ..plugin_utils._stepaction import in_words, this_run


class ActionModule(ActionBase):
    """One read-only call on the host that the task is delegated to; what it says is noted in the run.

    One that does not answer is told of and says nothing of the app: neither it nor the host that asks fails for that.
    """

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"host", "generations"})

    def run(self, tmp: None = None, task_vars: Variables | None = None) -> Result:
        """Whether the host answered (`answered`), and what each guard found (`found`), in sentences."""
        variables = task_vars or {}
        result: Result = super().run(tmp, variables)
        notes = this_run(variables, "guarded")[2]
        host, asked = str(self._task.args["host"]), plain(self._task.args["generations"])
        try:
            answer = self._execute_module(
                module_name="headcount.gunicorn.guarded", module_args={"generations": asked}, task_vars=variables
            )
            why = in_words("", "guarded", answer)["cause"] if answer.get("failed") else ""
        except AnsibleConnectionFailure as error:
            from ..plugin_utils._display.unreached import connection_words

            answer, why = {}, connection_words(getattr(error, "message", error))
        if why:
            display(f"{host}: what its guard came to is not known: {why}")
        found = note(notes, host, answer.get("guards") or {}) if not why else []
        for words in found:
            display(words)
        result.update(changed=False, answered=not why, found=found)
        return result


def note(notes: Notes, host: str, answers: Result) -> list[str]:
    """Note what the guards of a host came to; in sentences, what they found that was not known."""
    found = []
    for app, answer in answers.items():
        before = notes.outcome(host, app)
        after = heard(before, answer, time.time())
        if after == before:
            continue
        notes.write_outcome(after)
        if after.cause != before.cause:
            found.append(f"{host}: {app}: {after.cause}")
    return found
