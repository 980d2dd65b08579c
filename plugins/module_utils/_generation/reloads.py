# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Has the host room for systemd to read its unit files again?

It throws away what its generators made (mounts of /etc/fstab, units of /etc/init.d, login prompts, sockets) and begins
them all at once to have it made anew. Where it cannot begin them, it says so in its journal only, reports success, and
those units are gone until a reload that has room.

How many tasks that takes was measured on Debian 11, 12 and 13 (systemd 247, 252 and 257, with 12, 12 and 11
generators): pids.max was lowered step by step, and /run/systemd/generator* compared after a reload. Where each lives
until the last has begun, it is one for each generator and 2, 2 and 6 more; on a single core most of them end before.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from .._facts.tasks import TaskLimit, manager_limits
from .._os.paths import under
from .._os.procfs import read_text
from .._os.systemd import Systemd, SystemdError
from .failures import Untouched

GENERATORS = tuple(f"/{place}/systemd/system-generators" for place in ("run", "etc", "usr/local/lib", "usr/lib", "lib"))
"""systemd.generator(7); the last where /lib is a folder of its own. Those that make its environment run one by one,
before the others."""
OWN = 6
"""Those beside the generators: systemctl, what systemd forks to begin them, and since 250 their sandbox."""
OTHERS = 6
"""So many tasks may one have that is not systemd's own: a script with a pipeline, a program with threads."""
SPARE = 10
"""So many are left for what the host begins meanwhile; none of a limit that is for systemd alone."""

DEFAULT_PERCENT = 15
"""systemd-system.conf(5), DefaultTasksMax=: of the least of what the kernel and the topmost group allow."""
_CONFIGURED = re.compile(r"(?m)^\s*(?:Default)?TasksMax\s*=\s*\S")
_CONFIGURATIONS = tuple(f"/{place}/systemd" for place in ("etc", "run", "usr/local/lib", "usr/lib", "lib"))
_SET_PROPERTY = ("etc/systemd/system.control", "run/systemd/system.control", "run/systemd/transient")
"""Where `systemctl set-property` notes what it sets."""


class NoRoom(SystemdError):
    """systemd is not asked to read its unit files again: its generators have no room."""


@dataclass
class Manager(Systemd):
    """The service manager of a host that is acted on: what generators made is not thrown away where there is no room
    for them."""

    root: str = "/"

    def reload(self) -> None:
        """As Systemd.reload(). NoRoom, before anything is asked of systemd."""
        fail_if_full(self)
        super().reload()

    def enable(self, *units: str) -> None:
        """As Systemd.enable(): systemctl has systemd read its unit files again after it. NoRoom, likewise."""
        if units:
            fail_if_full(self)
        super().enable(*units)

    def disable(self, *units: str) -> None:
        """As Systemd.disable(), with the same after it. NoRoom, likewise."""
        if units:
            fail_if_full(self)
        super().disable(*units)


def needed(root: str = "/") -> int:
    """The tasks that a reload may take at once."""
    names = {name for place in GENERATORS for name in _programs(under(root, place))}
    return OWN + sum(1 if name.startswith("systemd-") else OTHERS for name in names)


def _programs(folder: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if os.access(os.path.join(folder, name), os.X_OK)]
    except OSError:
        return []


def no_room_to_reload(root: str = "/") -> str:
    """Why systemd cannot read its unit files again without losing what its generators made, in a sentence with the
    fix; empty where it can."""
    need, limits = needed(root), manager_limits(root)
    full = [limit for limit in _with_next(limits, root) if limit.left < need + _spare(limit)]
    if not full:
        return ""
    limit = min(full, key=lambda limit: limit.left)
    spare = f", and {_spare(limit)} are to spare" if _spare(limit) else ""
    return (
        f"this host has no room for systemd to read its unit files again: its generators, which it begins all at once, "
        f"take {need} processes and threads{spare}, but only {limit.left} more may be begun "
        f"({limit.source} is {limit.most}, and {limit.there} are there). Without them the units that they make are "
        "lost: mounts of /etc/fstab, services of /etc/init.d, login prompts. End some processes, or "
        f"{_more(limit)}, and run this again"
    )


def _own(limit: TaskLimit) -> bool:
    """Whether a limit is for systemd alone."""
    return "init.scope" in limit.source


def _spare(limit: TaskLimit) -> int:
    return 0 if _own(limit) else SPARE


def _more(limit: TaskLimit) -> str:
    if _own(limit):
        return (
            "allow more (`systemctl set-property --runtime init.scope TasksMax=infinity`, or DefaultTasksMax= in "
            "/etc/systemd/system.conf; it is 15 % of what the host or its container may have)"
        )
    return "allow more"


def _with_next(limits: list[TaskLimit], root: str) -> list[TaskLimit]:
    """These, and what the reload makes of systemd's own: its share of a limit that was lowered since the last one.
    What systemd is told in words of its own is left out."""
    own, above = limits[:1], limits[1:]
    if not own or not above or not _own(own[0]) or _configured(root):
        return limits
    share = min(limit.most for limit in above) * DEFAULT_PERCENT // 100
    after = TaskLimit(f"{own[0].source}, once it is set anew,", share, own[0].there)
    return [*limits, after] if share < own[0].most else limits


def _configured(root: str) -> bool:
    """Whether somebody says how many tasks a unit may have, for all of them or for systemd's own."""
    found = [f"{place}/system.conf" for place in _CONFIGURATIONS]
    folders = [f"{place}/{name}" for place in _CONFIGURATIONS for name in ("system.conf.d", "system/init.scope.d")]
    folders += [f"/{place}/init.scope.d" for place in _SET_PROPERTY]
    for folder in folders:
        try:
            found += [f"{folder}/{name}" for name in os.listdir(under(root, folder)) if name.endswith(".conf")]
        except OSError:
            continue
    return any(_CONFIGURED.search(read_text(root, path) or "") for path in found)


def fail_if_full(systemd: Systemd) -> None:
    """NoRoom where systemd would not be reloaded: asked before anything is changed by who is going to need it."""
    full = no_room_to_reload(systemd.root) if isinstance(systemd, Manager) else ""
    if full:
        raise NoRoom(full)


def fail_if_no_room(systemd: Systemd, phase: str) -> None:
    """fail_if_full() for a step of a rollout: Untouched."""
    try:
        fail_if_full(systemd)
    except NoRoom as error:
        raise Untouched(phase, str(error)) from None


def reload_for(systemd: Systemd, *units: str) -> None:
    """Have systemd read its unit files again for the sake of these. Where there is no room for that it is left out, if
    systemd has them as they are on disk, or reads them when they are started; else NoRoom."""
    try:
        systemd.reload()
    except NoRoom:
        if not all(_as_on_disk(systemd, unit) for unit in units):
            raise


def try_reload(systemd: Systemd, *units: str) -> str:
    """As reload_for(), for a way back, which must not end there: what was left out for want of room, in a sentence;
    empty where nothing was. Of no units: what has been taken away, and is started no more."""
    try:
        reload_for(systemd, *units)
    except NoRoom as error:
        return f"systemd has not read {', '.join(units)} again ({error}; `systemctl daemon-reload` does then)"
    return ""


def _as_on_disk(systemd: Systemd, unit: str) -> bool:
    """Whether systemd has a unit as its files are: one that it does not have in memory is read as soon as it is asked
    for (systemd.unit(5)), and one that it has says whether they have changed."""
    found = systemd.properties(unit, "LoadState", "NeedDaemonReload")
    return found.get("LoadState") == "loaded" and found.get("NeedDaemonReload") == "no"
