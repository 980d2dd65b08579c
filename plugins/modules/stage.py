#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lay down a release and a generation."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: stage
short_description: Lays down a release and a generation beside the live one
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Unpacks the wheels that were sent, builds the release from them without a network, makes the app's user, and
    lays down the generation, marked unfinished.
  - The action plugin of the same name gathers the wheels on the controller and sends those that the host lacks.
  - Before that, what a broken run left is healed.
extends_documentation_fragment:
  - headcount.gunicorn._attributes
  - headcount.gunicorn._run
attributes:
  check_mode:
    support: full
    details:
      - Returns the difference between the files of the live generation and those that would be laid down.
  diff_mode:
    support: full
    details:
      - Shows the files of the generation against the live one. Secrets are in none of them.
options:
  name:
    description: Name of the app.
    type: str
    required: true
  app:
    description: The app, normalised, without its secrets.
    type: dict
    required: true
  secrets:
    description: The secret environment variables of the app. They reach no log, diff, ledger or process list.
    type: dict
    default: {}
  plan:
    description: The plan of M(headcount.gunicorn.plan).
    type: dict
    required: true
  planning:
    description: The inputs of the plan, from which the host finishes it after the weigh.
    type: dict
    required: true
  digest:
    description: Digest of all inputs. The same digest means that there is nothing to do.
    type: str
    required: true
  source_id:
    description: Identity of the app's source.
    type: str
    required: true
  release:
    description: The release, as C(id) and C(lock_text) (requirements with hashes). Not needed in check mode.
    type: dict
    default: {}
  wheels_archive:
    description: A tar archive on the host with wheels to keep; it is removed when it has been read.
    type: path
  wheels_dir:
    description: Where the host keeps wheels.
    type: path
    default: /var/lib/headcount/wheels
  retune_at_boot:
    description: Whether the host tunes the app again by itself when it boots with other hardware.
    type: bool
    default: false
  python:
    description: The Python interpreter that releases are built for.
    type: path
    default: /usr/bin/python3
requirements:
  - Python 3.9 or later and systemd on the host
"""

EXAMPLES = r"""
- name: Stage the app
  headcount.gunicorn.stage:
    name: shop
    app: "{{ headcount_app }}"
    plan: "{{ planned.plan }}"
    planning: "{{ planned.planning }}"
    digest: "{{ planned.digest }}"
    source_id: "{{ planned.source_id }}"
    run: "{{ headcount_run }}"
"""

RETURN = r"""
generation:
  description: Number of the new generation.
  type: int
  returned: success, but not in check mode
release:
  description: Identifier of the release.
  type: str
  returned: success, but not in check mode
built:
  description: Whether the release was built now; it is kept and used again.
  type: bool
  returned: success, but not in check mode
lacking:
  description: >-
    SHA-256 of files of the release that are not on the host; nothing was staged then, and the action plugin sends them.
  type: list
  elements: str
  returned: when any is
healed:
  description: What was healed first.
  type: list
  elements: str
  returned: success, but not in check mode
log:
  description: The last lines that the generation logged.
  type: list
  elements: str
  returned: failure
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

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _hosttool
from ..module_utils._generation import settings
from ..module_utils._generation.differences import file_differences
from ..module_utils._host import boot
from ..module_utils._release.releases import in_use
from ..module_utils._steps.stage import check_clashes, check_reload, stage, take_wheels
from ..module_utils._wiring import RUN_OPTIONS, app_on_host, finish


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "app": {"type": "dict", "required": True},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "plan": {"type": "dict", "required": True},
            "planning": {"type": "dict", "required": True},
            "digest": {"type": "str", "required": True},
            "source_id": {"type": "str", "required": True},
            "release": {"type": "dict", "default": {}},
            "wheels_archive": {"type": "path"},
            "wheels_dir": {"type": "path", "default": "/var/lib/headcount/wheels"},
            "retune_at_boot": {"type": "bool", "default": False},
            "python": {"type": "path", "default": "/usr/bin/python3"},
            **RUN_OPTIONS,
        },
        supports_check_mode=True,
    )
    name = module.params["name"]
    app = app_on_host(module, name)
    differences = file_differences(app.layout, module.params["app"], module.params["plan"])
    if module.check_mode:
        module.exit_json(changed=True, diff=differences)

    def work() -> dict[str, object]:
        check_reload(app)
        check_clashes(app, module.params["app"])
        _hosttool.install(_hosttool.own_sources())
        boot.install()
        settings.write(app.layout, {"retune_at_boot": module.params["retune_at_boot"]})
        with in_use(module.params["wheels_dir"]):
            gone = take_wheels(app, module.params)
            if gone:
                return {"lacking": gone, "changed": False}
            return {**stage(app, module.params), "diff": differences}

    finish(module, name, work)


if __name__ == "__main__":
    main()
