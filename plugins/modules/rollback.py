#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Go back to an earlier generation."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: rollback
short_description: Rolls an app back to an earlier generation
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Needs nothing but what is on the host - no network and no build, and no live generation that works.
  - A broken live generation leaves as soon as the target answers, and the rollback waits for it only while it drains.
  - A target that does not come up healthy is not kept. Asking for what is not there fails with the list of what is.
extends_documentation_fragment:
  - headcount.gunicorn._attributes
  - headcount.gunicorn._run
attributes:
  check_mode:
    support: full
    details:
      - Tells which generation it would go back to, or why it could not.
  diff_mode:
    support: none
    details:
      - It changes what runs, not text.
options:
  name:
    description: Name of the app.
    type: str
    required: true
  to:
    description: Number of the generation to go back to. The default is the good one before the live.
    type: int
  to_former:
    description:
      - Whether the address goes back to the service that the app was taken over from; then no generation is live.
      - Not beside O(to).
    type: bool
  leave:
    description: Number of the generation that is to be left. Where another one is live meanwhile, nothing is changed.
    type: int
  event:
    description: What the ledger calls it - a person's rollback, or the revert of a fleet whose rollout stopped.
    type: str
    choices: [rolled_back, reverted]
    default: rolled_back
requirements:
  - Python 3.9 or later and systemd on the host
"""

EXAMPLES = r"""
- name: Roll back to the good generation before the live one
  headcount.gunicorn.rollback:
    name: shop
    run: "{{ headcount_run }}"
"""

RETURN = r"""
from:
  description: Number of the generation that was live before.
  type: int
  returned: success
to:
  description: Number of the generation that is live now.
  type: int
  returned: success, where it goes back to a generation
former:
  description: The service that has its address again.
  type: str
  returned: success, with O(to_former)
told:
  description: What a person is to know of it; what users got while it was under way, where requests failed.
  type: list
  elements: str
  returned: success
phase:
  description: Which step failed.
  type: str
  returned: failure
cause:
  description: Why, in one sentence.
  type: str
  returned: failure
busy:
  description: Another run holds the app; I(msg) names it.
  type: bool
  returned: when the lock was refused
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._steps.app import AppOnHost
from ..module_utils._steps.giveback import give_back, recorded
from ..module_utils._steps.rollback import rollback, rollback_target
from ..module_utils._wiring import RUN_OPTIONS, app_on_host, finish


def given_back(app: AppOnHost) -> dict[str, object]:
    """What came of it, as a result."""
    done = give_back(app)
    return {"from": done["live"], "former": done["former"], "told": done["told"]}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "to": {"type": "int"},
            "to_former": {"type": "bool"},
            "leave": {"type": "int"},
            "event": {"type": "str", "choices": ["rolled_back", "reverted"], "default": "rolled_back"},
            **RUN_OPTIONS,
        },
        mutually_exclusive=[("to", "to_former")],
        supports_check_mode=True,
    )
    name = module.params["name"]
    app = app_on_host(module, name)
    if module.params["to_former"]:
        finish(module, name, lambda: {"former": recorded(app).unit} if module.check_mode else given_back(app))
    if module.check_mode:
        finish(module, name, lambda: {"to": rollback_target(app, module.params["to"])})
    to, event, leave = (module.params[key] for key in ("to", "event", "leave"))
    finish(module, name, lambda: rollback(app, to, event, leave=leave))


if __name__ == "__main__":
    main()
