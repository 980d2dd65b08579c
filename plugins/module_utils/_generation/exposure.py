# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Where the sandbox of an app's units bends: what that costs, and what a host lacks for it. A plan loads it only for an
app whose sandbox does."""

from __future__ import annotations

import os
from typing import Final, Mapping

from .._declaration.app import App, Data, Plain, Sandbox
from .._os.accounts import has_group
from .sandbox import declared

MEANINGS: Final[Mapping[str, str]] = {
    "proc": "it sees what /proc says of the whole machine: memory, load, devices, the kernel's settings",
    "devices": "a fault in their driver is within its reach",
    "groups": "it reads and writes what these groups may",
    "home": "it reads what people leave open in /home and /root",
    "address_families": "it speaks to the kernel, or to a network below IP",
    "system_calls": "it may ask more of the kernel",
    "umask": "its group reads the files that it makes",
}
"""What each key opens."""

_POINTS: Final[Mapping[str, float]] = {"devices": 0.0, "AF_PACKET": 0.2, "@resources": 0.2, "@chown": 0.2}
_USUAL_POINTS: Final = 0.1
_EXOTIC: Final = frozenset({"AF_VSOCK", "AF_BLUETOOTH", "AF_CAN", "AF_ALG"})
_EXOTIC_POINTS: Final = 0.3


def points(key: str, value: object) -> float:
    """What systemd-analyze security (252 and 257) adds to a unit's exposure for `value` of a key; measured."""
    if key not in ("address_families", "system_calls") or not isinstance(value, tuple):
        return _POINTS.get(key, _USUAL_POINTS)
    known = [_POINTS.get(str(one), _USUAL_POINTS) for one in value if one not in _EXOTIC]
    return round(sum(known) + (_EXOTIC_POINTS if _EXOTIC & set(value) else 0.0), 1)


def costs(app: App) -> list[str]:
    """What a sandbox that bends costs, and what the app may write to of its code: a sentence for each."""
    return [*sandbox_costs(app.sandbox), *built_costs(app.data)]


def sandbox_costs(bent: Sandbox) -> list[str]:
    """A sentence for each key that is not as it is without any."""
    told = []
    for key, meaning in MEANINGS.items():
        value = getattr(bent, key)
        if value in (getattr(Sandbox(), key), "own"):
            continue
        shown = " ".join(value) if isinstance(value, tuple) else value
        told.append(f"sandbox.{key} ({shown}) costs {points(key, value):g} of exposure: {meaning}")
    return told


def built_costs(data: Data) -> list[str]:
    """What folders that the app may write to cost where they may hold code, a sentence each."""
    return [
        f"data.built ({one.path}) costs 0 of exposure as systemd counts it, and holds code: what breaks into the app "
        "can change what its next start runs, until the generation goes"
        for one in data.built
        if one.code
    ]


def missing(app: Plain, root: str = "/") -> list[str]:
    """Which devices and groups of the declaration this host does not have, one sentence each."""
    bent = declared(app)
    devices = [path for path in bent.devices if not os.path.exists(os.path.join(root, path.lstrip("/")))]
    groups = [name for name in bent.groups if not has_group(name)]
    told = [f"sandbox.devices: {path} is not on this host" for path in devices]
    return [*told, *(f"sandbox.groups: there is no group {name} on this host" for name in groups)]
