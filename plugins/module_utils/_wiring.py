# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the modules that change a host share: their arguments, and how a step's end becomes a module's result."""

from __future__ import annotations

import traceback
from typing import Any, Callable, Mapping, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ._generation.failures import StepFailed
from ._generation.lock import Busy
from ._generation.run import Run
from ._os.paths import Layout
from ._os.secrecy import clean, clean_text
from ._os.secretfiles import learn_from
from ._steps.app import AppOnHost

RUN_OPTIONS: dict[str, object] = {
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
        say=lambda words: module.warn(clean_text(f"{name}: {words}")),
    )


def finish(module: AnsibleModule, name: str, step: Callable[[], Mapping[str, object]], changed: bool = True) -> None:
    """Run `step` and end the module with its result, or with the first cause in plain words."""
    try:
        result = step()
    except Busy as error:
        _fail(module, name, busy=True, phase="lock", cause=str(error), msg=f"{name}: {error}")
    except StepFailed as error:
        msg = f"{name}: {error.phase}: {error.cause}"
        _fail(module, name, phase=error.phase, cause=error.cause, evidence=error.evidence, msg=msg, log=error.log)
    except Exception as error:  # an error of Headcount itself: its traceback is the evidence
        _fail(
            module,
            name,
            msg=f"{name}: unexpected {type(error).__name__}: {error}",
            phase="internal",
            cause=f"unexpected {type(error).__name__}: {error}",
            exception=traceback.format_exc(),
        )
    learn_from(Layout(name).state)
    module.exit_json(**{"changed": changed, **clean(result)})


def _fail(module: AnsibleModule, name: str, **told: Any) -> NoReturn:
    """End the module as failed; no secret of the app is told."""
    learn_from(Layout(name).state)
    module.fail_json(**clean(told))
    raise AssertionError("fail_json() ends the process")
