#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the adopt action (plugins/action/adopt.py)."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: adopt
short_description: Writes the entries of apps that a host runs already
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Reads the Gunicorns that services of the host run (M(headcount.gunicorn.former_info)), and writes an entry of
    C(headcount_apps) for each, with the service as its C(former), so that the next rollout takes the app over.
  - What looks like a secret goes into a file of its own that its owner alone can read, and is neither printed nor in
    the result.
  - Prints their workers beside what the plan has for that host, with the reason for each number.
  - Nothing is changed on the host.
extends_documentation_fragment:
  - headcount.gunicorn._attributes
attributes:
  check_mode:
    support: full
    details:
      - Tells everything, and writes nothing.
  diff_mode:
    support: none
    details:
      - A file that is there already is left as it is.
options:
  unit:
    description: Only the Gunicorns of this service.
    type: str
  dest:
    description: The folder that is written to, each host having one of its own in it.
    type: path
    default: adopted
  name:
    description: The name of the app. It is the service's by default, or that of its module.
    type: str
  force:
    description: Write both files of an entry anew where either is there already.
    type: bool
    default: false
  python:
    description: The Python interpreter that releases are to run on.
    type: path
    default: /usr/bin/python3
"""

EXAMPLES = r"""
- name: Write the entries of what runs
  headcount.gunicorn.adopt:
    dest: inventories/mine/adopted
"""

RETURN = r"""
apps:
  description: What was found, with the file of each entry and the questions that are left.
  type: list
  elements: dict
  returned: success
not_looked_at:
  description: What was left out, a sentence each, as the host runs too many processes that look like a Gunicorn.
  type: list
  elements: str
  returned: success
"""
