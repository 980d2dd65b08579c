#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Put the exporter on a host, or take it off."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: exporter
short_description: Has a host tell Prometheus how its apps run
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Puts C(headcount-exporter.service) on the host, or takes it off. It answers GET /metrics with what the recorders of
    the apps counted and what the kernel says of them, and never asks an app.
  - The action plugin of the same name compares what is declared with what the probe saw, and calls the host only where
    that differs.
  - Looks for a moment whether it stays up and listens, and fails with the cause where it does not. One that is masked
    is left so, with a warning.
extends_documentation_fragment:
  - headcount.gunicorn._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
options:
  listen:
    description:
      - Where it listens, as C(address:port). Empty means that there is to be none. The action plugin fills in what the
        inventory says.
    type: str
    required: true
requirements:
  - Python 3.9 or later and systemd on the host
"""

EXAMPLES = r"""
- name: Have the host tell Prometheus how its apps run
  headcount.gunicorn.exporter:
    listen: "127.0.0.1:9788"
"""

RETURN = r"""
listen:
  description: Where it listens now; empty where there is none.
  type: str
  returned: success
cause:
  description: Why it does not listen although it is to, which is no failure where somebody masked it.
  type: str
  returned: when one that is to be there is masked
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _hosttool
from ..module_utils._generation.shared import foreign
from ..module_utils._host import exporting
from ..module_utils._os.exporterunit import MASKED, UNIT, installed, seen
from ..module_utils._os.systemd import SystemdError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"listen": {"type": "str", "required": True}},
        supports_check_mode=True,
    )
    listen = module.params["listen"]
    if seen() == MASKED:
        fix = f"`systemctl unmask {UNIT}` and run again, or set headcount_exporter to false"
        cause = f"{UNIT} is masked, which somebody decided, and is left so: {fix}"
        if listen:
            module.warn(f"Prometheus is told nothing of this host: {cause}")
        module.exit_json(changed=False, listen="", **({"cause": cause} if listen else {}))
    in_the_way = foreign(unit=UNIT) if listen else []
    if in_the_way:
        module.fail_json(msg=f"nothing was changed: {'; '.join(in_the_way)}", listen=installed())
    if module.check_mode:
        module.exit_json(changed=seen() != listen, listen=listen)
    try:
        if listen:
            _hosttool.install(_hosttool.own_sources())
            changed = exporting.install(listen)
        else:
            changed = exporting.uninstall()
    except (SystemdError, OSError) as error:
        module.fail_json(msg=f"{UNIT}: {error}", listen=installed())
    module.exit_json(changed=changed, listen=listen)


if __name__ == "__main__":
    main()
