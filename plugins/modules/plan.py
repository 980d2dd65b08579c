#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the plan action, which runs on the controller (plugins/action/plan.py)."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: plan
short_description: Plans every host of the play and says who goes when
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Decides for each app of each probed host whether there is anything to do, and plans what is to be deployed
    - every setting with its reason, current against recommended.
  - Identifies each source once, and gathers the wheels of each platform once, so that what cannot be had is
    known before any host is touched.
  - What exists only as source, and cannot be built on the controller, is built on one host of each platform by
    M(headcount.gunicorn.build); the plan is then made once more, with O(again).
  - Begins the run - its notes are below C(headcount_work_dir), and the tasks that follow belong to it.
  - Runs on the controller, once for the whole play; hosts are not connected to. Needs the results of
    M(headcount.gunicorn.host_info) as C(headcount__probe).
extends_documentation_fragment:
  - headcount.gunicorn._attributes
  - headcount.gunicorn._attributes.on_controller
options:
  mode:
    description:
      - C(rollout) finds everything that is not as declared; C(retune) finds hosts whose hardware, limits or
        measurements no longer match their plan, and leaves what was declared anew for a rollout.
      - C(plan) and C(drift) only tell; C(drift) fails when there is any.
    type: str
    choices: [rollout, retune, plan, drift]
    default: rollout
  again:
    description: Whether to plan once more in the same run, after wheels were built.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Plan the fleet
  headcount.gunicorn.plan:
  run_once: true
  register: headcount__fleet
"""

RETURN = r"""
run:
  description: The run that was begun - id, user, controller, started.
  type: dict
  returned: success, but not with C(mode=drift)
notes:
  description: Directory on the controller with the plans of all hosts and what came of them.
  type: str
  returned: success, but not with C(mode=drift)
gone:
  description: Ids of runs whose controller process is known to have ended.
  type: list
  elements: str
  returned: success, but not with C(mode=drift)
order:
  description: Hosts that are to be changed, the canaries first.
  type: list
  elements: str
  returned: success, but not with C(mode=drift)
batches:
  description: Sizes of the batches of C(order).
  type: list
  elements: int
  returned: success, but not with C(mode=drift)
groups:
  description: Which host belongs into which group of the later plays, as C(host) and C(group).
  type: list
  elements: dict
  returned: success, but not with C(mode=drift)
builds:
  description: For each host that has to build wheels from source, their names and versions; the plan is not whole.
  type: dict
  returned: success, but not with C(mode=drift)
apps:
  description: For each host of the play its apps that are to be changed, with deploy or heal.
  type: dict
  returned: success, but not with C(mode=drift)
failed_hosts:
  description:
    - Hosts that count as failed before they are touched, with the cause - those that cannot be planned for, and those
      on which an app is refused that goes on elsewhere.
  type: dict
  returned: success, but not with C(mode=drift)
failed_apps:
  description: For each app, the hosts that count as failed for it before they are touched.
  type: dict
  returned: success, but not with C(mode=drift)
prepares:
  description: For each host the apps whose candidates wait for commands (M(headcount.gunicorn.prepare)).
  type: dict
  returned: success, but not with C(mode=drift)
unreachable_hosts:
  description: Hosts that could not be reached, with the cause.
  type: dict
  returned: success, but not with C(mode=drift)
path:
  description: Where the drift was written as JSON.
  type: str
  returned: with C(mode=drift)
stopped:
  description: Why no host is touched although some should be.
  type: str
  returned: success, but not with C(mode=drift)
settings:
  description: How the rollout is to go - max_failed, wait_seconds, on_failure.
  type: dict
  returned: success, but not with C(mode=drift)
packages:
  description: For each host to be changed, the packages of its distribution that are missing.
  type: dict
  returned: success, but not with C(mode=drift)
mode:
  description: What was asked for.
  type: str
  returned: success, but not with C(mode=drift)
"""
