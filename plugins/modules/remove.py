#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Take an app off a host."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: remove
short_description: Removes an app from a host
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Stops the app and removes its units, releases and generations. The ledger stays, and so do the app's data and logs,
    unless O(remove_data) says otherwise. With the last app, the unit that checks the host after a boot is removed too.
extends_documentation_fragment:
  - headcount.gunicorn._attributes
  - headcount.gunicorn._run
attributes:
  check_mode:
    support: full
    details:
      - Tells whether anything would be removed, and fails where something is mounted at it or below it.
  diff_mode:
    support: none
    details:
      - It changes what runs, not text.
options:
  name:
    description: Name of the app.
    type: str
    required: true
  remove_data:
    description:
      - Whether the app's data and logs go too, also those of an app that was removed before. Folders of C(data.outside)
        never do.
    type: bool
    default: false
requirements:
  - Python 3.9 or later and systemd on the host
"""

EXAMPLES = r"""
- name: Remove the app
  headcount.gunicorn.remove:
    name: shop
    run: "{{ headcount_run }}"
"""

RETURN = r"""
removed:
  description: Whether anything of the app was there.
  type: bool
  returned: success
known:
  description: Whether the host has the app, or had it before; its ledger stays and says so.
  type: bool
  returned: success
installed:
  description: Names of the apps that Headcount has on this host, before the removal.
  type: list
  elements: str
  returned: success
left:
  description: What is in the app's folder, or changes its units, and is not Headcount's; it stays, or in check mode
    would stay.
  type: list
  elements: str
  returned: success
stands:
  description: What that means, and how the service that had the app's address before comes back; empty where nothing
    is left.
  type: str
  returned: success
kept:
  description: The folders of the app's data that stay, each with what it takes in MiB.
  type: dict
  returned: success
gone:
  description: The folders that went, or in check mode would go.
  type: list
  elements: str
  returned: success
others:
  description: Folders in the place of the app's own that are somebody else's, each with its owner; they stay.
  type: dict
  returned: success
ended:
  description: Units of commands that ran with the app, by C(headcount run) or to prepare a release, and were ended.
  type: list
  elements: str
  returned: success, but not in check mode
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

import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._generation import datafolders, dataremoval, ledger, leftover
from ..module_utils._host.boot import uninstall_if_idle
from ..module_utils._os.paths import Layout, installed_apps, present_apps
from ..module_utils._steps.remove import former_words, mounted, remove
from ..module_utils._steps.remove import told as folders_told
from ..module_utils._wiring import RUN_OPTIONS, app_on_host, finish


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "remove_data": {"type": "bool", "default": False},
            **RUN_OPTIONS,
        },
        supports_check_mode=True,
    )
    name, everything = module.params["name"], module.params["remove_data"]
    layout = Layout(name)
    present = name in installed_apps() and os.path.exists(layout.home)
    told = {"known": present or os.path.exists(layout.ledger), "installed": present_apps()}
    entries = ledger.read(layout.ledger)
    folders = dataremoval.removal(layout, entries, datafolders.account(layout, entries), everything)
    if module.check_mode or not (present or folders.gone):
        in_the_way = mounted(layout, folders.gone) if present or folders.gone else ""
        if in_the_way:
            module.fail_json(phase="remove", cause=in_the_way, msg=f"{name}: remove: {in_the_way}", **told)
        left = leftover.left(layout) if told["known"] else []
        stands = "; ".join(filter(None, [leftover.words(left), former_words(layout)]))
        module.exit_json(
            changed=present or bool(folders.gone),
            removed=present,
            left=left,
            stands=stands,
            **folders_told(folders),
            **told,
        )
    app = app_on_host(module, name)

    def work() -> dict[str, object]:
        removed = remove(app, everything)
        uninstall_if_idle()
        stands = [leftover.words(leftover.left(layout)), str(removed.pop("former"))]
        return {**removed, "stands": "; ".join(filter(None, stands)), **told}

    finish(module, name, work)


if __name__ == "__main__":
    main()
