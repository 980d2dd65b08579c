# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Runs the module weigh on the host, as a step of this run. The documentation is in plugins/modules/weigh.py."""

from __future__ import annotations

from ..plugin_utils._stepaction import StepAction


class ActionModule(StepAction):
    """The step weigh."""

    phase = "weigh"
    module = "headcount.gunicorn.weigh"
