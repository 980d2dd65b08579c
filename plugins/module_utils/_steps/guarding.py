# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A guard is set at the end of a promote: the host watches the new generation by itself, and goes back if it is bad."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Callable, Mapping

from .._declaration.app import Guard, Plain
from .._generation import generations, goingback, ledger, store
from .._generation.goingback import GoingBack
from .._generation.lock import boot_id, boot_seconds
from .._os.files import as_mapping, read_mapping, remove_file, write_json
from .._os.paths import Layout
from .._os.systemd import SystemdError
from .._recorder.counts import Counts, Tally, Unreadable, read
from .._verdict.guarding import Before
from .app import AppOnHost

LATE_SECONDS = 900.0
"""The unit of a guard is ended by systemd so long after its time: a switch back takes minutes at most."""

FINISH_SECONDS = 300.0
"""One that is stopped while it goes back has so long to bring that to its end, and its systemctl with it."""


@dataclass(frozen=True)
class Orders:
    """What a guard is told: the generation it watches, the one it goes back to, until when (seconds since the boot that
    `boot` names, which no clock that is set changes), for how many minutes in all, and what the generation before had
    counted; by the clock, when it began (`at`, 0: not known). `end`: how it ended (WHOLE, or in a sentence why before
    its time), empty as long as nobody has written that down. `counted`: what the generation had
    counted when it began, most of which its promote asked."""

    generation: int
    back_to: int
    until: float
    minutes: float
    before: Before
    boot: str
    at: float = 0.0
    end: str = ""
    counted: Tally = field(default_factory=Tally)

    @classmethod
    def read(cls, layout: Layout) -> Orders | None:
        """Those of the newest guard; None where there never was one, or they cannot be read."""
        data = read_mapping(_path(layout))
        try:
            return cls(
                int(data["generation"]),
                int(data["back_to"]),
                float(data["until"]),
                float(data["minutes"]),
                Before(_tally(data.get("tally")), float(data["seconds"])),
                str(data["boot"]),
                float(data.get("at") or 0.0),
                str(data.get("end") or ""),
                _tally(data["counted"]) if "counted" in data else Tally(),
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
            "boot": self.boot,
            "at": self.at,
            "end": self.end,
            "counted": asdict(self.counted),
        }
        write_json(_path(layout), told, 0o600)


def _tally(data: object) -> Tally:
    counted = as_mapping(data)
    return Tally(**{**counted, "buckets": tuple(counted["buckets"])})


WHOLE = "whole"
"""How a guard ends that has watched for as long as it was to."""


def _path(layout: Layout) -> str:
    return os.path.join(layout.state, "guard.json")


def looked(layout: Layout) -> None:
    """Have the orders' file say when the guard looked last, for whoever finds it ended with no word."""
    with contextlib.suppress(OSError):
        os.utime(_path(layout))


def over(app: AppOnHost, orders: Orders, end: str) -> None:
    """Write down how the guard with these orders ended, unless another one has its own since."""
    if Orders.read(app.layout) == orders:
        with contextlib.suppress(OSError):
            replace(orders, end=end).write(app.layout)


def unit(layout: Layout, number: int) -> str:
    """The transient unit of the guard over generation `number`."""
    return f"headcount-guard-{layout.app}-{number}.service"


def minutes(app: Mapping[str, Any]) -> float:
    """For how long a generation of the app is to be guarded; 0 is not at all."""
    if app.get("recorder") is False:
        return 0.0
    return float(Guard.from_dict(app.get("guard") or {}).minutes)


def wanted(app: Plain, old: int | None) -> bool:
    """Whether a generation that follows `old` is to be guarded: not where there is nothing to go back to."""
    return old is not None and minutes(app) > 0


def counted(app: AppOnHost, number: int | None) -> Counts | None:
    """What the instance of a generation has counted; None where nobody can tell."""
    if number is None:
        return None
    with contextlib.suppress(Unreadable, SystemdError):
        master = app.systemd.state(app.layout.service_unit(number)).main_pid
        return read(app.layout.instance_files(number, trial=False), master, app.root)
    return None


def before(app: AppOnHost, old: int | None) -> Before:
    """What the generation that is about to leave has counted: what the new one is held against."""
    found = counted(app, old)
    return Before() if found is None else Before(found.tally, max(1.0, app.clock() - found.started))


def begin(app: AppOnHost, number: int, old: int | None, declared: Plain, was: Before) -> str:
    """Have the host watch generation `number` from now on; what went wrong with that, in a sentence, else empty.

    Nothing is watched where it is not declared, and where there is no generation to go back to.
    """
    span = minutes(declared)
    if old is None or not span:
        return f"generation {number} is not guarded: there is none before it to go back to" if span else ""
    try:
        goingback.forget(app.layout)
        until, boot = boot_seconds() + 60 * span, boot_id(app.root)
        found = counted(app, number)
        tally = found.tally if found is not None else Tally()
        Orders(number, old, until, span, was, boot, app.clock(), counted=tally).write(app.layout)
        command = ["/usr/local/sbin/headcount", "guard", app.name]
        # on-abort: one that is killed goes on, with the time that is left; one that is stopped does not. With any other
        # OOMPolicy the OOM killer's kill of it, or of a systemctl of its own, is no abort to systemd, but the end.
        most = f"RuntimeMaxSec={60 * span + LATE_SECONDS:.0f}"
        goes_on = ["Restart=on-abort", "RestartSec=5", "OOMPolicy=continue"]
        stops = ["KillMode=mixed", f"TimeoutStopSec={FINISH_SECONDS:.0f}"]
        properties = [most, "SyslogIdentifier=headcount", *goes_on, *stops]
        app.systemd.run_transient(unit(app.layout, number), command, properties)
    except (SystemdError, OSError) as error:
        return f"generation {number} is not guarded: {error}"
    return ""


def watches(app: AppOnHost, orders: Orders) -> bool:
    """Whether the guard with these orders is at work. Raises SystemdError."""
    return not app.systemd.state(unit(app.layout, orders.generation)).gone


def words(app: AppOnHost, live: int | None, now: Callable[[], float] = boot_seconds) -> str:
    """What is to be said of the guard over the live generation; empty where its time is over, or there was none.

    Raises SystemdError.
    """
    orders = Orders.read(app.layout)
    if orders is None or orders.generation != live or orders.end == WHOLE:
        return ""
    if not orders.end and orders.boot == boot_id(app.root) and watches(app, orders):
        until = _clock(app.clock() + max(0.0, orders.until - now()))
        return f"guarded until {until}: goes back to generation {orders.back_to} by itself if users get worse answers"
    early = orders.end or _ended_early(app, orders, now())
    return f"not guarded any more: {early}" if early else ""


def went_back(layout: Layout, live: int | None) -> str:
    """That the guard went back, when, from what, to what and why; empty where it did not, or something was promoted
    since."""
    going = _last_way_back(layout, live)
    if going is None:
        return ""
    return f"the guard went back from generation {going.generation} to {going.back_to} at {going.time}: {going.cause}"


def _last_way_back(layout: Layout, live: int | None) -> GoingBack | None:
    """What the guard went back from last; None where it never did, or something was promoted since, as somebody wanted
    that."""
    found: GoingBack | None = None
    for entry in ledger.read(layout.ledger):
        number, back_to = entry.get("generation"), entry.get("from")
        if entry["event"] in ("promoted", "removed", "given_back"):
            found = None
        elif entry.get("phase") == "guard" and isinstance(number, int) and isinstance(back_to, int):
            found = GoingBack(number, back_to, str(entry["time"]), str(entry.get("cause") or ""))
    return goingback.unsaid(layout, live) or found


def cut_short(app: AppOnHost, orders: Orders, until: float, why: str) -> str:
    """That a guard did not watch to the end, but until then (seconds since the epoch), and why."""
    watched = max(0.0, until - orders.at)
    return (
        f"it did not watch to the end: from {_clock(orders.at)} to {_clock(orders.at + watched)}, "
        f"{watched / 60:.1f} of {orders.minutes:g} minutes, then {why}"
    )


def _ended_early(app: AppOnHost, orders: Orders, now: float) -> str:
    """That the guard with these orders ended before its time with no word, in a sentence; empty where it did not.

    Raises SystemdError.
    """
    again = orders.boot != boot_id(app.root)
    if not orders.at or not (again or (now < orders.until and not watches(app, orders))):
        return ""
    with contextlib.suppress(OSError):
        seen = os.stat(_path(app.layout)).st_mtime
        name = unit(app.layout, orders.generation)
        told = cut_short(app, orders, seen, "the host was started again" if again else f"{name} was ended")
        going = GoingBack.read(app.layout)
        found = f"; it had found: {going.cause}" if going is not None and going.generation == orders.generation else ""
        return told + found
    return ""


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%SZ", time.gmtime(at))


@dataclass(frozen=True)
class Said:
    """What the guard over a generation has come to so far. `cause`: what it found, empty where it found nothing;
    `back_to`: the generation that it went back to, None where what it found is live still; `watches`: whether it is at
    work, so that more may come."""

    cause: str
    back_to: int | None
    watches: bool


def said(app: AppOnHost, number: int) -> Said:
    """What the guard over generation `number` has come to, by what it wrote down."""
    unit_gone = False
    with contextlib.suppress(SystemdError):
        unit_gone = app.systemd.state(unit(app.layout, number)).gone  # before its last word is looked for
    live, going = generations.live(app.layout), GoingBack.read(app.layout)
    found = [one for one in ledger.read(app.layout.ledger) if (one["event"], one.get("phase")) == ("failed", "guard")]
    told = [(str(one.get("cause") or ""), one.get("from")) for one in found if one.get("generation") == number]
    if going is not None and going.generation == number:
        told.append((going.cause, going.back_to if going.back_to == live else None))
    cause, back_to = next((one for one in told if isinstance(one[1], int)), told[-1] if told else ("", None))
    return Said(cause, back_to if isinstance(back_to, int) else None, not unit_gone)


def conclude(app: AppOnHost, going: GoingBack | None = None) -> list[str]:
    """Write down what a guard went back from (default: what one left), and that one ended before its time with no
    word, where the ledger does not have it yet; in sentences, what was done.

    The ledger has the first word: by it no run deploys that release again. Raises OSError where that cannot be written.
    """
    live = generations.live(app.layout)
    going = going or goingback.unsaid(app.layout, live)
    if going is None:
        orders, early = Orders.read(app.layout), ""
        if orders is not None and orders.generation == live and not orders.end:
            with contextlib.suppress(SystemdError):
                early = _ended_early(app, orders, boot_seconds())
        if orders is None or not early:
            return []
        app.log("guarded", generation=live, evidence=early)
        over(app, orders, early)
        with contextlib.suppress(OSError):  # else a person's way back would be told as the guard's
            goingback.forget(app.layout)
        return [f"wrote down how the guard over generation {live} ended: {early}"]
    app.log("failed", **going.event())
    with contextlib.suppress(OSError):
        store.set_outcome(app.layout, going.generation, "bad", going.cause)
        app.drop_older_bad(going.generation)
    with contextlib.suppress(OSError):
        goingback.forget(app.layout)
    return [f"wrote down why the guard went back from generation {going.generation}: {going.cause}"]


def forget(layout: Layout) -> None:
    """The app leaves the host: nothing of its guards stays but what the ledger has."""
    remove_file(_path(layout))
    goingback.forget(layout)
