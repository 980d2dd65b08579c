# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A callback of Ansible for benchmarks: counts results of tasks by action, and writes them where it is told."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: headcount_tasks
type: notification
short_description: Counts results of tasks by action
description: Counts results of tasks by action, and writes them as JSON into the file of HEADCOUNT_TASKS.
"""


class CallbackModule(CallbackBase):
    """Counts what was not skipped."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "headcount_tasks"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def _count(self, result: Any, *_: Any, **__: Any) -> None:
        task = getattr(result, "task", None) or result._task
        self.counts[str(task.action)] += 1

    v2_runner_on_ok = v2_runner_on_failed = v2_runner_on_unreachable = _count

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """The end: write what was counted."""
        path = os.environ.get("HEADCOUNT_TASKS")
        if path:
            with open(path, "w", encoding="utf-8") as file:
                json.dump(self.counts, file)
