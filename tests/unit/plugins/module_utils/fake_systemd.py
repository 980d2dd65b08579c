# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A service manager of the tests' own."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Completed


@dataclass
class FakeSystemd:
    """Units that start and stop at once. `broken` units fail when they are started; `said` holds what was asked."""

    active: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)
    at: list[tuple[str, float]] = field(default_factory=list)
    clock: Callable[[], float] = float
    on_stop: Callable[[], object] = object
    sockets: bool = True
    refuses_reload: bool = False
    unread: set[str] = field(default_factory=set)
    """Units whose files are others than systemd has read."""
    groups: dict[str, str] = field(default_factory=dict)
    """ControlGroup= of units; others do not tell it."""

    def __call__(self, command: Sequence[str], timeout_seconds: float) -> Completed:
        words = [word for word in command[1:] if not word.startswith("--no-") and word != "--"]
        if command[0] != "systemctl":
            return Completed(0, "", "")
        verb, units = words[0], [word for word in words[1:] if not word.startswith("-")]
        if verb in ("start", "stop"):
            self.said.append(f"{verb} {' '.join(units)}")
            self.at += [(f"{verb} {unit}", self.clock()) for unit in units]
        elif verb == "daemon-reload":
            self.said.append("reload")
            if self.refuses_reload:
                return Completed(1, "", "Refusing to reload, not enough space available on /run/systemd.")
        if verb == "start":
            bad = self.broken & set(units)
            self.active |= set(units) - self.broken
            if bad and "--no-block" not in command:
                return Completed(1, "", f"Job for {sorted(bad)[0]} failed.")
        if verb == "stop":
            self.active -= set(units)
            self.on_stop()
        if verb == "show":
            named = [one for unit in units for one in (fnmatch.filter(self.active, unit) if "*" in unit else [unit])]
            return Completed(0, "\n\n".join(self._show(unit) for unit in named), "")
        if verb == "list-units":
            return Completed(0, "\n".join(f"{unit} loaded active running" for unit in sorted(self.active)), "")
        return Completed(0, "", "")

    def _show(self, unit: str) -> str:
        active = "active" if unit in self.active else "failed" if unit in self.broken else "inactive"
        pid = 7 if active == "active" else 0
        group = f"\nControlGroup={self.groups[unit]}" if unit in self.groups else ""
        read = f"\nNeedDaemonReload={'yes' if unit in self.unread else 'no'}"
        return f"Id={unit}\nLoadState=loaded\nActiveState={active}\nMainPID={pid}\nResult=exit-code{group}{read}"
