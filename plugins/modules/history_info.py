#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read the ledgers of a host."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: history_info
short_description: Reads the append-only history of the apps of a host
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Returns the events of the ledgers, newest first.
extends_documentation_fragment:
  - headcount.gunicorn._attributes
  - headcount.gunicorn._attributes.changes_nothing
options:
  names:
    description: Names of the apps; all that are on the host when empty.
    type: list
    elements: str
    default: []
  last:
    description: How many events of each app, at most.
    type: int
    default: 20
requirements:
  - Python 3.9 or later and systemd on the host
"""

EXAMPLES = r"""
- name: Read the history
  headcount.gunicorn.history_info:
    names: [shop]
"""

RETURN = r"""
entries:
  description: Events with time, event, app, who, from and to which generation, verdict and cause; newest first.
  type: list
  elements: dict
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._generation import ledger
from ..module_utils._os.paths import Layout, installed_apps
from ..module_utils._os.secrecy import clean
from ..module_utils._os.secretfiles import learn_from


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "default": []},
            "last": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    entries = [
        {"app": name, **entry}
        for name in module.params["names"] or installed_apps()
        for entry in ledger.read(Layout(name).ledger, module.params["last"])
    ]
    for name in module.params["names"] or installed_apps():
        learn_from(Layout(name).state)
    module.exit_json(changed=False, entries=sorted(clean(entries), key=lambda entry: entry["time"], reverse=True))


if __name__ == "__main__":
    main()
