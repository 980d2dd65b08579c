# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the documentation of every step on a host shares; the options are those of module_utils/_wiring.RUN_OPTIONS."""

from __future__ import annotations


class ModuleDocFragment:
    """The run that a step belongs to."""

    DOCUMENTATION = r"""
options:
  run:
    description: Which run of Headcount this step belongs to; it is written into the lease and the ledger.
    type: dict
    required: true
    suboptions:
      id:
        description: Identifier of the run.
        type: str
        required: true
      user:
        description: Who started it.
        type: str
        required: true
      controller:
        description: Where it was started.
        type: str
        required: true
      started:
        description: When it was started, in UTC (ISO 8601).
        type: str
        required: true
  gone:
    description: Ids of runs whose controller process is known to have ended; a lease of theirs is stale.
    type: list
    elements: str
    default: []
"""

    # The ansible-core that this collection supports takes no return values from a fragment: every step repeats these at
    # the end of its own, and tests/unit/plugins/modules/test_documentation.py holds them equal.
    RETURN = r"""
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
