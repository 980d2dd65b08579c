# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The links that have a boot start a former service are taken away, and put back as they were.

`systemctl disable` removes links that `systemctl enable` does not make again: those that somebody made by hand. So the
links themselves are noted, removed, and put back, and afterwards it is read whether they are what they were.
"""

from __future__ import annotations

import contextlib
import os
from typing import Mapping, Sequence

from .._os.files import fsync_directory, make_directory, remove_file, replace_link
from .._os.paths import UNITS, Layout, under
from .._os.systemd import Systemd
from .formerboot import WANTED


def take_away(layout: Layout, systemd: Systemd, found: Mapping[str, str]) -> None:
    """Remove these links, and the folders that are empty then. SystemdError."""
    for path in found:
        place = under(layout.root, path)
        if os.path.islink(place):
            remove_file(place)
            with contextlib.suppress(OSError):  # not empty
                if os.path.dirname(path) != f"/{UNITS}":
                    os.rmdir(os.path.dirname(place))
    if found:
        systemd.reload()


def put_back(layout: Layout, systemd: Systemd, found: Mapping[str, str]) -> list[str]:
    """Make these links again. What is not as it was, in sentences. SystemdError."""
    for path, target in found.items():
        place = under(layout.root, path)
        if os.path.islink(place) or not os.path.lexists(place):
            make_directory(os.path.dirname(place))
            replace_link(place, target)
            fsync_directory(os.path.dirname(place))
    if found:
        systemd.reload()
    return [
        f"{path} is not the link to {target} that it was: put it back by hand"
        for path, target in found.items()
        if _target(under(layout.root, path)) != target
    ]


def _target(path: str) -> str:
    return os.readlink(path) if os.path.islink(path) else ""


def started_by(systemd: Systemd, units: Sequence[str]) -> list[str]:
    """What has these units started by now, by systemd itself."""
    told = [systemd.properties(unit, *WANTED) for unit in units]
    return sorted({name for one in told for key in WANTED for name in one.get(key, "").split()} - {*units})


def by_hand(units: Sequence[str], found: Mapping[str, str]) -> str:
    """The commands by which a person has a boot start these units as these links did, and starts them."""
    commands = [f"ln -s {target} {path}" for path, target in sorted(found.items())]
    parents = sorted({os.path.dirname(path) for path in found if os.path.dirname(path) != f"/{UNITS}"})
    first = [f"mkdir -p {' '.join(parents)}"] if parents else []
    reload = ["systemctl daemon-reload"] if found else []
    return "; ".join([*first, *commands, *reload, f"systemctl start {' '.join(units)}"])
