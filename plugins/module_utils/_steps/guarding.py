# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A guard is set at the end of a promote: the host watches the new generation by itself, and goes back if it is bad."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import asdict, dataclass
from typing import Any, Mapping

from .._declaration.app import Guard, Plain
from .._os.files import as_mapping, read_mapping, write_json
from .._os.paths import Layout
from .._os.systemd import SystemdError
from .._recorder.counts import Counts, Tally, Unreadable, read
from .._verdict.guarding import Before
from .app import AppOnHost

LATE_SECONDS = 900.0
"""The unit of a guard is ended by systemd so long after its time: a switch back takes minutes at most."""


@dataclass(frozen=True)
class Orders:
    """What a guard is told: the generation it watches, the one it goes back to, until when (epoch seconds), for how
    many minutes in all, and what the generation before had counted."""

    generation: int
    back_to: int
    until: float
    minutes: float
    before: Before

    @classmethod
    def read(cls, layout: Layout) -> Orders | None:
        """Those of the newest guard; None where there never was one, or they cannot be read."""
        data = read_mapping(_path(layout))
        counted = as_mapping(data.get("tally"))
        try:
            tally = Tally(**{**counted, "buckets": tuple(counted["buckets"])})
            return cls(
                int(data["generation"]),
                int(data["back_to"]),
                float(data["until"]),
                float(data["minutes"]),
                Before(tally, float(data["seconds"])),
            )
        except (KeyError, TypeError, ValueError):
            return None

    def write(self, layout: Layout) -> None:
        """Keep them for the guard's process."""
        told: dict[str, object] = {
            "generation": self.generation,
            "back_to": self.back_to,
            "until": self.until,
            "minutes": self.minutes,
            "tally": asdict(self.before.tally),
            "seconds": self.before.seconds,
        }
        write_json(_path(layout), told, 0o600)


def _path(layout: Layout) -> str:
    return os.path.join(layout.state, "guard.json")


def unit(layout: Layout, number: int) -> str:
    """The transient unit of the guard over generation `number`."""
    return f"headcount-guard-{layout.app}-{number}.service"


def minutes(app: Mapping[str, Any]) -> float:
    """For how long a generation of the app is to be guarded; 0 is not at all."""
    if app.get("recorder") is False:
        return 0.0
    return float(Guard.from_dict(app.get("guard") or {}).minutes)


def counted(layout: Layout, number: int | None) -> Counts | None:
    """What the instance of a generation has counted; None where nobody can tell."""
    if number is None:
        return None
    with contextlib.suppress(Unreadable):
        return read(layout.instance_files(number, trial=False))
    return None


def before(app: AppOnHost, old: int | None) -> Before:
    """What the generation that is about to leave has counted: what the new one is held against."""
    found = counted(app.layout, old)
    return Before() if found is None else Before(found.tally, max(1.0, app.clock() - found.started))


def begin(app: AppOnHost, number: int, old: int | None, declared: Plain, was: Before) -> str:
    """Have the host watch generation `number` from now on; what went wrong with that, in a sentence, else empty.

    Nothing is watched where it is not declared, and where there is no generation to go back to.
    """
    span = minutes(declared)
    if span <= 0 or old is None:
        return ""
    try:
        Orders(number, old, app.clock() + 60 * span, span, was).write(app.layout)
        command = ["/usr/local/sbin/headcount", "guard", app.name]
        properties = [f"RuntimeMaxSec={60 * span + LATE_SECONDS:.0f}", "SyslogIdentifier=headcount"]
        app.systemd.run_transient(unit(app.layout, number), command, properties)
    except (SystemdError, OSError) as error:
        return f"generation {number} is not guarded: {error}"
    return ""


def words(layout: Layout, live: int | None) -> str:
    """What is to be said of a guard that is under way over the live generation; empty where there is none."""
    orders = Orders.read(layout)
    if orders is None or orders.generation != live or orders.until <= time.time():
        return ""
    until = time.strftime("%H:%M:%SZ", time.gmtime(orders.until))
    return f"guarded until {until}: goes back to generation {orders.back_to} by itself if users get worse answers"
