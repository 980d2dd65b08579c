# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What Headcount has once on a host, for all apps: its commands, its unit at boot, its fact, its folder.

What is of somebody else's in these places is in the way of every app, and is never written over, removed or opened.
Headcount's own say so in their text; its fact is a mapping of apps.
"""

from __future__ import annotations

import json
import os
import stat

from .._os.paths import COMMANDS, HOME, LOCAL_FACT, UNITS, present_apps

BOOT_UNIT = f"{UNITS}/headcount-boot.service"
WRITTEN = "Written by Headcount."
"""Stands in the first lines of each text that Headcount writes."""

_HEAD, _MOST = 200, 1 << 20


def masked(path: str) -> bool:
    """Whether somebody masked the unit of that file."""
    try:
        return os.readlink(path) == os.devnull
    except OSError:
        return False


def is_own_text(path: str) -> bool:
    """Whether nothing is at `path`, or a regular file that says to be Headcount's."""
    head = _head(path, _HEAD)
    return head is None or WRITTEN.encode() in head


def is_own_fact(path: str) -> bool:
    """Whether nothing is at `path`, or a fact that can be Headcount's: JSON of a part for each app, or nothing yet."""
    text = _head(path, _MOST)
    if not text:
        return text is None or (os.path.isfile(path) and not os.path.islink(path))
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and all(isinstance(part, dict) for part in value.values())


def _head(path: str, most: int) -> bytes | None:
    """The first bytes of a regular file; none of what is anything else, None where nothing is."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return b""
        with open(path, "rb") as stream:
            return stream.read(most)
    except FileNotFoundError:
        return None
    except OSError:
        return b""


def foreign(root: str = "/") -> list[str]:
    """What is not Headcount's in the places of its own, each in a sentence with the fix; empty where nothing is."""
    found = [path for path in COMMANDS if not is_own_text(os.path.join(root, path))]
    unit, fact = os.path.join(root, BOOT_UNIT), os.path.join(root, LOCAL_FACT)
    found += [BOOT_UNIT] if not masked(unit) and not is_own_text(unit) else []
    found += [LOCAL_FACT] if os.path.isdir(fact) or not is_own_fact(fact) else []
    told = [
        f"/{path} is not Headcount's, which has a file of its own by that name: move it to another name, and run again"
        for path in found
    ]
    return told + _closed(os.path.join(root, HOME), root)


def _closed(home: str, root: str) -> list[str]:
    """That Headcount's folder was closed by somebody who keeps something in it, where no app is there yet."""
    try:
        status, there = os.stat(home), sorted(os.listdir(home))
    except OSError:
        return []
    if not there or status.st_mode & stat.S_IXOTH or present_apps(root):
        return []
    mode = stat.S_IMODE(status.st_mode)
    return [
        f"/{HOME} is not Headcount's: it has mode {mode:04o}, and {there[0]!r} in it: every app's account has to pass "
        f"it, so move what is in it elsewhere, or `chmod o+x /{HOME}`, and run again"
    ]
