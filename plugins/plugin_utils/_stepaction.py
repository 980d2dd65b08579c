# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the action plugins share: those that stay on the controller, and the steps.

A step is one module call on the host, noted in the run, with causes in plain words.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

from ..module_utils._os.secrecy import clean, learn, publish
from ..module_utils._plan.types import bare_values
from ._display.text import last_line
from ._edge import Json, Result, Variables
from ._fleet.declared import plain
from ._fleet.outcome import Outcomes
from ._fleet.runs import Notes, RunError
from ._output.plantable import size_words

FLEET = "headcount__fleet"
"""The variable in which a play keeps the result of the plan (or of begin_run): run, notes and runs that are gone."""


def this_run(variables: Variables, task: str) -> tuple[dict[str, str], list[str], Notes]:
    """The run that a task belongs to, the runs that are gone, and the run's notes."""
    fleet = plain(variables.get(FLEET))
    if not fleet or "run" not in fleet:
        raise AnsibleActionFail(
            f"{task}: no run was begun in this playbook; "
            f"let the role plan (or the action begin_run, registered as {FLEET}) go first"
        )
    return dict(fleet["run"]), [str(item) for item in fleet["gone"]], Notes(Path(str(fleet["notes"])))


def outcomes_so_far(variables: Variables, task: str) -> tuple[Json, Outcomes]:
    """The plan of the fleet that a task of a play belongs to, and what came of its apps so far."""
    _, _, notes = this_run(variables, task)
    try:
        return variables[FLEET], notes.outcomes()
    except RunError as error:
        raise AnsibleActionFail(f"{task}: {error}") from error


def templated(templar: Any, variables: Variables, name: str) -> Any:
    """The value of a variable as a task would see it; None when it is not set."""
    return plain(templar.template(variables[name])) if name in variables else None


def without_secrets(templar: Any, variables: Variables, name: str, told: Result) -> Result:
    """`told` of app `name` without the values of its declared secrets.

    The host's modules leave them out themselves; this is for what ends without a module's words (a crash, a command).
    """
    try:
        apps = templated(templar, variables, "headcount_apps")
    except AnsibleError:
        apps = None  # what cannot be templated was never given to the host
    for app in apps if isinstance(apps, list) else []:
        if isinstance(app, Mapping) and app.get("name") == name and isinstance(app.get("secrets"), Mapping):
            learn(str(value) for value in app["secrets"].values())
            publish(name, app)
    cleaned: Result = clean(told)
    return cleaned


def send(action: ActionBase, archive: Path) -> str:
    """Copy a file to the host's temporary directory; Ansible removes that when the task is done."""
    shell = action._connection._shell
    if shell.tmpdir is None:
        action._make_tmp_path()
    remote: str = shell.join_path(shell.tmpdir, archive.name)
    action._transfer_file(str(archive), remote)
    return remote


class ControllerAction(ActionBase):
    """An action that is called once for a whole play or batch, on the controller; hosts are not connected to."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS: frozenset[str] = frozenset()


_KEPT_IN_NOTES = ("plan", "planning", "evidence", "measured", "verdict", "self_healed")


class StepAction(ActionBase):
    """A step on one host: runs the module of the same name there and notes what came of it.

    A host that cannot be reached any more is a failed step, not an unreachable host: the play's rescue decides what
    that means for the rollout, and the notes tell it apart.
    """

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = True

    phase = ""
    module = ""
    in_check_mode = False
    heals_itself = True
    """Whether a module that says why it failed has healed the host itself."""

    def run(self, tmp: None = None, task_vars: Variables | None = None) -> Result:
        """The module's result; on failure with `phase` and `cause` in words for people."""
        variables = task_vars or {}
        result: Result = super().run(tmp, variables)
        name = self._task.args.get("name")
        if not name:
            raise AnsibleActionFail(f"{self.phase}: the name of the app is missing")
        if self._task.check_mode and not self.in_check_mode:
            result.update(skipped=True, changed=False, msg="not done in check mode")
            return result
        run, gone, notes = this_run(variables, self.phase)
        host = str(variables["inventory_hostname"])
        begin = time.monotonic()
        try:
            result.update(self.on_host(str(name), run, gone, notes, variables))
        except AnsibleConnectionFailure as error:
            from ._display.unreached import connection_words

            cause = f"the connection to the host was lost: {connection_words(getattr(error, 'message', error))}"
            result.update(failed=True, lost=True, cause=cause, phase=self.phase)
        except RunError as error:
            result.update(failed=True, cause=str(error), phase=self.phase)
        if result.get("failed"):
            # Before anything of it is cut to a length: the beginning of a secret would not be known as one.
            result = without_secrets(self._templar, variables, str(name), result)
            result.update(in_words(str(name), self.phase, result))
            result["self_healed"] = bool(result.get("self_healed")) and self.heals_itself
        if not self._task.check_mode:
            outcome = notes.outcome(host, str(name))
            notes.write_outcome(outcome.after(self.phase, result, time.monotonic() - begin, time.time()))
        return self.shown(result)

    def on_host(self, name: str, run: dict[str, str], gone: list[str], notes: Notes, variables: Variables) -> Result:
        """Run the module on the host."""
        arguments = {key: value for key, value in self._task.args.items() if value is not None}
        return self.module_result({**arguments, "run": run, "gone": gone}, variables)

    def module_result(self, arguments: Result, variables: Variables) -> Result:
        """The module's result without what was handed in."""
        result: Result = self._execute_module(module_name=self.module, module_args=arguments, task_vars=variables)
        result.pop("invocation", None)
        return result

    def shown(self, result: Result) -> Result:
        """What the task returns: no plans and no samples. The notes keep everything."""
        shown = {key: value for key, value in result.items() if key not in _KEPT_IN_NOTES}
        settings = bare_values(result.get("plan"))
        if settings.get("worker_class"):
            shown["size"] = f"{settings['worker_class']} {size_words(settings)}"
        verdict = result.get("verdict")
        if verdict:
            shown["verdict"] = {key: verdict.get(key) for key in ("outcome", "cause")}
        return shown


def in_words(name: str, phase: str, result: Json) -> Result:
    """`phase`, `cause` and `msg` of a failed step: the module's own, or what can be told of one that gave no answer."""
    if result.get("cause"):
        from ._display.lacking import with_fix

        where = str(result.get("phase") or phase)
        cause = with_fix(str(result["cause"]), where)
        # A module that can say why has healed the host itself, unless the error is Headcount's own.
        right = not result.get("lost") and where != "internal"
        return {
            "phase": where,
            "cause": cause,
            "msg": f"{name}: {where}: {cause}",
            "self_healed": right,
        }
    result = _item_of_loop(result)
    said = last_line(result.get("module_stderr")) or last_line(result.get("module_stdout"))
    code = result.get("rc")
    if said or "module_stdout" in result:
        cause = f"the step ended without an answer (exit status {code}): {said or 'it was killed'}"
    else:
        # A command of the user's own task file tells why on its standard error; Ansible only that it failed.
        own = _own_words(result) if result.get("msg") == "non-zero return code" else ""
        cause = own or last_line(result.get("msg")) or "no reason was given"
    return {"phase": phase, "cause": cause, "msg": f"{name}: {phase}: {cause}"}


def _own_words(result: Json) -> str:
    """The last line that a command wrote; with a terminal between, ssh's own goodbye is on its standard error."""
    for stream in ("stderr", "stdout"):
        lines = [line for line in str(result.get(stream) or "").splitlines() if "Shared connection to" not in line]
        found = last_line("\n".join(lines))
        if found:
            return found
    return ""


def _item_of_loop(result: Json) -> Json:
    """The first failed item of a loop's result; the result itself where there was no loop."""
    items = result.get("results")
    failed = [item for item in items if isinstance(item, Mapping) and item.get("failed")] if items else []
    return failed[0] if failed else result
