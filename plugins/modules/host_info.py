#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Probe a host: what it is, and what of each app is on it."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_info
short_description: Reads what a host is and what of each app is on it
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - One read-only call for all apps of a host - its cores and RAM as a service really gets them, the live generation
    of each app, whether its files are intact, whether it is healthy, what broken runs left, who holds its lock, and
    what of somebody else's is in its way (units, drop-ins, folders, an account, the address).
  - The host's own tool is asked first (M(headcount.gunicorn.tool_info)). To a host that has nothing of Headcount goes
    this module, which tells what the host is, and that nothing of the apps is there; where it finds anything that
    has to do with one (RV(beyond)), and where the tool is another version, M(headcount.gunicorn.apps_info) goes there.
extends_documentation_fragment:
  - headcount.gunicorn._attributes
  - headcount.gunicorn._attributes.changes_nothing
  - headcount.gunicorn._probe
requirements:
  - Python 3.9 or later and systemd on the host
seealso:
  - module: headcount.gunicorn.apps_info
  - module: headcount.gunicorn.tool_info
"""

EXAMPLES = r"""
- name: Probe the host
  headcount.gunicorn.host_info:
    apps:
      - name: shop
        listen: "0.0.0.0:8000"
"""

RETURN = r"""
beyond:
  description: What the module by itself does not look into, a few words each.
  type: list
  elements: str
  returned: success, from the module by itself
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

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._host.firstlook import first_look


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "apps": {"type": "list", "elements": "dict", "required": True},
            "slice": {"type": "str", "default": "system.slice"},
            "python": {"type": "path", "default": "/usr/bin/python3"},
            "sandbox": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    asked = [module.params[key] for key in ("apps", "slice", "python", "sandbox")]
    module.exit_json(changed=False, **first_look(*asked))


if __name__ == "__main__":
    main()
