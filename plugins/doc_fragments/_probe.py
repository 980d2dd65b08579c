# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the documentation of the modules that read a host shares."""

from __future__ import annotations


class ModuleDocFragment:
    """What is asked about a host."""

    DOCUMENTATION = r"""
options:
  apps:
    description:
      - The apps of the host, each at least with C(name). C(listen) is looked at before the app listens there for the
        first time, the account C(user) (none means the one that is made for the app) where it is given. Beside that,
        C(data), C(listen_group) and the C(schedule) of each of C(processes) are held against what the host has.
    type: list
    elements: dict
    required: true
  slice:
    description: The systemd slice that the apps run in; its limits count.
    type: str
    default: system.slice
  python:
    description: The Python interpreter that releases run on, whatever Python the module itself runs on.
    type: path
    default: /usr/bin/python3
  sandbox:
    description:
      - Properties of the apps' units, as NAME=VALUE. Where an app is not live yet, systemd is asked to run a program
        with them that does nothing, because containers cannot always make such a sandbox.
    type: list
    elements: str
    default: []
"""

    # The ansible-core that this collection supports takes no return values from a fragment: each module has these in
    # its own, and tests/unit/plugins/modules/test_documentation.py holds them equal.
    RETURN = r"""
facts:
  description: >-
    Host facts; cores and memory with the limit that set them, and the Python that releases run on, with what is wrong
    with it, if anything is.
  type: dict
  returned: success
apps:
  description: State of each app by name.
  type: dict
  returned: success
installed:
  description: >-
    Names of all apps that Headcount has on this host, declared or not. Those that were removed, and of which the ledger
    stays, are not among them.
  type: list
  elements: str
  returned: success
wheels:
  description: SHA-256 of the wheels that are on the host.
  type: list
  elements: str
  returned: success
exporter:
  description: Where the host's exporter listens; empty where there is none, C(changed) where its unit was edited or is
    that of another version, C(stopped) where it does not run, C(masked) where somebody masked it.
  type: str
  returned: success
compiler:
  description: Path of the host's C compiler; none where there is none. A host with one is asked first to build wheels.
  type: str
  returned: success
"""
