#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Try a candidate beside the live generation."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: trial
short_description: Loads a candidate beside the live generation and judges it
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Starts the finished generation on a private socket, without user traffic, and loads it and the live generation
    at the same time.
  - Where C(load.from) of the app names another machine, one call begins the trial (the candidate gets a TCP port) and
    returns which load it wants; M(headcount.gunicorn.load) makes it there; one more call, with O(loaded), judges.
  - Succeeds only when the verdict is pass (or inconclusive where the app says that this may be promoted). Otherwise
    the candidate is stopped and kept as the bad one, the ledger says why, and the module fails with the first
    cause.
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
  address:
    description: Where the host is reached by a remote load. The action fills it in, with C(ansible_host).
    type: str
    default: ""
  loaded:
    description: What came of the remote load. In a task, V(true); the action fills in the rest.
    type: str
  pool:
    description:
      - What hosts of its class found of the same release, with C(headcount_pool_evidence) - how many C(hosts), their
        C(requests), and how many C(failures). The action fills it in.
    type: dict
requirements:
  - Python 3.9 or later and systemd on the host
"""

EXAMPLES = r"""
- name: Try the candidate
  headcount.gunicorn.trial:
    name: shop
    generation: 7
    run: "{{ headcount_run }}"
"""

RETURN = r"""
load:
  description: The remote load that is to be made now, before this module is called once more. No verdict yet.
  type: dict
  returned: when C(load.from) of the app names another machine
verdict:
  description: Outcome, cause and every check with value, limit, bounds and sentence.
  type: dict
  returned: success
evidence:
  description: What the verdict rests on.
  type: dict
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

from ..module_utils._steps.remotetrial import try_from
from ..module_utils._verdict.pooling import Pool
from ..module_utils._wiring import RUN_OPTIONS, app_on_host, finish


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "generation": {"type": "int", "required": True},
            "address": {"type": "str", "default": ""},
            "loaded": {"type": "str", "no_log": True},
            "pool": {"type": "dict"},
            **RUN_OPTIONS,
        },
        supports_check_mode=False,
    )
    name = module.params["name"]
    app = app_on_host(module, name)
    number, address, loaded = (module.params[key] for key in ("generation", "address", "loaded"))
    pool = Pool.of(module.params["pool"])
    finish(module, name, lambda: try_from(app, number, address, loaded, pool))


if __name__ == "__main__":
    main()
