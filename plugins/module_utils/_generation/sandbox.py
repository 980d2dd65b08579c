# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The sandbox of an app's units, and where it bends for an app that needs that. What that costs: `exposure`."""

from __future__ import annotations

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
