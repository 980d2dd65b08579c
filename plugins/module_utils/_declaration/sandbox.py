# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Where the sandbox of an app bends: the section `sandbox`. Pure."""

from __future__ import annotations

import re
from typing import Final

from .._os.groups import ROOT_LIKE
from .fields import ABSENT, REQUIRED, Field, Invalid

_DEVICE: Final = re.compile(r"/dev/[A-Za-z0-9._/-]+")
_GROUP: Final = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_KERNELS: Final = ("/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg", "/dev/kvm")
_DISKS: Final = re.compile(r"/dev/(sd|vd|xvd|nvme|dm-|mapper/|loop|md|disk/)")


def device(text: str) -> str:
    """A device node below /dev that is no way to root."""
    if not _DEVICE.fullmatch(text) or ".." in text.split("/") or text.endswith("/"):
        raise Invalid("no path below /dev")
    if text in _KERNELS or _DISKS.match(text):
        raise Invalid("who has it has the host")
    return text


def group(text: str) -> str:
    """A group that is no way to root."""
    if not _GROUP.fullmatch(text):
        raise Invalid("not the name of a group")
    if text in ROOT_LIKE:
        raise Invalid("who is in it can become root")
    return text


SANDBOX: Final = Field(
    "sandbox",
    "section",
    "Where the sandbox that the app runs in bends for it. Each key costs some of what it keeps out; the plan says how"
    " much, as `systemd-analyze security` counts it.",
    ABSENT,
    {"devices": ["/dev/nvidia0", "/dev/nvidiactl"], "groups": ["video"]},
    fields=(
        Field(
            "proc",
            "str",
            "Which files of /proc it sees: those of its own processes (own), or the kernel's too, as /proc/meminfo"
            " (all). auto is all where psutil is in the release, which needs them, and own otherwise.",
            "auto",
            "all",
            choices=("auto", "own", "all"),
        ),
        Field(
            "devices",
            "list",
            "Devices that it reads and writes.",
            [],
            ["/dev/nvidia0", "/dev/nvidiactl"],
            items=Field(
                "",
                "str",
                "A device.",
                REQUIRED,
                "/dev/nvidia0",
                allowed="a path below /dev that is neither a disk nor memory",
                check=device,
            ),
        ),
        Field(
            "groups",
            "list",
            "Groups of the host that it is in, for devices and folders that belong to one.",
            [],
            ["video"],
            items=Field(
                "",
                "str",
                "A group.",
                REQUIRED,
                "video",
                allowed="the name of a group that is no way to root",
                check=group,
            ),
        ),
        Field(
            "home",
            "str",
            "Whether it sees the homes of people (/home, /root): not at all (none), or as their modes let it (read).",
            "none",
            "read",
            choices=("none", "read"),
        ),
        Field(
            "address_families",
            "list",
            "Kinds of sockets that it opens beside those of IP and UNIX.",
            [],
            ["AF_NETLINK"],
            items=Field(
                "",
                "str",
                "A kind.",
                REQUIRED,
                "AF_NETLINK",
                choices=("AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_BLUETOOTH", "AF_CAN", "AF_ALG"),
            ),
        ),
        Field(
            "system_calls",
            "list",
            "Groups of system calls that it needs beside those of a service (`systemd-analyze syscall-filter`).",
            [],
            ["@resources"],
            items=Field("", "str", "A group.", REQUIRED, "@resources", choices=("@resources", "@chown")),
        ),
        Field(
            "umask",
            "str",
            "What others may do with the files that it makes: nothing (0077), or its group reads them (0027), as a web"
            " server in the group hc-NAME has to for uploads that it serves.",
            "0077",
            "0027",
            choices=("0077", "0027"),
        ),
    ),
)
