# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Goes back to an earlier generation, as a step of this run. The documentation is in plugins/modules/rollback.py."""

from __future__ import annotations

from ..plugin_utils._stepaction import StepAction


class ActionModule(StepAction):
    """The step rollback."""

    phase = "rollback"
    module = "headcount.gunicorn.rollback"
    in_check_mode = True
