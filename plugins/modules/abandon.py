#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""End a rollout that failed."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: abandon
short_description: Ends a failed rollout of an app and leaves the live generation serving
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Stops the candidate, keeps its files for diagnosis, writes the cause into the ledger, and gives up the lock.
extends_documentation_fragment:
  - headcount.gunicorn._attributes
  - headcount.gunicorn._attributes.starts_processes
  - headcount.gunicorn._run
options:
  name:
    description: Name of the app.
    type: str
    required: true
  generation:
    description: Number of the generation, as M(headcount.gunicorn.stage) returned it.
    type: int
    required: false
  phase:
    description: Which step failed.
    type: str
    required: true
  cause:
    description: Why, in one sentence.
    type: str
    required: true
requirements:
  - Python 3.9 or later and systemd on the host
"""

EXAMPLES = r"""
- name: End the rollout
  headcount.gunicorn.abandon:
    name: shop
    generation: 7
    phase: stage
    cause: the wheels could not be sent
    run: "{{ headcount_run }}"
"""

RETURN = r"""
live:
  description: Number of the generation that is live.
  type: int
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

from ..module_utils._steps.abandon import abandon
from ..module_utils._wiring import RUN_OPTIONS, app_on_host, finish


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "generation": {"type": "int", "required": False},
            "phase": {"type": "str", "required": True},
            "cause": {"type": "str", "required": True},
            **RUN_OPTIONS,
        },
        supports_check_mode=False,
    )
    name = module.params["name"]
    app = app_on_host(module, name)
    finish(
        module, name, lambda: abandon(app, module.params["generation"], module.params["phase"], module.params["cause"])
    )


if __name__ == "__main__":
    main()
