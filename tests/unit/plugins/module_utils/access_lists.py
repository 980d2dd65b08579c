# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Access lists of files, as setfacl makes them."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

NOBODY = 0xFFFFFFFF
OWNER, USER, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x10, 0x20


def let_in(path: Path, *users: int, rights: int = 6, mask: int = 7, default: bool = False) -> None:
    """What `setfacl -m u:USER:RIGHTS` does, or with -d; the owner has all, and others nothing."""
    named = [(USER, rights, user) for user in sorted(users)]
    entries = [(OWNER, 7, NOBODY), *named, (GROUP, 0, NOBODY), (MASK, mask, NOBODY), (OTHER, 0, NOBODY)]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(path, f"system.posix_acl_{'default' if default else 'access'}", value)
    except OSError:
        pytest.skip("no access lists on this file system")
