# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a host does once after each boot: it notices that its hardware or its limits have changed, and says so.

Before that a takeover that was cut short comes to its end: what was verified has the address.

In the journal (`journalctl -u headcount-boot`), in the ledger (`hardware_changed`) and in the local fact
(ansible_local.headcount.APP.drift). Where headcount_retune_at_boot is set, it then tunes the app again by itself.
"""

from __future__ import annotations

import os
import secrets
import socket
from typing import Callable

from .._generation import generations, localfact, phases, takeover
from .._generation.failures import StepFailed
from .._generation.ledger import now_text
from .._generation.lock import Busy
from .._generation.reloads import Manager, fail_if_full, try_reload
from .._generation.run import Run
from .._generation.settings import retune_at_boot
from .._generation.shared import is_own_text
from .._generation.switch import take_down
from .._os.files import make_directory, read_text_file, replace_link, write_file
from .._os.ownership import masked
from .._os.paths import HOME, UNITS, Layout, installed_apps
from .._os.systemd import Systemd, SystemdError
from .._steps import guarding
from .._steps.app import AppOnHost
from . import exporting
from .retune import ReadFacts, Retuned, Standing, note_hardware, read_at_boot, retune, standing

UNIT = "headcount-boot.service"

UNIT_TEXT = """\
# Written by Headcount.
[Unit]
Description=Headcount: is this host still what its apps were tuned for?
# Last of all: the apps serve, and nothing waits for this.
After=multi-user.target sockets.target network.target
ConditionPathIsDirectory=/opt/headcount

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/headcount boot
SyslogIdentifier=headcount
TimeoutStartSec=3600

[Install]
WantedBy=multi-user.target
"""


def install(root: str = "/", systemd: Systemd | None = None) -> bool:
    """Put the unit on this host and let it start at boot; one that somebody masked stays so. True when anything
    changed."""
    path = os.path.join(root, UNITS, UNIT)
    if masked(path):
        return False
    link = os.path.join(root, UNITS, "multi-user.target.wants", UNIT)
    manager, changed = systemd or Manager(), False
    if read_text_file(path) != UNIT_TEXT:
        fail_if_full(manager)
        write_file(path, UNIT_TEXT)
        changed = True
    make_directory(os.path.dirname(link))
    changed = replace_link(link, f"/{UNITS}/{UNIT}") or changed
    if changed:
        manager.reload()
    return changed


def uninstall_if_idle(root: str = "/", systemd: Systemd | None = None) -> bool:
    """Take the unit, and the exporter, off a host that has no app any more. True when one was there."""
    found = False
    try:
        if any(entry.is_dir() for entry in os.scandir(os.path.join(root, HOME))):
            return found
    except FileNotFoundError:
        pass
    own = is_own_text(os.path.join(root, UNITS, UNIT))
    for path in (f"{UNITS}/multi-user.target.wants/{UNIT}", f"{UNITS}/{UNIT}") if own else ():
        try:
            os.unlink(os.path.join(root, path))
            found = True
        except FileNotFoundError:
            continue
    if found:
        try_reload(systemd or Manager())
    return exporting.uninstall(root, systemd) or found


def boot_run() -> Run:
    """A run that nobody started: the host itself did."""
    return Run(f"boot-{secrets.token_hex(4)}", "root", f"{socket.gethostname()} (at boot)", now_text())


def check(
    root: str = "/",
    say: Callable[[str], None] = print,
    read: ReadFacts = read_at_boot,
    tune: Callable[..., Retuned] = retune,
) -> bool:
    """Look at every app of this host. False when something that was to be done could not be."""
    run, well = boot_run(), True
    for name in _looked_at(root):
        app = AppOnHost(name, run, root, say=say)
        try:
            with app.alone("boot"):
                for did in [*_taken_over(app), *guarding.conclude(app)]:
                    say(f"{name}: {did}")
                stand = standing(app.layout, read)
                if stand is None:
                    continue
                say(words(name, stand))
                note_hardware(app, stand)
                write_drift(app.layout, stand.changes)
            if stand.changes and retune_at_boot(app.layout):
                say(tuned_words(name, tune(app, read)))
                write_drift(app.layout, _left(app.layout, read))
        except Busy as error:
            say(f"{name}: {error}")
        except StepFailed as error:
            well = False
            say(f"{name}: not re-tuned, what is live stays: {error.phase}: {error.cause}")
        except (OSError, SystemdError) as error:
            well = False
            say(f"{name}: {error}")
    return well


def _looked_at(root: str) -> list[str]:
    """Apps with a live generation, and those whose takeover was cut short before there was one."""
    layouts = [Layout(name, root) for name in installed_apps(root)]
    return [one.app for one in layouts if generations.live(one) is not None or phases.unfinished(one)]


def _taken_over(app: AppOnHost) -> list[str]:
    """Bring a takeover that was cut short to its end. Returns what was done."""
    did = takeover.resume(app.instances, lambda: take_down(app.instances))
    if did:
        app.log("healed", did=did, generation=generations.live(app.layout))
    return did


def _left(layout: Layout, read: ReadFacts) -> list[str]:
    stand = standing(layout, read)
    return stand.changes if stand else []


def words(name: str, stand: Standing) -> str:
    """What the journal says of an app's host."""
    if not stand.changes:
        return f"{name}: this host is what generation {stand.number} was tuned for"
    return (
        f"{name}: this host is not what generation {stand.number} was tuned for: {', '.join(stand.changes)}; "
        f"playbooks/retune.yml or `headcount retune {name}` tunes it again"
    )


def tuned_words(name: str, done: Retuned) -> str:
    """What the journal says of a re-tune."""
    if done["to"] is None:
        return f"{name}: the plan of generation {done['from']} holds"
    changes = ", ".join(f"{key} {before} -> {after}" for key, (before, after) in sorted(done["plan_changes"].items()))
    return f"{name}: re-tuned: generation {done['to']} is live (it was {done['from']}): {changes}"


def write_drift(layout: Layout, changes: list[str]) -> None:
    """Show the drift, or that there is none any more, in the local fact."""

    def with_drift(known: localfact.Part | None) -> localfact.Part | None:
        told = {key: value for key, value in (known or {}).items() if key != "drift"}
        return {**told, **({"drift": changes} if changes else {})} if known is not None else None

    localfact.update(layout, with_drift)
