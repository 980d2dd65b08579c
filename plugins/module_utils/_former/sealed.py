# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a host says of its secrets, so that it can be read with a key alone: with -vvv Ansible prints every answer.

The key goes to the host with the module, which is not printed, and is used once: the text is combined with a stream
that SHAKE-256 makes of it (FIPS 202), as long as the text. Pure.
"""

from __future__ import annotations

import base64
import hashlib


def seal(text: str, key: str) -> str:
    """`text` as letters that say nothing without the key, which no other text may have."""
    return base64.b64encode(_combined(text.encode(), key)).decode()


def unseal(sealed: str, key: str) -> str:
    """The inverse of seal(). ValueError where it was not made with that key."""
    return _combined(base64.b64decode(sealed), key).decode()


def _combined(data: bytes, key: str) -> bytes:
    stream = hashlib.shake_256(key.encode()).digest(len(data))
    return bytes(one ^ other for one, other in zip(data, stream))
