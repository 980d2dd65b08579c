# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What is sealed says nothing without its key, and is whole with it."""

from __future__ import annotations

import base64
import secrets

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._former.sealed import seal, unseal

TEXT = '{"DATABASE_URL": "postgres://app:pw-Ünïcode@db/app"}' * 200


def test_with_the_key_it_is_whole() -> None:
    key = secrets.token_hex(32)
    assert unseal(seal(TEXT, key), key) == TEXT
    assert unseal(seal("", key), key) == ""


def test_without_the_key_nothing_of_it_is_there() -> None:
    sealed = seal(TEXT, secrets.token_hex(32))
    assert sealed != seal(TEXT, secrets.token_hex(32))
    raw = base64.b64decode(sealed)
    assert all(part.encode() not in raw for part in ("DATABASE_URL", "postgres", "pw-"))
    assert len(raw) == len(TEXT.encode())
    assert max(raw.count(bytes([value])) for value in range(256)) < len(raw) / 50, "the text repeats, this does not"


def test_another_key_does_not_open_it() -> None:
    with pytest.raises(UnicodeDecodeError):
        unseal(seal(TEXT, secrets.token_hex(32)), secrets.token_hex(32))
