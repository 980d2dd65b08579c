# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What an app declares that this host cannot give it, known before anything of it is laid down. Read only.

The probe finds it, the plan refuses a deployment for it, and stage looks once more.
"""

from __future__ import annotations

import grp

from .._os.files import as_mapping
from .._os.paths import Layout, installed_apps
from .._os.systemd import Runner, Systemd
from . import generations, outside
from .outside import Plain

_SECONDS = 10.0
_REFUSED = "Failed to parse calendar"
"""What systemd-analyze says where an expression is none; it may be missing, or fail for another reason."""


def unmet(layout: Layout, app: Plain, runner: Runner) -> list[str]:
    """One sentence each; `app`: `processes`, `listen_group`, `former` and `data`, as far as they are known."""
    group = no_group(app)
    found = [*_schedules(app, runner), *([group] if group else [])]
    found += outside.of_another_app(layout, app, installed_apps(layout.root))
    found += outside.unmade(app, str(app.get("user") or layout.user))
    kept, _ = not_shared(layout, app, Systemd(runner))
    return [*found, *kept.values(), *outside.shut_out(layout, app, made=False, told=kept)]


def not_shared(layout: Layout, app: Plain, systemd: Systemd) -> tuple[dict[str, str], str]:
    """{folder: why an app that is not live yet, and its former service, cannot both use it, in a sentence}, and that
    not all was looked at, to stand behind a sentence."""
    unit = app.get("former")
    if not unit or not outside.outside_of(app) or generations.live(layout) is not None:
        return {}, ""
    from .inherited import Inherited

    inherited = Inherited(layout, app, str(unit), systemd)
    return inherited.problems(), inherited.told()


def no_group(app: Plain) -> str:
    """That the declared group is not on this host, in a sentence; empty where it is."""
    group = app.get("listen_group")
    try:
        if group:
            grp.getgrnam(str(group))
    except KeyError:
        fix = "install the proxy that brings it before, or name another one"
        return f"listen_group: there is no group {group} on this host: {fix}"
    return ""


def _schedules(app: Plain, runner: Runner) -> list[str]:
    """Schedules that the host's own systemd does not take: time zones that it lacks, steps that are too long for it."""
    found = []
    processes = as_mapping(app.get("processes"))
    declared = {f"processes.{name}.schedule": process.get("schedule") for name, process in processes.items()}
    declared["load_test.calendar"] = as_mapping(app.get("load_test")).get("calendar")
    for key, schedule in declared.items():
        if not schedule:
            continue
        done = runner(["systemd-analyze", "calendar", "--", str(schedule)], _SECONDS)
        if done.status and _REFUSED in done.err:
            found.append(
                f"{key}: the systemd of this host does not take {schedule!r}: correct it "
                "(`systemd-analyze calendar` tells what it takes; a time zone has to be installed)"
            )
    return found
