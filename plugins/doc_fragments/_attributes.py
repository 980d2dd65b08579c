# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the modules say of check mode and diff mode. For this collection alone; it may change with any version."""

from __future__ import annotations


class ModuleDocFragment:
    """The attributes of every module; those after the first, used beside it, say how a kind of module supports them."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Can run in C(check_mode) and tell what it would change, without changing it.
  diff_mode:
    description: Returns what has changed, or would change in C(check_mode), when in diff mode.
"""

    # A module that reads.
    CHANGES_NOTHING = r"""
attributes:
  check_mode:
    support: full
    details:
      - It changes nothing.
  diff_mode:
    support: N/A
    details:
      - It changes nothing.
"""

    # An action that works on the controller, on the notes of a run.
    ON_CONTROLLER = r"""
attributes:
  check_mode:
    support: full
    details:
      - It changes nothing on hosts.
  diff_mode:
    support: N/A
    details:
      - It changes nothing on hosts.
"""

    # A step of a rollout that starts or stops instances.
    STARTS_PROCESSES = r"""
attributes:
  check_mode:
    support: none
    details:
      - It starts processes and cannot predict what they do; it is skipped in check mode.
  diff_mode:
    support: none
    details:
      - It changes what runs, not text.
"""
