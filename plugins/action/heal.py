# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Puts right what a broken run left, as a step of this run. The documentation is in plugins/modules/heal.py."""

from __future__ import annotations

from ..plugin_utils._stepaction import StepAction


class ActionModule(StepAction):
    """The step heal."""

    phase = "heal"
    module = "headcount.gunicorn.heal"
