#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Build wheels from source."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: build
short_description: Builds wheels of what exists only as source
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Builds each source on this host, without a network, as a throw-away user in a sandbox of systemd's, in bounded
    time; nothing of it stays on the host.
  - The action plugin of the same name takes the sources from what M(headcount.gunicorn.plan) asked for, sends them
    with what their builds need, and keeps the wheels on the controller for every host of the platform. It never fails
    for a build - the plan that follows tells, and leaves out the hosts that cannot go on.
  - A compiler and headers come from the host's distribution; nothing is installed.
extends_documentation_fragment:
  - headcount.gunicorn._attributes
attributes:
  check_mode:
    support: none
    details:
      - The plan says what would be built where.
  diff_mode:
    support: N/A
    details:
      - It changes nothing on the host.
options:
  archive:
    description: A tar archive on the host with members SHA256/NAME; the action plugin sends it.
    type: path
    required: true
  builds:
    description:
      - What is to be built, each with its C(sdist), the C(tools) of its build and C(pip), as SHA256/NAME.
      - The action plugin says it.
    type: list
    elements: dict
    required: true
  python:
    description: The Python interpreter that releases are built for.
    type: path
    default: /usr/bin/python3
  seconds:
    description: How long each build may take.
    type: float
    default: 1800
requirements:
  - Python 3.9 or later and systemd on the host
"""

EXAMPLES = r"""
- name: Build what exists only as source, on the hosts that the plan named
  headcount.gunicorn.build:
  when: headcount__fleet.builds[inventory_hostname] is defined
"""

RETURN = r"""
built:
  description: What was built, as name and version.
  type: list
  elements: str
  returned: success
failed_builds:
  description: What could not be built, with the end of the output.
  type: dict
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._release.hostbuild import BUILD_SECONDS, build


def main() -> None:
    """Run the module; the action plugin makes what it documents of the answer."""
    module = AnsibleModule(
        argument_spec={
            "archive": {"type": "path", "required": True},
            "builds": {"type": "list", "elements": "dict", "required": True},
            "python": {"type": "path", "default": "/usr/bin/python3"},
            "seconds": {"type": "float", "default": BUILD_SECONDS},
        },
    )
    answers = [
        build(module.params["archive"], item, module.params["python"], module.params["seconds"]).to_dict()
        for item in module.params["builds"]
    ]
    module.exit_json(changed=any(answer["filename"] for answer in answers), answers=answers)


if __name__ == "__main__":
    main()
