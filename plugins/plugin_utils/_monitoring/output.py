# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""All files of the monitoring, by name."""

from __future__ import annotations

from .console import NAME, console
from .grafana import dashboard
from .rules import JOB, rules


def files(runbooks: str, job: str = JOB) -> dict[str, str]:
    """{name: text}. `runbooks`: where docs/alerts.md is read; `job`: what the scrape job of the exporters is called."""
    return {
        "headcount.rules.yml": rules(runbooks, job),
        NAME: console(),
        "headcount.dashboard.json": dashboard(job),
    }
