# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Writes the first inventory entry of a project. The documentation is in plugins/modules/new_app.py."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean

from ..plugin_utils._display.terminal import display
from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._fleet import runs
from ..plugin_utils._newapp import flow
from ..plugin_utils._newapp.proposal import questions_text
from ..plugin_utils._newapp.subject import Unknown, unwritable
from ..plugin_utils._newapp.types import Answers
from ..plugin_utils._stepaction import ControllerAction, templated


def _failed(source: str, error: Exception) -> str:
    return f"new_app: {source} {flow.again(error) or f'cannot work as it is: {error}'}"


class ActionModule(ControllerAction):
    """One call, on the controller alone. A file that is there already is a person's, and stays."""

    _VALID_ARGS = frozenset(
        {
            *("source", "dest", "name", "host", "force"),
            *("environment", "requirements", "lock", "entry_point", "subdirectory", "python"),
        }
    )

    def run(self, tmp: None = None, task_vars: Variables | None = None) -> Result:
        """The entry, its questions, and whether a file was written."""
        variables = task_vars or {}
        result: Result = super().run(tmp, variables)
        source = str(self._task.args.get("source") or "")
        if not source:
            raise AnsibleActionFail("new_app: source is missing: a folder, a wheel, a URL of git or NAME==VERSION")
        dest = str(self._task.args.get("dest") or "")
        if wrong := unwritable(dest):
            raise AnsibleActionFail(f"new_app: dest is {dest!r}, which {wrong}")
        if dest and self._stays(Path(dest)):
            kept = f"{dest} is there already and is left as it is; force: true writes it anew"
            display(kept)
            return {**result, "changed": False, "dest": dest, "msg": kept}
        try:
            entry, failure = self._look(source, dest, variables), ""
        except flow.Unfinished as error:
            entry, failure = error.entry, _failed(source, error.cause)
        questions = questions_text(entry.proposal.questions)
        path = Path(dest or f"{entry.proposal.entry['name']}.yml")
        display("\n".join(questions))
        result.update(
            changed=not self._stays(path), dest=str(path), questions=questions, ready=entry.ready, entry=entry.text
        )
        if result["changed"] and not self._task.check_mode:
            _write(path, entry.text)
        if failure:
            kept = f"; what is known without it is in {path}, and asks for the rest" if result["changed"] else ""
            result.update(failed=True, msg=f"{failure}{kept}")
        return result

    def _stays(self, path: Path) -> bool:
        return os.path.lexists(path) and not boolean(self._task.args.get("force", False))

    def _look(self, source: str, dest: str, variables: Variables) -> flow.Entry:
        host = str(self._task.args.get("host") or "")
        cache = runs.work_dir(templated(self._templar, variables, "headcount_work_dir")) / "wheelhouse"
        beside = Path(dest).parent if host and dest else None
        try:
            return flow.entry(source, flow.Tools(cache, say=display), host, beside, self._answers())
        except (Unknown, flow.WheelhouseError) as error:
            raise AnsibleActionFail(_failed(source, error)) from None  # which Ansible would tell once more

    def _answers(self) -> Answers:
        given = self._task.args
        environment, requirements = given.get("environment") or {}, given.get("requirements") or []
        if not isinstance(environment, Mapping) or not isinstance(requirements, (list, tuple)):
            raise AnsibleActionFail("new_app: environment is a mapping of names to values, requirements is a list")
        return Answers(
            str(given.get("name") or ""),
            {str(name): str(value) for name, value in environment.items()},
            tuple(str(word) for word in requirements),
            str(given.get("lock") or ""),
            str(given.get("entry_point") or ""),
            str(given.get("subdirectory") or ""),
            str(given.get("python") or ""),
        )


def _write(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        raise AnsibleActionFail(f"new_app: {str(path)[:200]} cannot be written: {error.strerror}") from error
