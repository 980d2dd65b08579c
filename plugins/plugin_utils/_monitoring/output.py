# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""All files of the monitoring, by name."""

from __future__ import annotations

from .console import NAME, console
from .grafana import dashboard
from .rules import JOB, RUNBOOKS, rules


def files(job: str = JOB, runbooks: str = RUNBOOKS) -> dict[str, str]:
    """{name: text}. `job`: what the scrape job of the exporters is called; `runbooks`: where docs/alerts.md is read."""
    return {
        "headcount.rules.yml": rules(job, runbooks),
        NAME: console(),
        "headcount.dashboard.json": dashboard(job),
    }
