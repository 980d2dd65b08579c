#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the guards action, which runs on the controller (plugins/action/guards.py)."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: guards
short_description: Says which guards are asked before a rollout goes on
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Says which hosts of this run a guard watches by itself since their promote (C(guard) of an app), and which host of
    the batch asks whom, so that many are asked side by side. M(headcount.gunicorn.guarded) asks them.
  - Runs on the controller, once for the batch; hosts are not connected to. Needs the result of
    M(headcount.gunicorn.plan) as C(headcount__fleet).
options:
  name:
    description: The app that is about to be promoted; hosts where its rollout has failed ask nobody. All hosts of the
      batch ask where there is none.
    type: str
  wait:
    description:
      - Whether to wait for C(headcount_rollout_wait_seconds) first, where a batch went before this one and this one may
        begin as far as is known. So guards have that time to find something.
    type: bool
    default: false
extends_documentation_fragment:
  - headcount.gunicorn._attributes
  - headcount.gunicorn._attributes.on_controller
"""

EXAMPLES = r"""
- name: See which guards are to be asked
  headcount.gunicorn.guards:
    wait: true
  run_once: true
  register: headcount__guards
"""

RETURN = r"""
ask:
  description: For each host of the batch that asks, whom (C(host)) about which C(generations) by app.
  type: dict
  returned: success
"""
