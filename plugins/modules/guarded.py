#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read what the guards of a host came to."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: guarded
short_description: Reads what the guards of a host came to
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - After a promote a host watches by itself what users get, where C(guard) of the app says so, and goes back by itself
    where that is surely worse. This reads what it has found so far, so that a rollout that still runs elsewhere stops.
  - It is delegated to the host, and noted in the run, whose M(headcount.gunicorn.gate) counts what was taken back as
    failed. A host that does not answer fails nothing.
extends_documentation_fragment:
  - headcount.gunicorn._attributes
  - headcount.gunicorn._attributes.changes_nothing
options:
  host:
    description: The host as the inventory names it; for the notes of the run.
    type: str
  generations:
    description: The generation that the run promoted, by app.
    type: dict
    required: true
requirements:
  - Python 3.9 or later and systemd on the host
"""

EXAMPLES = r"""
- name: Ask what the guards came to on hosts that were promoted before
  headcount.gunicorn.guarded:
    host: "{{ headcount__promoted.host }}"
    generations: "{{ headcount__promoted.generations }}"
  delegate_to: "{{ headcount__promoted.host }}"
  loop: "{{ headcount__guards.ask[inventory_hostname] | default([]) }}"
  loop_control:
    loop_var: headcount__promoted
"""

RETURN = r"""
answered:
  description: Whether the host answered.
  type: bool
  returned: success
found:
  description: What guards found that was not known before, in sentences.
  type: list
  elements: str
  returned: success
guards:
  description: By app, C(cause) (what the guard found; empty where it found nothing), C(back_to) (the generation that it
    went back to) and C(watches) (whether it is at work still). For the action, which notes it.
  type: dict
  returned: on the host
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._generation.run import Run
from ..module_utils._os.secrecy import clean
from ..module_utils._steps.app import AppOnHost
from ..module_utils._steps.guarding import said


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"host": {"type": "str"}, "generations": {"type": "dict", "required": True}},
        supports_check_mode=True,
    )
    nobody = Run("", "", "", "")  # it only reads
    answers = {
        str(name): asdict(said(AppOnHost(str(name), nobody), int(number)))
        for name, number in module.params["generations"].items()
    }
    module.exit_json(changed=False, guards=clean(answers))


if __name__ == "__main__":
    main()
