#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Heal what a broken run left."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: heal
short_description: Heals what a run that was cut short left on a host
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Stops candidates and instances that are not live, removes unfinished generations, and starts the live generation
    where it does not run. Where the link to the live generation is gone, it is made again from the ledger and what
    runs.
    The live generation then has to answer its health check and the GET paths of its load.
extends_documentation_fragment:
  - headcount.gunicorn._attributes
  - headcount.gunicorn._attributes.starts_processes
  - headcount.gunicorn._run
options:
  name:
    description: Name of the app.
    type: str
    required: true
  retune_at_boot:
    description: Whether the host tunes the app again by itself when it boots with other hardware; left alone without.
    type: bool
requirements:
  - Python 3.9 or later and systemd on the host
"""

EXAMPLES = r"""
- name: Heal the app
  headcount.gunicorn.heal:
    name: shop
    run: "{{ headcount_run }}"
"""

RETURN = r"""
healed:
  description: What was done.
  type: list
  elements: str
  returned: success
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

from ..module_utils._generation import settings
from ..module_utils._generation.failures import StepFailed
from ..module_utils._generation.state import app_state
from ..module_utils._steps.heal import heal
from ..module_utils._wiring import RUN_OPTIONS, app_on_host, finish


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "retune_at_boot": {"type": "bool"},
            **RUN_OPTIONS,
        },
        supports_check_mode=False,
    )
    name = module.params["name"]
    app = app_on_host(module, name)

    def work() -> dict[str, object]:
        with app.step("heal"):
            did = heal(app)
            wanted = module.params["retune_at_boot"]
            if wanted is not None and settings.write(app.layout, {"retune_at_boot": wanted}):
                did.append(f"at boot with other hardware: {'tunes itself again' if wanted else 'only tells'}")
            state = app_state({"name": name})
            if state["live"] is not None and not state["healthy"]:
                back = (
                    f"; {state['rollback_hint']}, or roll out a release that cures it" if state["rollback_hint"] else ""
                )
                raise StepFailed("heal", f"the live generation is not healthy: {state['health_detail']}{back}")
        app.lock.release(app.run)
        return {"healed": did}

    finish(module, name, work)


if __name__ == "__main__":
    main()
