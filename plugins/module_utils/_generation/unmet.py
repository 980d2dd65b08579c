# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What an app declares that this host cannot give it, known before anything of it is laid down. Read only.

The probe finds it, the plan refuses a deployment for it, and stage looks once more.
"""

from __future__ import annotations

from .._declaration.app import Plain
from .._os.paths import Layout, installed_apps
from .._os.systemd import Runner
from . import data
from .reached import no_group

_SECONDS = 10.0
_REFUSED = "Failed to parse calendar"
"""What systemd-analyze says where an expression is none; it may be missing, or fail for another reason."""


def unmet(layout: Layout, app: Plain, runner: Runner) -> list[str]:
    """One sentence each; `app`: `processes`, `listen_group` and `data`, as far as they are known."""
    group = no_group(app)
    found = [*_schedules(app, runner), *([group] if group else [])]
    found += data.of_another_app(layout, app, installed_apps(layout.root))
    return found + data.shut_out(layout, app, made=False)


def _schedules(app: Plain, runner: Runner) -> list[str]:
    """Schedules that the host's own systemd does not take: time zones that it lacks, steps that are too long for it."""
    found = []
    for name, process in (app.get("processes") or {}).items():
        schedule = process.get("schedule")
        if not schedule:
            continue
        done = runner(["systemd-analyze", "calendar", "--", str(schedule)], _SECONDS)
        if done.status and _REFUSED in done.err:
            found.append(
                f"processes.{name}.schedule: the systemd of this host does not take {schedule!r}: correct it "
                "(`systemd-analyze calendar` tells what it takes; a time zone has to be installed)"
            )
    return found
