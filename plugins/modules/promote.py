#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Give the public socket to a generation."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: promote
short_description: Gives the socket of an app to a tried generation and verifies it there
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - The generation joins the live one on the shared socket and is watched there; then one rename makes it live, and
    the old one drains. No request is lost. Until the old one has left, it is asked through its own private socket, so
    that each answer is its own.
  - When it fails there, so does the module, and the generation before is live and serving; after a failed first
    deployment nothing is left running.
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
  verdict:
    description: The verdict of M(headcount.gunicorn.trial), for the ledger.
    type: dict
    default: {}
requirements:
  - Python 3.9 or later and systemd on the host
"""

EXAMPLES = r"""
- name: Promote the candidate
  headcount.gunicorn.promote:
    name: shop
    generation: 7
    verdict: "{{ tried.verdict }}"
    run: "{{ headcount_run }}"
"""

RETURN = r"""
from:
  description: Number of the generation that was live before; null on a first deployment.
  type: int
  returned: success
to:
  description: Number of the generation that is live now.
  type: int
  returned: success
verified:
  description: How long and how often it was watched on the real socket.
  type: dict
  returned: success
told:
  description: What a person is to know of it; what users got while it was under way, where requests failed.
  type: list
  elements: str
  returned: success
guarded:
  description: Whether the host watches it by itself from now on (C(guard) of the app).
  type: bool
  returned: success
pruned:
  description: Numbers of the generations that were removed.
  type: list
  elements: int
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

from ..module_utils._steps.promote import promote
from ..module_utils._wiring import RUN_OPTIONS, app_on_host, finish


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "generation": {"type": "int", "required": True},
            "verdict": {"type": "dict", "default": {}},
            **RUN_OPTIONS,
        },
        supports_check_mode=False,
    )
    name = module.params["name"]
    app = app_on_host(module, name)
    finish(module, name, lambda: promote(app, module.params["generation"], module.params["verdict"]))


if __name__ == "__main__":
    main()
