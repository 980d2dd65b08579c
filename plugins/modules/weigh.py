#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Weigh a candidate: what its guesses really are."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: weigh
short_description: Measures a candidate with one worker and finishes its plan
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Starts the generation with one worker on a private socket for a few seconds and measures memory per worker and
    slot (PSS, USS), and CPU time against wall time per request.
  - Finishes the plan with what was measured, rewrites the generation's files with it, and finishes the generation.
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
    required: true
requirements:
  - Python 3.9 or later and systemd on the host
"""

EXAMPLES = r"""
- name: Weigh the candidate
  headcount.gunicorn.weigh:
    name: shop
    generation: 7
    run: "{{ headcount_run }}"
"""

RETURN = r"""
measured:
  description: What was measured, with units in the names.
  type: dict
  returned: success
plan:
  description: The finished plan.
  type: dict
  returned: success
mismatch:
  description: The sentence that tells a contradicted profile, with both figures.
  type: str
  returned: when the app contradicts its declared profile
warnings_told:
  description: What the plan warns of.
  type: list
  elements: str
  returned: success
log:
  description: The last lines that the generation logged.
  type: list
  elements: str
  returned: failure
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

from ..module_utils._steps.weigh import weigh
from ..module_utils._wiring import RUN_OPTIONS, app_on_host, finish


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "generation": {"type": "int", "required": True},
            **RUN_OPTIONS,
        },
        supports_check_mode=False,
    )
    name = module.params["name"]
    app = app_on_host(module, name)
    finish(module, name, lambda: weigh(app, module.params["generation"]))


if __name__ == "__main__":
    main()
