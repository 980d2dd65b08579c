#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prepare a release: migrations, static files, a first setup."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: prepare
short_description: Runs the commands of a new release before its candidate is first started
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Runs each command in the sandbox of the new generation, as the app's user, with its data, environment and secrets,
    and within its limits of memory and time. What has run to its end is remembered and not run again.
  - The first one that fails ends the rollout of the app with its last words; what is live serves on.
  - The action plugin of the same name takes the commands from the plan. Those that the whole fleet needs once are run
    by one host, for whose end the others wait.
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
  commands:
    description:
      - The commands, each with C(run), C(key) (what it is known by once it was run), C(seconds) and, where it is not to
        be run twice on a host, C(creates) (a path that it makes).
    type: list
    elements: dict
    required: true
requirements:
  - Python 3.9 or later and systemd on the host
"""

EXAMPLES = r"""
- name: Prepare the release
  headcount.gunicorn.prepare:
    name: shop
    generation: 7
    commands:
      - run: flask db upgrade
        key: 0f3c
        seconds: 600
    run: "{{ headcount_run }}"
"""

RETURN = r"""
prepared:
  description: The commands that were run, with their seconds.
  type: list
  elements: dict
  returned: success
told:
  description: What a person is to know, in sentences.
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

from ..module_utils._steps.prepare import Command, prepare
from ..module_utils._wiring import RUN_OPTIONS, app_on_host, finish


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "generation": {"type": "int", "required": True},
            "commands": {"type": "list", "elements": "dict", "required": True, "no_log": False},
            **RUN_OPTIONS,
        },
        supports_check_mode=False,
    )
    name = module.params["name"]
    app = app_on_host(module, name)
    commands = [Command.from_dict(one) for one in module.params["commands"]]
    finish(module, name, lambda: prepare(app, module.params["generation"], commands))


if __name__ == "__main__":
    main()
