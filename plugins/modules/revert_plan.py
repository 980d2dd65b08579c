#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the revert_plan action, which runs on the controller (plugins/action/revert_plan.py)."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: revert_plan
short_description: Decides which hosts revert after a rollout that stopped
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - When an app failed on more hosts than C(headcount_rollout_max_failed) allows, the hosts on which it was promoted
    go back to exactly the generation of it that was live before, or stay, or you are asked, as
    C(headcount_on_failure) says. Other apps of these hosts stay.
  - Runs on the controller, once for the whole rollout; hosts are not connected to. Needs the result of
    M(headcount.gunicorn.plan) as C(headcount__fleet).
extends_documentation_fragment:
  - headcount.gunicorn._attributes
  - headcount.gunicorn._attributes.on_controller
"""

EXAMPLES = r"""
- name: Decide which hosts revert
  headcount.gunicorn.revert_plan:
  run_once: true
  register: headcount__revert_plan
"""

RETURN = r"""
needed:
  description: Whether any host reverts.
  type: bool
  returned: success
ask:
  description: Whether a person is to be asked first.
  type: bool
  returned: success
hosts:
  description: Apps that revert, for each host.
  type: dict
  returned: success
kept:
  description: What stays, and why.
  type: list
  elements: str
  returned: success
why:
  description: The sentence that says why and who.
  type: str
  returned: success
"""
