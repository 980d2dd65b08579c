# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The units that run an app's load tests, which come and go with the generation that declares them. Pure."""

from __future__ import annotations

from .._declaration.app import LoadTest, Plain
from .._os.paths import Layout
from .loadtests import EXIT_STATUS

NAME = "load-test"
"""What its units are called, as if it were a process of the app."""

SPREAD_SECONDS = 900
"""The hosts of a fleet, which may share a database, begin within so many seconds, each at a moment of its own."""

LATE_SECONDS = 300.0
"""A test is ended by systemd so long after its load should have ended."""


def units(app: Plain, number: int, layout: Layout) -> dict[str, str]:
    """The timer of generation `number`'s load test and what it starts, by their names; empty where none is declared."""
    if not app.get("load_test"):
        return {}
    declared = LoadTest.from_dict(app["load_test"])
    unit = f"{layout.app}@{number}-{NAME}"
    head = f"# {layout.app}, generation {number}: its load test. Written by Headcount.\n[Unit]\n"
    service = (
        f"{head}Description={layout.app}: load test of generation {number}\n"
        "\n[Service]\nType=oneshot\nSyslogIdentifier=headcount\n"
        f"TimeoutStartSec={declared.seconds + LATE_SECONDS:.0f}\n"
        # One that is skipped, stopped or not measured is told by its outcome: nothing of the host has failed.
        f"SuccessExitStatus={' '.join(str(status) for status in EXIT_STATUS.values() if status)}\n"
        f"ExecStart=/usr/local/sbin/headcount load-test {layout.app}\n"
    )
    timer = (
        f"{head}Description={layout.app}: when the load test of generation {number} runs\n"
        f"\n[Timer]\nOnCalendar={declared.calendar}\n"
        # A host that was off makes nothing up for it: its users have just come back.
        f"Persistent=no\nRandomizedDelaySec={SPREAD_SECONDS}\n"
        f"Unit={unit}.service\n"
    )
    return {f"{unit}.service": service, f"{unit}.timer": timer}
