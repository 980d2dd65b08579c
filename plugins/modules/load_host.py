#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Look whether a machine can make the load of trials."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: load_host
short_description: Looks whether a machine can make the load of trials
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Looks for h2load and for the number of open files that a process may have, on the machine that it is delegated to.
  - Changes nothing. Fails, in words, when the machine cannot make the load and no package would help, or when none may
    be installed.
extends_documentation_fragment:
  - headcount.gunicorn._attributes
  - headcount.gunicorn._attributes.changes_nothing
options:
  name:
    description: The machine as C(load.from) names it; V(controller), or a host of the inventory.
    type: str
    required: true
  files:
    description: Open files that one process of the load may need.
    type: int
    default: 0
  install:
    description: Whether the packages that are returned will be installed. Never so on the controller.
    type: bool
    default: true
requirements:
  - Python 3.9 or later
"""

EXAMPLES = r"""
- name: Look whether the load host can make the load
  headcount.gunicorn.load_host:
    name: loadgen1
  delegate_to: loadgen1
"""

RETURN = r"""
name:
  description: The machine.
  type: str
  returned: success
packages:
  description: Packages that have to be installed there first; mostly none.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._steps.loadhost import NotLoaded, lacking_packages


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "files": {"type": "int", "default": 0},
            "install": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    name = module.params["name"]
    try:
        packages = lacking_packages(name, module.params["files"], module.params["install"])
    except NotLoaded as error:
        module.fail_json(msg=f"load.from: {error}")
    module.exit_json(changed=False, name=name, packages=packages)


if __name__ == "__main__":
    main()
