#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Look into all that a host has of each app, with code that is sent along."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: apps_info
short_description: Reads what host_info reads, where there is something of the apps
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Reads what M(headcount.gunicorn.host_info) reads, with code that is sent along. That module has this one asked where
    the host has anything to do with one of the apps, and no tool of the collection's own version
    (M(headcount.gunicorn.tool_info)), as after an update of the collection, or before an app takes over from a
    former service.
extends_documentation_fragment:
  - headcount.gunicorn._attributes
  - headcount.gunicorn._attributes.changes_nothing
  - headcount.gunicorn._probe
requirements:
  - Python 3.9 or later and systemd on the host
seealso:
  - module: headcount.gunicorn.host_info
"""

EXAMPLES = r"""
- name: Look into all that the host has of an app
  headcount.gunicorn.apps_info:
    apps:
      - name: shop
        listen: "0.0.0.0:8000"
"""

RETURN = r"""
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

from ..module_utils._host.probe import probe


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
    module.exit_json(
        changed=False,
        **probe(module.params["apps"], module.params["slice"], module.params["python"], module.params["sandbox"]),
    )


if __name__ == "__main__":
    main()
