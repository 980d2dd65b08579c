#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Probe a host with the tool that is on it, so that nothing has to be sent and compiled."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: tool_info
short_description: Reads what host_info reads, with the tool that is on the host
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Has the C(headcount) command's own code on a host read what M(headcount.gunicorn.host_info) reads. That module asks
    this one first, and believes the answer where the code on the host is its own, by SHA-256.
  - Fails where there is no such tool, as on a host that has no app yet (then it tells whether the host has RV(nothing)
    of Headcount at all), or where it is another version that cannot.
extends_documentation_fragment:
  - headcount.gunicorn._attributes
  - headcount.gunicorn._attributes.changes_nothing
  - headcount.gunicorn._probe
options:
  tool:
    description: The folder of the tool.
    type: path
    default: /usr/local/lib/headcount/current
requirements:
  - Python 3.9 or later and systemd on the host
seealso:
  - module: headcount.gunicorn.host_info
"""

EXAMPLES = r"""
- name: Probe the host with its own tool
  headcount.gunicorn.tool_info:
    apps:
      - name: shop
        listen: "0.0.0.0:8000"
"""

RETURN = r"""
nothing:
  description: Whether the host has neither a tool nor any folder of Headcount.
  type: bool
  returned: failure
modules:
  description: Parts of the tool's code that answered, below its package.
  type: list
  elements: str
  returned: success
digest:
  description: SHA-256 of the sources of RV(modules), one after the other.
  type: str
  returned: success
facts:
  description: >-
    Host facts; cores and memory with the limit that set them, and the Python that releases run on, with what is wrong
    with it, if anything is.
  type: dict
  returned: success
apps:
  description: State of each app by name.
  type: dict
  returned: success
installed:
  description: >-
    Names of all apps that Headcount has on this host, declared or not. Those that were removed, and of which the ledger
    stays, are not among them.
  type: list
  elements: str
  returned: success
wheels:
  description: SHA-256 of the wheels that are on the host.
  type: list
  elements: str
  returned: success
exporter:
  description: Where the host's exporter listens; empty where there is none, C(changed) where its unit was edited or is
    that of another version, C(stopped) where it does not run, C(masked) where somebody masked it.
  type: str
  returned: success
compiler:
  description: Path of the host's C compiler; none where there is none. A host with one is asked first to build wheels.
  type: str
  returned: success
"""

import gc
import os
import sys
from importlib import import_module

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "apps": {"type": "list", "elements": "dict", "required": True},
            "slice": {"type": "str", "default": "system.slice"},
            "python": {"type": "path", "default": "/usr/bin/python3"},
            "sandbox": {"type": "list", "elements": "str", "default": []},
            "tool": {"type": "path", "default": "/usr/local/lib/headcount/current"},
        },
        supports_check_mode=True,
    )
    sys.dont_write_bytecode = True
    gc.disable()  # the process ends with its answer: nothing that it makes is worth collecting
    sys.path.insert(0, os.path.realpath(module.params["tool"]))
    try:
        tool = import_module("headcount._host.probe")
    except ImportError as error:
        places = (module.params["tool"], "/opt/headcount", "/var/lib/headcount")
        module.fail_json(
            msg=f"{module.params['tool']} is no tool that can probe: {error}",
            nothing=not any(map(os.path.lexists, places)),
        )
    asked = [module.params[key] for key in ("apps", "slice", "python", "sandbox")]
    try:
        found = tool.probe(*asked)
    except TypeError as error:  # one that is not asked for this much
        module.fail_json(msg=f"{module.params['tool']} is of another version: {error}")
    module.exit_json(changed=False, **tool.sources(), **found)


if __name__ == "__main__":
    main()
