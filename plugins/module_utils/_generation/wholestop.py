# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""All of somebody's service ends when it is stopped, whatever its unit leaves running (KillMode=process or none,
SendSIGKILL=no): what is left in its control group, and nothing else, is asked to end, and then killed."""

from __future__ import annotations

import contextlib
import os
import signal

from .._facts.unitgroups import unit_pids
from .instances import Instances

KILLED_SECONDS, POLL_SECONDS = 5.0, 0.1


def stop_whole(instances: Instances, unit: str, seconds: float) -> list[str]:
    """Stop `unit`; what it leaves has so many seconds to end. What a person is to know of that, in sentences.
    SystemdError."""
    systemd = instances.systemd
    group = systemd.state(unit).control_group
    systemd.stop(unit, timeout_seconds=seconds + 30.0)
    left = unit_pids(group, instances.layout.root) if group else []
    if not left:
        return []
    for number, within in ((signal.SIGTERM, seconds), (signal.SIGKILL, KILLED_SECONDS)):
        left = _ended(instances, group, number, within)
        if not left:
            return [f"{unit} left processes running when it was stopped, by its KillMode= or SendSIGKILL=: ended them"]
    return [f"{unit} left processes running, which do not end: {', '.join(map(str, left))}"]


def _ended(instances: Instances, group: str, number: int, seconds: float) -> list[int]:
    """Which processes of a control group are there still, so long after a signal to all of them."""
    deadline, root = instances.monotonic() + seconds, instances.layout.root
    left = unit_pids(group, root)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    while left and instances.monotonic() < deadline:
        instances.sleep(POLL_SECONDS)
        left = unit_pids(group, root)
    return left
