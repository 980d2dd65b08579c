#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make the load of a trial from the controller or from a load host."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: load
short_description: Makes the load of a trial from another machine than the app's host
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Belongs between two calls of M(headcount.gunicorn.trial) for an app whose C(load.from) is not its host, and is
    delegated to the controller or to the load host. What to load is in the notes of the run.
  - Warms candidate and live generation up and loads both at the same time, exactly as a trial on the host does. What
    came of each request goes into the notes of the run, for the host to judge.
  - Fails when the load cannot be made from there; M(headcount.gunicorn.abandon) then puts the candidate away.
extends_documentation_fragment:
  - headcount.gunicorn._attributes
attributes:
  check_mode:
    support: none
    details:
      - A load cannot be predicted; it is skipped in check mode.
  diff_mode:
    support: N/A
    details:
      - It changes nothing.
options:
  name:
    description: Name of the app.
    type: str
    required: true
  request:
    description: What to load, as JSON. The action fills it in.
    type: str
requirements:
  - Python 3.9 or later and h2load on the machine that makes the load
"""

EXAMPLES = r"""
- name: Load the candidate and the live generation from a load host
  headcount.gunicorn.load:
    name: shop
  delegate_to: loadgen1
"""

RETURN = r"""
cause:
  description: Why the load could not be made, in one sentence.
  type: str
  returned: failure
"""

import json

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._steps.loadhost import NotLoaded, make_load


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "request": {"type": "str", "no_log": True},
        },
        supports_check_mode=False,
    )
    try:
        done = make_load(json.loads(module.params["request"]))
    except NotLoaded as error:
        module.fail_json(msg=f"{module.params['name']}: {error}", cause=str(error))
    module.exit_json(changed=False, **done)


if __name__ == "__main__":
    main()
