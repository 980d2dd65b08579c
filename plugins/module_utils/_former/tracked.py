# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which files git tracks, by its index (gitformat-index), which is read and not run. Pure."""

from __future__ import annotations

import struct
from typing import FrozenSet

MOST_BYTES = 2**24
"""An index is read up to this size: about 150,000 files."""

_FIXED, _EXTENDED, _HEAD = 62, 0x4000, struct.Struct(">4sII")


def tracked(content: bytes) -> FrozenSet[str] | None:
    """The paths in an index of git with hashes of SHA-1, versions 2 to 4; None where it is none that can be read."""
    if len(content) < _HEAD.size:
        return None
    mark, version, count = _HEAD.unpack_from(content)
    if mark != b"DIRC" or version not in (2, 3, 4) or count > len(content) // _FIXED:
        return None
    found, at, before = [], _HEAD.size, b""
    for _ in range(count):
        begin = at
        at += _FIXED
        if at > len(content):
            return None
        at += 2 if int.from_bytes(content[at - 2 : at], "big") & _EXTENDED else 0
        kept = b""
        if version == 4:
            drop, at = _number(content, at)
            kept = before[: len(before) - drop] if 0 <= drop <= len(before) else b""
        end = content.find(b"\0", at)
        if end < 0:
            return None
        before = kept + content[at:end]
        found.append(before.decode("utf-8", "replace"))
        # Versions 2 and 3 end each entry with one to eight zero bytes, at a multiple of eight.
        at = end + 1 if version == 4 else begin + (end - begin) // 8 * 8 + 8
    return frozenset(found)


def _number(content: bytes, at: int) -> tuple[int, int]:
    """(a number of variable width as packs have offsets, the place behind it)."""
    value = 0
    for _ in range(5):
        byte = content[at] if at < len(content) else 0
        at += 1
        value = (value << 7) | (byte & 0x7F)
        if not byte & 0x80:
            break
        value += 1
    return value, at
