#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the report action, which runs on the controller (plugins/action/report.py)."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: report
short_description: Prints and keeps the evidence of a run
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - One row for each app of each host - cores, RAM, profile, worker class and size, latencies, errors and peak
    memory against their limits, verdict, live generation, URL - as a table and as JSON.
  - Beside the JSON lies a page for a browser, one HTML file with plans, checks, latencies and the run over time.
  - Runs on the controller, once for the whole run; hosts are not connected to. Needs the result of
    M(headcount.gunicorn.plan) as C(headcount__fleet).
extends_documentation_fragment:
  - headcount.gunicorn._attributes
attributes:
  check_mode:
    support: full
    details:
      - The report says what would be done.
  diff_mode:
    support: N/A
    details:
      - It changes nothing on hosts.
options:
  path:
    description: Where the JSON goes; C(report.json) in C(headcount_work_dir) by default.
    type: path
"""

EXAMPLES = r"""
- name: Report
  headcount.gunicorn.report:
    path: report.json
  run_once: true
  register: headcount__report
"""

RETURN = r"""
path:
  description: Where the report was written.
  type: str
  returned: success
page:
  description: The same for a browser, one HTML file beside it.
  type: str
  returned: success
failed_hosts:
  description: For each host that did not come to what was asked for the causes, each once, with the apps it holds for.
  type: dict
  returned: success
first_cause:
  description: The earliest of all causes, with its host; null when there is none.
  type: str
  returned: success
"""
