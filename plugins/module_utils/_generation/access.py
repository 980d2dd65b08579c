# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Who may read what lies on a host of an app: root and the app alone.

One folder decides it: /opt/headcount/APP belongs to root and to a group that every generation runs with, and nobody
else comes through it. The group is the app's own, hc-APP. A generation of an older Headcount that runs as another user
is not in that group; as long as there is one, the folder has the group that its unit names.
"""

from __future__ import annotations

import grp
import os
import stat

from .._os.accounts import exists
from .._os.paths import STATE, Layout
from . import generations

CLOSED = 0o750
OPEN = 0o755
STORE = 0o700
PRIVATE = 0o600


def _gid(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def groups_of(layout: Layout, number: int) -> set[str]:
    """The groups that generation `number` runs with, by its unit; empty when that is not there."""
    found: set[str] = set()
    try:
        path = os.path.join(layout.generation(number), layout.service_unit(number))
        with open(path, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                key, _, value = line.strip().partition("=")
                if key in ("Group", "SupplementaryGroups"):
                    found.update(value.split())
    except OSError:
        return set()
    return found


def account_gone(layout: Layout, number: int) -> str:
    """The account that generation `number` runs as, where it or its group is not on the host any more; else empty."""
    app = generations.record(layout, number).get("app") or {}
    name = str(app.get("user") or layout.user)
    return "" if exists(name, layout.root) else name


def account_problems(layout: Layout, number: int) -> list[str]:
    """What is wrong with the account that generation `number` runs as, in words; empty when it is there."""
    gone = account_gone(layout, number)
    return (
        [f"the account {gone} is gone: generation {number} runs until it is started again, and no further"]
        if gone
        else []
    )


def wanted(layout: Layout) -> tuple[int, str | None]:
    """Mode and group of the app's folder. Open to all, and no group, only while no group has all generations."""
    sets = [found for found in (groups_of(layout, number) for number in generations.numbers(layout)) if found]
    common = set.intersection(*sets) if sets else {layout.group}
    if layout.group in common:
        return CLOSED, layout.group
    return (CLOSED, min(common)) if common else (OPEN, None)


def store(root: str) -> str:
    """Where the host keeps wheels."""
    return os.path.join(root, STATE, "wheels")


def problems(layout: Layout) -> list[str]:
    """What other users of the host can read, in words; empty when nothing is."""
    found = []
    mode, group = wanted(layout)
    status = _status(layout.home)
    if status is not None and group is not None:
        gid = _gid(group)
        if stat.S_IMODE(status.st_mode) != mode:
            found.append(f"{layout.home} has mode {stat.S_IMODE(status.st_mode):04o} instead of {mode:04o}")
        elif gid is not None and status.st_gid != gid:
            found.append(f"{layout.home} does not belong to the group {group}")
    found += [f"{path} can be read by others than root" for path in _told(layout)]
    found += impassable(layout) if os.path.isdir(layout.home) else []
    status = _status(store(layout.root))
    if status is not None and stat.S_IMODE(status.st_mode) != STORE:
        found.append(f"{store(layout.root)} has mode {stat.S_IMODE(status.st_mode):04o} instead of {STORE:04o}")
    return found


def _told(layout: Layout) -> list[str]:
    """What generations keep of their trials and of why they are bad, where others than root can read it."""
    names = (generations.OUTCOME, generations.EVIDENCE)
    paths = [os.path.join(layout.generation(one), name) for one in generations.numbers(layout) for name in names]
    found = [(path, _status(path)) for path in paths]
    return [path for path, status in found if status is not None and stat.S_IMODE(status.st_mode) & ~PRIVATE]


def impassable(layout: Layout) -> list[str]:
    """The folders above the app's own that an account without rights cannot pass, each with its mode and the fix."""
    found, path = [], os.path.dirname(layout.home)
    while path != layout.root or path == "/":
        status = _status(path)
        if status is not None and not status.st_mode & stat.S_IXOTH:
            mode = stat.S_IMODE(status.st_mode)
            found.append(f"{path} has mode {mode:04o}, so that no app's account passes it: `chmod o+x {path}`")
        if path == "/":
            break
        path = os.path.dirname(path)
    return found


def _status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def close(layout: Layout) -> list[str]:
    """Let root and the app alone read releases, generations and wheels; returns what was changed."""
    did = []
    mode, group = wanted(layout)
    if os.path.isdir(layout.home):
        gid = _gid(group) if group else None
        status = os.stat(layout.home)
        if gid is not None and status.st_gid != gid and os.geteuid() == 0:
            os.chown(layout.home, 0, gid)
            did.append(f"gave {layout.home} to the group {group}")
        if stat.S_IMODE(status.st_mode) != mode:
            os.chmod(layout.home, mode)
            did.append(f"closed {layout.home} to other users" if mode == CLOSED else f"opened {layout.home}")
        above = os.path.dirname(layout.home)  # Headcount's too, but for all apps
        mode_above = stat.S_IMODE(os.stat(above).st_mode)
        if not mode_above & stat.S_IXOTH:
            os.chmod(above, OPEN)
            did.append(f"opened {above} again, which had mode {mode_above:04o}: no app's account passed it")
    for path in _told(layout):
        os.chmod(path, PRIVATE)
        did.append(f"closed {path} to all but root")
    path = store(layout.root)
    status_of_store = _status(path)
    if status_of_store is not None and stat.S_IMODE(status_of_store.st_mode) != STORE:
        os.chmod(path, STORE)
        did.append(f"closed {path} to other users")
    return did
