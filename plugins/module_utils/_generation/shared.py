# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What Headcount has once on a host, for all apps: its commands, its unit at boot, its fact, its folder.

What is of somebody else's there is in the way of every app, and is never written over, removed or opened.
"""

from __future__ import annotations

import json
import os
import stat

from .._os.ownership import masked
from .._os.paths import COMMANDS, HOME, LOCAL_FACT, UNITS, present_apps

WRITTEN = b"Written by Headcount."

_HEAD, _MOST = 200, 1 << 20


def is_own_text(path: str) -> bool:
    """Whether nothing is at `path`, or a regular file that says to be Headcount's."""
    head = _head(path, _HEAD)
    return head is None or WRITTEN in head


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
    """The first bytes of a regular file, b"" of anything else; None where nothing is."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return b""
        with open(path, "rb") as stream:
            return stream.read(most)
    except FileNotFoundError:
        return None
    except OSError:
        return b""


def foreign(root: str = "/", unit: str = "headcount-boot.service") -> list[str]:
    """What is not Headcount's in the places of its own, each in a sentence with the fix."""
    found = [path for path in COMMANDS if not is_own_text(os.path.join(root, path))]
    path, fact = os.path.join(root, UNITS, unit), os.path.join(root, LOCAL_FACT)
    found += [f"{UNITS}/{unit}"] if not masked(path) and not is_own_text(path) else []
    found += [LOCAL_FACT] if os.path.isdir(fact) or not is_own_fact(fact) else []
    told = [
        f"/{path} is not Headcount's, which has a file of its own by that name: move it to another name, and run again"
        for path in found
    ]
    return told + _closed(os.path.join(root, HOME), root)


def _closed(home: str, root: str) -> list[str]:
    """That its folder was closed by somebody who keeps something in it, where no app is yet."""
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
