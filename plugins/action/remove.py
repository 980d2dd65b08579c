# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Takes an app off the host, as a step of this run. The documentation is in plugins/modules/remove.py."""

from __future__ import annotations

from ..plugin_utils._stepaction import StepAction


class ActionModule(StepAction):
    """The step remove."""

    phase = "remove"
    module = "headcount.gunicorn.remove"
    in_check_mode = True
