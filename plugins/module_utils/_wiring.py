# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the modules that change a host share: their arguments, and how a step's end becomes a module's result."""

from __future__ import annotations

import traceback
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule

from ._generation.failures import StepFailed
from ._generation.lock import Busy, Run
from ._steps.app import AppOnHost

RUN_OPTIONS: dict[str, Any] = {
    "run": {
        "type": "dict",
        "required": True,
        "options": {
            "id": {"type": "str", "required": True},
            "user": {"type": "str", "required": True},
            "controller": {"type": "str", "required": True},
            "started": {"type": "str", "required": True},
        },
    },
    "gone": {"type": "list", "elements": "str", "default": []},
}
"""Every step says which run it belongs to, and which other runs are known to have ended."""


def app_on_host(module: AnsibleModule, name: str) -> AppOnHost:
    """The app that this module call works on."""
    return AppOnHost(
        name,
        Run.from_dict(module.params["run"]),
        gone=frozenset(module.params["gone"]),
        say=lambda words: module.warn(f"{name}: {words}"),
    )


def finish(module: AnsibleModule, name: str, step: Callable[[], dict[str, Any]], changed: bool = True) -> None:
    """Run `step` and end the module with its result, or with the first cause in plain words."""
    try:
        result = step()
    except Busy as error:
        module.fail_json(msg=f"{name}: {error}", busy=True, phase="lock", cause=str(error))
    except StepFailed as error:
        module.fail_json(
            msg=f"{name}: {error.phase}: {error.cause}", phase=error.phase, cause=error.cause, evidence=error.evidence
        )
    except Exception as error:  # an error of Headcount itself: its traceback is the evidence
        module.fail_json(
            msg=f"{name}: unexpected {type(error).__name__}: {error}",
            phase="internal",
            cause=f"unexpected {type(error).__name__}: {error}",
            exception=traceback.format_exc(),
        )
    module.exit_json(**{"changed": changed, **result})
