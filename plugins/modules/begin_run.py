#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the begin_run action, which runs on the controller (plugins/action/begin_run.py)."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: begin_run
short_description: Begins a run of Headcount for a playbook that does not plan
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Every step on a host belongs to a run, which is written into the lease and the ledger.
    M(headcount.gunicorn.plan) begins one by itself; playbooks that go back or remove begin theirs with this.
  - What the playbook was told on its command line is checked first, before a host is touched.
  - Runs on the controller, once for the whole play.
extends_documentation_fragment:
  - headcount.gunicorn._attributes
  - headcount.gunicorn._attributes.on_controller
options:
  said:
    description: What the playbook was told, by the variable of docs/variables.md; C(headcount_app) is one app's name.
    type: dict
"""

EXAMPLES = r"""
- name: Begin the run
  headcount.gunicorn.begin_run:
    said:
      headcount_app: "{{ headcount_app | default('') }}"
  run_once: true
  register: headcount__fleet
"""

RETURN = r"""
run:
  description: The run - id, user, controller, started.
  type: dict
  returned: success
notes:
  description: Directory on the controller with what came of it.
  type: str
  returned: success
gone:
  description: Ids of runs whose controller process is known to have ended.
  type: list
  elements: str
  returned: success
"""
