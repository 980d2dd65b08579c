# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The unit of the exporter: its text, and where the one of a host listens. The probe reads it."""

from __future__ import annotations

import os

from . import ownership
from .files import read_text_file
from .paths import UNITS

UNIT = "headcount-exporter.service"

STOPPED = "stopped"
"""What the probe says of one whose unit is as it was written, and that nobody runs."""

MASKED = "masked"
"""What the probe says of one that somebody masked (`systemctl mask`): it is left so."""

_RUNNING = "run/systemd/units"
"""Here systemd keeps a link for each unit that runs, for the journal; asking systemd itself would cost each probe a
process."""


def split(listen: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:9788" or "[::1]:9788"."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


def unit(listen: str) -> str:
    """The unit: root that may read and do nothing else; on a loopback address nobody else reaches it."""
    loopback = split(listen)[0] in ("127.0.0.1", "::1", "localhost")
    return _UNIT.format(listen=listen, addresses="IPAddressDeny=any\nIPAddressAllow=localhost\n" if loopback else "")


_MARK = "ExecStart=/usr/local/sbin/headcount exporter --listen "
_UNIT = """\
# Written by Headcount.
[Unit]
Description=Headcount: how the apps of this host run, for Prometheus
After=network.target
StartLimitIntervalSec=0

[Service]
ExecStart=/usr/local/sbin/headcount exporter --listen {listen}
Restart=always
RestartSec=5
Nice=5
MemoryMax=192M
MemorySwapMax=0
TasksMax=32
CapabilityBoundingSet=CAP_DAC_READ_SEARCH CAP_SYS_PTRACE
{addresses}LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=strict
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
UMask=0077

[Install]
WantedBy=multi-user.target
"""


def listens_at(text: str | None) -> str:
    """The address in the text of a unit that is Headcount's as it is now; "changed" for another text, "" for none."""
    if text is None:
        return ""
    for line in text.splitlines():
        if line.startswith(_MARK):
            listen = line[len(_MARK) :].strip()
            return listen if text == unit(listen) else "changed"
    return "changed"


def installed(root: str = "/") -> str:
    """Where this host's exporter listens; "" where there is none, "changed" where its unit is not as it was written."""
    return listens_at(read_text_file(os.path.join(root, UNITS, UNIT)))


def stopped(root: str = "/") -> bool:
    """Whether systemd keeps units here, and that of the exporter is none that runs: not between two starts either."""
    units = os.path.join(root, _RUNNING)
    return os.path.isdir(units) and not os.path.lexists(os.path.join(units, f"invocation:{UNIT}"))


def masked(root: str = "/") -> bool:
    """Whether somebody masked it."""
    return ownership.masked(os.path.join(root, UNITS, UNIT))


def seen(root: str = "/") -> str:
    """installed(), or STOPPED where that is one that does not run, or MASKED."""
    if masked(root):
        return MASKED
    there = installed(root)
    return STOPPED if there not in ("", "changed") and stopped(root) else there
