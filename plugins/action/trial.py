# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Runs the module trial on the host, as a step of this run. The documentation is in plugins/modules/trial.py."""

from __future__ import annotations

from ..plugin_utils._stepaction import StepAction


class ActionModule(StepAction):
    """The step trial."""

    phase = "trial"
    module = "headcount.gunicorn.trial"
