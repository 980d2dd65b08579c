#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the gate action, which runs on the controller (plugins/action/gate.py)."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: gate
short_description: Decides whether a batch of a rollout may begin
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Counts the hosts on which each app failed so far; one that failed on more than C(headcount_rollout_max_failed)
    goes no further, and the others go on. What M(headcount.gunicorn.guarded) found taken back counts as failed. The
    batch is not begun where no app is left to begin.
  - Runs on the controller, once for the batch; hosts are not connected to. Needs the result of
    M(headcount.gunicorn.plan) as C(headcount__fleet).
extends_documentation_fragment:
  - headcount.gunicorn._attributes
  - headcount.gunicorn._attributes.on_controller
"""

EXAMPLES = r"""
- name: Begin the batch
  headcount.gunicorn.gate:
  run_once: true
  register: headcount__gate
"""

RETURN = r"""
stop:
  description: Whether the batch must not begin. Always false in check mode.
  type: bool
  returned: success
stopped:
  description: Apps that are not begun in this batch, because they failed too often. Always empty in check mode.
  type: list
  elements: str
  returned: success
batch:
  description: Which batch this is, from 1.
  type: int
  returned: success
batches:
  description: How many batches there are.
  type: int
  returned: success
"""
