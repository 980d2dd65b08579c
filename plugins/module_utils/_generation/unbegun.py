# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Why systemd could not begin a unit: what it was to begin ends with an exit status of systemd's own (systemd.exec(5)).

Often that is the program before the server (ExecStartPre=), whose status is told with it.
"""

from __future__ import annotations

import re
from typing import Final, Mapping, Sequence

from .._os.paths import Layout
from .._os.systemd import Systemd, UnitState
from .dryrun import STEPS
from .processnames import process_units_on_disk

_FOLDER: Final = (
    "what its log names is no folder, leads elsewhere, or lies where nothing can be written: put that right"
)
_SANDBOX: Final = "a path of its sandbox is gone, or this host does not let systemd make it: put the path back"
_MAKES: Final = "the next rollout makes Headcount's own account again, and so does headcount-rollback"

_ALL: Final[Mapping[int, tuple[str, str, str]]] = {
    200: ("CHDIR", "enter its working directory", "the folder is gone, or its account may not enter it"),
    202: ("FDS", "give it its sockets", ""),
    203: (
        "EXEC",
        "execute its program",
        "the file or its interpreter is gone, may not be executed, or lies on a file system that is mounted noexec",
    ),
    204: ("MEMORY", "begin it for lack of memory", "free some, or add some"),
    205: ("LIMITS", "set its limits", "a Limit* of a drop-in asks for more than this host allows"),
    206: ("OOM_ADJUST", "set how soon the kernel ends it for memory", ""),
    209: ("STDOUT", "open its log", "`systemctl status systemd-journald` says whether the journal runs"),
    216: ("GROUP", "take the groups that it runs with", f"one is not on this host: `groupadd --system` it; {_MAKES}"),
    217: ("USER", "", _MAKES),
    218: ("CAPABILITIES", "", ""),
    219: ("CGROUP", "", ""),
    222: ("STDERR", "open its log for errors", "`systemctl status systemd-journald` says whether the journal runs"),
    225: ("NETWORK", "", ""),
    226: ("NAMESPACE", "", _SANDBOX),
    227: ("NO_NEW_PRIVILEGES", "", ""),
    228: ("SECCOMP", "", ""),
    229: ("SELINUX_CONTEXT", "", ""),
    231: ("APPARMOR_PROFILE", "set its AppArmor profile", "a drop-in names one that is not loaded"),
    233: ("RUNTIME_DIRECTORY", "make its folder below /run", _FOLDER),
    235: ("CHOWN", "change the owner of its socket", "its account or group is not on this host"),
    237: ("KEYRING", "", ""),
    238: ("STATE_DIRECTORY", "make its folder below /var/lib", _FOLDER),
    239: ("CACHE_DIRECTORY", "make its folder below /var/cache", _FOLDER),
    240: ("LOGS_DIRECTORY", "make its folder below /var/log", _FOLDER),
    241: ("CONFIGURATION_DIRECTORY", "make its folder below /etc", _FOLDER),
    243: ("CREDENTIALS", "load its credentials", "a file that a drop-in names is gone"),
}
"""The step as the log calls it; what systemd cannot do (where it is said otherwise than for a whole host, STEPS); the
fix."""

_EXITED: Final = re.compile(r"\.service: (?:Main|Control) process exited, code=\w+, status=(\d+)/")
_WHY: Final = re.compile(r"\.service: (?:Failed to |Changing to ).*: ")
_STATUS: Final = re.compile(r"code=exited ; status=(\d+)")


def words(status: int, lines: Sequence[str]) -> str:
    """What systemd could not do where a unit did not begin, with what its log (`lines`) says of it and the fix, in a
    sentence; empty where it was no step of systemd's own. `status`: by its properties, where they tell it.
    """
    told_by_log = [int(found[1]) for found in map(_EXITED.search, lines) if found]
    status = status if status in _ALL or not told_by_log else told_by_log[-1]
    if status not in _ALL:
        return ""
    name, what, fix = _ALL[status]
    said = _said(name, lines)
    told = f"systemd cannot {what or STEPS[status]} (exit status {status}/{name})"
    return "; ".join(filter(None, [told + (f": {said}" if said else ""), fix]))


def _said(name: str, lines: Sequence[str]) -> str:
    """What systemd says last of that step: of the two lines that it logs, the one that names a path and an error."""
    found = [place for place, line in enumerate(lines) if f"Failed at step {name} spawning" in line]
    if not found:
        return ""
    near = [line for line in lines[max(0, found[-1] - 4) : found[-1]] if _WHY.search(line)]
    return [*near, lines[found[-1]]][-2 if near else -1].partition(".service: ")[2].strip()


def causes(layout: Layout, number: int, systemd: Systemd) -> list[str]:
    """Which units of generation `number` systemd could not begin, each with the reason, in sentences."""
    units = [layout.service_unit(number), *process_units_on_disk(layout, number)]
    states = systemd.states(*(unit for unit in units if unit.endswith(".service")))
    told = {unit: _of(unit, state, systemd) for unit, state in states.items() if not state.running}
    return [f"{unit}: {why}" for unit, why in told.items() if why]


def _of(unit: str, state: UnitState, systemd: Systemd) -> str:
    """words() of a unit that does not run: the status is its server's, or that of the program before it."""
    before = _STATUS.findall(systemd.properties(unit, "ExecStartPre").get("ExecStartPre", ""))
    status = next((one for one in (state.exit_status, *map(int, before)) if one in _ALL), 0)
    again = state.active == "activating" and state.restarts > 0  # in another start, whose status is not there yet
    return words(status, systemd.journal(unit, 0.0)) if status or again else ""
