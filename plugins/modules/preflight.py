#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the preflight action, which runs on the controller (plugins/action/preflight.py)."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: preflight
short_description: Check what is declared for all hosts before any host is touched
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Checks every C(headcount_*) variable of every host of the play, unknown ones included, and the sources that the
    declarations name on the controller.
  - All problems are told in one message, each with the variable, its value, what is allowed and the fix. Values that
    may be secret are never shown.
  - Runs on the controller, connects to no host and changes nothing. One call checks the whole play, so use it with
    C(run_once).
extends_documentation_fragment:
  - headcount.gunicorn._attributes
  - headcount.gunicorn._attributes.changes_nothing
notes:
  - Variables that a play, a block or a task sets count for every host of the play.
"""

EXAMPLES = r"""
- name: Check what is declared, for all hosts
  headcount.gunicorn.preflight:
  run_once: true
"""

RETURN = r"""
fleet:
  description: How many hosts of the play declare each app.
  returned: success
  type: dict
  sample: {shop: 3}
hosts:
  description: The names of the apps of each host.
  returned: success
  type: dict
  sample: {web1: [shop]}
"""
