# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The sandbox of an app's units, where it bends for an app that needs that, and what that costs."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Final, Iterable, Mapping

from .._declaration.app import Plain, Sandbox

HARDENING: Final[Mapping[str, str]] = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "PrivateTmp": "yes",
    "PrivateMounts": "yes",
    "PrivateDevices": "yes",
    "PrivateUsers": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "ProtectProc": "invisible",
    "ProcSubset": "pid",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "LockPersonality": "yes",
    "KeyringMode": "private",
    "UMask": "0077",
    "SystemCallArchitectures": "native",
}
"""What `systemd-analyze security` asks for, as far as a WSGI server that talks to databases can go.

Left open on purpose: the network (IPAddressDeny=, PrivateNetwork=: the app needs its peers), MemoryDenyWriteExecute=
(breaks just-in-time compilers and libffi closures), RootDirectory= (the release uses the host's Python).
"""

SYSTEM_CALLS = "@system-service", "~@privileged @resources"

OPENS_PROC = ("psutil",)
"""Distributions that fail, or say nothing true, without /proc/meminfo and /proc/stat."""


def declared(app: Plain) -> Sandbox:
    """Where the sandbox of a normalised app, or of the record of one, bends."""
    return Sandbox.from_dict(app.get("sandbox") or {})


def resolved(app: Plain, installed: Iterable[str]) -> dict[str, object]:
    """The app with `sandbox.proc` decided, by the distributions of its release."""
    found = declared(app)
    if found.proc != "auto" or not set(OPENS_PROC) & set(installed):
        return dict(app)
    return {**app, "sandbox": replace(found, proc="all").to_dict()}


def lines(app: Plain) -> list[str]:
    """Lines of [Service]: the sandbox of an app, bent as it declares."""
    bent = declared(app)
    directives = dict(HARDENING)
    if bent.proc == "all":
        directives["ProcSubset"] = "all"
    if bent.home == "read":
        directives["ProtectHome"] = "read-only"
    directives["RestrictAddressFamilies"] = " ".join([directives["RestrictAddressFamilies"], *bent.address_families])
    directives["UMask"] = bent.umask
    return [
        *(f"{key}={value}" for key, value in directives.items()),
        *(f"SystemCallFilter={calls}" for calls in SYSTEM_CALLS),
        *([f"SystemCallFilter={' '.join(bent.system_calls)}"] if bent.system_calls else []),
        "SystemCallErrorNumber=EPERM",
        # The private /dev stays: what is bound into it is all that there is beside it.
        *(line for path in bent.devices for line in (f"BindPaths={path}", f"DeviceAllow={path} rw")),
        *([f"SupplementaryGroups={' '.join(bent.groups)}"] if bent.groups else []),
    ]


def missing(app: Plain, root: str = "/") -> list[str]:
    """Which devices and groups of the declaration this host does not have, one sentence each."""
    from .._os.accounts import has_group

    bent = declared(app)
    devices = [path for path in bent.devices if not os.path.exists(os.path.join(root, path.lstrip("/")))]
    groups = [name for name in bent.groups if not has_group(name)]
    told = [f"sandbox.devices: {path} is not on this host" for path in devices]
    return [*told, *(f"sandbox.groups: there is no group {name} on this host" for name in groups)]


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


def costs(bent: Sandbox) -> list[str]:
    """What a sandbox that bends costs, a sentence for each key that is not as it is without any."""
    told = []
    for key, meaning in MEANINGS.items():
        value = getattr(bent, key)
        if value in (getattr(Sandbox(), key), "own"):
            continue
        shown = " ".join(value) if isinstance(value, tuple) else value
        told.append(f"sandbox.{key} ({shown}) costs {points(key, value):g} of exposure: {meaning}")
    return told
