# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What came of a run, kept in ARA (ara.recordsansible.org) beside the playbook that it records."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Final

from .._edge import Variables

KEY: Final = "headcount"
ACTION: Final = "ara.plugins.action.ara_record"


def record(action: Any, variables: Variables, told: Mapping[str, object], page: str) -> str:
    """Record `told` as `headcount` and where the page lies as `headcount_report`, as the task `ara_record` would that
    is called by `action`; why that failed, or an empty text: no run fails by it."""
    try:
        for key, value, kind in ((KEY, dict(told), "dict"), (f"{KEY}_report", page, "text")):
            task = action._task.copy()
            task.args = {"key": key, "value": value, "type": kind}
            made = importlib.import_module(ACTION).ActionModule(
                task=task,
                connection=action._connection,
                play_context=action._play_context,
                loader=action._loader,
                templar=action._templar,
                shared_loader_obj=action._shared_loader_obj,
            )
            done = made.run(task_vars=variables)
            if done.get("failed"):
                return str(done.get("msg"))
    except Exception as error:  # whatever ARA's server, or another version of it, makes of this
        return f"{type(error).__name__}: {error}"
    return ""
