# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The command that tries the sandbox of an app's units with a program that does nothing."""

from __future__ import annotations

from typing import Sequence


def command(properties: Sequence[str]) -> list[str]:
    """systemd-run with these `properties` (NAME=VALUE) of a unit; its status is 0 where the sandbox can be made."""
    words = ["systemd-run", "--wait", "--collect", "--description=Headcount tries the sandbox of its units"]
    return [*words, *(f"--property={one}" for one in (*properties, "User=nobody")), "--", "/bin/true"]
