#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the removed action, which runs on the controller (plugins/action/removed.py)."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: removed
short_description: Fails where no host had the app that was to be removed
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - An app that was removed before is none that no host had, because its ledger stays. A host that could not be asked
    may have had it.
  - Runs on the controller, once for the whole play; hosts are not connected to. Needs the results of
    M(headcount.gunicorn.remove) as C(headcount__removed).
extends_documentation_fragment:
  - headcount.gunicorn._attributes
  - headcount.gunicorn._attributes.on_controller
options:
  name:
    description: Name of the app.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Fail if no host had the app
  headcount.gunicorn.removed:
    name: shop
  run_once: true
"""

RETURN = r"""
msg:
  description: Which apps there are.
  type: str
  returned: failure
"""
