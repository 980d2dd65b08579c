#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read the Gunicorns that services of a host run before Headcount does."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: former_info
short_description: Reads the Gunicorns that services of a host run
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - For each Gunicorn that a service of the host runs (a unit of systemd, also one that starts it by another program)
    its command line, its settings, its environment, its account, its sockets, and the servers of nginx before it.
    Those that Headcount runs are left out.
  - Nothing is run, and nothing of the app is imported. A C(gunicorn.conf.py) is read as far as it is made of literals.
  - The result holds the values of secrets, and with C(-vvv) Ansible prints every result as it came. The action
    M(headcount.gunicorn.adopt) has them sealed with O(key); used by itself without it, the task wants C(no_log).
extends_documentation_fragment:
  - headcount.gunicorn._attributes
  - headcount.gunicorn._attributes.changes_nothing
options:
  unit:
    description: Only the Gunicorns of this service.
    type: str
  slice:
    description: The systemd slice that apps are to run in; its limits count in the facts.
    type: str
    default: system.slice
  python:
    description: The Python interpreter that releases are to run on.
    type: path
    default: /usr/bin/python3
  key:
    description: With it RV(sealed) is returned instead of RV(running), which can be read with that key alone.
    type: str
requirements:
  - Python 3.9 or later and systemd on the host
"""

EXAMPLES = r"""
- name: Read what serves apps today
  headcount.gunicorn.former_info:
  no_log: true
  register: former
"""

RETURN = r"""
running:
  description: One dictionary for each Gunicorn.
  type: list
  elements: dict
  returned: success, without O(key)
sealed:
  description: RV(running) as JSON, sealed.
  type: str
  returned: success, with O(key)
not_looked_at:
  description:
    - What was left out, a sentence each. At most 50 Gunicorns are read, and no longer than 10 seconds, as accounts
      without rights can start any number of processes that look like one.
  type: list
  elements: str
  returned: success
own:
  description: The services that run an app of Headcount's own, by app and unit; they are left out.
  type: list
  elements: str
  returned: success
  sample: [shop (shop@3.service)]
facts:
  description: Host facts, as M(headcount.gunicorn.host_info) has them.
  type: dict
  returned: success
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._facts import hostfacts
from ..module_utils._former.running import running
from ..module_utils._former.sealed import seal


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str"},
            "slice": {"type": "str", "default": "system.slice"},
            "python": {"type": "path", "default": "/usr/bin/python3"},
            "key": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    facts = hostfacts.read(slice_=module.params["slice"], python=module.params["python"], apps=[]).to_dict()
    found, left, own = running(module.params["unit"], os.cpu_count() or 1)
    plain = [one.to_dict() for one in found]
    key = module.params["key"]
    told = {"sealed": seal(json.dumps(plain), key)} if key else {"running": plain}
    module.exit_json(changed=False, not_looked_at=left, own=own, facts=facts, **told)


if __name__ == "__main__":
    main()
