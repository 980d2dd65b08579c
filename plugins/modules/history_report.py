#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the history_report action, which runs on the controller (plugins/action/history_report.py)."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: history_report
short_description: Prints the ledgers of the hosts of a play as one history
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Merges what M(headcount.gunicorn.history_info) read on each host, registered as C(headcount__history), newest first.
  - Runs on the controller, once for the whole play; hosts are not connected to.
extends_documentation_fragment:
  - headcount.gunicorn._attributes
  - headcount.gunicorn._attributes.changes_nothing
options:
  last:
    description: How many events, at most.
    type: int
    default: 20
"""

EXAMPLES = r"""
- name: Print the history
  headcount.gunicorn.history_report:
    last: 50
  run_once: true
"""

RETURN = r"""
entries:
  description: Events of all hosts, newest first, each with its host.
  type: list
  elements: dict
  returned: success
silent:
  description: Hosts whose ledger could not be read, with the cause.
  type: dict
  returned: success
"""
