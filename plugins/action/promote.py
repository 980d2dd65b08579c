# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Runs the module promote on the host, as a step of this run. The documentation is in plugins/modules/promote.py."""

from __future__ import annotations

from ..plugin_utils._stepaction import StepAction


class ActionModule(StepAction):
    """The step promote."""

    phase = "promote"
    module = "headcount.gunicorn.promote"
