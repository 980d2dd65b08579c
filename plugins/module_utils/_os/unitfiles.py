# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What lies where systemd looks for unit files (systemd.unit(5)), and which drop-ins are for several apps' units."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from .paths import UNITS, under

UNIT_PATH = (
    "etc/systemd/system.control",
    "run/systemd/system.control",
    "run/systemd/transient",
    "run/systemd/generator.early",
    UNITS,
    "etc/systemd/system.attached",
    "run/systemd/system",
    "run/systemd/system.attached",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "run/systemd/generator.late",
)
"""Where systemd looks for unit files, the most important first."""


@dataclass(frozen=True)
class UnitFiles:
    """What lies where systemd looks for unit files: {directory, as the host sees it: names}, in its order."""

    names: dict[str, list[str]]

    @classmethod
    def read(cls, root: str = "/") -> UnitFiles:
        """List the directories; /lib is left out where it is /usr/lib."""
        found: dict[str, list[str]] = {}
        seen: set[str] = set()
        for directory in UNIT_PATH:
            path = os.path.join(root, directory)
            real = os.path.realpath(path)
            if real in seen:
                continue
            seen.add(real)
            try:
                found[f"/{directory}"] = sorted(os.listdir(path))
            except OSError:
                continue
        return cls(found)

    def paths(self, pattern: re.Pattern[str]) -> list[str]:
        """Everything whose name matches the whole `pattern`."""
        return [f"{at}/{name}" for at, names in self.names.items() for name in names if pattern.fullmatch(name)]


def configurations(directory: str, root: str) -> list[str]:
    """The files of a drop-in directory that systemd reads, as the host sees them."""
    try:
        names = sorted(os.listdir(under(root, directory)))
    except OSError:
        return []
    return [f"{directory}/{name}" for name in names if name.endswith(".conf")]


def shared_drop_ins(app: str, files: UnitFiles, root: str) -> list[str]:
    """The drop-ins that the host has for all services, or all whose names begin alike: those of other apps too."""
    words = app.split("-")
    beginnings = ["", *("-".join(words[:count]) + "-." for count in range(1, len(words)))]
    names = sorted(f"{beginning}{kind}.d" for beginning in beginnings for kind in ("service", "socket"))
    wanted = re.compile("|".join(map(re.escape, names)))
    return [path for directory in files.paths(wanted) for path in configurations(directory, root)]
