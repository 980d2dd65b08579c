#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the revert action, which runs on the controller (plugins/action/revert.py)."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: revert
short_description: Gives the socket of an app back to the generation that was live before this run
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Looks up in the notes of the run which generation that was, and goes back to it with
    M(headcount.gunicorn.rollback), as the event C(reverted) in the ledger.
  - No request is lost, and no network, build or wheel is needed.
extends_documentation_fragment:
  - headcount.gunicorn._attributes
attributes:
  check_mode:
    support: none
    details:
      - It depends on what the run did; it is skipped in check mode.
  diff_mode:
    support: none
    details:
      - It changes what runs, not text.
options:
  name:
    description: Name of the app.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Revert the app
  headcount.gunicorn.revert:
    name: shop
"""

RETURN = r"""
from:
  description: Number of the generation that was live.
  type: int
  returned: success
to:
  description: Number of the generation that is live again.
  type: int
  returned: success
"""
